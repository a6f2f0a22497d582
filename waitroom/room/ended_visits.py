"""First visits that are over and of which the store has not heard: the next join takes them along."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from waitroom.errors import StoreError
from waitroom.line.window import Window
from waitroom.store.batching import BATCH, is_alive
from waitroom.store.transitions import Joined, Store

MOST_ENDED = 10_000
"""First visits that are over, of which a process remembers to tell the store; what is forgotten runs out by itself."""


class EndedVisits:
    """Reports to the store, which `learn` hears of, unless it `is_away`.

    They are a list, neither tasks nor calls of their own, so that they outlive the event loop that they were served in.
    """

    def __init__(self, store: Store, learn: Callable[[Window], None], is_away: Callable[[], bool]) -> None:
        self._store = store
        self._learn = learn
        self._is_away = is_away
        self._ended: list[tuple[str, str]] = []
        self._reporting = 0
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Count those of which the store has not heard, and that are not on their way to it."""
        return len(self._ended)

    def is_reporting(self) -> bool:
        """Tell whether some are on their way: what is known of the room may be of before they ended."""
        return self._reporting > 0

    def add(self, session: str, keeps: bool) -> None:
        """Note that a first visit's request is over; `keeps`: a browser may come back, so its slot is kept a while.

        What nobody is to come back to is given back at once.
        """
        self._ended.append(("done" if keeps else "gone", session))
        del self._ended[:-MOST_ENDED]
        if not keeps:
            self.report_soon()

    async def join(self, visitors: Sequence[tuple[str, str]]) -> tuple[Window, list[Joined]]:
        """Join, with the oldest of those that are over in front: their slots may be what these need."""
        taken = self._ended[:BATCH]
        del self._ended[:BATCH]
        self._reporting += len(taken)
        is_heard = False
        try:
            answer = await self._store.join([*taken, *visitors])
            is_heard = True
        finally:
            self._reporting -= len(taken)
            if not is_heard:  # a store that is away, or an event loop that ends: to report twice does no harm
                self._ended[:0] = taken
                del self._ended[:-MOST_ENDED]
        return answer

    def report_soon(self) -> None:
        """Report where no newcomer has taken them along."""
        if self._ended and not (is_alive(self._task) or self._is_away()):
            self._task = asyncio.get_running_loop().create_task(self._report())

    async def _report(self) -> None:
        with suppress(StoreError):  # they run out by themselves
            window, _ = await self.join(())
            self._learn(window)

    async def close(self) -> None:
        """Report what is left, as nobody else knows of it: the slots would be taken for in use."""
        if self._task is not None and is_alive(self._task):
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._ended and not self._is_away():
            await self._report()
