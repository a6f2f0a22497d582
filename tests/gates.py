"""Gated sites for the tests: in this process, and on real servers."""

import asyncio
import json
import os
import re
import shlex
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
from starlette.types import ASGIApp, Message

from tests.waiting import DEADLINE_SECONDS as DEADLINE_SECONDS
from tests.waiting import end, end_group
from waitroom.web.middleware import WaitingRoomMiddleware

API = "/_waitroom"

Found = TypeVar("Found")


@asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncIterator[list[Message]]:
    """Take an app through its lifespan as a server does; yields what it has sent so far."""
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    sent: list[Message] = []
    answered = asyncio.Event()

    async def send(message: Message) -> None:
        sent.append(message)
        answered.set()

    task = asyncio.ensure_future(app({"type": "lifespan", "state": {}}, to_app.get, send))
    await to_app.put({"type": "lifespan.startup"})
    await answered.wait()
    try:
        yield sent
    finally:
        await to_app.put({"type": "lifespan.shutdown"})
        await task


def client_of(app: ASGIApp, base_url: str = "http://shop.test", **keywords: Any) -> httpx.AsyncClient:
    """A browser-like client of an app in this process: it keeps cookies."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=base_url, **keywords)


@asynccontextmanager
async def gated(app: ASGIApp, **keywords: Any) -> AsyncIterator[WaitingRoomMiddleware]:
    """A site behind the gate, started and stopped as a server would."""
    gate = WaitingRoomMiddleware(app, **keywords)
    async with lifespan(gate) as sent:
        assert sent[0] == {"type": "lifespan.startup.complete"}, sent
        yield gate


async def eventually(look: Callable[[], Awaitable[Found | None]]) -> Found:
    """Look again and again until there is something true to see."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        found = await look()
        if found:
            return found
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


STORE_AWAY = "urn:waitroom:store-away"


def told_by_the_store(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """Ask a real server for JSON, again while the store is away: on a busy machine it may seem so for a moment."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (response := ask()).status_code == 503 and response.json()["type"] == STORE_AWAY:
        assert time.monotonic() < deadline, "the store stayed away"
        time.sleep(0.05)
    return response


def join(client: httpx.Client, **keywords: Any) -> httpx.Response:
    """Take a number, or be told the one that is held, on a real server."""
    return told_by_the_store(lambda: client.post(f"{API}/join", **keywords))


def status(client: httpx.Client, **keywords: Any) -> httpx.Response:
    return told_by_the_store(lambda: client.get(f"{API}/status", **keywords))


ONE_EACH = httpx.Limits(max_keepalive_connections=0)
"""A connection for each request, so that whichever worker is free answers."""


def numbers_of(client: httpx.Client, count: int) -> list[int]:
    """Take numbers for so many visitors, one after the other.

    A number that the store gave, but not in time, is nobody's: only then there is a gap, and none larger.
    """
    asked = 0

    def post() -> httpx.Response:
        nonlocal asked
        asked += 1
        client.cookies.clear()
        return client.post(f"{API}/join")

    numbers = [int(told_by_the_store(post).json()["number"]) for _ in range(count)]
    assert count <= numbers[-1] <= asked, numbers
    return numbers


def take_place(server: "Server") -> str:
    """Take a number on a real server and claim it; returns the pass."""
    with httpx.Client(base_url=server.url, verify=server.verify, timeout=DEADLINE_SECONDS) as client:
        ticket = join(client).json()["ticket"]
        client.cookies.clear()
        token: str = status(client, headers=bearer(ticket)).json()["pass"]
        return token


async def comes_in(client: httpx.AsyncClient, path: str = "/") -> httpx.Response:
    """Come back until the site answers, as a browser that refreshes itself would."""

    async def ask() -> httpx.Response | None:
        response = await client.get(path)
        return response if response.status_code == 200 and is_inside(response) else None

    return await eventually(ask)


async def takes_number(client: httpx.AsyncClient, path: str = "/") -> httpx.Response:
    """Visit twice, as browsers do: the number is given once the cookie has come back."""
    await client.get(path)
    return await client.get(path)


async def session(client: httpx.AsyncClient) -> dict[str, Any]:
    """Take a number and claim it over the API; the pass is in `pass` and in the client's cookies."""
    assert (await client.post(f"{API}/join")).status_code in (200, 201)
    told: dict[str, Any] = (await client.get(f"{API}/status")).json()
    assert told["status"] == "active", told
    return told


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def is_inside(response: httpx.Response) -> bool:
    """Whether the sites of these tests answered, and not the gate."""
    return "inside" in response.text and "x-robots-tag" not in response.headers


def comes_back_after(response: httpx.Response) -> str:
    """In how many seconds a page loads itself again, as both of its headers say."""
    seconds: str = response.headers["retry-after"]
    assert response.headers["refresh"].startswith(f"{seconds}; url=")
    return seconds


def page_data(response: httpx.Response) -> dict[str, Any]:
    """What the waiting page's script is given."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', response.text, re.DOTALL)
    assert found is not None, response.text[:500]
    data: dict[str, Any] = json.loads(found[1])
    return data


@dataclass
class Server:
    """A running server and what it printed."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    trust: ssl.SSLContext | None = None
    """Where it speaks TLS: who is believed."""
    said: str = ""
    """All it printed, once it has ended."""

    @property
    def verify(self) -> ssl.SSLContext | bool:
        """For httpx."""
        return self.trust or True

    def printed(self) -> str:
        return self.log.read_text("utf-8", "replace")


def free_port() -> int:
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Draw several: each is held until all are drawn, so that none comes twice."""
    with ExitStack() as held:
        drawn = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in drawn:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in drawn]


@contextmanager
def started(
    command: list[str],
    environment: Mapping[str, str],
    port: int,
    cwd: Path | None = None,
    *,
    base: str = "",
    trust: ssl.SSLContext | None = None,
) -> Iterator[Server]:
    """Run a command that serves on `port` until the block ends; waits until it answers probes.

    `base` is where its gate stands; with `trust` it speaks TLS.
    """
    with tempfile.TemporaryDirectory(prefix="waitroom-test-") as folder:
        log = Path(folder, "log")
        with log.open("wb") as out:
            env = {**os.environ, **environment}
            process = subprocess.Popen(
                command, env=env, stdout=out, stderr=subprocess.STDOUT, cwd=cwd, process_group=0
            )
        url = f"http{'s' if trust else ''}://127.0.0.1:{port}"
        server = Server(url, process, log, dict(environment), trust)
        try:
            _await_ready(server, base)
            yield server
        finally:
            try:
                end(process)
            finally:
                end_group(process.pid)
                server.said = server.printed()


def _await_ready(server: Server, base: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            if (
                httpx.get(f"{server.url}{base}{API}/readyz", verify=server.verify, timeout=5).status_code
                == 200
            ):
                return
        except httpx.TransportError:
            pass
        if server.process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"the server did not start:\n{server.printed()}")
        time.sleep(0.05)


@contextmanager
def uvicorn(app: str, workers: int = 1, arguments: tuple[str, ...] = (), **settings: Any) -> Iterator[Server]:
    """Run `app` under a real uvicorn; keywords become `WAITROOM_` variables."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        app,
        "--port",
        str(port),
        "--workers",
        str(workers),
        *arguments,
    ]
    environment = {f"WAITROOM_{name.upper()}": str(value) for name, value in settings.items()}
    with started(command, environment, port) as server:
        yield server


LISTEN = {
    "uvicorn": "--port {port}",
    "granian": "--port {port}",
    "hypercorn": "--bind 127.0.0.1:{port}",
    "gunicorn": "--bind 127.0.0.1:{port} --no-control-socket",
    "waitroom": "--port {port}",
}


@contextmanager
def serving(
    line: str,
    cwd: Path | None = None,
    *,
    base: str = "",
    trust: ssl.SSLContext | None = None,
    **settings: Any,
) -> Iterator[Server]:
    """Run a server by a line of the shell, on a free port; keywords become `WAITROOM_` variables."""
    port = free_port()
    words = shlex.split(line)
    command = [sys.executable, "-m", *words, *LISTEN[words[0]].format(port=port).split()]
    environment = {f"WAITROOM_{name.upper()}": str(value) for name, value in settings.items()}
    with started(command, environment, port, cwd, base=base, trust=trust) as server:
        yield server


def raw(server: Server, request: bytes) -> bytes:
    """Send bytes just as they are, and read all that comes back until the server closes."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), DEADLINE_SECONDS) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))
