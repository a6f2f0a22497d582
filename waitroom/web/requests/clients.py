"""Who asks, as far as the connection and the proxies that are named tell: an IPv4 address, or an IPv6 /64."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from waitroom.room.guard import Asker
from waitroom.web.requests.cookies import Scope

SOLUTION = b"waitroom-solution"
FORWARDED_FOR = b"x-forwarded-for"

PEER = "waitroom.peer"
"""In the scope: the other end of the connection, whatever the server has put into `client`."""
UNIX = "unix"
"""The name of the peer behind a unix socket, which has no address."""
TOLD = "told by the server"
"""The peer where the server has put a forwarded address in its place: only the server knows who that was."""

MOST_FORWARDED = 32
"""Forwarded addresses that are looked at, from the right: no request comes through so many proxies, and whoever sends
it may put thousands in front of what they add."""
LONGEST_ADDRESS = 100
"""Characters of the longest that is read, with brackets, a zone and a port."""

Address = IPv4Address | IPv6Address


def peer_of(scope: Scope, receive: Any) -> str:
    """Tell the other end of the connection.

    uvicorn puts a forwarded address into `client` where the connection comes from 127.0.0.1, unless it is told
    otherwise, and the peer is not in the scope any more; it is still to be had from the transport.
    """
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is not None:
        peer = transport.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) else UNIX
    client = scope.get("client")
    if not client:
        return UNIX
    return TOLD if _is_forwarded(scope, str(client[0])) else str(client[0])


class Clients:
    """Tells clients apart; forwarded addresses are believed from the `proxies` alone: addresses and networks."""

    def __init__(self, proxies: Iterable[str]) -> None:
        named = set(proxies)
        self._believes_unix = UNIX in named
        self._networks = [ip_network(network) for network in named - {UNIX}]

    def asker(self, scope: Scope) -> Asker:
        """Tell who sends a request, and what solution of a challenge comes with it."""
        solution = next((value for name, value in scope["headers"] if name == SOLUTION), None)
        peer: str = scope.get(PEER) or UNIX
        forwarded = _forwarded(scope)
        client = self._told(scope, forwarded) if peer == TOLD else self._client(peer, forwarded)
        return Asker(client, None if solution is None else solution.decode("latin-1"))

    def _told(self, scope: Scope, forwarded: Sequence[str]) -> str:
        """Take the server at its word, where the proxies that are named say the same.

        Else it may have put nothing there: whoever comes directly can name itself beside others, too.
        """
        told, read = str(scope["client"][0]), self._client(TOLD, forwarded)
        return read if self._trusts(told) or _key(told) == read else TOLD

    def _client(self, peer: str, forwarded: Sequence[str]) -> str:
        """Read what proxies have added from the right: the first that is no trusted proxy is the client."""
        if not self._trusts(peer):
            return _key(peer)
        client = peer
        for told in reversed(forwarded):
            if _address(told) is None:
                break  # who wrote that can't tell who it was
            client = told
            if not self._trusts(told):
                break
        return _key(client)

    def _trusts(self, peer: str) -> bool:
        if peer == UNIX:
            return self._believes_unix
        if peer == TOLD:
            return bool(self._networks)
        address = _address(peer)
        return address is not None and any(address in network for network in self._networks)


def _forwarded(scope: Scope) -> list[str]:
    entries = _joined(scope).rsplit(b",", MOST_FORWARDED)[-MOST_FORWARDED:]
    return [entry for entry in (each.decode("latin-1").strip() for each in entries) if entry]


def _joined(scope: Scope) -> bytes:
    return b",".join([value for name, value in scope["headers"] if name == FORWARDED_FOR])


def _is_forwarded(scope: Scope, client: str) -> bool:
    """Return whether an address is among those that are forwarded: in the same words anywhere, or, as servers take
    either the first or one from the right, in others there.
    """
    address, joined = _address(client), _joined(scope)
    if address is None or not joined:
        return False
    if b",%b," % client.encode() in b",%b," % joined.translate(None, b" \t"):
        return True
    first = joined.partition(b",")[0][: LONGEST_ADDRESS + 1].decode("latin-1").strip()
    return address in map(_address, (first, *_forwarded(scope)))


def _address(text: str) -> Address | None:
    """Read an address, also with a port, in brackets or with a zone; one of IPv4 that is written as IPv6 is IPv4."""
    if len(text) > LONGEST_ADDRESS:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _key(client: str) -> str:
    """What a client is counted by: whoever has one address of IPv6 has the 2^64 beside it."""
    address = _address(client)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return client if address is None else str(address)
