"""Several processes on one store, of which one is cut off, killed, shut down, or has another clock, key or setting."""

import asyncio
import json
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from click.testing import CliRunner
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.conftest import SECRET
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.gates import (
    API,
    DEADLINE_SECONDS,
    Server,
    bearer,
    free_port,
    is_inside,
    join,
    page_data,
    started,
    status,
    take_place,
    uvicorn,
)
from tests.rooms import GRACE, Line
from tests.stores import missing
from tests.test_faults import updated
from tests.test_upgrade import STEPS
from tests.test_workers import GATE, check, crowd_of
from tests.visits import ended_well
from tests.waiting import until
from waitroom.cli.commands import main
from waitroom.config.settings import load
from waitroom.store.transitions import KEYS

SITE = "tests.sites:starlette_site"


def settings_for(url: str, room: str, **more: Any) -> dict[str, Any]:
    return {"redis_url": url, "room": room, "secret": SECRET, "capacity": 1, "sync_seconds": 0.1} | more


def visitor(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS)


def says(server: Server, token: str) -> str:
    """What a token is worth to a process."""
    with visitor(server) as client:
        return str(status(client, headers=bearer(token)).json()["status"])


def lets_in(server: Server, token: str) -> bool:
    return is_inside(httpx.get(server.url, headers=bearer(token), timeout=DEADLINE_SECONDS))


def is_away(server: Server) -> bool:
    return "away since" in httpx.get(f"{server.url}{API}/readyz", timeout=DEADLINE_SECONDS).text


def is_back(server: Server) -> bool:
    return httpx.get(f"{server.url}{API}/readyz", timeout=DEADLINE_SECONDS).text == "ready\n"


def window(server: Server) -> dict[str, Any]:
    told: dict[str, Any] = httpx.get(f"{server.url}{API}/window", timeout=DEADLINE_SECONDS).json()
    return told


@pytest.fixture
def way(store_url: str) -> Iterator[FaultProxy]:
    with fault_proxy(store_url) as proxy:
        yield proxy


def through(proxy: FaultProxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}"


# --- cut off -------------------------------------------------------------------------------------


def test_p4_one_process_is_cut_off_and_the_others_go_on(way: FaultProxy, store_url: str, room: str) -> None:
    """What it shows meanwhile is what it knew: those in front can only have become fewer."""
    with ExitStack() as stack:
        near = stack.enter_context(uvicorn(SITE, **settings_for(store_url, room)))
        far = stack.enter_context(uvicorn(SITE, **settings_for(through(way), room)))
        guest = take_place(near)
        second, third = (stack.enter_context(visitor(far)) for _ in range(2))
        for client in (second, third):
            until(lambda: page_data(client.get("/"))["number"])  # noqa: B023
        until(lambda: lets_in(far, guest))
        way.lead_nowhere()
        until(lambda: is_away(far))
        assert lets_in(far, guest), "P6"
        assert httpx.delete(f"{near.url}{API}/ticket", headers=bearer(guest)).status_code == 204
        tickets = [next(iter(client.cookies.values())) for client in (second, third)]
        until(lambda: says(near, tickets[0]) == "active")
        told = page_data(second.get("/"))
        assert (told["kind"], told["number"]) == ("away", 2), "P4: not let in, and not forgotten"
        stranger = httpx.get(far.url, timeout=DEADLINE_SECONDS)
        assert page_data(stranger)["kind"] == "away"
        assert says(far, tickets[1]) == "waiting"
        assert window(far)["called"] <= window(near)["called"]
        assert is_back(near), "the others don't notice"
        way.heal()
        until(lambda: is_back(far))
        until(lambda: is_inside(second.get("/")))
        assert not lets_in(far, guest), "P1: who left elsewhere is out here, too"
        assert page_data(third.get("/"))["number"] == 3
        assert window(far)["inside"] == 1, "P5"


def test_p6_who_is_inside_waits_for_no_answer_of_the_store(way: FaultProxy, room: str) -> None:
    """With a patience that is longer than that of the visitors here."""
    with ExitStack() as stack:
        slow = settings_for(through(way), room, store_timeout_seconds=5)
        server = stack.enter_context(uvicorn(SITE, **slow))
        token = take_place(server)
        client = stack.enter_context(httpx.Client(base_url=server.url, timeout=4))
        assert is_inside(client.get("/", headers=bearer(token)))
        way.hold("from_store")
        until(lambda: way.held["from_store"])
        while not is_away(server):
            assert is_inside(client.get("/", headers=bearer(token))), "P6"
        way.heal()


def test_a_call_whose_answers_are_cut_is_made_twice_and_no_more(
    way: FaultProxy, store_url: str, room: str
) -> None:
    with uvicorn(SITE, **settings_for(through(way), room, sync_seconds=60)) as server:
        take_place(server)
        way.cut_answers(after=3)
        refused = httpx.post(f"{server.url}{API}/join", timeout=DEADLINE_SECONDS)
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:waitroom:store-away")
        way.heal()
        until(lambda: is_back(server))
        with visitor(server) as client:
            joined = told_number(client)
        assert joined <= 4, "1 is inside, and the call that failed took two numbers at most"


def told_number(client: httpx.Client) -> int:
    return int(join(client).json()["number"])


# --- killed --------------------------------------------------------------------------------------


def test_p5_a_process_killed_before_it_could_tell_of_a_claim(
    way: FaultProxy, store_url: str, room: str
) -> None:
    """The store has let the visitor in, the answer is on its way, and nobody is left to hear it."""
    with ExitStack() as stack:
        near = stack.enter_context(uvicorn(SITE, **settings_for(store_url, room)))
        with visitor(near) as client:
            ticket = join(client).json()["ticket"]
        far = stack.enter_context(dying(way, room))
        killed_in_the_midst(far, way, store_url, room, "GET", "status", bearer(ticket), "inside")
        assert says(near, ticket) == "active", "P5: asking again finds the same session"
        assert window(near)["inside"] == 1


def test_p4_a_process_killed_before_it_could_tell_of_a_number(
    way: FaultProxy, store_url: str, room: str
) -> None:
    """Nobody ever comes with that number: its turn is kept for `claim_seconds` and goes to the next."""
    with ExitStack() as stack:
        hurried = {"claim_seconds": 1}
        near = stack.enter_context(uvicorn(SITE, **settings_for(store_url, room, **hurried)))
        far = stack.enter_context(dying(way, room, **hurried))
        killed_in_the_midst(far, way, store_url, room, "POST", "join", {}, "issued")
        with visitor(near) as client:
            joined = join(client).json()
            assert joined["number"] == 2, "P4: a retry takes a new number"
            until(lambda: status(client, headers=bearer(joined["ticket"])).json()["status"] == "active")
        assert window(near)["inside"] == 1, "no slot is lost"


def test_p4_a_process_killed_before_it_could_let_a_newcomer_in(
    way: FaultProxy, store_url: str, room: str
) -> None:
    """The session that nobody knows of ends with its first lease, and the seconds for which the store keeps that."""
    lease = {"first_lease_seconds": 1, "session_seconds": 1}
    with dying(way, room, **lease) as far:
        killed_in_the_midst(far, way, store_url, room, "GET", "", {}, "inside")
    assert asyncio.run(inside_after(1 + GRACE, store_url, room, **lease)) == 0, "no slot is lost"


async def inside_after(seconds: float, store_url: str, room: str, **more: Any) -> int:
    """How many are inside when so many seconds have gone by, and nobody came."""
    line = Line(store_url, load(**settings_for(store_url, room, **more)))
    with redis.Redis.from_url(store_url) as admin:
        now, microseconds = admin.time()
    line.clock.now = now * 1_000_000 + microseconds
    line.clock.advance(seconds)
    try:
        return (await line.look()).inside
    finally:
        await line.close()


@contextmanager
def dying(way: FaultProxy, room: str, **more: Any) -> Iterator[Server]:
    # Its one connection is at rest: a new one would wait for answers before it asks.
    patient = {"store_timeout_seconds": 5, "sync_seconds": 60, **more}
    with uvicorn(SITE, **settings_for(through(way), room, **patient)) as server:
        yield server


def killed_in_the_midst(
    server: Server,
    way: FaultProxy,
    store_url: str,
    room: str,
    method: str,
    route: str,
    headers: dict[str, str],
    counter: str,
) -> None:
    """Ask something, and kill the server when the store has done it but its answer has not arrived."""
    path = f"{API}/{route}" if route else "/"
    line = [f"{method} {path} HTTP/1.1", "Host: shop", "Content-Length: 0"]
    request = "\r\n".join([*line, *(f"{name}: {value}" for name, value in headers.items()), "", ""])
    host, port = server.url.removeprefix("http://").split(":")
    # It has to know the room before its answers are held.
    until(lambda: window(server)["issued"] == look(store_url, room)["issued"])
    with socket.create_connection((host, int(port)), DEADLINE_SECONDS) as connection:
        way.hold("from_store")
        connection.sendall(request.encode())

        def is_done() -> bool:
            return look(store_url, room)[counter] == 1

        until(is_done)
        server.process.kill()
        server.process.wait(DEADLINE_SECONDS)
        try:
            heard = connection.recv(100)
        except ConnectionResetError:
            heard = b""
        assert heard == b"", "it was told after all"
    way.heal()


def look(url: str, room: str) -> dict[str, int]:
    """How the store itself sees the room."""
    done = CliRunner().invoke(main, ["status", "--json", "--redis-url", url, "--room", room])
    assert done.exit_code == 0, done.output
    told: dict[str, int] = json.loads(done.stdout)
    return told


# --- other clocks --------------------------------------------------------------------------------


@contextmanager
def with_clock(shift: str, settings: dict[str, Any]) -> Iterator[Server]:
    """A server whose machine's clock is off; that which only ever goes on is as it was."""
    libraries = [*Path("/usr/lib").glob("*/faketime/libfaketime.so.1")]
    if not libraries:
        missing("libfaketime")
    port = free_port()
    environment = {f"WAITROOM_{name.upper()}": str(value) for name, value in settings.items()}
    environment |= {"LD_PRELOAD": str(libraries[0]), "FAKETIME": shift, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    with started([sys.executable, "-m", "uvicorn", SITE, "--port", str(port)], environment, port) as server:
        yield server


def test_p9_processes_whose_clocks_are_hours_apart_are_one_room(store_url: str, room: str) -> None:
    settings = settings_for(store_url, room, session_seconds=300)
    with ExitStack() as stack:
        fast, slow = (stack.enter_context(with_clock(shift, settings)) for shift in ("+1h", "-1h"))
        for server, hours in ((fast, 1), (slow, -1)):
            date = parsedate_to_datetime(httpx.get(f"{server.url}{API}/livez").headers["date"])
            off = date - datetime.now(UTC) - timedelta(hours=hours)
            assert abs(off) < timedelta(minutes=5), "its clock is not off"
        token = take_place(fast)
        for server in (slow, fast):
            until(lambda: lets_in(server, token))  # noqa: B023
            with visitor(server) as client:
                told = status(client, headers=bearer(token)).json()
            assert 0 < told["expires_in"] <= 300
        with httpx.Client(timeout=DEADLINE_SECONDS) as waits:
            waits.get(fast.url)
            until(lambda: page_data(waits.get(slow.url))["number"])
            for server in (fast, slow):
                page = waits.get(server.url)
                assert page_data(page)["number"] == 2, "P4"
                assert abs(as_of(page) - time.time()) < 300, "it is told by the store's clock"
            assert httpx.delete(f"{slow.url}{API}/ticket", headers=bearer(token)).status_code == 204
            until(lambda: not lets_in(fast, token))
            until(lambda: is_inside(waits.get(fast.url)))
            until(lambda: is_inside(waits.get(slow.url)))
        assert look(store_url, room)["inside"] == 1, "P1"


def as_of(page: httpx.Response) -> float:
    return datetime.fromisoformat(updated(page)).timestamp()


# --- other settings, other keys ------------------------------------------------------------------


def test_two_settings_in_a_rolling_deploy_keep_the_larger(store_url: str) -> None:
    """P1 and P2 hold by the value in force where each visitor asks, so by the larger for all together."""
    old = {**GATE, "redis_url": store_url, "room": "crowd", "window_size": 20, "capacity": 10}
    old |= {"active_window_count": 60, "store_timeout_seconds": 1}
    new = {**old, "window_size": 30, "capacity": 15, "session_seconds": 20, "sync_seconds": 0.3}
    with redis.Redis.from_url(store_url) as admin:
        admin.delete(*(f"waitroom:{{crowd}}:{key}" for key in KEYS))
    with uvicorn(SITE, **old) as before, uvicorn(SITE, **new) as after:
        lives = asyncio.run(crowd_of(30, [before.url, after.url], seed=5))
    check(lives, window_size=30, capacity=15)


def test_p4_a_new_key_in_three_steps_loses_nobody(store_url: str, room: str) -> None:
    """Each step starts its process beside the one before, and ends that; who came at any step is known at all."""
    with ExitStack() as first:
        servers = [first.enter_context(keyed(STEPS[0], store_url, room))]
        ends = first.pop_all()
        guest, ticket = take_place(servers[0]), ticket_of(servers[0])
        for keys in STEPS[1:3]:
            with ExitStack() as both:
                both.push(ends)
                following = ExitStack()
                servers = [servers[-1], following.enter_context(keyed(keys, store_url, room))]
                newer = ticket_of(servers[1])
                for server in servers:
                    assert lets_in(server, guest), "P6"
                    assert {says(server, token) for token in (ticket, newer)} == {"waiting"}, "P4"
                ends = following
        with ends:
            assert httpx.delete(f"{servers[1].url}{API}/ticket", headers=bearer(guest)).status_code == 204
            until(lambda: says(servers[1], ticket) == "active")
            with visitor(servers[1]) as client:
                signed_anew = status(client, headers=bearer(ticket)).json()["pass"]
            with keyed(STEPS[3], store_url, room) as last:
                assert lets_in(last, signed_anew), "P6"
                assert says(last, newer) == "waiting", "P4"


@contextmanager
def keyed(keys: tuple[str, ...], store_url: str, room: str) -> Iterator[Server]:
    with uvicorn(SITE, **settings_for(store_url, room, secret=",".join(keys))) as server:
        yield server


def ticket_of(server: Server) -> str:
    with visitor(server) as client:
        return str(join(client).json()["ticket"])


# --- shut down -----------------------------------------------------------------------------------


def test_p4_a_process_is_shut_down_while_visitors_wait_and_sockets_are_open(
    store_url: str, room: str
) -> None:
    with ExitStack() as stack:
        settings = settings_for(store_url, room)
        graceful = ("--timeout-graceful-shutdown", "1")
        going = stack.enter_context(uvicorn(SITE, arguments=graceful, **settings))
        staying = stack.enter_context(uvicorn(SITE, **settings))
        guest = take_place(going)
        waits = stack.enter_context(httpx.Client(timeout=DEADLINE_SECONDS))
        until(lambda: page_data(waits.get(going.url))["number"] == 2)
        line = connect(going.url.replace("http", "ws") + "/socket", additional_headers=bearer(guest))
        with line:
            line.send("hello")
            assert line.recv(DEADLINE_SECONDS) == "heard hello"
            going.process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed):
                line.recv(DEADLINE_SECONDS)
        going.process.wait(DEADLINE_SECONDS)
        assert page_data(waits.get(staying.url))["number"] == 2, "P4"
        again = connect(staying.url.replace("http", "ws") + "/socket", additional_headers=bearer(guest))
        with again:
            again.send("hello")
            assert again.recv(DEADLINE_SECONDS) == "heard hello", "P6"
        assert window(staying)["inside"] == 1, "P5"
        assert httpx.delete(f"{staying.url}{API}/ticket", headers=bearer(guest)).status_code == 204
        until(lambda: is_inside(waits.get(staying.url)))
    ended_well(going)
    assert "Application shutdown complete" in going.said
