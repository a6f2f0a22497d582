"""A gate in the way of a request that has passed another already: that of a site around the one that it gates.

The outer gate keeps its credentials from what it gates, so an inner one of the same room would take each visitor for a
new one. It lets pass instead; the outer one has counted them.
"""

import logging
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from waitroom.config.settings import Settings
from waitroom.room.room import WaitingRoom
from waitroom.web.answers.draining import Draining
from waitroom.web.requests.cookies import PASSED_HEADER, Scope
from waitroom.web.routing import Way

PASSED = "waitroom.passed"
"""In the scope: its ways through the gates in front. No client can put anything there."""

VOUCHED_MS = 60_000
"""How long a proxy's word is good for, on the store's clock."""
LONGEST_VOUCHER = 100

log: logging.Logger = logging.getLogger("waitroom")


class HasSettings(Protocol):
    """A gate, as far as is looked at here."""

    settings: Settings
    room: WaitingRoom
    draining: Draining


Gate = TypeVar("Gate", bound=HasSettings)


class Again(Generic[Gate]):
    """Knows one middleware's `gates` that a request need not pass any more."""

    def __init__(self, gates: Sequence[Gate]) -> None:
        self._gates = gates
        self._warned: set[str] = set()

    def shared(self, scope: Scope) -> list[Gate]:
        """The gates of rooms that the request has passed in front of this one; mostly none."""
        passed = [other.settings for way in _routing(scope) for other in way.rooms]
        return self._among(passed)

    def is_inner(self, scope: Scope) -> bool:
        """Tell whether a gate of the same room in front of this one reads what the site says to them."""
        return bool(self._among(_in_front(scope)))

    def _among(self, others: Sequence[Settings]) -> list[Gate]:
        return [gate for gate in self._gates if any(_is_same(gate.settings, other) for other in others)]

    def warn(self, scope: Scope) -> None:
        """Say once of each room what another gate in front of this one means."""
        in_front = _in_front(scope)
        for room in [gate.settings for gate in self._gates]:
            same_name = [other for other in in_front if _names_the_same(room, other)]
            if not same_name or room.room in self._warned:
                continue
            self._warned.add(room.room)
            if any(_is_same(room, other) for other in same_name):
                log.warning(
                    "the room %r has another gate in front of this one, which lets pass whom that one has let in:"
                    " one of the two is enough",
                    room.room,
                )
            else:
                log.warning(
                    "a gate in front of this one has a room named %r, too, on another store or with another secret:"
                    " give one of them another WAITROOM_ROOM, or this one takes every visitor for a new one",
                    room.room,
                )


def draining_of(scope: Scope) -> Draining | None:
    """The draining of the gate that a request has passed, for a site of our own: one room has one bound."""
    passed = [gate for way in _routing(scope) for gate in (*way.rooms, *way.owners)]
    return passed[0].draining if passed else None


def vouchers(scope: Scope, target: str) -> list[tuple[str, str]]:
    """What a proxy says to gates behind it of a request for `target` that has passed its own.

    Not the pass, which is for this gate alone; it serves for one address and a minute.
    """
    return [
        (PASSED_HEADER.decode(), _voucher(gate.room, scope, target).decode())
        for way in _routing(scope)
        for gate in way.rooms
    ]


def vouched(scope: Scope, gates: Sequence[Gate]) -> list[Gate]:
    """Those of the `gates` whose room's gate in a proxy in front has let the request pass."""
    found: list[Gate] = []
    for header, value in scope["headers"]:
        if header == PASSED_HEADER:
            found += [gate for gate in gates if gate not in found and _is_vouched(gate.room, scope, value)]
    return found


def _voucher(room: WaitingRoom, scope: Scope, target: str) -> bytes:
    at = b"%d" % room.snapshot.now()
    return at + b"." + room.tokens.vouch(_text(at, scope, target))


def _is_vouched(room: WaitingRoom, scope: Scope, value: bytes) -> bool:
    at, _, signature = value.partition(b".")
    if not (len(value) <= LONGEST_VOUCHER and at.isdigit()):
        return False
    if abs(room.snapshot.now() - int(at)) > VOUCHED_MS:
        return False
    query: bytes = scope["query_string"]
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    return room.tokens.is_vouched(
        _text(at, scope, (path + b"?" + query if query else path).decode("latin-1")), signature
    )


def _text(at: bytes, scope: Scope, target: str) -> bytes:
    return b" ".join([at, scope.get("method", "GET").encode(), target.encode()])


def _routing(scope: Scope) -> Sequence[Way[HasSettings]]:
    ways: Sequence[Way[HasSettings]] = scope.get(PASSED, ())
    return ways


def _in_front(scope: Scope) -> list[Settings]:
    return [gate.settings for way in _routing(scope) for gate in (*way.rooms, *way.owners)]


def _is_same(one: Settings, other: Settings) -> bool:
    """Tell whether two gates let into one and the same room."""
    return (one.room, one.redis_url, one.secret) == (other.room, other.redis_url, other.secret)


def _names_the_same(one: Settings, other: Settings) -> bool:
    """Tell whether two gates' cookies have one name."""
    return (one.room, one.cookie_name) == (other.room, other.cookie_name)
