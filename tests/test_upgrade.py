"""A rolling deploy: two versions on one store, and visitors who meet now the one, now the other.

The newer version is a copy of this tree with what a newer one may bring: another field at the end of ticket
and pass, fields and a key more in the store, a field more in the answers.
"""

import asyncio
import itertools
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, expect
from redis.asyncio import Redis

from tests import gates
from tests.conftest import SECRET
from tests.gates import (
    API,
    Server,
    bearer,
    client_of,
    eventually,
    free_port,
    gated,
    is_inside,
    page_data,
    session,
    started,
    takes_number,
)
from tests.listening import listening
from tests.packaged import ROOT
from tests.recording import END, NAMES, ROOM, SECOND, Clock, put_back, settings_of
from tests.recording import SECRET as RECORDED_SECRET
from tests.sites import site
from waitroom import __version__
from waitroom.config.settings import Settings
from waitroom.line.tickets import Pass, Ticket, Tokens
from waitroom.store.transitions import KEYS, Store

Make = Callable[..., Settings]

ADDED = {
    "waitroom/__init__.py": [(f'__version__ = "{__version__}"', '__version__ = "99.0.0"')],
    "waitroom/line/tickets.py": [
        ('the page says so."""\n', 'the page says so."""\n    mood: int = 7\n'),
        ('that of the number."""\n', 'that of the number."""\n    mood: int = 7\n'),
    ],
    # Behind all that there are, as a newer version adds its own.
    "waitroom/store/transitions.py": [(f'    "{KEYS[-1]}",\n', f'    "{KEYS[-1]}",\n    "moods",\n')],
    "waitroom/store/scripts/slide.lua": [
        (
            "local function slide()\n",
            "local function slide()\n"
            "  redis.call('HINCRBY', STATE, 'slides', 1)\n"
            f"  redis.call('SADD', KEYS[{len(KEYS) + 1}], 'calm')\n",
        )
    ],
    "waitroom/web/routes/api.py": [
        ('            "state": "away"', '            "mood": "calm",\n            "state": "away"'),
        ('"ahead": {place.ahead}, ', '"mood": "calm", "ahead": {place.ahead}, '),
    ],
}
FIELDS_ADDED = 1


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of a newer version."""
    tree = tmp_path_factory.mktemp("newer")
    for part in ("waitroom", "templates", "demo_app"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name, changes in ADDED.items():
        text = (tree / name).read_text("utf-8")
        for before, after in changes:
            assert text.count(before) == 1, f"{name}: {before}"
            text = text.replace(before, after)
        (tree / name).write_text(text, "utf-8")
    return tree


@contextmanager
def version(tree: Path, **settings: Any) -> Iterator[Server]:
    """Run the version in `tree` in front of the tests' site."""
    port = free_port()
    # Coverage is of this tree alone.
    python = ["env", "-u", "COVERAGE_PROCESS_START", "-u", "COVERAGE_PROCESS_CONFIG", sys.executable]
    environment = {f"WAITROOM_{name.upper()}": str(value) for name, value in settings.items()}
    environment["PYTHONPATH"] = os.pathsep.join((str(tree), str(ROOT)))
    command = [*python, "-P", "-m", "waitroom", "run", "tests.sites:site", "--port", str(port)]
    with started(command, environment, port, cwd=tree) as server:
        yield server


@dataclass(frozen=True)
class Two:
    """Two versions side by side, and a room of the test's own with a place for one."""

    servers: tuple[Server, Server]
    clients: tuple[httpx.Client, httpx.Client]
    """Without cookies."""
    room: str
    path: str
    """Below it is what the room protects."""

    def join(self, at: int) -> dict[str, Any]:
        client = self.clients[at]
        told: dict[str, Any] = gates.join(client, params={"room": self.room}).json()
        client.cookies.clear()
        return told

    def status(self, at: int, token: str) -> dict[str, Any]:
        client = self.clients[at]
        told: dict[str, Any] = gates.status(client, params={"room": self.room}, headers=bearer(token)).json()
        client.cookies.clear()
        return told

    def leave(self, at: int, token: str) -> None:
        gone = self.clients[at].delete(f"{API}/ticket", params={"room": self.room}, headers=bearer(token))
        assert gone.status_code == 204


ROOMS = ("program", "cookie", "page")


@pytest.fixture(scope="module", params=["older first", "newer first"])
def servers(
    request: pytest.FixtureRequest, newer: Path, store_url: str
) -> Iterator[tuple[str, tuple[Server, Server]]]:
    """Both versions on one store, with a room for each test; and what their names end with."""
    order = request.param.split()[0]
    settings: dict[str, Any] = {"redis_url": store_url, "secret": SECRET, "room": f"upgrade-{order}"}
    settings |= {"capacity": 1, "sync_seconds": 0.1, "session_seconds": 4, "first_lease_seconds": 4}
    settings |= {f"rooms__{name}{order}__paths": f"/{name}/*" for name in ROOMS}
    trees = [ROOT, newer] if order == "older" else [newer, ROOT]
    with ExitStack() as stack:
        first, second = (stack.enter_context(version(tree, **settings)) for tree in trees)
        yield order, (first, second)


@pytest.fixture
def two(servers: tuple[str, tuple[Server, Server]], request: pytest.FixtureRequest) -> Iterator[Two]:
    order, (first, second) = servers
    (name,) = (name for name in ROOMS if name in request.function.__name__)
    with (
        httpx.Client(base_url=first.url, timeout=30) as one,
        httpx.Client(base_url=second.url, timeout=30) as other,
    ):
        yield Two((first, second), (one, other), f"{name}{order}", f"/{name}/")


def fields_of(token: str) -> int:
    return token.count(".")


async def until(look: Callable[[], Any]) -> Any:
    async def asked() -> Any:
        return look()

    return await eventually(asked)


async def test_a_program_keeps_its_number_and_its_turn(two: Two, store_url: str) -> None:
    """P3 to P5: ticket and pass are the same thing to both versions."""
    holder, ticket, last = (two.join(0) for _ in range(3))
    assert (holder["number"], ticket["number"], last["number"]) == (1, 2, 3)
    entered = two.status(1, holder["ticket"])
    assert entered["status"] == "active"
    again_entered = two.status(0, holder["ticket"])
    assert abs(fields_of(entered["pass"]) - fields_of(again_entered["pass"])) == FIELDS_ADDED
    for at, client in enumerate(two.clients):
        assert is_inside(client.get(two.path, headers=bearer(entered["pass"])))
        told = two.status(at, ticket["ticket"])
        assert (told["status"], told["number"]) == ("waiting", 2)
        again = client.post(f"{API}/join", params={"room": two.room}, headers=bearer(ticket["ticket"]))
        assert (again.status_code, again.json()["number"]) == (200, 2)
        client.cookies.clear()
    two.leave(0, entered["pass"])
    for at in (1, 0):
        await until(lambda: two.status(at, ticket["ticket"])["status"] == "active")  # noqa: B023
        client = two.clients[at]
        await until(lambda: not is_inside(client.get(two.path, headers=bearer(entered["pass"]))))  # noqa: B023
    assert two.status(1, last["ticket"])["status"] == "waiting"
    async with Redis.from_url(store_url, decode_responses=True) as store:
        state = f"waitroom:{{{two.room}}}:state"
        assert await store.hexists(state, "slides"), "the newer version was not asked"
        assert " 3 " in str(await store.hget(state, "epochs"))


async def test_a_cookie_is_good_for_both(two: Two) -> None:
    """P4 and P6: one visitor meets the versions in turn, and each of them renews the pass."""
    holder = two.join(0)
    assert two.status(1, holder["ticket"])["status"] == "active"
    turn = itertools.cycle(two.servers)
    with httpx.Client(timeout=gates.DEADLINE_SECONDS) as browser:

        def visit() -> httpx.Response:
            return browser.get(next(turn).url + two.path)

        visit()
        assert [page_data(visit())["number"] for _ in range(4)] == [2] * 4
        two.leave(1, holder["ticket"])
        await until(lambda: is_inside(visit()))
        renewers: set[int] = set()

        def is_renewed_by_both() -> bool:
            response = visit()
            assert is_inside(response)
            renewers.update(map(fields_of, response.cookies.values()))
            return len(renewers) == 2

        await until(is_renewed_by_both)


# --- the page ----------------------------------------------------------------------------------


@asynccontextmanager
async def in_turn(ports: list[int], asked: list[tuple[str, int]]) -> AsyncIterator[str]:
    """Something in front that sends each request to the next server, and notes which path went where."""
    turn = itertools.cycle(ports)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        port = next(turn)
        asked.append((head.split(b" ")[1].decode(), port))
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        answer, question = await asyncio.open_connection("127.0.0.1", port)
        try:
            question.write(b"\r\n".join([lines[0], b"Connection: close", *lines[1:]]))
            writer.write(await answer.read())
            await writer.drain()
        finally:
            question.close()
            await question.wait_closed()

    async with listening(pass_on) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.asyncio(loop_scope="session")
async def test_a_page_of_one_version_is_told_by_both(browser: Browser, two: Two) -> None:
    """The page polls older and newer processes in turn, and its visitor is let in by whichever."""
    holder = two.join(0)
    assert two.status(0, holder["ticket"])["status"] == "active"
    ports = [client.base_url.port or 0 for client in two.clients]
    asked: list[tuple[str, int]] = []
    context = await browser.new_context()
    async with in_turn(ports, asked) as url:
        page = await context.new_page()
        await page.goto(f"{url}{two.path}seats?row=1")
        await expect(page.locator(".stub b")).to_have_text("2", timeout=30_000)

        def polled() -> bool:
            return {port for path, port in asked if path.startswith(f"{API}/window")} == set(ports)

        await until(polled)
        await expect(page.locator(".stub b")).to_have_text("2")
        two.leave(1, holder["ticket"])
        await expect(page.locator("body")).to_contain_text('"site":"inside"', timeout=30_000)
        assert page.url == f"{url}{two.path}seats?row=1"
        await context.close()


# --- settings that differ while a deploy is under way ------------------------------------------

OLD_KEY, NEW_KEY = "the-key-that-all-processes-began-with", "one-that-came-to-them-by-and-by-later"
STEPS = [(OLD_KEY,), (OLD_KEY, NEW_KEY), (NEW_KEY, OLD_KEY), (NEW_KEY,)]


@asynccontextmanager
async def side_by_side(one: Settings, other: Settings) -> AsyncIterator[Callable[[int], httpx.AsyncClient]]:
    """Two gates on one store; yields what makes a new visitor of the first (0) or the second (1)."""
    async with AsyncExitStack() as stack:
        gates = [await stack.enter_async_context(gated(site, settings=chosen)) for chosen in (one, other)]
        clients: list[httpx.AsyncClient] = []

        def visitor(gate: int) -> httpx.AsyncClient:
            clients.append(client_of(gates[gate]))
            return clients[-1]

        yield visitor
        for client in clients:
            await client.aclose()


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize(("before", "after"), list(itertools.pairwise(STEPS)))
async def test_each_step_to_a_new_key_keeps_everyone(
    settings: Make, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    """The key is added, put first, and the old one taken away: at each step both sides read all tokens."""
    one, other = settings(secret=before, capacity=1), settings(secret=after, capacity=1)
    async with side_by_side(one, other) as visitor:
        holder, behind, same = visitor(0), visitor(1), visitor(0)
        passed = {"Waitroom-Pass": (await session(holder))["pass"]}
        assert page_data(await takes_number(behind))["number"] == 2
        same.cookies = behind.cookies
        assert page_data(await same.get("/"))["number"] == 2
        for gate in (0, 1):
            assert is_inside(await visitor(gate).get("/", headers=passed))


@pytest.mark.usefixtures("patience")
async def test_a_new_key_in_one_step_would_lose_places(settings: Make) -> None:
    """Why there are three steps: those who start with the new key sign what the others can't read."""
    async with side_by_side(settings(secret=OLD_KEY), settings(secret=(NEW_KEY, OLD_KEY))) as visitor:
        ticket = (await visitor(1).post(f"{API}/join")).json()["ticket"]
        assert (await visitor(0).get(f"{API}/status", headers=bearer(ticket))).status_code == 401


@pytest.mark.usefixtures("patience")
async def test_each_process_decides_by_its_own_capacity(settings: Make) -> None:
    """P1, by the value in force where a visitor asks: never more than the larger of the two."""
    async with side_by_side(settings(capacity=1), settings(capacity=2)) as visitor:
        await session(visitor(0))
        ticket = bearer((await visitor(0).post(f"{API}/join")).json()["ticket"])
        small, large = visitor(0), visitor(1)
        assert (await small.get(f"{API}/status", headers=ticket)).json()["status"] == "waiting"

        async def is_let_in() -> bool:
            told = (await large.get(f"{API}/status", headers=ticket)).json()
            return bool(told["status"] == "active")

        await eventually(is_let_in)
        third = visitor(1)
        await third.post(f"{API}/join")
        assert (await third.get(f"{API}/status")).json()["status"] == "waiting"
        told = (await third.get(f"{API}/window")).json()
        assert (told["inside"], told["waiting"]) == (2, 1)


@pytest.mark.usefixtures("patience")
async def test_another_cookie_name_makes_newcomers(settings: Make) -> None:
    """Why names stay: who comes back to a process with another name has to begin anew there."""
    one, other = settings(capacity=1), settings(capacity=1, cookie_name="other")
    async with side_by_side(one, other) as visitor:
        await session(visitor(0))
        waiting, same = visitor(0), visitor(1)
        assert page_data(await takes_number(waiting))["number"] == 2
        same.cookies = waiting.cookies
        assert page_data(await same.get("/"))["number"] is None


# --- what earlier versions left ----------------------------------------------------------------

RECORDINGS = sorted((ROOT / "tests" / "recorded").glob("*.json"))


def test_each_release_has_its_recording() -> None:
    assert __version__.rpartition(".")[0] in [path.stem for path in RECORDINGS]


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
async def test_a_room_goes_on_from_what_an_earlier_version_left(any_store_url: str, path: Path) -> None:
    """P3 to P5: every kind of place that was recorded is still worth what it was."""
    recorded = json.loads(path.read_text("utf-8"))
    settings = settings_of(any_store_url)
    tokens = Tokens([RECORDED_SECRET], ROOM)
    tickets: dict[str, Ticket] = {}
    for name, token in recorded["tickets"].items():
        read = tokens.read(token)
        assert isinstance(read, Ticket)
        tickets[name] = read
    bens = tokens.read(recorded["pass"])
    assert isinstance(bens, Pass)
    assert [ticket.number for ticket in tickets.values()] == [1, 2, 3, 4, 5]
    assert tuple(tickets) == NAMES

    async with Redis.from_url(any_store_url, decode_responses=True) as client:
        await client.delete(*recorded["keys"])
        await put_back(client, recorded["keys"])
    clock = Clock(END + SECOND)
    history = recorded["keys"][f"waitroom:{{{ROOM}}}:state"][1]["history"]
    store = Store(any_store_url, settings, clock, history=lambda: str(history))
    window, synced = await store.sync(-1)
    assert (window.issued, window.called, window.inside) == (5, 4, 2)
    assert synced.ended is not None
    assert set(synced.ended) == {"anna"}
    _, claimed = await store.claim([(tickets[name], True) for name in NAMES])
    assert [answer.outcome for answer in claimed] == ["expired", "active", "door", "active", "waiting"]
    _, (renewed,) = await store.renew([(bens, True)])
    assert renewed == (END + SECOND) // 1000 + 300_000
    _, (joined,) = await store.join([("number", "fred")])
    assert joined.number == 6
    await store.leave([tickets["dora"]])
    _, claimed = await store.claim(
        [(tickets["emil"], True), (tickets["carl"], True), (tickets["dora"], True)]
    )
    assert [answer.outcome for answer in claimed] == ["waiting", "active", "expired"]
    await store.leave([bens])
    _, (emil,) = await store.claim([(tickets["emil"], True)])
    assert emil.outcome == "active"
    await store.close()
