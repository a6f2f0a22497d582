"""Who a request is counted for: forwarded addresses are believed from proxies that are named, and from no other."""

from collections.abc import Iterable

import pytest

from waitroom.clients import PEER, TOLD, UNIX, Clients, peer_of
from waitroom.cookies import Scope
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
        ([], TOLD, ["198.51.100.7"], TOLD),
        (["10.0.0.1"], TOLD, ["203.0.113.5, 198.51.100.7"], "198.51.100.7"),
        ([], "testclient", [], "testclient"),
    ],
)
def test_who_is_counted(proxies: list[str], peer: str, forwarded: list[str], counted_as: str) -> None:
    assert client(proxies, peer, *forwarded) == counted_as


def test_the_solution_comes_along() -> None:
    assert Clients([]).asker(scope("192.0.2.1", solution="abc")) == Asker("192.0.2.1", "abc")
    assert Clients([]).asker({"headers": []}) == Asker(UNIX, None)


def test_the_peer_is_the_other_end_of_the_connection() -> None:
    class Cycle:
        """As uvicorn's: its bound method is what an app receives by."""

        transport: object

        def receive(self) -> None: ...

    class Transport:
        def __init__(self, peer: object) -> None:
            self.peer = peer

        def get_extra_info(self, name: str) -> object:
            return self.peer if name == "peername" else None

    cycle = Cycle()
    rewritten = scope("198.51.100.7", "198.51.100.7")
    cycle.transport = Transport(("127.0.0.1", 5566))
    assert peer_of(rewritten, cycle.receive) == "127.0.0.1"
    cycle.transport = Transport("")
    assert peer_of(rewritten, cycle.receive) == UNIX


def test_of_a_server_that_tells_no_more_than_the_scope() -> None:
    async def receive() -> None: ...

    assert peer_of(scope("192.0.2.1"), receive) == "192.0.2.1"
    assert peer_of(scope("192.0.2.1", "198.51.100.7"), receive) == "192.0.2.1"
    assert peer_of(scope("198.51.100.7", "203.0.113.5, 198.51.100.7:99"), receive) == TOLD
    assert peer_of({"headers": [], "client": None}, receive) == UNIX
    assert peer_of({"headers": []}, receive) == UNIX
