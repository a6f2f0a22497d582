"""Virtual time: what happens next, and when. Microseconds, as the scripts count them."""

import heapq
import itertools
import random
from collections.abc import Callable

SECOND = 1_000_000
BEGIN = 1_760_000_000 * SECOND


class Engine:
    """A clock that jumps from one event to the next, and the chance that all of them draw from."""

    def __init__(self, seed: int) -> None:
        self.now = BEGIN
        self.chance = random.Random(seed)  # noqa: S311  # repeatable, nothing secret
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()

    @property
    def seconds(self) -> float:
        """Seconds since the simulation began."""
        return (self.now - BEGIN) / SECOND

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Have something happen so many seconds from now; of two at the same moment, in the order they were told."""
        at = self.now + max(0, round(seconds * SECOND))
        heapq.heappush(self._events, (at, next(self._order), event))

    def run(self, seconds: float) -> None:
        """Let so many seconds pass."""
        until = self.now + round(seconds * SECOND)
        while self._events and self._events[0][0] <= until:
            self.now, _, event = heapq.heappop(self._events)
            event()
        self.now = until
