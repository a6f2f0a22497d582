"""How long whoever asks the store waits for its answer."""

import asyncio
from collections import deque
from typing import Any

from waitroom.errors import StoreError

TURNS_OF_GRACE = 20
"""Turns of the loop: a busy one may have the answer in its socket already. That is this process late, not the store."""
TURN_SECONDS = 0.001
"""The least that one of them takes."""
LATE = "the store did not answer in time"


class Deadlines:
    """Ends the futures that are not done so many seconds after they were given: all by one timer, as there may be
    thousands."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._answered_at = float("-inf")
        self._watched: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def watch(self, future: asyncio.Future[Any]) -> None:
        """Raise StoreError in `future` if nothing else is done with it in time."""
        loop = future.get_loop()
        self._watched.append((loop.time() + self._seconds, future))
        if self._timer is None or self._loop is not loop:
            self._loop = loop
            self._timer = loop.call_later(self._seconds, self._look, loop, TURNS_OF_GRACE)

    def answered(self, at: float) -> None:
        """Begin anew for all who wait: the store has answered just now, they waited for their turn in this process."""
        self._answered_at = at

    def _look(self, loop: asyncio.AbstractEventLoop, turns: int) -> None:
        while self._watched:
            until, future = self._watched[0]
            if not future.done() and future.get_loop() is loop:
                until = max(until, self._answered_at + self._seconds)
                if until > loop.time():
                    self._timer = loop.call_at(until, self._look, loop, TURNS_OF_GRACE)
                    return
                if turns:
                    # Not at once: where nothing else is to do, all turns together would take less than an answer does.
                    self._timer = loop.call_later(TURN_SECONDS, self._look, loop, turns - 1)
                    return
                future.set_exception(StoreError(LATE))
            self._watched.popleft()
        self._timer = None


async def in_time(future: asyncio.Future[Any], seconds: float) -> None:
    """Wait until `future` is done; after so many seconds raise StoreError.

    It is cancelled then, and where whoever waits is cancelled: nobody needs it any more.
    """
    try:
        if not await is_done_in_time(future, seconds):
            raise StoreError(LATE)
    finally:
        future.cancel()  # does nothing to one that is done


async def is_done_in_time(future: asyncio.Future[Any], seconds: float) -> bool:
    """Wait for `future`, at most so many seconds, and tell whether it is done; it goes on if it is not."""
    await asyncio.wait([future], timeout=seconds)
    for _ in range(TURNS_OF_GRACE):
        if future.done():
            break
        await asyncio.sleep(0)
    return future.done()
