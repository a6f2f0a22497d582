"""Clients that are slow on purpose, and strangers who try to fill a process's memory (P6, P7)."""

import ast
import asyncio
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import SECRET
from tests.gates import (
    API,
    DEADLINE_SECONDS,
    Server,
    bearer,
    client_of,
    comes_in,
    eventually,
    gated,
    is_inside,
    page_data,
    session,
    take_place,
    uvicorn,
)
from tests.sites import site
from tests.waiting import until
from waitroom.config.settings import Settings
from waitroom.line.counters import NAMES
from waitroom.line.tickets import Proof, new_id
from waitroom.room import room as room_module
from waitroom.web.middleware import WaitingRoomMiddleware

ROOT = Path(__file__).parent.parent
Make = Callable[..., Settings]

# -- slow clients ---------------------------------------------------------------------------------

EACH = 80
"""Slow clients of each kind."""


@pytest.fixture
def full(store_url: str, room: str) -> Iterator[Server]:
    settings: dict[str, Any] = {"redis_url": store_url, "secret": SECRET, "room": room, "capacity": 1}
    with uvicorn("tests.sites:starlette_site", **settings) as server:
        yield server
    assert "Traceback" not in server.said


@contextmanager
def connected(server: Server, count: int, sends: bytes) -> Iterator[list[socket.socket]]:
    """So many connections, each of which has sent this much, and takes in as little as it can."""
    host, port = server.url.removeprefix("http://").split(":")
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            one = stack.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            one.settimeout(DEADLINE_SECONDS)
            one.connect((host, int(port)))
            one.sendall(sends)
            found.append(one)
        yield found


def test_p6_slow_clients_hold_nobody_up(full: Server) -> None:
    """Heads that never end, uploads that never come, answers that nobody takes: all others are served meanwhile."""
    token = {"Waitroom-Pass": take_place(full)}
    head = b"Host: shop\r\n"
    many_pages = (b"GET /shop HTTP/1.1\r\n" + head + b"\r\n") * 40
    upload = b"POST %s HTTP/1.1\r\n" + head + b"Content-Length: 1000000\r\n\r\nx"
    with (
        connected(full, EACH, b"GET /shop HTTP/1.1\r\n" + head + b"X-Slow: ") as dribbling,
        connected(full, EACH, many_pages),
        connected(full, EACH, upload % b"/shop"),
        connected(full, EACH, upload % b"/_waitroom/join"),
        httpx.Client(base_url=full.url, timeout=DEADLINE_SECONDS) as client,
    ):
        for turn in range(5):
            for one in dribbling:
                one.sendall(b"x")
            assert is_inside(client.get("/goods", headers=token)), turn
            client.cookies.clear()
            assert client.get("/", headers={"Accept": "text/html"}).status_code == 503
            until(lambda: page_data(client.get("/"))["number"])
            assert client.get(f"{API}/readyz").text.startswith("ready")
        for one in dribbling:
            one.sendall(b"\r\n\r\n")
        assert {one.recv(12) for one in dribbling} == {b"HTTP/1.1 503"}, "slow is no crime"


def test_an_upload_that_never_comes_is_answered_all_the_same(full: Server) -> None:
    """What is announced is waited for a while, so that a proxy that is sending it is not cut off, and no longer."""
    take_place(full)
    head = b" HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\n"
    with (
        connected(full, 1, b"POST /shop" + head) as (held,),
        connected(full, 1, b"POST /_waitroom/join" + head) as (joins,),
    ):
        for one in (held, joins):
            assert one.recv(12) in (b"HTTP/1.1 503", b"HTTP/1.1 201")


# -- what strangers could fill ---------------------------------------------------------------------


def growing() -> set[str]:
    """All that begins empty and stays: attributes of objects, by their class, and what a module or a cache has."""
    found = set()
    for path in (ROOT / "waitroom").rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        for kind in ast.walk(tree):
            if isinstance(kind, ast.ClassDef):
                found |= {f"{kind.name}.{name}" for name in _made_empty(kind)}
        found |= {f"{path.stem}.{name}" for name in _of_the_module(tree)}
    return found


def _made_empty(kind: ast.ClassDef) -> Iterator[str]:
    for node in ast.walk(kind):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value and _is_empty(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                    yield target.attr


def _of_the_module(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value and _is_empty(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from map(ast.unparse, targets)
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            names = {ast.unparse(decorator).partition("(")[0] for decorator in function.decorator_list}
            if any(name.rpartition(".")[2] in ("cache", "lru_cache") for name in names):
                yield function.name


CONTAINERS = re.compile(
    r"(\w+\.)?(dict|set|list|deque|defaultdict|OrderedDict|Counter|\w*Queue|Weak\w+)(\[.*\])?"
)


def _is_empty(value: ast.expr) -> bool:
    if isinstance(value, ast.Dict):
        return not value.keys
    if isinstance(value, ast.List):
        return not value.elts
    if isinstance(value, ast.Call) and not [arg for arg in value.args if not _is_type(arg)]:
        return CONTAINERS.fullmatch(ast.unparse(value.func)) is not None
    return False


def _is_type(argument: ast.expr) -> bool:
    return isinstance(argument, ast.Name)  # of a defaultdict


def listed() -> dict[str, str]:
    """The table of docs/security.md, by its first column."""
    page = (ROOT / "docs" / "security.md").read_text("utf-8")
    (section,) = re.findall(r"^## Memory\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| (`[^|]+) \| ([^|]+) \|$", section, re.MULTILINE)
    return {name: bound for names, bound in rows for name in re.findall(r"`(\w+\.\w+)`", names)}


def test_p7_all_that_can_grow_has_a_bound_that_is_written_down() -> None:
    """Whoever adds a map says in docs/security.md what keeps it small, or it can be filled by strangers one day."""
    assert growing() == set(listed())
    assert "WaitingRoom._exchanged" in listed(), "the search finds something"


def sizes(gate: WaitingRoomMiddleware) -> dict[str, int]:
    """How much each of them holds, in all objects of this process's one gate."""
    room = gate._gates[0].room
    together = (room._joins, room._claims, room._leaves, room.sessions._renewals)
    sessions = room.sessions
    return {
        "WaitingRoom._joining": len(room._joining),
        "EndedVisits._ended": len(room.ended_visits),
        "WaitingRoom._exchanged": len(room._exchanged),
        "Batching._pending": sum(len(one._pending) for one in together),
        "Batching._sent": sum(len(one._sent) for one in together),
        "JoinLimit._order": len(room.guard._timed._order),
        "JoinLimit._taken": len(room.guard._timed._taken),
        "Evidence._told": len(room._store.evidence._told),
        "Evidence._epochs": len(room._store.evidence._epochs),
        "Counters._counts": len(room.counters._counts),
        "Sessions._renewing": len(sessions._renewing),
        "Sessions._tasks": len(sessions._tasks),
        "Sessions._open": len(sessions._open),
        "Sessions._lent": len(sessions._lent),
        "Sessions._renewed": len(sessions._renewed),
        "Snapshot.ended": len(room.snapshot.ended),
        "Deadlines._watched": sum(len(one._deadlines._watched) for one in together),
        "Tokens._verified": len(room.tokens._verified),
        "Routing._kept": len(gate._routing._kept),
        "Pages._shapes": len(gate._gates[0]._pages._shapes or ()),
        "Cookies._rests": len(gate._gates[0].cookies._rests),
    }


LASTING = (
    *("WaitingRoom._exchanged", "Sessions._renewed", "Snapshot.ended"),
    *("JoinLimit._order", "JoinLimit._taken", "Evidence._epochs", "Counters._counts"),
    *("Tokens._verified", "Routing._kept", "Pages._shapes", "Cookies._rests"),
)
"""What outlives its request; the rest is empty when nobody asks any more."""


@pytest.mark.usefixtures("patience")
async def test_p7_a_flood_of_strangers_leaves_nothing_behind(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cookies forged and made up, numbers taken and never used, first leases, forms: all at once, again and again."""
    monkeypatch.setattr(room_module, "MOST_EXCHANGED", 20)
    mine = settings(capacity=5, window_size=5)
    async with gated(site, settings=mine) as gate, client_of(gate) as guest:
        await session(guest)
        tokens = gate._gates[0].room.tokens

        async def one(number: int) -> None:
            async with client_of(gate) as stranger:
                proof = tokens.sign(Proof(new_id(), gate._gates[0].room.snapshot.now()))
                name = f"waitroom-{mine.room}"
                await stranger.get(f"/goods/{number}")
                await stranger.get("/", headers={"Cookie": f"{name}={proof}"})
                await stranger.get("/", headers={"Cookie": f"{name}=ti.{number}.x.y.z.{number}"})
                await stranger.get(f"{API}/status", headers=bearer(f"pa.{number}.e.1.id.1.1.1.1.0.x"))
                await stranger.post(f"{API}/join?room={mine.room}&x={number}")
                await stranger.post("/form", headers={"Sec-Fetch-Site": "cross-site"})
                await stranger.delete(f"{API}/ticket")

        for start in range(0, 150, 50):
            await asyncio.gather(*(one(number) for number in range(start, start + 50)))
            held = sizes(gate)
            assert held["WaitingRoom._exchanged"] <= 20
            assert held["Sessions._renewed"] <= 2 * mine.capacity
            assert held["Evidence._epochs"] == 1
            assert held["Counters._counts"] <= len(NAMES)

        async def settled() -> bool:
            held = sizes(gate)
            return not any(held[name] for name in held if name not in LASTING)

        await eventually(settled)
        assert set(sizes(gate)) == {
            name for name, bound in listed().items() if "not by strangers" not in bound and name[0].isupper()
        }
        await comes_in(guest)
