"""How many numbers a client takes in a minute, counted by one process in its own memory."""

import time
from collections import deque
from collections.abc import Callable

MINUTE = 60.0
MOST_COUNTED = 50_000
"""Numbers that are remembered, all clients' together: less than 20 MB. Beyond that the oldest are forgotten first."""


class JoinLimit:
    """Lets each client take `most` in any 60 s; those that were refused do not count."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._order: deque[str] = deque()
        self._taken: dict[str, list[float]] = {}

    def take(self, client: str) -> bool:
        """Count one more for this client, and tell whether that is still within the limit."""
        now = self._clock()
        self._forget(now - MINUTE)
        taken = self._taken.setdefault(client, [])
        if len(taken) >= self._most:
            return False
        taken.append(now)
        self._order.append(client)
        return True

    def give_back(self, client: str) -> None:
        """Count this client's latest no more: nothing was given for it."""
        taken = self._taken.get(client)
        if not taken:
            return  # so many others came meanwhile that it is forgotten
        taken.pop()
        if not taken:
            del self._taken[client]
        # It was counted just now, so it is near the end.
        at = next(at for at in range(len(self._order) - 1, -1, -1) if self._order[at] == client)
        del self._order[at]

    def seconds_left(self, client: str) -> int:
        """In how many whole seconds this client may take the next one; at least 1."""
        taken = self._taken.get(client)
        return 1 + int(taken[0] + MINUTE - self._clock()) if taken else 1

    def __len__(self) -> int:
        return len(self._order)

    def _forget(self, before: float) -> None:
        # Each client's times are in order, and so is whose each of them is: the first are always a pair.
        while self._order and (len(self._order) >= MOST_COUNTED or self._taken[self._order[0]][0] <= before):
            client = self._order.popleft()
            taken = self._taken[client]
            del taken[0]
            if not taken:
                del self._taken[client]
