"""Who a request is counted for: forwarded addresses are believed from proxies that are named, and from no other."""

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from tests.sites import plain
from tests.waiting import until
from waitroom.clients import PEER, TOLD, UNIX, Clients, peer_of
from waitroom.guard import Asker


def scope(peer: str, *forwarded: str, solution: str | None = None) -> Scope:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    if solution is not None:
        headers.append((b"waitroom-solution", solution.encode()))
    return {"type": "http", "headers": headers, "client": (peer, 1234), PEER: peer}


def client(proxies: Iterable[str], peer: str, *forwarded: str) -> str:
    return Clients(proxies).asker(scope(peer, *forwarded)).client


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "counted_as"),
    [
        # Without a proxy that is named, nothing that is said of others counts.
        ([], "192.0.2.1", [], "192.0.2.1"),
        ([], "192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        (["10.0.0.1"], "192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        (["10.0.0.1"], "10.0.0.2", ["198.51.100.7"], "10.0.0.2"),
        # Through proxies that are named: from the right, the first that is none of them.
        (["10.0.0.1"], "10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        (["10.0.0.0/8"], "10.9.9.9", ["203.0.113.5, 198.51.100.7"], "198.51.100.7"),
        (["10.0.0.0/8"], "10.9.9.9", ["203.0.113.5, 198.51.100.7, 10.1.1.1"], "198.51.100.7"),
        (["10.0.0.0/8"], "10.9.9.9", ["203.0.113.5", "198.51.100.7", "10.1.1.1"], "198.51.100.7"),
        (["10.0.0.0/8"], "10.9.9.9", ["10.1.1.1, 10.1.1.2"], "10.1.1.1"),
        (["10.0.0.0/8"], "10.9.9.9", [], "10.9.9.9"),
        (["10.0.0.0/8"], "10.9.9.9", [" , "], "10.9.9.9"),
        # What is no address was not told by a proxy that knows: it counts as the one before.
        (["10.0.0.0/8"], "10.9.9.9", ["198.51.100.7, unknown"], "10.9.9.9"),
        (["10.0.0.0/8"], "10.9.9.9", ["198.51.100.7, _hidden, 10.1.1.1"], "10.1.1.1"),
        # Other ways to write addresses.
        (["10.0.0.1"], "10.0.0.1", ["198.51.100.7:5566"], "198.51.100.7"),
        (["10.0.0.1"], "::ffff:10.0.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
        (["::1"], "::1", ["[2001:db8:1:2:3:4:5:6]:443"], "2001:db8:1:2::/64"),
        (["::1"], "::1", ["[2001:db8:1:2:3:4:5:6]"], "2001:db8:1:2::/64"),
        ([], "2001:db8:1:2:ffff::9", [], "2001:db8:1:2::/64"),
        ([], "fe80::1%eth0", [], "fe80::/64"),
        # A unix socket has no address; a server that has put a forwarded one in its place does not say whose.
        ([], UNIX, ["198.51.100.7"], UNIX),
        (["10.0.0.1"], UNIX, ["198.51.100.7"], UNIX),
        (["unix"], UNIX, ["198.51.100.7"], "198.51.100.7"),
        ([], "testclient", [], "testclient"),
    ],
)
def test_who_is_counted(proxies: list[str], peer: str, forwarded: list[str], counted_as: str) -> None:
    assert client(proxies, peer, *forwarded) == counted_as


@pytest.mark.parametrize(
    ("proxies", "told", "forwarded", "counted_as"),
    [
        ([], "198.51.100.7", "198.51.100.7", TOLD),
        (["10.0.0.1"], "198.51.100.7", "203.0.113.5, 198.51.100.7", "198.51.100.7"),
        (["10.0.0.1"], "2001:db8::7", "[2001:db8::7]:443, 10.0.0.1", "2001:db8::/64"),
        # Whoever gets past the proxies writes the whole header, their own address and any other.
        (["10.0.0.1"], "198.51.100.7", "198.51.100.7, 203.0.113.5", TOLD),
        (["10.0.0.1"], "198.51.100.7", "198.51.100.7, unknown", TOLD),
    ],
)
def test_who_is_counted_where_the_server_may_have_told_a_forwarded_address(
    proxies: list[str], told: str, forwarded: str, counted_as: str
) -> None:
    async def receive() -> None: ...

    request = scope(told, forwarded)
    request[PEER] = peer_of(request, receive)
    assert Clients(proxies).asker(request).client == counted_as


def test_the_solution_comes_along() -> None:
    assert Clients([]).asker(scope("192.0.2.1", solution="abc")) == Asker("192.0.2.1", "abc")
    assert Clients([]).asker({"headers": []}) == Asker(UNIX, None)


@pytest.mark.parametrize(
    ("address", "http"), [("127.0.0.1", "h11"), ("127.0.0.1", "httptools"), ("unix", "h11")]
)
def test_the_peer_is_the_other_end_of_the_connection(
    address: str, http: Literal["h11", "httptools"], tmp_path: Path
) -> None:
    """Whatever uvicorn has put into the scope: by default it believes what comes from 127.0.0.1."""
    seen: list[tuple[object, str]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope["client"], peer_of(scope, receive)))
        await plain(scope, receive, send)

    socket = str(tmp_path / "socket")
    where: dict[str, Any] = {"uds": socket} if address == "unix" else {"port": 0}
    server = uvicorn.Server(
        uvicorn.Config(app, http=http, lifespan="off", ws="none", log_level="critical", **where)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        transport = httpx.HTTPTransport(uds=socket if address == "unix" else None)
        port = "" if address == "unix" else f":{server.servers[0].sockets[0].getsockname()[1]}"
        with httpx.Client(transport=transport, base_url=f"http://127.0.0.1{port}") as asking:
            assert asking.get("/", headers={"X-Forwarded-For": "198.51.100.7"}).status_code == 200
    finally:
        server.should_exit = True
        thread.join()
    assert seen == [(("198.51.100.7", 0), "127.0.0.1") if address == "127.0.0.1" else (None, UNIX)]


def test_of_a_server_that_tells_no_more_than_the_scope() -> None:
    async def receive() -> None: ...

    assert peer_of(scope("192.0.2.1"), receive) == "192.0.2.1"
    assert peer_of(scope("192.0.2.1", "198.51.100.7"), receive) == "192.0.2.1"
    assert peer_of(scope("198.51.100.7", "203.0.113.5, 198.51.100.7:99"), receive) == TOLD
    assert peer_of({"headers": [], "client": None}, receive) == UNIX
    assert peer_of({"headers": []}, receive) == UNIX
