"""First visits as HTTP has them: they hold a slot while they are served, and keep nobody out after that (P1, P5)."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from tests.conftest import SECRET
from tests.gates import API, client_of, eventually, gated, is_inside, page_data
from tests.sites import site
from waitroom.config.settings import Settings
from waitroom.line.tickets import Pass, Proof, Ticket, Tokens, new_id
from waitroom.web.first_visits import QUICK_SECONDS

Make = Callable[..., Settings]
BROWSER = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_13) Version/13.1 Safari/605.1.15"


async def window(client: httpx.AsyncClient) -> dict[str, Any]:
    told: dict[str, Any] = (await client.get(f"{API}/window")).json()
    return told


async def inside(client: httpx.AsyncClient, count: int) -> None:
    """Wait until so many are inside."""

    async def is_so() -> bool:
        return bool((await window(client))["inside"] == count)

    assert await eventually(is_so)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_clients_without_cookies_keep_nobody_out(settings: Make, method: str) -> None:
    async with gated(site, settings=settings(capacity=10)) as gate, client_of(gate) as browser:
        for _ in range(60):
            async with client_of(gate) as stranger:
                assert (await stranger.request(method, "/")).status_code == 200
        assert is_inside(await browser.get("/"))


async def test_a_hundred_at_once_are_all_served(settings: Make) -> None:
    async with gated(site, settings=settings()) as gate, client_of(gate) as client:

        async def visit() -> str:
            async with client_of(gate) as stranger:
                while True:  # on a busy machine the store may seem away for a moment
                    response = await stranger.get("/", headers={"Accept": "text/html"})
                    kind = "site" if is_inside(response) else str(page_data(response)["kind"])
                    if kind != "away":
                        return kind
                    await asyncio.sleep(0.1)

        assert set(await asyncio.gather(*(visit() for _ in range(100)))) == {"site"}
        assert is_inside(await client.get("/"))


async def test_a_confirmed_session_is_not_displaced(settings: Make) -> None:
    async with gated(site, settings=settings(capacity=1)) as gate, client_of(gate) as browser:
        mine = (await browser.get("/")).json()["session"]
        assert (await browser.get("/")).json()["session"] == mine
        async with client_of(gate) as stranger:
            assert (await stranger.get("/")).status_code == 503
        assert (await browser.get("/")).json()["session"] == mine


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Dest": "image"},
        {"Accept": "image/avif,image/webp,*/*;q=0.8"},
        {"Accept": "text/css,*/*;q=0.1"},
        {"Accept": "*/*", "User-Agent": BROWSER},
        {"Accept": "*/*", "User-Agent": "MobileSafari/604.1 CFNetwork/1240.0.4 Darwin/20.6.0"},
        {"User-Agent": "kube-probe/1.31"},
        {"User-Agent": "ELB-HealthChecker/2.0"},
        {"User-Agent": "GoogleHC/1.0"},
    ],
)
async def test_parts_of_pages_and_probes_take_no_slot(settings: Make, headers: dict[str, str]) -> None:
    async with gated(site, settings=settings(capacity=2)) as gate, client_of(gate) as client:
        for _ in range(4):
            passed = await client.get("/logo.svg", headers=headers)
            assert is_inside(passed)
            assert passed.json()["number"] is None
            assert "set-cookie" not in passed.headers
        assert (await window(client))["issued"] == 0


@pytest.mark.parametrize("agent", ["curl/8.5.0", "Shop/1 CFNetwork/1240.0.4 Darwin/20.6.0", ""])
async def test_a_program_that_reads_anything_is_a_visitor(settings: Make, agent: str) -> None:
    async with gated(site, settings=settings(capacity=2)) as gate, client_of(gate) as client:
        headers = {"Accept": "*/*", "User-Agent": agent}
        assert (await client.get("/", headers=headers)).json()["number"] == 1


async def test_p1_no_more_parts_run_than_there_are_slots(settings: Make) -> None:
    going, running = asyncio.Event(), 0

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal running
        if scope["type"] != "http":
            return await site(scope, receive, send)
        running += 1
        await going.wait()
        await site(scope, receive, send)
        return None

    async with gated(slow, settings=settings(capacity=3)) as gate, client_of(gate) as client:
        headers = {"Sec-Fetch-Dest": "image"}
        asked = [asyncio.ensure_future(client.get("/a.png", headers=headers)) for _ in range(7)]

        async def are_refused() -> bool:
            return sum(each.done() for each in asked) == 4

        assert await eventually(are_refused)
        assert running == 3
        going.set()
        codes = sorted([(await each).status_code for each in asked])
        assert codes == [200] * 3 + [503] * 4


async def test_p1_a_flash_crowd_of_first_visits_is_never_more_than_the_capacity(settings: Make) -> None:
    now, most = 0, 0

    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal now, most
        if scope["type"] != "http":
            return await site(scope, receive, send)
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        await site(scope, receive, send)
        return None

    async with (
        gated(busy, settings=settings(capacity=20, window_size=200)) as gate,
        client_of(gate) as client,
    ):

        async def visit() -> int:
            async with client_of(gate) as stranger:
                return (await stranger.get("/")).status_code

        codes = await asyncio.gather(*(visit() for _ in range(300)))
        assert set(codes) <= {200, 503}
        assert 0 < most <= 20
        assert (await window(client))["inside"] <= 20


async def answering(scope: Scope, receive: Receive, send: Send) -> None:
    """A site that answers as its path says."""
    path = scope["path"]
    if path == "/broken":
        raise RuntimeError("broken")
    headers = []
    if path.startswith("/to/"):
        where = dict(scope["headers"])[b"x-where"]
        headers = [(b"cache-control", b"no-store"), *([(b"location", where)] if where else [])]
    status = 308 if headers else 200
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def test_an_exception_gives_the_slot_back_at_once(settings: Make) -> None:
    shop = settings(capacity=1, first_lease_seconds=60)
    async with gated(answering, settings=shop) as gate, client_of(gate) as client:
        for _ in range(3):
            with pytest.raises(RuntimeError):
                await client.get("/broken")
        await inside(client, 0)


@pytest.mark.parametrize(
    ("where", "is_kept"),
    [
        ("https://testserver/to/a", False),
        ("https://www.example.com/to/a", False),
        ("//www.example.com/to/%61?q=1", False),
        ("http://testserver/to/a", True),
        ("/to/b", True),
        ("https://www.example.com/elsewhere", True),
        ("http://[", True),
        ("", True),
    ],
)
async def test_a_redirect_to_another_origin_takes_no_slot(settings: Make, where: str, is_kept: bool) -> None:
    shop = settings(capacity=1, first_lease_seconds=60)
    async with gated(answering, settings=shop) as gate, client_of(gate) as client:
        headers = {"x-where": where, "host": "testserver"}
        response = await client.get("/to/a", headers=headers, follow_redirects=False)
        assert ("set-cookie" in response.headers) == is_kept
        await inside(client, int(is_kept))


async def test_a_client_that_is_gone_before_the_answer_gives_its_slot_back(settings: Make) -> None:
    async def patient(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await site(scope, receive, send)
        while (await receive())["type"] != "http.disconnect":
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return None

    shop = settings(capacity=1, first_lease_seconds=60)
    async with gated(patient, settings=shop) as gate, client_of(gate) as client:
        messages: list[Message] = [{"type": "http.request", "body": b""}, {"type": "http.disconnect"}]

        async def receive() -> Message:
            return messages.pop(0)

        async def send(message: Message) -> None: ...

        scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "headers": [],
            "scheme": "http",
        }
        await gate(scope, receive, send)
        await inside(client, 0)


SCOPE: dict[str, Any] = {"type": "http", "method": "POST", "path": "/", "headers": [], "scheme": "http"}
SLOW = QUICK_SECONDS * 1.5


async def test_a_client_that_is_gone_is_noticed_where_the_site_never_looks(settings: Make) -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await site(scope, receive, send)
        await asyncio.sleep(SLOW)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return None

    shop = settings(capacity=3, first_lease_seconds=60)
    async with gated(slow, settings=shop) as gate, client_of(gate) as client:

        async def gone() -> Message:
            return {"type": "http.disconnect"}

        async def still_there() -> Message:
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None: ...

        await gate(dict(SCOPE), gone, send)
        await inside(client, 0)
        await gate(dict(SCOPE), still_there, send)
        await inside(client, 1)


async def test_what_comes_while_a_client_is_looked_for_is_the_sites_all_the_same(settings: Make) -> None:
    """The site begins its response before it reads the request; a second time it reads all the while."""
    heard: list[bytes] = []

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await site(scope, receive, send)
        reads_at_once = asyncio.ensure_future(receive()) if scope["path"] == "/reads" else None
        await asyncio.sleep(SLOW)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        heard.append((await (reads_at_once or receive()))["body"])
        await send({"type": "http.response.body", "body": b""})
        return None

    async with gated(late, settings=settings(capacity=3)) as gate:
        for path in ("/", "/reads"):
            coming = asyncio.Queue[Message]()
            asked = 0

            async def receive(coming: asyncio.Queue[Message] = coming) -> Message:
                nonlocal asked
                asked += 1
                return await coming.get()

            async def send(message: Message, coming: asyncio.Queue[Message] = coming) -> None:
                if message.get("more_body"):
                    coming.put_nowait({"type": "http.request", "body": b"it", "more_body": False})

            await gate({**SCOPE, "path": path}, receive, send)
            assert asked == 1
    assert heard == [b"it", b"it"]


async def test_a_script_of_the_site_without_cookies_holds_a_slot_for_its_request_alone(
    settings: Make,
) -> None:
    shop = settings(capacity=1, first_lease_seconds=60)
    headers = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "empty"}
    async with gated(site, settings=shop) as gate, client_of(gate) as client:
        response = await client.get("/api", headers=headers)
        assert is_inside(response)
        assert "set-cookie" in response.headers
        await inside(client, 0)
        again = await client.get("/api", headers=headers)
        assert again.json()["session"] == response.json()["session"]


@pytest.mark.parametrize("join", [False, True])
async def test_p5_tabs_that_join_with_one_proof_have_one_number(settings: Make, join: bool) -> None:
    shop = settings(capacity=1)
    async with gated(site, settings=shop) as gate, client_of(gate) as guest:
        for _ in range(2):
            await guest.get("/")
        now = gate._gates[0].room.snapshot.now()
        proof = Tokens([SECRET], shop.room).sign(Proof(new_id(), now))
        cookies = {f"waitroom-{shop.room}": proof}

        async def tab(number: int) -> None:
            async with client_of(gate, cookies=cookies) as other:
                if join or number % 2:
                    joined = await other.post(f"{API}/join")
                    assert joined.status_code == 201
                    assert joined.json()["number"] == 2
                else:
                    assert (await other.get("/")).status_code == 503

        await asyncio.gather(*(tab(number) for number in range(5)))
        await tab(1)
        assert (await window(guest))["issued"] == 2


@pytest.mark.parametrize("capacity", [1, 5])
async def test_p5_a_proof_has_one_number_in_all_processes(settings: Make, capacity: int) -> None:
    """Also where it is called at once; a page and a join mean the same number."""
    shop = settings(capacity=capacity)
    async with (
        gated(site, settings=shop) as one,
        gated(site, settings=shop) as other,
        client_of(one) as guest,
    ):
        for _ in range(2):
            await guest.get("/")
        proof = Tokens([SECRET], shop.room).sign(Proof(new_id(), one._gates[0].room.snapshot.now()))
        cookies = {f"waitroom-{shop.room}": proof}
        seen = set()
        for gate in (one, other, one, other):
            async with client_of(gate, cookies=cookies) as tab:
                held = Tokens([SECRET], shop.room).read(page_cookie(await tab.get("/")))
                assert isinstance(held, Pass | Ticket)
                seen.add((type(held), held.number, held.id))
                joined = (await tab.post(f"{API}/join")).json()
                assert joined["number"] == held.number
        assert [(kind, number) for kind, number, _ in seen] == [(Ticket if capacity == 1 else Pass, 2)]
        told = await window(guest)
        assert (told["issued"], told["inside"]) == (2, min(capacity, 2))


async def test_p5_and_whose_turn_came_meanwhile_is_inside(settings: Make) -> None:
    shop = settings(capacity=1)
    async with gated(site, settings=shop) as gate, client_of(gate) as guest:
        await window(guest)
        now = gate._gates[0].room.snapshot.now()
        proof = Tokens([SECRET], shop.room).sign(Proof(new_id(), now))
        async with client_of(gate, cookies={f"waitroom-{shop.room}": proof}) as page:
            entered = Tokens([SECRET], shop.room).read(page_cookie(await page.get("/")))
            assert isinstance(entered, Pass)
        async with client_of(gate, cookies={f"waitroom-{shop.room}": proof}) as script:
            joined = await script.post(f"{API}/join")
            assert joined.json()["status"] == "active"
            assert joined.json()["number"] == entered.number


def page_cookie(response: httpx.Response) -> str:
    return response.headers["set-cookie"].partition("=")[2].partition(";")[0]
