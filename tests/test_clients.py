"""Who a request is counted for: forwarded addresses are believed from proxies that are named, and from no other."""

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from tests.conftest import SECRET
from tests.gates import join, serving
from tests.sites import plain
from tests.waiting import until
from waitroom.room.guard import Asker
from waitroom.web.requests.clients import PEER, TOLD, UNIX, Clients, peer_of


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
        # A unix socket has no address.
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
        (["10.0.0.1"], "198.51.100.7", "198.51.100.7, 10.0.0.1", "198.51.100.7"),
        (["10.0.0.1"], "2001:db8::7", "[2001:db8::7]:443, 10.0.0.1", "2001:db8::/64"),
        # The server's list is shorter than the gate's.
        (["10.0.0.0/8"], "10.1.1.1", "203.0.113.5, 198.51.100.7, 10.1.1.1", "198.51.100.7"),
        # The server takes the first there is; or a client came directly, and names itself and another.
        (["10.0.0.1"], "198.51.100.7", "198.51.100.7, 203.0.113.5", TOLD),
        (["10.0.0.1"], "198.51.100.7", "198.51.100.7, unknown", TOLD),
    ],
)
def test_who_is_counted_where_the_server_has_put_an_address_in_the_peers_place(
    proxies: list[str], told: str, forwarded: str, counted_as: str
) -> None:
    asked = {**scope(told, forwarded), PEER: TOLD}
    assert Clients(proxies).asker(asked).client == counted_as


@pytest.mark.parametrize(
    "line", ["granian --interface asgi tests.sites:starlette_site", "hypercorn tests.sites:starlette_site"]
)
def test_who_comes_directly_and_names_itself_is_believed_no_other_name(
    line: str, store_url: str, room: str
) -> None:
    """These servers tell no more than the scope: an address in it that is also forwarded may be either."""
    store: dict[str, Any] = {"redis_url": store_url, "secret": SECRET, "room": room}
    limits: dict[str, Any] = {"join_limit": 2, "trusted_proxies": "10.0.0.0/8", "challenge": "off"}
    with serving(line, **store, **limits) as server, httpx.Client(base_url=server.url) as asking:
        statuses = []
        for at in range(4):
            asking.cookies.clear()
            statuses.append(
                join(asking, headers={"X-Forwarded-For": f"127.0.0.1, 203.0.113.{at}"}).status_code
            )
        assert statuses == [201, 201, 429, 429]


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
