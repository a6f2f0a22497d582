"""Who is inside: the visitors this process has served within the last minute."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Visitor(Protocol):
    """What the gate says about whoever sent the request."""

    @property
    def number(self) -> int: ...  # noqa: D102
    @property
    def session(self) -> str: ...  # noqa: D102
    @property
    def waited_seconds(self) -> float: ...  # noqa: D102


@dataclass(frozen=True)
class Guest:
    """A visitor as the others see them: `doing` is what they last did, `seen` when, on the given clock."""

    session: str
    number: int
    waited_seconds: float
    doing: str
    seen: float


class Guests:
    """The guest book. It holds at most `limit` names and forgets each after `keep_seconds`."""

    def __init__(
        self, *, keep_seconds: float = 60.0, limit: int = 500, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keep_seconds = keep_seconds
        self._limit = limit
        self._clock = clock
        self._guests: OrderedDict[str, Guest] = OrderedDict()  # the longest unseen first

    def see(self, visitor: Visitor, doing: str) -> None:
        """Note that `visitor` is here and what they are doing."""
        self._guests[visitor.session] = Guest(
            visitor.session, visitor.number, visitor.waited_seconds, doing, self._clock()
        )
        self._guests.move_to_end(visitor.session)
        if len(self._guests) > self._limit:
            self._guests.popitem(last=False)

    def forget(self, visitor: Visitor) -> None:
        """Strike out a visitor who leaves."""
        self._guests.pop(visitor.session, None)

    def inside(self) -> list[Guest]:
        """Return those seen lately, the highest number first."""
        since = self._clock() - self._keep_seconds
        while self._guests and next(iter(self._guests.values())).seen < since:
            self._guests.popitem(last=False)
        return sorted(self._guests.values(), key=lambda guest: guest.number, reverse=True)
