"""Calls that arrive together travel together."""

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import chain, pairwise

import pytest

from tests.waiting import DEADLINE_SECONDS
from tests.windows import window
from waitroom.errors import StoreError
from waitroom.line.window import Window
from waitroom.store import deadlines
from waitroom.store.batching import APART, BATCH, Batching, is_alive
from waitroom.store.deadlines import in_time

WINDOW = window()


class Script:
    """A call that answers when it is told to, and remembers what it was asked."""

    def __init__(self, open_: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.learned: list[Window] = []
        self.error: StoreError | None = None
        self.gate = asyncio.Event()
        if open_:
            self.gate.set()

    async def __call__(self, items: Sequence[int]) -> tuple[Window, Sequence[str]]:
        self.batches.append(list(items))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return WINDOW, [f"answer {item}" for item in items]


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def test_what_arrives_while_a_call_is_under_way_shares_the_next() -> None:
    script = Script(open_=False)
    calls: Batching[int, str] = Batching(script, script.learned.append, 10)
    asked = [asyncio.create_task(calls.ask(0))]
    await until(lambda: script.batches)
    asked += [asyncio.create_task(calls.ask(item)) for item in range(1, 1 + BATCH + 3)]
    await asyncio.sleep(0)
    script.gate.set()
    assert await asyncio.gather(*asked) == [f"answer {item}" for item in range(BATCH + 4)]
    assert [len(batch) for batch in script.batches] == [1, BATCH, 3]
    assert list(chain(*script.batches)) == list(range(BATCH + 4)), "P3: in the order they came"
    assert script.learned == [WINDOW] * 3


async def test_a_crowd_that_comes_one_by_one_travels_together() -> None:
    """Two calls never begin sooner after one another than that, whether somebody waited for the second or not."""
    began: list[float] = []

    async def script(items: Sequence[int]) -> tuple[Window, Sequence[int]]:
        began.append(asyncio.get_running_loop().time())
        return WINDOW, items

    calls: Batching[int, int] = Batching(script, lambda _: None, 10)
    for item in range(5):
        assert await calls.ask(item) == item
    asked = [asyncio.create_task(calls.ask(item)) for item in range(5)]
    assert await asyncio.gather(*asked) == list(range(5))
    assert len(began) == 6
    assert (
        min(after - before for before, after in pairwise(began))
        >= APART - time.get_clock_info("monotonic").resolution
    )


async def test_an_error_is_told_to_all_who_asked_and_the_next_call_is_made() -> None:
    script = Script()
    script.error = StoreError("gone")
    calls: Batching[int, str] = Batching(script, script.learned.append, 10)
    errors = await asyncio.gather(*(calls.ask(item) for item in range(3)), return_exceptions=True)
    assert [str(error) for error in errors] == ["gone"] * 3
    script.error = None
    assert await calls.ask(9) == "answer 9"


@pytest.mark.parametrize("fails", [False, True])
async def test_who_waits_too_long_is_told_and_what_was_not_sent_never_is(
    fails: bool,
) -> None:
    """P4: a number that nobody hears of is not taken once the visitor has gone on."""
    script = Script(open_=False)
    script.error = StoreError("gone") if fails else None
    calls: Batching[int, str] = Batching(script, script.learned.append, 0.01)
    asked = [asyncio.create_task(calls.ask(0))]
    await until(lambda: script.batches)
    asked += [asyncio.create_task(calls.ask(item)) for item in (1, 2)]
    errors = await asyncio.gather(*asked, return_exceptions=True)
    assert [str(error) for error in errors] == ["the store did not answer in time"] * 3
    script.gate.set()
    await until(lambda: not is_alive(calls._task))
    script.error = None
    assert await calls.ask(3) == "answer 3"
    assert script.batches == [[0], [3]]


async def test_who_comes_next_does_not_wait_for_a_call_that_hangs() -> None:
    script = Script(open_=False)
    calls: Batching[int, str] = Batching(script, script.learned.append, 0.05)
    with pytest.raises(StoreError):
        await calls.ask(0)
    hung = calls._task
    script.gate, waits = asyncio.Event(), script.gate
    script.gate.set()
    assert await calls.ask(1) == "answer 1"
    assert hung is not None
    assert hung.cancelled()
    assert not waits.is_set()
    assert script.batches == [[0], [1]]


async def test_whoever_is_gone_neither_holds_up_who_comes_next_nor_is_asked_for() -> None:
    """P4: a server may cancel a request whose client has gone."""
    script = Script(open_=False)
    calls: Batching[int, str] = Batching(script, script.learned.append, 0.05)
    asked = [asyncio.create_task(calls.ask(item)) for item in (0, 1)]
    await until(lambda: script.batches)
    asked.append(asyncio.create_task(calls.ask(2)))
    await asyncio.sleep(0)  # one turn of the loop, in which it is asked
    for one in asked:
        one.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    with pytest.raises(StoreError):
        await calls.ask(3)  # the store hangs
    script.gate.set()
    assert await calls.ask(4) == "answer 4"
    assert script.batches == [[0, 1], [4]], "what was not sent yet never is"


async def test_an_answer_that_this_process_was_too_busy_to_read_still_counts() -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[str] = loop.create_future()
    waiting = asyncio.create_task(in_time(future, 0))
    await asyncio.sleep(0)
    loop.call_soon(lambda: loop.call_soon(future.set_result, "there"))
    await waiting
    assert future.result() == "there"


async def test_an_answer_in_the_last_turn_of_grace_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "TURNS_OF_GRACE", 0)
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    future.set_result("there")
    await in_time(future, 0)
    lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    with pytest.raises(StoreError):
        await in_time(lost, 0)
    assert lost.cancelled()


def test_a_call_in_another_loop_is_given_up_in_time_as_well() -> None:
    """Soon after the first one, whose timer will never end anything."""
    script = Script()
    calls: Batching[int, str] = Batching(script, script.learned.append, 0.2)
    assert asyncio.run(calls.ask(0)) == "answer 0"

    async def hangs() -> None:
        script.gate = asyncio.Event()
        with pytest.raises(StoreError):
            await asyncio.wait_for(calls.ask(1), DEADLINE_SECONDS)
        await calls.close()

    asyncio.run(hangs())


def test_a_task_of_another_loop_is_not_alive() -> None:
    async def left_behind() -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(asyncio.sleep(60))

    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(left_behind())

    async def look() -> tuple[bool, bool]:
        return is_alive(task), is_alive(None)

    assert asyncio.run(look()) == (False, False)
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()


async def test_closing_lets_what_is_under_way_be_answered() -> None:
    script = Script(open_=False)
    calls = Batching(script, script.learned.append, 10)
    await calls.close()
    asked = asyncio.create_task(calls.ask(1))
    await until(lambda: script.batches)
    closing = asyncio.create_task(calls.close())
    await asyncio.sleep(0)  # one turn of the loop, in which closing begins
    script.gate.set()
    await closing
    assert await asked == "answer 1"


async def test_closing_gives_up_what_is_not_answered() -> None:
    script = Script(open_=False)
    calls: Batching[int, str] = Batching(script, script.learned.append, 0.01)
    with pytest.raises(StoreError):
        await calls.ask(1)
    await calls.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
