"""What a visitor meets on a protected path: every row of the table, on a real store."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from starlette.types import Message, Receive, Scope, Send

from tests.conftest import SECRET
from tests.gates import (
    API,
    bearer,
    client_of,
    comes_back_after,
    comes_in,
    eventually,
    gated,
    is_inside,
    page_data,
    session,
    takes_number,
)
from tests.sites import saying, site
from waitroom.config.settings import Settings
from waitroom.errors import SettingsError, WaitroomError
from waitroom.line.tickets import Pass, Proof, Ticket, Tokens, new_id
from waitroom.room.decisions import Visitor
from waitroom.web.answers.release import CLEARING
from waitroom.web.middleware import WaitingRoomMiddleware

Make = Callable[..., Settings]


pytestmark = pytest.mark.usefixtures("patience")


HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
JSON = {"Accept": "application/json"}
FETCH = {"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "cors", "Accept": "*/*"}
WRITES = ["POST", "PUT", "PATCH", "DELETE"]


class Handler:
    """A site that remembers what reached it."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            # What the gate lends the site it takes back.
            self.scopes.append({**scope, "state": dict(scope.get("state", {}))})
            await site(scope, receive, send)


@asynccontextmanager
async def full_house(
    settings: Settings, line: int = 0, **keywords: Any
) -> AsyncIterator[tuple[WaitingRoomMiddleware, Handler, httpx.AsyncClient]]:
    """A site with one place, somebody in it, and so many others in line; `handler` saw none of them."""
    handler = Handler()
    async with gated(handler, settings=settings, **keywords) as gate, client_of(gate) as guest:
        await session(guest)
        for _ in range(line):
            async with client_of(gate) as other:
                assert (await other.post(f"{API}/join")).status_code == 201
        yield gate, handler, guest


async def window(client: httpx.AsyncClient) -> dict[str, Any]:
    told: dict[str, Any] = (await client.get(f"{API}/window")).json()
    return told


def token_of(response: httpx.Response) -> str:
    """The token in the cookie that a response sets."""
    return response.headers["set-cookie"].partition("=")[2].partition(";")[0]


def read(settings: Settings, response: httpx.Response) -> Ticket | Pass | Proof | None:
    return Tokens(settings.secret, settings.room).read(token_of(response))


# -- let in --------------------------------------------------------------------------------------


async def test_a_valid_pass_gets_the_sites_own_response_with_nothing_added(settings: Make) -> None:
    async with full_house(settings(capacity=1)) as (_, handler, guest):
        response = await guest.get("/goods/7?size=9", headers=HTML)
        assert response.json()["path"] == "/goods/7"
        assert response.json()["query"] == "size=9"
        assert set(response.headers) == {"content-type", "content-length"}
        assert len(handler.scopes) == 1


async def test_p6_a_renewed_pass_comes_as_a_cookie_with_a_later_response(settings: Make) -> None:
    mine = settings(session_seconds=2)
    async with gated(site, settings=mine) as gate, client_of(gate) as client:
        first = Tokens([SECRET], settings().room).read((await session(client))["pass"])
        assert isinstance(first, Pass)

        async def renewed() -> httpx.Response | None:
            response = await client.get("/")
            assert is_inside(response), "somebody inside was sent away"
            return response if "set-cookie" in response.headers else None

        response = await eventually(renewed)
        assert response is not None
        later = read(settings(), response)
        assert isinstance(later, Pass)
        assert later.id == first.id
        assert later.expires_at > first.expires_at
        assert response.headers["cache-control"] == "private"


@pytest.mark.parametrize("method", ["GET", *WRITES])
async def test_no_cookie_and_room_to_spare_gets_the_site_with_a_first_lease(
    settings: Make, method: str
) -> None:
    async with gated(site, settings=settings()) as gate, client_of(gate) as client:
        response = await client.request(method, "/checkout")
        assert is_inside(response)
        first = read(settings(), response)
        assert isinstance(first, Pass)
        assert first.first
        assert (first.number, first.waited_ms) == (1, 0)
        if method == "GET":
            assert response.headers["cache-control"] == "private"


async def test_a_first_lease_is_made_full_at_the_first_return(settings: Make) -> None:
    async with gated(site, settings=settings(session_seconds=600)) as gate, client_of(gate) as client:
        first = read(settings(), await client.get("/"))

        async def full() -> Pass | None:
            response = await client.get("/")
            found = read(settings(), response) if "set-cookie" in response.headers else None
            return found if isinstance(found, Pass) and not found.first else None

        confirmed = await eventually(full)
        assert isinstance(first, Pass)
        assert confirmed is not None
        assert confirmed.id == first.id
        assert confirmed.expires_at - first.expires_at > 400_000


@pytest.mark.parametrize("control", ["public, max-age=60", "max-age=60", "s-maxage=5, stale-if-error=60"])
async def test_a_first_lease_makes_a_cacheable_response_private(settings: Make, control: str) -> None:
    async with gated(site, settings=settings()) as gate, client_of(gate) as client:
        response = await client.get("/cached", params={"control": control})
        directives = response.headers["cache-control"].split(", ")
        assert "set-cookie" in response.headers
        assert "private" in directives
        assert not {"public", "s-maxage=5"} & set(directives)


@pytest.mark.parametrize(
    "cached",
    [{"control": "public, max-age=60"}, {"control": "max-age=0", "status": "304"}],
    ids=["200", "304"],
)
async def test_a_renewed_pass_is_not_attached_to_what_shared_caches_may_keep(
    settings: Make, cached: dict[str, str]
) -> None:
    async with gated(site, settings=settings()) as gate, client_of(gate) as client:
        await client.get("/")
        entered = read(settings(), await client.get("/"))
        assert isinstance(entered, Pass)
        now = gate._gates[0].room.snapshot.now()
        lease = Tokens((SECRET,), settings().room).sign(replace(entered, expires_at=now + 100_000))

        async def told_later() -> Ticket | Pass | Proof | None:
            async with client_of(gate, cookies={f"waitroom-{settings().room}": lease}) as other:
                response = await other.get("/cached", params=cached)
                assert response.headers["cache-control"] == cached["control"]
                assert "set-cookie" not in response.headers
                response = await other.get("/")
                return read(settings(), response) if "set-cookie" in response.headers else None

        assert isinstance(await eventually(told_later), Pass)


async def test_a_called_ticket_gets_the_very_url_that_was_asked_for(settings: Make) -> None:
    """P5: the number that waited is the one that enters."""
    async with full_house(settings(capacity=1)) as (gate, _, guest), client_of(gate) as client:
        waits = await takes_number(client, "/goods?size=9")
        ticket = read(settings(), waits)
        assert isinstance(ticket, Ticket)
        await guest.delete(f"{API}/ticket")
        response = await comes_in(client, "/goods?size=9")
        assert (response.json()["path"], response.json()["query"]) == ("/goods", "size=9")
        assert response.json()["number"] == ticket.number
        entered = read(settings(), response)
        assert isinstance(entered, Pass)
        assert not entered.first
        assert entered.waited_ms == max(0, entered.entered_at - ticket.issued_at)
        assert response.json()["waited"] == entered.waited_ms / 1000


@pytest.mark.parametrize("method", WRITES)
async def test_a_called_ticket_enters_with_any_method(settings: Make, method: str) -> None:
    async with full_house(settings(capacity=1)) as (gate, _, guest), client_of(gate) as client:
        await takes_number(client)
        await guest.delete(f"{API}/ticket")
        response = await client.request(method, "/checkout", content="order")
        while not is_inside(response):
            response = await client.request(method, "/checkout", content="order")
        assert response.json()["body"] == "order"


# -- held ----------------------------------------------------------------------------------------


async def test_no_cookie_and_a_line_gets_a_page_that_comes_back_at_once_and_no_number(settings: Make) -> None:
    """P7: visits of clients that keep no cookies take no numbers."""
    async with full_house(settings(capacity=1), line=1) as (gate, handler, guest):
        before = await window(guest)
        for _ in range(5):
            async with client_of(gate, headers=HTML) as stranger:
                response = await stranger.get("/")
            assert response.status_code == 503
            assert comes_back_after(response) == "1"
            assert page_data(response)["kind"] == "first"
            assert isinstance(read(settings(), response), Proof)
        assert (await window(guest))["issued"] == before["issued"] == 2
        assert not handler.scopes


async def test_a_waiting_ticket_sees_its_number_and_when_the_page_looks_next(settings: Make) -> None:
    async with full_house(settings(capacity=1), line=2) as (gate, handler, _), client_of(gate) as client:
        response = await takes_number(client)
        data = page_data(response)
        assert (data["kind"], data["number"]) == ("waiting", 4)
        assert comes_back_after(response) == str(data["poll_after"])
        assert isinstance(read(settings(), response), Ticket)
        again = await client.get("/")
        assert page_data(again)["number"] == 4, "P4: coming back changed the place"
        assert "set-cookie" not in again.headers
        assert not handler.scopes


@pytest.mark.parametrize("status", [200, 202, 429, 503])
async def test_the_waiting_pages_status_is_a_setting(settings: Make, status: int) -> None:
    async with (
        full_house(settings(capacity=1, status_code=status)) as (gate, _, _),
        client_of(gate) as client,
    ):
        assert (await client.get("/", headers=HTML)).status_code == status
        assert (await client.get("/", headers=JSON)).status_code == 503
        assert (await client.post("/", headers=HTML)).status_code == 503


async def test_the_gates_own_responses_are_kept_by_no_cache_and_no_index(settings: Make) -> None:
    async with full_house(settings(capacity=1), line=1) as (gate, _, _), client_of(gate) as client:
        answers = [
            await client.get("/", headers=HTML),
            await client.get("/", headers=JSON),
            await client.get("/", headers={"Sec-Fetch-Dest": "image"}),
            await client.post("/", headers=HTML),
            await client.get(f"{API}/status"),
            await client.get(f"{API}/nothing"),
            await client.get(f"{API}/livez"),
        ]
        for response in answers:
            assert response.headers["cache-control"] == "no-store"
            assert response.headers["vary"] == "Cookie, Accept"
            assert response.headers["x-robots-tag"] == "noindex"
            assert response.headers["x-content-type-options"] == "nosniff"
            assert response.headers["content-security-policy"].startswith("default-src 'none'")
            assert "unsafe" not in response.headers["content-security-policy"]
            assert int(response.headers["content-length"]) == len(response.content)
        assert "script-src 'sha256-" in answers[0].headers["content-security-policy"]


@pytest.mark.parametrize("headers", [JSON, FETCH, {"X-Requested-With": "XMLHttpRequest"}])
async def test_not_a_navigation_gets_problem_json_with_the_fields_of_status(
    settings: Make, headers: dict[str, str]
) -> None:
    async with full_house(settings(capacity=1), line=1) as (gate, handler, _), client_of(gate) as client:
        response = await takes_number(client)
        response = await client.get("/", headers=headers)
        assert response.status_code == 503
        assert response.headers["content-type"] == "application/problem+json"
        told = response.json()
        assert told.pop("type") == "urn:waitroom:waiting"
        assert told.pop("title") == "This site is full; you are in line."
        assert response.headers["retry-after"] == str(told.pop("poll_after"))
        assert told == {
            "room": settings().room,
            "status": "waiting",
            "number": 3,
            "ahead": 1,
            "eta_seconds": None,
        }
        assert "refresh" not in response.headers
        assert not handler.scopes


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Dest": "font"},
        {"Sec-Fetch-Dest": "style"},
        {"Sec-Fetch-Dest": "script"},
        {"Sec-Fetch-Dest": "manifest"},
        {"Accept": "image/avif,image/webp,*/*;q=0.8"},
        {"Accept": "text/css,*/*;q=0.1"},
    ],
)
async def test_a_subresource_takes_no_place(settings: Make, headers: dict[str, str]) -> None:
    async with full_house(settings(capacity=1)) as (gate, handler, guest), client_of(gate) as client:
        full = await client.get("/logo.svg", headers=headers)
        assert (full.status_code, full.content) == (503, b""), "a full room is closed to them as well"
        assert "set-cookie" not in full.headers
        await takes_number(client)
        seen = len(handler.scopes)
        bare = await client.get("/logo.svg", headers=headers)
        assert (bare.status_code, bare.content) == (503, b"")
        assert "set-cookie" not in bare.headers
        assert len(handler.scopes) == seen
        assert is_inside(await guest.get("/logo.svg", headers=headers)), "P6"
        assert (await window(guest))["issued"] == 2


@pytest.mark.parametrize("method", WRITES)
async def test_what_writes_without_a_pass_is_not_passed_on_and_not_swallowed_in_silence(
    settings: Make, method: str
) -> None:
    async with full_house(settings(capacity=1)) as (gate, handler, _), client_of(gate) as client:
        page = await client.request(method, "/checkout", headers=HTML, content="order")
        assert page.status_code == 503
        assert page_data(page)["kind"] == "unsent"
        assert "Nothing was sent." in page.text
        assert '<a class="button" href="">' in page.text
        assert "refresh" not in page.headers
        told = (await client.request(method, "/checkout", headers=JSON, content="order")).json()
        assert told["type"] == "urn:waitroom:waiting"
        assert told["title"].endswith("Your request was not passed on; send it again once you are in.")
        assert not handler.scopes


@pytest.mark.parametrize("header", ["Sec-Fetch-Dest", "Purpose", "Sec-Purpose"])
@pytest.mark.parametrize("method", WRITES)
async def test_what_writes_is_held_however_it_dresses_up(settings: Make, method: str, header: str) -> None:
    """P1: the ways around a place are for parts of a page, and those are only read."""
    value = "image" if header == "Sec-Fetch-Dest" else "prefetch"
    async with full_house(settings(capacity=1)) as (gate, handler, _), client_of(gate) as client:
        response = await client.request(method, "/checkout", headers={header: value})
        assert response.status_code == 503
        assert not handler.scopes


# -- forged, foreign, stale ------------------------------------------------------------------------


def a_ticket(number: int = 1, generation: int = 1, missed: bool = False) -> Ticket:
    return Ticket(generation, "0000000000000001-abcdef", number, new_id(), 1, 0, missed)


async def test_a_forged_or_foreign_cookie_is_as_none(settings: Make) -> None:
    """P8: no input without a valid signature changes anyone's place."""
    mine = settings(capacity=1)
    forged = [
        "",
        "x",
        "ti.1.2.3",
        "pa." + "9" * 200,
        Tokens(["another key, that somebody else may have"], mine.room).sign(a_ticket()),
        Tokens([SECRET], "elsewhere").sign(a_ticket()),
        Tokens([SECRET], mine.room).sign(a_ticket())[:-1],
        Tokens([SECRET], mine.room).sign(a_ticket()).replace("ti.", "pa.", 1),
    ]
    async with full_house(mine, line=1) as (gate, handler, guest):
        for token in forged:
            async with client_of(gate, cookies={f"waitroom-{mine.room}": token}) as client:
                response = await client.get("/")
                assert page_data(response)["kind"] == "first", token
                assert 'class="missed"' not in response.text
                assert (await client.get(f"{API}/status")).status_code == 401 or client.cookies
        assert not handler.scopes
        assert (await window(guest))["issued"] == 2


async def test_the_page_says_when_a_turn_has_passed(settings: Make) -> None:
    async with full_house(settings(capacity=1)) as (gate, _, guest), client_of(gate) as client:
        used = (await client.post(f"{API}/join")).json()["ticket"]
        await guest.delete(f"{API}/ticket")
        await comes_in(client)
        await client.delete(f"{API}/ticket")
        await comes_in(guest)
        await comes_in(guest)
        async with client_of(gate, cookies={f"waitroom-{settings().room}": used}) as late:
            response = await late.get("/")
            assert page_data(response)["kind"] == "first"
            assert 'class="missed"' in response.text
            response = await late.get("/")
            assert page_data(response)["kind"] == "waiting"
            assert 'class="missed"' in response.text, "the number that replaces it tells it too"


@pytest.mark.parametrize("method", ["GET", *WRITES])
async def test_an_expired_ticket_is_as_no_cookie_where_there_is_room(settings: Make, method: str) -> None:
    async with gated(site, settings=settings(capacity=1)) as gate, client_of(gate) as client:
        used = (await client.post(f"{API}/join")).json()["ticket"]
        await client.get("/")
        await client.delete(f"{API}/ticket")
        async with client_of(gate, cookies={f"waitroom-{settings().room}": used}) as late:
            assert is_inside(await late.request(method, "/"))


async def test_a_ticket_of_another_generation_is_void(settings: Make) -> None:
    mine = settings(capacity=1)
    async with full_house(mine, line=1) as (gate, handler, _):
        for void in (a_ticket(generation=0), Pass(0, "1-a", 1, new_id(), 1, 2**50, 1000, 0)):
            token = Tokens([SECRET], mine.room).sign(void)
            async with client_of(gate, cookies={f"waitroom-{mine.room}": token}) as client:
                assert page_data(await client.get("/"))["kind"] == "first"
                assert not handler.scopes


# -- what the site sees ----------------------------------------------------------------------------


async def test_the_site_sees_its_visitor_and_nothing_of_the_gates(settings: Make) -> None:
    name = f"waitroom-{settings().room}"
    async with gated(handler := Handler(), settings=settings()) as gate, client_of(gate) as client:
        token = (await session(client))["pass"]
        client.cookies.set("basket", "3")
        headers = {"Waitroom-Pass": token, "Authorization": f"Bearer {token}", "X-Own": "1"}
        told = (await client.get("/", headers=headers)).json()
        assert told["cookies"] == {"basket": "3"}
        assert "waitroom-pass" not in told["headers"]
        assert "authorization" not in told["headers"]
        assert "x-own" in told["headers"]
        assert name not in json.dumps(told)
        seen: Visitor = handler.scopes[-1]["state"]["waitroom"]
        assert isinstance(seen, Visitor)
        assert (seen.room, seen.number, seen.session) == (settings().room, 1, told["session"])
        client.cookies.delete("basket")
        assert "cookie" not in (await client.get("/")).json()["headers"]


async def test_the_sites_own_authorization_and_cookies_are_left_alone(settings: Make) -> None:
    async with gated(site, settings=settings()) as gate, client_of(gate) as client:
        for own in ("Bearer eyJhbGciOi.eyJzdWIi.c2lnbmF0dXJl", "Basic dXNlcjpwYXNz", "Bearer pa"):
            told = (await client.get("/", headers={"Authorization": own})).json()
            assert "authorization" in told["headers"]
        told = (await client.get("/", headers={"Cookie": "a=1; waitroomish=2; b=3"})).json()
        assert told["cookies"] == {"a": "1", "waitroomish": "2", "b": "3"}


async def test_outside_the_protected_paths_nothing_is_gated_but_tokens_are_kept_from_the_site(
    settings: Make,
) -> None:
    mine = settings(capacity=1, paths="/shop/*", exclude="/shop/hook")
    async with full_house(mine, line=1) as (gate, handler, guest), client_of(gate) as client:
        for path in ("/about", "/shop/hook"):
            assert is_inside(await client.get(path))
        assert not is_inside(await client.get("/shop/7"))
        told = (await guest.get("/about")).json()
        assert told["cookies"] == {}
        assert told["number"] is None
        assert len(handler.scopes) == 3


async def test_bypass_lets_a_request_go_on_without_a_place(settings: Make) -> None:
    def probes(scope: Scope) -> bool:
        return (b"user-agent", b"probe") in scope["headers"]

    mine = settings(capacity=1)
    async with full_house(mine, line=1, bypass=probes) as (gate, handler, guest), client_of(gate) as client:
        response = await client.get("/", headers={"User-Agent": "probe"})
        assert is_inside(response)
        assert "set-cookie" not in response.headers
        assert not is_inside(await client.get("/"))
        assert len(handler.scopes) == 1
        assert (await window(guest))["issued"] == 2


async def test_a_site_below_a_root_path_is_gated_by_its_own_paths(settings: Make) -> None:
    mine = settings(capacity=1, paths="/shop/*")
    async with full_house(mine, line=1) as (gate, _, _):
        transport = httpx.ASGITransport(app=gate, root_path="/eu")
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as client:
            held = await client.get("/eu/shop/7")
            assert page_data(held)["base"] == f"/eu{API}"
            assert (await client.get(f"/eu{API}/livez")).text == "alive\n"
            assert is_inside(await client.get("/eu/about"))


# -- the site's word -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["release", " Release "])
async def test_the_site_frees_the_slot_with_its_response(settings: Make, command: str) -> None:
    """P1: the next in line comes in; the pass that was released does not any more."""
    releases = saying((b"Waitroom-Command", command.encode()), (b"x-own", b"1"), text="inside no more")
    async with gated(releases, settings=settings(capacity=1)) as gate, client_of(gate) as client:
        token = (await session(client))["pass"]
        response = await client.get("/bye")
        assert "waitroom-command" not in response.headers
        assert response.headers["x-own"] == "1"
        assert response.headers["cache-control"] == "private"
        assert "Max-Age=0" in response.headers["set-cookie"]
        assert not client.cookies
        async with client_of(gate) as copy:
            told = (await copy.get(f"{API}/status", headers=bearer(token))).json()
            assert told["status"] == "expired"
            assert (await window(copy))["inside"] == 0


@pytest.mark.parametrize(
    ("told", "is_released"),
    [
        ('"cookies"', True),
        ('"cache", "Cookies"', True),
        ('"*"', True),
        ('"cache", "storage"', False),
        ('"clientHints"', False),
    ],
)
async def test_whose_cookies_the_site_clears_gives_the_slot_back(
    settings: Make, told: str, is_released: bool
) -> None:
    """P1: browsers drop the pass with the rest, also one that comes in this very response."""

    clears = saying((CLEARING, told.encode()), text="signed out")
    async with gated(clears, settings=settings(capacity=1)) as gate, client_of(gate) as client:
        await session(client)
        response = await client.get("/sign-out")
        assert response.headers["clear-site-data"] == told, "the site's own header goes on to the browser"

        async def as_it_should_be() -> bool:
            return bool((await window(client))["inside"] == (0 if is_released else 1))

        await eventually(as_it_should_be)


async def test_release_works_on_an_unprotected_path_and_without_a_session(settings: Make) -> None:
    mine = settings(capacity=1, exclude="/release")
    async with gated(site, settings=mine) as gate, client_of(gate) as client, client_of(gate) as stranger:
        await session(client)
        assert (await stranger.get("/release")).text == "goodbye"
        assert (await stranger.get("/release", headers={"Cookie": "x=1"})).text == "goodbye"
        assert (await window(client))["inside"] == 1
        assert (await client.get("/release")).text == "goodbye"
        assert (await window(client))["inside"] == 0


@pytest.mark.parametrize("path", ["/", "/free"])
@pytest.mark.parametrize("given", [iter, tuple, list])
async def test_headers_that_can_be_read_once_only_reach_the_visitor(
    settings: Make, path: str, given: Callable[[Any], Any]
) -> None:
    """ASGI asks for an iterable, and most sites give a list."""

    async def once(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": given([(b"x-own", b"1")])})
        await send({"type": "http.response.body", "body": b"inside"})

    async with gated(once, settings=settings(exclude="/free")) as gate, client_of(gate) as client:
        await session(client)
        for _ in range(2):
            response = await client.get(path)
            assert (response.text, response.headers["x-own"]) == ("inside", "1")


async def test_another_command_is_removed_and_does_nothing(settings: Make) -> None:
    commands = saying((b"waitroom-command", b"dance"))
    async with gated(commands, settings=settings(capacity=1)) as gate, client_of(gate) as client:
        await session(client)
        response = await client.get("/")
        assert "waitroom-command" not in response.headers
        assert (await window(client))["inside"] == 1


async def test_a_site_that_fails_after_its_word_has_still_released(settings: Make) -> None:
    async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"waitroom-command", b"release")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        raise RuntimeError("the site broke")

    async with gated(breaks, settings=settings(capacity=1)) as gate, client_of(gate) as client:
        await session(client)
        with pytest.raises(RuntimeError, match="the site broke"):
            await client.get("/")
        assert (await window(client))["inside"] == 0


# -- streaming -------------------------------------------------------------------------------------


def http_scope(path: str = "/", method: str = "GET", headers: dict[str, str] | None = None) -> Scope:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "scheme": "http",
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
    }


async def test_responses_are_passed_on_piece_by_piece(settings: Make) -> None:
    """Each piece is written only after the one before has arrived: a gate that buffers would never get on."""
    arrived = [asyncio.Event() for _ in range(3)]

    async def streams(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number, event in enumerate(arrived):
            await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})
            await event.wait()
        await send({"type": "http.response.body"})

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body" and message.get("body"):
            arrived[int(message["body"])].set()

    async def receive() -> Message:
        raise AssertionError("nobody asked for the request's body")

    async with gated(streams, settings=settings()) as gate:
        await asyncio.wait_for(gate(http_scope(), receive, send), 30)


async def test_the_gate_keeps_no_upload_from_the_site(settings: Make) -> None:
    reads = 0
    sent: list[Message] = []

    async def receive() -> Message:
        nonlocal reads
        reads += 1
        return {"type": "http.request", "body": b"x" * 1000, "more_body": reads < 3}

    async def send(message: Message) -> None:
        sent.append(message)

    async with full_house(settings(capacity=1)) as (gate, _, guest):
        await gate(http_scope("/upload", "POST"), receive, send)
        assert (sent[0]["status"], reads) == (503, 0)
        cookie = "; ".join(f"{name}={value}" for name, value in guest.cookies.items())
        await gate(http_scope("/upload", "POST", {"Cookie": cookie}), receive, send)
        assert reads == 3, "the site reads it, piece by piece"


def lease(url: str, room: str) -> float:
    """When the one session's lease ends, by the store."""
    with redis.Redis.from_url(url) as client:
        ((_, ends),) = client.zrange(f"waitroom:{{{room}}}:inside", 0, -1, withscores=True)
        return float(ends)


async def test_p1_an_open_stream_keeps_its_lease_alive(settings: Make, store_url: str, room: str) -> None:
    done = asyncio.Event()

    async def streams(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await done.wait()
        await send({"type": "http.response.body"})

    mine = settings(session_seconds=1, sync_seconds=0.05)
    async with gated(streams, settings=mine) as gate, client_of(gate) as client:
        await session(client)
        before = lease(store_url, room)
        stream = asyncio.create_task(client.get("/"))

        async def renewed_twice() -> bool:
            return lease(store_url, room) > before + 1_200_000

        await eventually(renewed_twice)
        done.set()
        assert (await stream).status_code == 200
        cookie = read(mine, await client.get("/"))
        assert isinstance(cookie, Pass), "the newest pass goes out with the next response"


# -- WebSockets ------------------------------------------------------------------------------------


def socket_scope(path: str = "/socket", cookie: str = "", extensions: dict[str, Any] | None = None) -> Scope:
    headers = [(b"cookie", cookie.encode())] if cookie else []
    scope = {**http_scope(path), "type": "websocket", "scheme": "ws", "headers": headers, "subprotocols": []}
    return scope if extensions is None else {**scope, "extensions": extensions}


class Line:
    """The server's side of a WebSocket."""

    def __init__(self, *messages: str) -> None:
        self.sent: list[Message] = []
        self._to_site: asyncio.Queue[Message] = asyncio.Queue()
        self._to_site.put_nowait({"type": "websocket.connect"})
        for text in messages:
            self._to_site.put_nowait({"type": "websocket.receive", "text": text})

    def close(self) -> None:
        self._to_site.put_nowait({"type": "websocket.disconnect", "code": 1000})

    async def receive(self) -> Message:
        return await self._to_site.get()

    async def send(self, message: Message) -> None:
        self.sent.append(message)


async def test_a_websocket_without_a_pass_is_denied_with_a_503_where_the_server_has_it(
    settings: Make,
) -> None:
    async with gated(handler := Handler(), settings=settings()) as gate:
        line = Line()
        scope = socket_scope(extensions={"websocket.http.response": {}})
        await gate(scope, line.receive, line.send)
        start, body = line.sent
        assert (start["type"], start["status"]) == ("websocket.http.response.start", 503)
        assert (b"retry-after", b"5") in start["headers"]
        assert body["type"] == "websocket.http.response.body"
        assert not handler.scopes


async def test_a_websocket_without_a_pass_is_else_closed_before_it_is_accepted(settings: Make) -> None:
    async with full_house(settings(capacity=1)) as (gate, handler, _), client_of(gate) as client:
        ticket = token_of(await takes_number(client))
        for cookie in ("", f"waitroom-{settings().room}={ticket}"):
            line = Line()
            await gate(socket_scope(cookie=cookie), line.receive, line.send)
            assert line.sent == [{"type": "websocket.close", "code": 1013, "reason": "waiting room"}]
        assert not handler.scopes


async def test_a_websocket_with_a_pass_reaches_the_site_and_keeps_its_lease(
    settings: Make, store_url: str, room: str
) -> None:
    mine = settings(session_seconds=1, sync_seconds=0.05)
    async with gated(handler := Handler(), settings=mine) as gate, client_of(gate) as client:
        token = (await session(client))["pass"]
        before = lease(store_url, room)
        line = Line("hello")
        connection = asyncio.create_task(
            gate(socket_scope(cookie=f"basket=3; waitroom-{room}={token}"), line.receive, line.send)
        )

        async def renewed_twice() -> bool:
            return lease(store_url, room) > before + 1_200_000

        await eventually(renewed_twice)
        line.close()
        await connection
        assert [message["type"] for message in line.sent] == ["websocket.accept", "websocket.send"]
        scope = handler.scopes[-1]
        assert scope["state"]["waitroom"].number == 1
        assert (b"cookie", b"basket=3") in scope["headers"]


async def test_a_websocket_on_an_unprotected_path_is_left_alone(settings: Make, room: str) -> None:
    async with full_house(settings(capacity=1, paths="/shop/*")) as (gate, handler, _):
        line = Line()
        line.close()
        await gate(socket_scope(cookie=f"waitroom-{room}=x; basket=3"), line.receive, line.send)
        assert line.sent == [{"type": "websocket.accept", "subprotocol": None, "headers": []}]
        assert handler.scopes[0]["headers"] == [(b"cookie", b"basket=3")]


@pytest.mark.parametrize("kind", ["carrier-pigeon", "webtransport", "HTTP", ""])
async def test_connections_of_a_kind_that_nobody_knows_do_not_get_through(settings: Make, kind: str) -> None:
    seen: list[str] = []

    async def anything(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async with gated(anything, settings=settings()) as gate:
        with pytest.raises(WaitroomError, match=f"no connections of the type '{kind}'"):
            await gate({"type": kind}, Line().receive, Line().send)
    assert seen == ["lifespan"]


# -- cookies that did not come along -----------------------------------------------------------------


@pytest.mark.parametrize("samesite", ["lax", "strict"])
async def test_p4_another_sites_form_does_not_take_a_visitors_place_away(
    settings: Make, samesite: str
) -> None:
    """The browser sends no cookie with it, but would take the one in the answer."""
    form = HTML | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    mine = settings(capacity=1, cookie_samesite=samesite)
    async with full_house(mine, line=1) as (gate, _, _), client_of(gate) as stranger:
        response = await stranger.post("/paid", headers=form)
        assert page_data(response)["kind"] == "returned"
        assert "set-cookie" not in response.headers
        response = await stranger.post("/paid", headers=form | {"Sec-Fetch-Site": "same-origin"})
        assert page_data(response)["kind"] == "unsent"
        assert isinstance(read(mine, response), Proof)


async def test_another_sites_form_has_a_place_for_as_long_as_its_request_lasts(settings: Make) -> None:
    """P1: it counts, and is out with its answer; the answer goes back as the site gave it."""
    form = HTML | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}
    async with gated(site, settings=settings(capacity=1)) as gate, client_of(gate) as stranger:
        for number in (1, 2):
            response = await stranger.post("/paid", headers=form, content="order=7")
            assert is_inside(response)
            assert (response.json()["body"], response.json()["number"]) == ("order=7", number)
            assert set(response.headers) == {"content-type", "content-length"}
            await gate._gates[0].room.snapshot.reread()
            assert (await window(stranger))["inside"] == 0


async def test_p4_a_release_of_what_another_site_sent_leaves_the_visitors_own_cookie_alone(
    settings: Make,
) -> None:
    """The list of the ended stays empty too: nobody was given the pass."""
    form = HTML | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}
    async with gated(site, settings=settings(capacity=1)) as gate, client_of(gate) as stranger:
        response = await stranger.get("/release", headers=form | {"Sec-Fetch-Dest": "iframe"})
        assert response.text == "goodbye"
        assert "set-cookie" not in response.headers
        snapshot = gate._gates[0].room.snapshot
        await snapshot.reread()
        assert snapshot.window is not None
        assert (snapshot.window.inside, snapshot.ended) == (0, {})


async def test_a_pass_by_header_stays_in_use_for_what_another_site_sends(settings: Make) -> None:
    async with gated(site, settings=settings(capacity=1)) as gate, client_of(gate) as client:
        token = (await session(client))["pass"]
        client.cookies.clear()
        headers = {"Waitroom-Pass": token, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "empty"}
        sessions = {(await client.post("/goods", headers=headers)).json()["session"] for _ in range(2)}
        assert len(sessions) == 1
        assert (await client.get(f"{API}/status", headers=headers)).json()["status"] == "active"


async def test_with_samesite_none_another_sites_form_brings_the_cookie(settings: Make) -> None:
    form = HTML | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    mine = settings(capacity=1, cookie_samesite="none")
    async with full_house(mine, line=1) as (gate, _, _), client_of(gate, "https://shop.test") as stranger:
        response = await stranger.post("/paid", headers=form)
        assert isinstance(read(mine, response), Proof)
        assert "SameSite=None" in response.headers["set-cookie"]


# -- settings --------------------------------------------------------------------------------------


async def test_settings_come_from_the_environment_from_keywords_or_whole(
    store_url: str, room: str, settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAITROOM_ROOM", "from-environment")
    monkeypatch.setenv("WAITROOM_REDIS_URL", store_url)
    monkeypatch.setenv("WAITROOM_SECRET", SECRET)
    for keywords, expected in (
        ({}, "from-environment"),
        ({"room": room}, room),
        ({"settings": settings(room="whole")}, "whole"),
    ):
        async with gated(site, **keywords) as gate, client_of(gate) as client:
            assert (await window(client))["room"] == expected


def test_a_wrong_setting_is_raised_where_no_server_runs_yet() -> None:
    with pytest.raises(SettingsError, match="WAITROOM_CAPACITY='0' is not allowed"):
        WaitingRoomMiddleware(site, capacity=0)


async def test_inside_a_running_server_a_wrong_setting_lets_no_request_through(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Raised there, it would be taken for a site without lifespan, and the site would stand open."""
    handler = Handler()
    gate = WaitingRoomMiddleware(handler, capacity=0)
    async with client_of(gate) as client:
        response = await client.get("/")
        assert response.status_code == 503
        assert response.json()["type"] == "urn:waitroom:not-set-up"
    line = Line()
    await gate(socket_scope(), line.receive, line.send)
    assert line.sent[0]["type"] == "websocket.close"
    assert not handler.scopes
    assert "WAITROOM_CAPACITY='0' is not allowed" in caplog.text


async def test_inside_a_running_server_a_broken_installation_lets_no_request_through(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waitroom.page.pages.SHIPPED", (Path("/nowhere"),))
    handler = Handler()
    gate = WaitingRoomMiddleware(handler, settings=settings())
    async with client_of(gate) as client:
        assert (await client.get("/")).status_code == 503
    assert not handler.scopes


async def test_without_lifespan_the_gate_starts_with_the_first_request(settings: Make) -> None:
    gate = WaitingRoomMiddleware(site, settings=settings())
    async with client_of(gate) as client:
        responses = await asyncio.gather(*(client.get("/") for _ in range(5)))
        assert all(map(is_inside, responses))
    await gate._stop()


async def test_without_lifespan_a_gate_that_cannot_start_lets_nobody_in(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def share(**_: Any) -> None:
        raise WaitroomError("there is no server to embed")

    monkeypatch.setattr("waitroom.room.room.share", share)
    gate = WaitingRoomMiddleware(handler := Handler())
    async with client_of(gate) as client:
        assert (await client.get("/")).json()["type"] == "urn:waitroom:not-set-up"
    assert not handler.scopes
    assert "there is no server to embed" in caplog.text
    await gate._stop()
