"""Calls to the store that arrive together travel together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from waitroom.errors import StoreError
from waitroom.window import Window

BUDGET_SECONDS = 0.25
"""How long a visitor waits for the store at most."""
TURNS_OF_GRACE = 5
LATE = "the store did not answer in time"
BATCH = 500
"""Most items of one call, so that no script holds the store for long."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def is_alive(task: asyncio.Task[None] | None) -> bool:
    """Tell whether a task still runs in this event loop; one left over from another loop never will."""
    return task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop()


class Together(Generic[Item, Answer]):
    """One script's calls: while one is under way, what comes next is collected for the following one."""

    def __init__(
        self,
        call: Callable[[Sequence[Item]], Awaitable[tuple[Window, Sequence[Answer]]]],
        learn: Callable[[Window], None],
    ) -> None:
        self._call = call
        self._learn = learn
        self._pending: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, item: Item) -> Answer:
        """Ask for one item's answer; raises StoreError where it does not come within the budget."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._pending.append((item, future))
        if not is_alive(self._task):
            self._task = loop.create_task(self._send())
        await within_budget(future)
        return future.result()

    async def close(self) -> None:
        """Let what is under way be answered within the budget, and give up what is not."""
        task = self._task
        if task is not None and is_alive(task):
            await is_done_in_time(task)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _send(self) -> None:
        while self._pending:
            # An item whose visitor has given up was not sent yet, and never will be.
            batch = [(item, future) for item, future in self._pending[:BATCH] if not future.done()]
            del self._pending[:BATCH]
            if batch:
                await self._send_batch(batch)

    async def _send_batch(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            window, answers = await self._call([item for item, _ in batch])
        except StoreError as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        self._learn(window)
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)


async def within_budget(future: asyncio.Future[Answer]) -> None:
    """Wait until `future` is done; when the budget is used up cancel it and raise StoreError."""
    if not await is_done_in_time(future):
        future.cancel()
        raise StoreError(LATE)


async def is_done_in_time(future: asyncio.Future[Any], seconds: float | None = None) -> bool:
    """Wait for `future`, at most the budget or `seconds`, and tell whether it is done; it goes on if it is not."""
    await asyncio.wait([future], timeout=BUDGET_SECONDS if seconds is None else seconds)
    for _ in range(TURNS_OF_GRACE):
        if future.done():
            break
        # A busy loop may have the answer in its socket already: that is this process late, not the store.
        await asyncio.sleep(0)
    return future.done()
