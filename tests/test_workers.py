"""One room, many processes: what holds in each of them holds for all."""

import asyncio
import random
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.conftest import SECRET
from tests.gates import DEADLINE_SECONDS, ONE_EACH, Server, free_ports, numbers_of, started, uvicorn
from waitroom.line.tickets import Pass, Ticket, Tokens
from waitroom.store.embedded.folders import names

INTERVAL = 1.0
STORE_RESOLUTION_MS = 1
"""A pass tells its times in whole milliseconds."""


def api(server: Server, route: str) -> str:
    return f"{server.url}/_waitroom/{route}"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@dataclass
class Life:
    """What one visitor went through, by the signed word of the store."""

    ticket: Ticket | None = None
    passes: list[Pass] = field(default_factory=list)
    left_ms: float = 0
    errors: list[str] = field(default_factory=list)


class Crowd:
    """Visitors who join, wait, come in, stay a little and leave, each with a connection of its own."""

    def __init__(self, urls: list[str], tokens: Tokens, seed: int) -> None:
        self.urls = urls
        self.tokens = tokens
        self.chance = random.Random(seed)

    async def _asked(
        self, client: httpx.AsyncClient, life: Life, method: str, url: str, **more: Any
    ) -> httpx.Response:
        """Ask until there is an answer: a worker may die in the middle of one."""
        while True:
            try:
                response = await client.request(method, self.chance.choice(self.urls) + url, **more)
            except httpx.TransportError:
                await asyncio.sleep(0.1)
                continue
            if response.status_code != 503:
                return response
            # The store was late, which is told as it is; whoever hears it asks again.
            assert response.json()["type"] == "urn:waitroom:store-away"
            await asyncio.sleep(0.2)

    async def _claimed_again(self, client: httpx.AsyncClient, life: Life, token: str) -> Any:
        """Claim once more; another process may take a sync to hear that the ticket was called."""
        while True:
            response = await self._asked(client, life, "GET", "/_waitroom/status", headers=bearer(token))
            if response.json()["status"] != "waiting":
                return response.json()
            await asyncio.sleep(0.05)

    async def live(self) -> Life:
        life = Life()
        async with httpx.AsyncClient(timeout=30) as client:
            joined = await self._asked(client, life, "POST", "/_waitroom/join")
            client.cookies.clear()
            token = joined.json()["ticket"]
            ticket = self.tokens.read(token)
            assert isinstance(ticket, Ticket)
            life.ticket = ticket
            while True:
                response = await self._asked(client, life, "GET", "/_waitroom/status", headers=bearer(token))
                client.cookies.clear()
                told = response.json()
                if told["status"] != "waiting":
                    break
                await asyncio.sleep(min(told["poll_after"], 1.0) * self.chance.uniform(0.5, 1.0))
            if told["status"] == "expired":
                return life
            for answer in (told, await self._claimed_again(client, life, token)):
                entered = self.tokens.read(answer["pass"])
                assert isinstance(entered, Pass)
                life.passes.append(entered)
            await asyncio.sleep(self.chance.uniform(0.1, 0.6))
            life.left_ms = time.time() * 1000
            await self._asked(client, life, "DELETE", "/_waitroom/ticket", headers=bearer(told["pass"]))
        return life


def check(lives: list[Life], window_size: int, capacity: int) -> None:
    numbers = [life.ticket.number for life in lives if life.ticket]
    assert len(set(numbers)) == len(lives), "P4: a number was given twice"
    assert all(len({entered.id for entered in life.passes}) == 1 for life in lives), (
        "P5: two sessions of one ticket"
    )
    assert len({life.passes[0].id for life in lives}) == len(lives), "P5: two tickets, one session"
    entries = sorted(life.passes[0].entered_at for life in lives)
    for first, after in zip(entries, entries[window_size:], strict=False):
        assert after - first >= INTERVAL * 1000 - STORE_RESOLUTION_MS, "P2: too many in one interval"
    # By the clock of one machine: a slot is free at the earliest when its visitor began to leave.
    steps = [(life.passes[0].entered_at, 1) for life in lives] + [(life.left_ms, -1) for life in lives]
    inside = 0
    for _, step in sorted(steps):
        inside += step
        assert inside <= capacity, "P1: more inside than the site can bear"


async def crowd_of(count: int, urls: list[str], seed: int) -> list[Life]:
    crowd = Crowd(urls, Tokens([SECRET], "crowd"), seed)
    return list(await asyncio.gather(*(crowd.live() for _ in range(count))))


def family(server: Server) -> list[psutil.Process]:
    parent = psutil.Process(server.process.pid)
    return [parent, *parent.children(recursive=True)]


def workers(server: Server) -> list[psutil.Process]:
    return [process for process in family(server)[1:] if "spawn_main" in " ".join(process.cmdline())]


GATE: dict[str, Any] = {
    "room": "crowd",
    "secret": SECRET,
    "window_interval": INTERVAL,
    "sync_seconds": 0.2,
    "session_seconds": 30,
}


async def test_four_workers_and_a_crowd_keep_the_promises(store_url: str) -> None:
    """P1, P2, P4 and P5 with several hundred visitors at once on four workers of one server."""
    limits: dict[str, Any] = {"window_size": 60, "capacity": 40, "active_window_count": 60}
    with uvicorn("tests.sites:starlette_site", workers=4, redis_url=store_url, **GATE, **limits) as server:
        lives = await crowd_of(300, [server.url], seed=1)
        window = httpx.get(api(server, "window"), timeout=DEADLINE_SECONDS).json()
    check(lives, window_size=60, capacity=40)
    # A number whose answer came too late is nobody's: whoever asked for it took another.
    assert window["called"] == window["issued"] >= 300


async def test_a_worker_that_dies_takes_nobodys_place(store_url: str) -> None:
    """P4 and P5: `kill -9` of a worker in the middle of it all; the others go on, once."""
    limits: dict[str, Any] = {"window_size": 40, "capacity": 30, "active_window_count": 60}
    gate = {**GATE, "room": "crowd"}
    with uvicorn("tests.sites:starlette_site", workers=2, redis_url=store_url, **gate, **limits) as server:
        crowd = asyncio.create_task(crowd_of(120, [server.url], seed=2))
        while httpx.get(api(server, "window"), timeout=DEADLINE_SECONDS).json()["called"] < 40:
            await asyncio.sleep(0.05)
        workers(server)[0].kill()
        lives = await crowd
    check(lives, window_size=40, capacity=30)


async def test_replicas_of_serve_are_one_queue(store_url: str) -> None:
    """P1 to P5 with two services on one store and no site behind; the callers hold the tokens alone."""
    limits: dict[str, Any] = {"window_size": 50, "capacity": 25, "active_window_count": 60}
    gate = {**GATE, "redis_url": store_url, "room": "replicas"}
    environment = {f"WAITROOM_{name.upper()}": str(value) for name, value in {**gate, **limits}.items()}
    ports = free_ports(2)
    one, two = ([sys.executable, "-m", "waitroom", "serve", "--port", str(port)] for port in ports)
    with started(one, environment, ports[0]) as first, started(two, environment, ports[1]) as second:
        crowd = Crowd([first.url, second.url], Tokens([SECRET], "replicas"), seed=3)
        lives = await asyncio.gather(*(crowd.live() for _ in range(100)))
        windows = [
            httpx.get(api(server, "window"), timeout=DEADLINE_SECONDS).json() for server in (first, second)
        ]
    check(list(lives), window_size=50, capacity=25)
    assert [window["issued"] for window in windows] == [100, 100]


async def test_one_ticket_claimed_everywhere_at_once_takes_one_slot(store_url: str) -> None:
    """P5: the same ticket, 60 claims at once, four workers."""
    settings = {**GATE, "room": "claims", "window_size": 50, "capacity": 10, "redis_url": store_url}
    with uvicorn("tests.sites:starlette_site", workers=4, **settings) as server:
        async with httpx.AsyncClient(timeout=30) as client:
            token = (await client.post(api(server, "join"))).json()["ticket"]
            client.cookies.clear()
            asked = (client.get(api(server, "status"), headers=bearer(token)) for _ in range(60))
            answers = [response.json() for response in await asyncio.gather(*asked)]
            window = (await client.get(api(server, "window"))).json()
    assert {answer["status"] for answer in answers} == {"active"}
    tokens = Tokens([SECRET], "claims")
    assert len({getattr(tokens.read(answer["pass"]), "id", None) for answer in answers}) == 1
    assert window["inside"] == 1


def test_four_workers_share_the_embedded_store_and_nothing_survives_them() -> None:
    """The same line seen by all; after `kill -9` of every process of the app no server is left."""
    with uvicorn("tests.sites:starlette_site", workers=4, capacity=1, window_size=1) as server:
        folder = names(server.process.pid)[0]
        with httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS, limits=ONE_EACH) as client:
            numbers = numbers_of(client, 24)
        assert numbers == sorted(set(numbers)), "each process hands out the next number of one line"
        assert folder.is_dir()
        keepers = [process for process in psutil.process_iter(["cmdline"]) if _is_below(process, folder)]
        assert keepers, "the server's own process was not found"
        for process in family(server):
            process.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 20
        while folder.exists() or any(_is_alive(process) for process in keepers):
            assert time.monotonic() < deadline, f"left behind: {keepers}"
            time.sleep(0.05)


def _is_below(process: psutil.Process, folder: Path) -> bool:
    return any(str(folder) in word for word in process.info["cmdline"] or ())


def _is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
