"""Calls to the store that arrive together travel together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from waitroom.errors import StoreError
from waitroom.line.window import Window
from waitroom.store.deadlines import Deadlines, is_done_in_time

BATCH = 500
"""Most items of one call, so that no script holds the store for long."""
APART = 0.004
"""Seconds between the beginnings of two calls, at least, where fewer than a whole batch wait: nobody who waits in line
notices, and in a crowd many more travel together."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def is_alive(task: asyncio.Task[None] | None) -> bool:
    """Tell whether a task still runs in this event loop; one left over from another loop never will."""
    return task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop()


class Batching(Generic[Item, Answer]):
    """One script's calls: while one is under way, what comes next is collected for the following one."""

    def __init__(
        self,
        call: Callable[[Sequence[Item]], Awaitable[tuple[Window, Sequence[Answer]]]],
        learn: Callable[[Window], None],
        timeout_seconds: float,
    ) -> None:
        self._call = call
        self._learn = learn
        # How long whoever asks waits for an answer of the store, in seconds.
        self._seconds = timeout_seconds
        self._deadlines = Deadlines(timeout_seconds)
        self._pending: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._task: asyncio.Task[None] | None = None
        # Who waits for the call that is under way, and since when.
        self._sent: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._sent_at = float("-inf")

    async def ask(self, item: Item) -> Answer:
        """Ask for one item's answer; raises StoreError where it does not come in time."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._pending.append((item, future))
        if self._task is not None and self._is_given_up(loop.time()):
            self._task.cancel()
            self._task = None
        if not is_alive(self._task):
            self._task = loop.create_task(self._send())
        self._deadlines.watch(future)
        return await future

    def waiting(self) -> int:
        """Tell how many items wait to be sent."""
        return len(self._pending)

    async def close(self) -> None:
        """Let what is under way be answered in time, and give up what is not."""
        task = self._task
        if task is not None and is_alive(task):
            await is_done_in_time(task, self._seconds)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _is_given_up(self, now: float) -> bool:
        """Tell whether nobody waits any more for a call that hangs: then those who come next must not either."""
        late = bool(self._sent) and now - self._sent_at > self._seconds
        return late and all(future.done() for _, future in self._sent)

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        while self._pending:
            early = self._sent_at + APART - loop.time()
            if early > 0 and len(self._pending) < BATCH:
                await asyncio.sleep(early)
            # An item whose visitor has given up was not sent yet, and never will be.
            batch = [(item, future) for item, future in self._pending[:BATCH] if not future.done()]
            del self._pending[:BATCH]
            if batch:
                await self._send_batch(batch)

    async def _send_batch(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        self._sent, self._sent_at = batch, asyncio.get_running_loop().time()
        try:
            window, answers = await self._call([item for item, _ in batch])
        except StoreError as error:
            self._sent = []
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        self._sent = []
        self._deadlines.answered(asyncio.get_running_loop().time())
        self._learn(window)
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)
