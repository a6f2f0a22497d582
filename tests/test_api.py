"""The routes below the prefix, for browsers and for clients with a token alike."""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from starlette.types import Message, Receive, Scope, Send

from tests import stores
from tests.conftest import SECRET
from tests.gates import API, bearer, client_of, eventually, gated, is_inside, session, takes_number
from tests.sites import site
from waitroom.config.settings import Settings, load
from waitroom.line.tickets import Pass, Proof, Ticket, Tokens, new_id
from waitroom.web.answers.answer import answer, json_answer, problem, public_headers
from waitroom.web.middleware import WaitingRoomMiddleware

Make = Callable[..., Settings]


pytestmark = pytest.mark.usefixtures("patience")


ASKING = ("cmdstat_info", "cmdstat_client|setinfo", "cmdstat_hello")
PLACE = {"room", "status", "number", "ahead", "eta_seconds", "poll_after"}


def told(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/json"
    fields: dict[str, Any] = response.json()
    return fields


def problem_of(response: httpx.Response) -> str:
    assert response.headers["content-type"] == "application/problem+json"
    fields = response.json()
    assert fields["status"] == response.status_code
    kind: str = fields["type"]
    return kind.removeprefix("urn:waitroom:")


async def test_a_life_with_a_token_alone(settings: Make) -> None:
    """Join, poll, get in, be renewed, leave: an app that keeps its token needs no cookies for any of it."""
    mine = settings(capacity=1, session_seconds=2)
    async with gated(site, settings=mine) as gate, client_of(gate) as app, client_of(gate) as guest:
        await session(guest)
        joined = await app.post(f"{API}/join")
        app.cookies.clear()
        assert joined.status_code == 201
        fields = told(joined)
        assert fields.keys() == PLACE | {"ticket"}
        assert (fields["number"], fields["status"], fields["ahead"]) == (2, "waiting", 0)
        assert fields["room"] == mine.room
        ticket = bearer(fields["ticket"])
        polled = await app.get(f"{API}/status", headers=ticket)
        assert polled.status_code == 200
        assert told(polled).keys() == PLACE
        assert polled.headers["retry-after"] == str(told(polled)["poll_after"])
        assert abs(int(polled.headers["waitroom-at"]) / 1000 - time.time()) < 60
        assert "set-cookie" not in polled.headers
        assert not is_inside(await app.get("/", headers=ticket))
        app.cookies.clear()
        assert (await guest.delete(f"{API}/ticket")).status_code == 204

        async def called() -> dict[str, Any] | None:
            fields = told(await app.get(f"{API}/status", headers=ticket))
            app.cookies.clear()
            return fields if fields["status"] == "active" else None

        active = await eventually(called)
        assert active.keys() == PLACE | {"pass", "expires_in"}
        assert (active["number"], active["ahead"], active["eta_seconds"]) == (2, 0, None)
        assert 0 <= active["expires_in"] <= 2
        token = active["pass"]
        assert is_inside(await app.get("/", headers=bearer(token)))
        assert is_inside(await app.get("/", headers={"Waitroom-Pass": token, "Authorization": "Basic own"}))
        app.cookies.clear()

        async def renewed() -> str | None:
            response = await app.get("/", headers={"Waitroom-Pass": token})
            app.cookies.clear()
            assert is_inside(response), "P6"
            found: str | None = response.headers.get("waitroom-pass")
            return found

        later = await eventually(renewed)
        assert later != token
        assert is_inside(await app.get("/", headers=bearer(later)))
        assert (await app.delete(f"{API}/ticket", headers=bearer(later))).status_code == 204
        app.cookies.clear()
        for over in (token, later):
            assert told(await app.get(f"{API}/status", headers=bearer(over)))["status"] == "expired"
        assert told(await app.get(f"{API}/status", headers=ticket))["status"] == "expired", "P5"
        assert (await app.delete(f"{API}/ticket", headers=bearer(later))).status_code == 204, "harmless"


async def test_p5_claiming_again_finds_the_same_session(settings: Make) -> None:
    async with gated(site, settings=settings()) as gate, client_of(gate) as client:
        ticket = bearer(told(await client.post(f"{API}/join"))["ticket"])
        seen = set()
        for _ in range(3):
            client.cookies.clear()
            fields = told(await client.get(f"{API}/status", headers=ticket))
            entered = Tokens([SECRET], settings().room).read(fields["pass"])
            assert isinstance(entered, Pass)
            seen.add(entered.id)
        assert len(seen) == 1
        assert told(await client.get(f"{API}/window"))["inside"] == 1


async def test_who_joins_again_gets_itself_back(settings: Make) -> None:
    """P4: a valid ticket or pass is not exchanged for a worse one."""
    async with gated(site, settings=settings(capacity=1)) as gate, client_of(gate) as client:
        first = await client.post(f"{API}/join")
        again = await client.post(f"{API}/join")
        assert (first.status_code, again.status_code) == (201, 200)
        assert told(again)["ticket"] == told(first)["ticket"]
        assert "set-cookie" not in again.headers
        token = told(await client.get(f"{API}/status"))["pass"]
        inside = await client.post(f"{API}/join")
        assert inside.status_code == 200
        assert told(inside)["pass"] == token
        assert "ticket" not in told(inside)
        async with client_of(gate) as other:
            waits = told(await other.post(f"{API}/join"))
            assert waits["status"] == "waiting"
            back = await other.post(f"{API}/join")
            assert (back.status_code, told(back)["number"]) == (200, waits["number"])
            assert told(await other.get(f"{API}/window"))["issued"] == 2


async def test_p4_a_form_of_another_site_takes_no_number(settings: Make) -> None:
    """It comes without the visitor's cookie: its number would replace theirs, and use up what they may take."""
    form = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}
    async with gated(site, settings=settings()) as gate, client_of(gate) as visitor:
        refused = await visitor.post(f"{API}/join", headers=form)
        assert (refused.status_code, refused.json()["type"]) == (403, "urn:waitroom:another-site")
        assert "set-cookie" not in refused.headers
        joined = told(await visitor.post(f"{API}/join"))
        assert joined["number"] == 1
        again = await visitor.post(f"{API}/join", headers=form | bearer(joined["ticket"]))
        assert (again.status_code, again.json()["number"]) == (200, 1)


async def test_who_joins_with_what_is_over_gets_a_new_number(settings: Make) -> None:
    mine = settings()
    async with gated(site, settings=mine) as gate, client_of(gate) as client:
        ticket = told(await client.post(f"{API}/join"))["ticket"]
        token = told(await client.get(f"{API}/status"))["pass"]
        await client.delete(f"{API}/ticket")
        proof = Tokens([SECRET], mine.room).sign(Proof(new_id(), 1))
        for number, over in enumerate((ticket, token, proof, "rubbish"), 2):
            joined = await client.post(f"{API}/join", headers=bearer(over))
            assert (joined.status_code, told(joined)["number"]) == (201, number)
            client.cookies.clear()


async def test_a_browser_needs_no_token_at_all(settings: Make) -> None:
    async with gated(site, settings=settings(capacity=1)) as gate, client_of(gate) as client:
        assert "set-cookie" in (await client.post(f"{API}/join")).headers
        assert "set-cookie" in (await client.get(f"{API}/status")).headers
        assert is_inside(await client.get("/"))
        left = await client.delete(f"{API}/ticket")
        assert (left.status_code, left.content) == (204, b"")
        assert "content-type" not in left.headers
        assert not client.cookies
        assert told(await client.get(f"{API}/window"))["inside"] == 0


async def test_leaving_while_waiting_frees_no_slot_and_is_no_longer_counted(settings: Make) -> None:
    async with gated(site, settings=settings(capacity=1)) as gate, client_of(gate) as guest:
        await session(guest)
        async with client_of(gate) as client:
            await takes_number(client)
            assert (await client.delete(f"{API}/ticket")).status_code == 204
            assert not client.cookies
        fields = told(await guest.get(f"{API}/window"))
        assert (fields["inside"], fields["issued"], fields["waiting"]) == (1, 2, 0)


async def test_who_has_nothing_leaves_as_well(settings: Make) -> None:
    async with gated(site, settings=settings()) as gate, client_of(gate) as client:
        proof = Tokens([SECRET], settings().room).sign(Proof(new_id(), 1))
        for headers in ({}, bearer("rubbish"), bearer(proof)):
            assert (await client.delete(f"{API}/ticket", headers=headers)).status_code == 204


async def test_status_needs_a_ticket_or_a_pass(settings: Make) -> None:
    """P8: what was not signed here is as nothing."""
    tokens = Tokens([SECRET], settings().room)
    ticket = Ticket(1, "0000000000000001-abcdef", 1, new_id(), 1, 0)
    bad = [
        {},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        bearer(""),
        bearer("ti.1.2.3.4"),
        bearer("x" * 70_000),
        bearer(tokens.sign(Proof(new_id(), 1))),
        bearer(Tokens([SECRET], "elsewhere").sign(ticket)),
        {"Waitroom-Pass": "\xff\xfe"},
    ]
    async with gated(site, settings=settings()) as gate, client_of(gate) as client:
        for headers in bad:
            encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
            response = await client.get(f"{API}/status", headers=encoded)
            assert response.status_code == 401
            assert problem_of(response) == "no-ticket"
            assert response.headers["www-authenticate"] == 'Bearer realm="waitroom"'


async def test_a_room_may_be_named_and_an_unknown_one_is_not_there(settings: Make) -> None:
    async with gated(site, settings=settings()) as gate, client_of(gate) as client:
        for method, route in (("POST", "join"), ("GET", "status"), ("GET", "window"), ("DELETE", "ticket")):
            named = await client.request(method, f"{API}/{route}?room={settings().room}")
            assert named.status_code in (200, 201, 204)
            for query in (
                "room=elsewhere",
                "room=",
                f"room={settings().room}&room=x",
                "room=%ff%fe",
                "room=%00",
            ):
                unknown = await client.request(method, f"{API}/{route}?{query}")
                assert unknown.status_code == 404
                assert problem_of(unknown) == "no-such-room"
        assert told(await client.get(f"{API}/window"))["issued"] == 1


async def test_unknown_routes_and_methods_are_told(settings: Make) -> None:
    async with gated(site, settings=settings()) as gate, client_of(gate) as client:
        for route in ("", "nothing", "join/", "JOIN", "admin/pause", "metrics", "%ff"):
            response = await client.send(
                httpx.Request("GET", httpx.URL("http://shop.test", path=f"{API}/{route}"))
            )
            assert response.status_code == 404, route
            assert problem_of(response) == "no-such-route"
        for method, route, allow in (
            ("GET", "join", "POST"),
            ("POST", "status", "GET, HEAD"),
            ("OPTIONS", "ticket", "DELETE"),
            ("BREW", "window", "GET, HEAD"),
        ):
            response = await client.request(method, f"{API}/{route}")
            assert response.status_code == 405
            assert problem_of(response) == "no-such-method"
            assert response.headers["allow"] == allow
        assert (await client.head(f"{API}/window")).status_code == 200


async def test_window_is_the_same_for_all_and_free_of_cookies(settings: Make) -> None:
    async with gated(site, settings=settings(capacity=1, window_size=3)) as gate, client_of(gate) as client:
        assert told(await client.get(f"{API}/window"))["state"] == "open"
        await session(client)
        async with client_of(gate) as other:
            await takes_number(other)
            response = await other.get(f"{API}/window")
            assert response.content == (await client.get(f"{API}/window")).content
        assert response.headers["cache-control"] == "public, max-age=1"
        assert "vary" not in response.headers
        assert "set-cookie" not in response.headers
        fields = told(response)
        assert fields.pop("epoch")
        assert abs(fields.pop("at") / 1000 - time.time()) < 60
        assert fields == {
            "room": settings().room,
            "state": "queueing",
            "issued": 2,
            "called": 1,
            "floor": 0,
            "waiting": 1,
            "door": 0,
            "left": [],
            "inside": 1,
            "capacity": 1,
            "rate_per_minute": None,
            "backlog": 0,
            "poll_after": 1,
        }


def calls(url: str) -> dict[str, int]:
    """How often the store has run each command, but for those of who asks."""
    with redis.Redis.from_url(url) as client:
        stats: dict[str, dict[str, int]] = client.info("commandstats")
    return {name: of["calls"] for name, of in stats.items() if name not in ASKING}


async def test_p7_polls_of_those_who_wait_cost_the_store_nothing(tmp_path: Path) -> None:
    with stores.valkey(tmp_path) as url:
        mine = load(redis_url=url, secret=SECRET, capacity=1, sync_seconds=60)
        async with gated(site, settings=mine) as gate, client_of(gate) as guest, client_of(gate) as client:
            await session(guest)
            await takes_number(client)
            before = calls(url)
            for _ in range(50):
                assert told(await client.get(f"{API}/status"))["status"] == "waiting"
                assert told(await client.get(f"{API}/window"))["waiting"] == 1
                assert (await client.get("/")).status_code == 503
                assert is_inside(await guest.get("/"))
                assert told(await client.post(f"{API}/join"))["number"] == 2
            assert calls(url) == before


async def test_probes(settings: Make) -> None:
    async with gated(site, settings=settings()) as gate, client_of(gate) as client:
        for route, text in (("livez", "alive\n"), ("readyz", "ready\n")):
            response = await client.get(f"{API}/{route}")
            assert (response.status_code, response.text) == (200, text)
            assert response.headers["content-type"] == "text/plain; charset=utf-8"
            assert "set-cookie" not in response.headers


async def test_before_the_first_contact_with_the_store(tmp_path: Path) -> None:
    """Everything is told as it is, and nothing is a 500."""
    mine = load(redis_url=f"unix://{tmp_path}/nobody", secret=SECRET)
    tokens = Tokens([SECRET], mine.room)
    ticket = bearer(tokens.sign(Ticket(1, "0000000000000001-abcdef", 1, new_id(), 1, 0)))
    stale = bearer(tokens.sign(Pass(1, "0000000000000001-abcdef", 1, new_id(), 1, 2, 1, 0)))
    async with gated(site, settings=mine) as gate, client_of(gate) as client:
        ready = await client.get(f"{API}/readyz")
        assert (ready.status_code, ready.text) == (503, "not ready: the store has not been reached yet\n")
        assert (await client.get(f"{API}/livez")).status_code == 200
        for method, route, headers in (
            ("POST", "join", {}),
            ("POST", "join", ticket),
            ("GET", "status", ticket),
            ("GET", "status", stale),
            ("DELETE", "ticket", ticket),
            ("GET", "window", {}),
        ):
            client.cookies.clear()  # the proof of having been here is worth more than a pass that is over
            response = await client.request(method, f"{API}/{route}", headers=headers)
            assert response.status_code == 503, route
            assert problem_of(response) == "store-away"
            assert 4 <= int(response.headers["retry-after"]) <= 6


@asynccontextmanager
async def two_gates(settings: Settings) -> AsyncIterator[tuple[WaitingRoomMiddleware, WaitingRoomMiddleware]]:
    """As if two processes served the one site."""
    async with gated(site, settings=settings) as one, gated(site, settings=settings) as two:
        yield one, two


async def test_p1_a_copy_of_a_pass_is_dead_within_a_sync_of_leaving(settings: Make) -> None:
    """Two processes on one store; the copy is used at the one, the visitor leaves at the other."""
    mine = settings(sync_seconds=0.05)
    async with two_gates(mine) as (one, two), client_of(one) as here, client_of(two) as there:
        token = (await session(here))["pass"]
        assert is_inside(await there.get("/", headers=bearer(token)))
        assert (await here.delete(f"{API}/ticket")).status_code == 204
        there.cookies.clear()

        async def refused() -> bool:
            response = await there.get(f"{API}/status", headers=bearer(token))
            return bool(told(response)["status"] == "expired")

        await eventually(refused)
        assert told(await there.get(f"{API}/window"))["inside"] == 0
        assert told(await here.get(f"{API}/status", headers=bearer(token)))["status"] == "expired"


async def test_a_ticket_is_given_up_where_this_process_has_not_heard_yet_that_it_was_claimed(
    settings: Make,
) -> None:
    """Leaving frees the slot, however old the view of the process that hears of it."""
    mine = settings(capacity=1, sync_seconds=60)
    async with (
        two_gates(mine) as (one, two),
        client_of(one) as here,
        client_of(two) as there,
        client_of(one) as guest,
    ):
        await session(guest)
        ticket = bearer(told(await here.post(f"{API}/join"))["ticket"])
        assert told(await there.get(f"{API}/status", headers=ticket))["status"] == "waiting"
        await guest.delete(f"{API}/ticket")
        assert told(await here.get(f"{API}/status", headers=ticket))["status"] == "active"
        assert told(await there.get(f"{API}/status", headers=ticket))["status"] == "waiting", "old view"
        assert (await there.delete(f"{API}/ticket", headers=ticket)).status_code == 204
        assert told(await there.get(f"{API}/window"))["inside"] == 0


# -- what all answers have in common -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "media_type"),
    [
        (json_answer(200, {"a": 1}), b"application/json"),
        (problem(404, "x", "X"), b"application/problem+json"),
        (answer(200, b"x", b"text/html"), b"text/html"),
    ],
)
def test_every_answer_has_the_gates_headers_once(response: Any, media_type: bytes) -> None:
    names = [name for name, _ in response.headers]
    assert len(set(names)) == len(names)
    assert dict(response.headers)[b"content-type"] == media_type
    assert {b"cache-control", b"vary", b"x-robots-tag", b"content-security-policy"} <= set(names)


def test_what_is_the_same_for_everyone_may_be_kept() -> None:
    headers = dict(answer(200, b"", b"text/html", common=public_headers(60)).headers)
    assert headers[b"cache-control"] == b"public, max-age=60"
    assert b"vary" not in headers
    assert {b"x-robots-tag", b"content-security-policy"} <= set(headers)


async def test_what_is_added_to_one_answer_is_in_no_other(settings: Make) -> None:
    """Middleware around the gate may add a visitor's cookie to the list of headers itself."""

    async def adding(scope: Scope, receive: Receive, send: Send) -> None:
        async def added(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"set-cookie", b"theirs=1"))
            await send(message)

        await gate(scope, receive, added)

    async with gated(site, settings=settings()) as gate, client_of(adding) as client:
        for _ in range(3):
            response = await client.get(f"{API}/window")
            assert response.headers.get_list("set-cookie") == ["theirs=1"]


def test_a_problem_has_a_stable_type() -> None:
    assert json.loads(bytes(problem(404, "no-such-room", "There is no such room.").body)) == {
        "type": "urn:waitroom:no-such-room",
        "title": "There is no such room.",
        "status": 404,
    }


async def test_one_at_the_door_waits_with_nobody_ahead(settings: Make) -> None:
    """Whichever route is asked: the turn was missed, the next free place is this ticket's."""
    mine = settings(capacity=1, claim_seconds=0.1, sync_seconds=0.05)
    async with gated(site, settings=mine) as gate, client_of(gate) as late, client_of(gate) as guest:
        ticket = bearer((await late.post(f"{API}/join")).json()["ticket"])
        late.cookies.clear()
        await guest.post(f"{API}/join")

        async def entered() -> bool:
            return bool(told(await guest.get(f"{API}/status"))["status"] == "active")

        await eventually(entered)
        for method, route in (("GET", "status"), ("POST", "join"), ("GET", "status")):
            fields = told(await late.request(method, f"{API}/{route}", headers=ticket))
            assert (fields["status"], fields["number"], fields["ahead"]) == ("waiting", 1, 0)
        await guest.delete(f"{API}/ticket")
        assert told(await late.get(f"{API}/status", headers=ticket))["status"] == "active"


async def test_p4_a_page_that_presents_its_ticket_gets_its_cookie_again(settings: Make) -> None:
    """Only one of this very site, and only where the cookie is gone; programs keep what they have themselves."""
    async with gated(site, settings=settings(capacity=1)) as gate, client_of(gate) as guest:
        await session(guest)
        async with client_of(gate) as client:
            fields = told(await client.post(f"{API}/join"))
            mine, kept = {"Waitroom-Pass": fields["ticket"]}, dict(client.cookies)
        for headers, cookies, heals in (
            (mine, {}, True),
            (mine | {"Sec-Fetch-Site": "same-origin"}, {}, True),
            (mine | {"Sec-Fetch-Site": "same-origin"}, {"other": "1"}, True),
            (mine | {"Sec-Fetch-Site": "cross-site"}, {}, False),
            (mine, kept, False),
            (bearer(fields["ticket"]), {}, False),
            ({}, kept, False),
        ):
            async with client_of(gate, cookies=cookies) as client:
                asked = await client.get(f"{API}/status", headers=headers)
                assert (told(asked)["number"], "set-cookie" in asked.headers) == (2, heals), headers
                if heals:
                    assert told(await client.get(f"{API}/status"))["number"] == 2


async def test_who_has_no_ticket_is_told_whether_a_cookie_came(settings: Make) -> None:
    """By it the first page knows a browser that sends no cookies back from a copy that somebody keeps."""
    async with gated(site, settings=settings()) as gate, client_of(gate) as client:
        proof = Tokens([SECRET], settings().room).sign(Proof(new_id(), 1))
        for token, is_carried in (("", False), (proof, True)):
            client.cookies.clear()
            cookie = {"Cookie": f"waitroom-{settings().room}={token}"} if token else {}
            unknown = await client.get(f"{API}/status", headers=cookie)
            assert (problem_of(unknown), unknown.json()["cookie"]) == ("no-ticket", is_carried)
            assert abs(int(unknown.headers["waitroom-at"]) / 1000 - time.time()) < 60
