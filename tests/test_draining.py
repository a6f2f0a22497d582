"""The gate answers no request before its body has been read, so that no proxy takes it for a dead server."""

import asyncio
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from tests import nginx
from tests.conftest import SECRET
from tests.gates import API, DEADLINE_SECONDS, Server, client_of, gated, serving
from tests.sites import site
from waitroom import WaitingRoomMiddleware
from waitroom.cli.serving import _NoSite
from waitroom.config.settings import load
from waitroom.errors import SettingsError, WaitroomError
from waitroom.web.answers import draining
from waitroom.web.answers.answer import problem
from waitroom.web.answers.draining import Draining

MB = 1_000_000
SERVERS = {
    "httptools": "uvicorn tests.sites:starlette_site --http httptools",
    "h11": "uvicorn tests.sites:starlette_site --http h11",
    "granian": "granian --interface asgi tests.sites:starlette_site",
    "hypercorn": "hypercorn tests.sites:starlette_site",
}


@contextmanager
def behind_nginx(gates: list[Server]) -> Iterator[Server]:
    servers = " ".join(f"server {gate.url.removeprefix('http://')};" for gate in gates)
    upstream = f"client_max_body_size 100m;\nupstream gates {{ {servers} }}"
    location = (
        "proxy_pass http://gates;\nproxy_set_header Host $host;\nproxy_set_header X-Forwarded-Proto $scheme;"
    )
    with nginx.nginx(nginx.serving(upstream, location)) as server:
        yield server


def fill(server: Server) -> None:
    """Take the room's one slot, for good."""
    with httpx.Client(base_url=server.url, headers={"Accept": "text/html"}) as client:
        assert client.get("/").status_code == 200
        assert client.get("/").status_code == 200


@pytest.fixture(scope="module")
def replicas(store_url: str) -> Iterator[list[Server]]:
    """Two processes of a room that is full."""
    with ExitStack() as running:
        line = SERVERS["httptools"]
        both = [
            running.enter_context(
                serving(line, redis_url=store_url, secret=SECRET, room="uploads", capacity=1)
            )
            for _ in range(2)
        ]
        fill(both[0])
        yield both


@pytest.mark.parametrize("megabytes", [1, 5, 20])
@pytest.mark.parametrize("path", ["/upload", f"{API}/join", f"{API}/no-such-route"])
def test_uploads_into_a_full_room_take_nobody_down(replicas: list[Server], path: str, megabytes: int) -> None:
    def upload(_: int) -> int:
        with httpx.Client(base_url=front.url, timeout=DEADLINE_SECONDS) as client:
            return client.post(path, content=b"x" * megabytes * MB).status_code

    with behind_nginx(replicas) as front, ThreadPoolExecutor(4) as crowd:
        statuses = set(crowd.map(upload, range(8)))
        others = {httpx.get(front.url, timeout=DEADLINE_SECONDS).status_code for _ in range(8)}
    assert statuses <= {201, 404, 429, 503}, "the gate's own answer to each, never a 502"
    assert others == {503}, "those who come meanwhile get the waiting page"
    assert "no live upstreams" not in front.said


@pytest.mark.parametrize("server", SERVERS)
def test_a_held_request_is_read_to_its_end_on_every_server(store_url: str, room: str, server: str) -> None:
    limits: dict[str, Any] = {"redis_url": store_url, "secret": SECRET, "room": room, "capacity": 1}
    with serving(SERVERS[server], body_limit="2MB", **limits) as gate:
        fill(gate)
        held = post(gate, MB)
        assert held.startswith(b"HTTP/1.1 503"), "all of it was sent before the answer was read"
        assert b"connection: close" not in head_of(held)
        chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"5\r\nhello\r\n" * 9
        assert exchange(gate, chunked + b"0\r\n\r\n").startswith(b"HTTP/1.1 503")
        too_long = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n"
        refused = exchange(gate, too_long)
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"connection: close" in head_of(refused)


# Hypercorn answers 100 by itself, before it calls the gate.
@pytest.mark.parametrize("server", [name for name in SERVERS if name != "hypercorn"])
def test_who_waits_for_leave_gets_the_final_answer_at_once(store_url: str, room: str, server: str) -> None:
    with serving(SERVERS[server], redis_url=store_url, secret=SECRET, room=room, capacity=1) as gate:
        fill(gate)
        asked = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
        answered = exchange(gate, asked)
    assert answered.startswith(b"HTTP/1.1 503"), "no 100 Continue comes before it"
    assert b"connection: close" in head_of(answered)


def post(server: Server, size: int) -> bytes:
    head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"
    return exchange(server, head.encode() + b"x" * size)


def exchange(server: Server, request: bytes) -> bytes:
    """Send a whole request first, then read the whole answer."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), DEADLINE_SECONDS) as connection:
        connection.sendall(request)
        answer = b""
        while not _is_whole(answer):
            piece = connection.recv(65536)
            assert piece, answer
            answer += piece
        return answer


def head_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[0].lower()


def _is_whole(answer: bytes) -> bool:
    head, ended, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    return bool(ended) and length is not None and len(body) >= int(length[1])


# -- by itself ------------------------------------------------------------------------------------


class Sender:
    """A request and its body, as a server hands them on."""

    def __init__(self, *pieces: bytes, version: str = "1.1", method: str = "POST", **headers: str) -> None:
        self.pieces = list(pieces)
        self.ends = True
        self.scope: dict[str, Any] = {
            "type": "http",
            "http_version": version,
            "method": method,
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        }
        self.sent: list[Any] = []

    async def receive(self) -> Any:
        if not self.pieces:
            if self.ends:
                return {"type": "http.disconnect"}
            await asyncio.Event().wait()
        piece = self.pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self.pieces) or not self.ends}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def answered(self, draining: Draining) -> bool:
        """Return whether the connection goes on after the answer."""
        await draining.answer(problem(503, "full", "Full."), self.scope, self.receive, self.send)
        assert [message["type"] for message in self.sent] == ["http.response.start", "http.response.body"]
        return (b"connection", b"close") not in self.sent[0]["headers"]


async def test_a_request_without_a_body_is_not_waited_for() -> None:
    sender = Sender(method="GET")
    sender.ends = False
    assert await sender.answered(Draining())


async def test_what_is_beyond_the_limit_ends_the_connection() -> None:
    sender = Sender(b"x" * 6, b"x" * 6, b"x", transfer_encoding="chunked")
    assert not await sender.answered(Draining(10))
    assert len(sender.pieces) == 1, "the rest stays unread"
    assert await Sender(b"x" * 5, b"x" * 5, transfer_encoding="chunked").answered(Draining(10))
    long = Sender(b"x" * 11, content_length="11")
    assert not await long.answered(Draining(10))
    assert long.pieces, "nothing of it is read in vain"


async def test_over_http_2_there_is_no_connection_to_end() -> None:
    assert await Sender(b"x" * 11, version="2").answered(Draining(10))


async def test_whoever_has_gone_is_not_waited_for() -> None:
    assert await Sender(content_length="9").answered(Draining())


async def test_a_length_that_is_no_number_is_no_length() -> None:
    assert await Sender(b"x", content_length="+1").answered(Draining())


async def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "IDLE_SECONDS", 0.05)
    sender = Sender(b"x", content_length="9")
    sender.ends = False
    assert not await sender.answered(Draining())


async def test_only_so_many_are_read_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "MOST_AT_ONCE", 1)
    drain, slow = Draining(), Sender(content_length="9")
    slow.ends = False
    first = asyncio.ensure_future(slow.answered(drain))
    await asyncio.sleep(0)
    assert not await Sender(b"x", content_length="1").answered(drain)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert await Sender(b"x", content_length="1").answered(drain), "whoever is done makes room for the next"


async def test_a_gate_that_could_not_be_set_up_reads_to_the_end_too(store_url: str, room: str) -> None:
    async with client_of(gated_wrongly()) as client:
        response = await client.post("/", content=b"x" * 1000)
    assert response.status_code == 503


def gated_wrongly() -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        gate = WaitingRoomMiddleware(site, capacity=0)
        await gate(scope, receive, send)

    return app


@pytest.mark.parametrize("answers", ["not set up", "no site"])
async def test_the_bound_is_for_all_requests_together(monkeypatch: pytest.MonkeyPatch, answers: str) -> None:
    monkeypatch.setattr(draining, "MOST_AT_ONCE", 1)
    app: Any = _NoSite(load(body_limit=10))
    if answers == "not set up":
        app = WaitingRoomMiddleware(site)
        app._refusal = WaitroomError("wrong")
    slow, other = Sender(content_length="9"), Sender(b"x", content_length="1")
    slow.ends = False
    first = asyncio.ensure_future(app(slow.scope, slow.receive, slow.send))
    await asyncio.sleep(0)  # it has begun to read, and goes on until it is canceled
    await app(other.scope, other.receive, other.send)
    assert (b"connection", b"close") in other.sent[0]["headers"]
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_a_gate_that_could_not_start_keeps_to_the_limit() -> None:
    gate = WaitingRoomMiddleware(site, body_limit=10)
    gate._refusal = WaitroomError("wrong")
    async with client_of(gate) as client:
        assert "connection" not in (await client.post("/", content=b"x" * 10)).headers
        assert (await client.post("/", content=b"x" * 11)).headers["connection"] == "close"


@pytest.mark.parametrize("size", ["10MB", "10 MB", "10000000", 10_000_000])
def test_a_size_may_be_written_as_people_do(size: Any) -> None:
    assert load(body_limit=size).body_limit == 10_000_000


def test_a_wrong_size_is_refused_in_a_line() -> None:
    with pytest.raises(SettingsError, match="WAITROOM_BODY_LIMIT='much' is not allowed; allowed: bytes, or"):
        load(body_limit="much")


async def test_the_limit_is_the_rooms(store_url: str, room: str) -> None:
    settings = load(redis_url=store_url, secret=SECRET, room=room, capacity=1, body_limit=10)
    async with gated(site, settings=settings) as gate, client_of(gate) as client:
        assert (await client.get(f"{API}/window")).status_code == 200
        assert (await client.post(f"{API}/nowhere", content=b"x" * 11)).headers["connection"] == "close"
