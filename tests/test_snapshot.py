"""What one process knows of its room."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from tests import stores
from tests.conftest import SECRET
from tests.gates import eventually
from tests.rooms import Clock, Line
from tests.test_store_rights import DOCUMENTED, make_user
from tests.windows import window
from waitroom.config.settings import Settings, load
from waitroom.errors import StoreError
from waitroom.room import snapshot
from waitroom.room.snapshot import Snapshot
from waitroom.store.transitions import Store, read_script

Make = Callable[..., Settings]


pytestmark = pytest.mark.usefixtures("patience")


class Counting(Store):
    """A store that counts how often it is read."""

    reads = 0

    async def sync(self, ended_version: int):  # type: ignore[no-untyped-def]
        self.reads += 1
        return await super().sync(ended_version)


@pytest_asyncio.fixture
async def store(settings: Make, store_url: str) -> AsyncIterator[Counting]:
    opened = Counting(store_url, settings())
    yield opened
    await opened.close()


Moved = tuple[Clock, Store, Snapshot]


@pytest_asyncio.fixture
async def moved(settings: Make, store_url: str) -> AsyncIterator[Moved]:
    """A snapshot of a store whose clock the test moves."""
    clock = Clock()
    store = Store(store_url, settings(), clock)
    fresh = Snapshot(store, 60, is_idle)
    yield clock, store, fresh
    await fresh.close()
    await store.close()


def is_idle() -> bool:
    return False


def is_away(snapshot: Snapshot) -> bool:
    return snapshot.away_since is not None


async def test_before_the_first_contact_time_is_this_machines(store: Counting) -> None:
    fresh = Snapshot(store, 60, is_idle)
    assert fresh.window is None
    assert abs(fresh.now() - time.time() * 1000) < 60_000
    assert abs(fresh.read_at() / 1000 - time.time()) < 60


async def test_p7_however_many_ask_the_store_is_read_once(store: Counting) -> None:
    fresh = Snapshot(store, 60, is_idle)
    await asyncio.gather(*(fresh.fresh() for _ in range(100)))
    for _ in range(100):
        await fresh.fresh()
    assert store.reads == 1
    assert fresh.window is not None
    assert fresh.read_at() == fresh.window.at
    await fresh.reread()
    assert store.reads == 2
    await fresh.close()
    await fresh.close()


async def test_p9_its_clock_is_the_stores(store: Counting) -> None:
    """Whatever this machine's clock says: the store's is a year off here."""
    year = 365 * 86_400_000

    class Ahead(Counting):
        async def sync(self, ended_version: int):  # type: ignore[no-untyped-def]
            window, synced = await super().sync(ended_version)
            return replace(window, at=window.at + year), synced

    fresh = Snapshot(Ahead(store.url, load(redis_url=store.url, secret=SECRET)), 60, is_idle)
    await fresh.fresh()
    assert abs(fresh.now() - time.time() * 1000 - year) < 60_000
    await fresh.close()
    await fresh._store.close()


async def test_a_later_window_is_learned_and_an_earlier_one_is_not(store: Counting) -> None:
    fresh = Snapshot(store, 60, is_idle)
    now = window(5, 5, at=1000)
    fresh.learn(now)
    fresh.learn(window(4, 4, at=999))
    assert fresh.window == now
    later = window(6, 5, at=1001)
    fresh.learn(later)
    assert fresh.window == later


async def test_reading_ends_with_the_requests_and_begins_again(
    store: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "IDLE_SECONDS", 0.1)
    fresh = Snapshot(store, 0.05, is_idle)
    await fresh.fresh()

    async def at_rest() -> bool:
        return fresh._task is not None and fresh._task.done()

    await eventually(at_rest)
    reads = store.reads
    await fresh.fresh()
    await eventually(at_rest)
    assert store.reads > reads
    await fresh.close()


async def test_reading_goes_on_while_requests_are_open(
    store: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "IDLE_SECONDS", 0)
    open_requests = 1
    fresh = Snapshot(store, 0.05, lambda: bool(open_requests))
    await fresh.fresh()

    async def read_more() -> bool:
        return store.reads >= 4

    await eventually(read_more)
    assert fresh._task is not None
    assert not fresh._task.done()
    open_requests = 0

    async def at_rest() -> bool:
        return fresh._task is not None and fresh._task.done()

    await eventually(at_rest)
    await fresh.close()


async def test_p6_nobody_waits_for_a_store_that_is_known_to_be_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lost = Snapshot(
        Store(f"unix://{tmp_path}/nobody", load(redis_url="unix:///x", secret=SECRET)), 60, is_idle
    )
    await lost.fresh()
    assert lost.away_since is not None
    assert "can't be reached" in str(lost.error)
    with pytest.raises(StopIteration):
        lost.fresh().send(None)
    with pytest.raises(StopIteration):
        lost.reread().send(None)
    since = lost.away_since
    lost.lose(StoreError("still gone"))
    assert (lost.away_since, str(lost.error)) == (since, "still gone")
    assert caplog.text.count("those inside go on") == 1
    await lost.close()
    with pytest.raises(StopIteration):
        lost.fresh(inside=True).send(None)  # nor who is inside, however long nobody has asked
    await lost.close()
    await lost.fresh()
    await lost.close()


async def test_the_list_of_the_ended_is_read_when_it_has_changed(store: Counting) -> None:
    fresh = Snapshot(store, 60, is_idle)
    await fresh.fresh()
    assert fresh.ended == {}
    fresh.end("somebody", 2**50)
    await fresh.reread()
    assert fresh.ended == {"somebody": 2**50}, "what is known stays until the store has another list"
    await fresh.close()


async def test_p1_a_list_of_many_parts_is_known_after_one_sync(
    settings: Make, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Line(store_url, settings(capacity=600, window_size=10_000))
    ids = set()
    for _ in range(4):
        tickets = await busy.enter(600)
        ids |= {ticket.id for ticket in tickets}
        await busy.leave(*tickets)
    store = Counting(store_url, busy.settings, busy.clock)
    fresh = Snapshot(store, 60, is_idle)
    await fresh.fresh()
    assert (set(fresh.ended), store.reads) == (ids, 3)
    (one,) = await busy.enter(1)
    await busy.leave(one)
    await fresh.reread()
    assert (set(fresh.ended), store.reads) == (ids | {one.id}, 4)
    # What has run out is forgotten now and then, also where nothing is listed any more.
    busy.clock.advance(busy.settings.session_seconds)
    await fresh.reread()
    assert len(fresh.ended) == 2401
    monkeypatch.setattr(snapshot, "PRUNE_SECONDS", 0.0)
    await fresh.reread()
    assert fresh.ended == {}
    await fresh.close()
    await store.close()
    await busy.close()


async def test_a_store_that_goes_and_comes_is_told_once(
    store: Counting, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once away and once back, the latter when it has stayed."""
    fresh = Snapshot(store, 60, is_idle)
    since = datetime.now(UTC).isoformat(timespec="seconds")
    for _ in range(3):
        fresh.lose(StoreError("gone"))
        await fresh._read()
        assert fresh.away_since is None
        assert fresh.error is None
        await fresh.reread()
    assert caplog.messages == ["gone; those inside go on"]
    monkeypatch.setattr(snapshot, "STEADY_SECONDS", 0)
    await fresh.reread()
    await fresh.reread()
    assert [line.rpartition(" since ")[0] for line in caplog.messages[1:]] == [
        "the store is back; it was away"
    ]
    assert caplog.messages[1].rpartition(" since ")[2] >= since
    await fresh.close()


async def test_p6_a_store_that_comes_and_goes_was_away_all_the_time(
    moved: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass that ran out in the first of two absences is not forgotten at the second."""
    clock, _, fresh = moved

    async def absent(seconds: float) -> None:
        fresh.lose(StoreError("gone"))
        clock.advance(seconds)
        await fresh.contact()
        assert fresh.away_since is None

    await fresh.contact()
    began = clock.ms()
    await absent(100)
    await absent(2)
    assert fresh.ran_out_while_away(began + 40_000)
    fresh.lose(StoreError("gone once more"))
    assert fresh.ran_out_while_away(began + 40_000)
    await fresh.reread()
    await fresh.contact()

    monkeypatch.setattr(snapshot, "STEADY_SECONDS", 0)
    clock.advance(60)
    for _ in range(2):
        await fresh.reread()
    await absent(2)
    assert not fresh.ran_out_while_away(began + 40_000), "that was another time"
    assert fresh.ran_out_while_away(clock.ms(-1))


async def test_a_store_that_refuses_what_the_sync_does_not_need_is_not_back(
    any_store_url: str, room: str
) -> None:
    url = make_user(any_store_url, DOCUMENTED)
    store = Store(url, load(redis_url=url, secret=SECRET, room=room))
    fresh = Snapshot(store, 60, is_idle)
    await fresh.fresh()
    assert not is_away(fresh)
    make_user(any_store_url, DOCUMENTED, without="+hsetnx")
    await fresh.reread()
    assert not is_away(fresh), "the sync alone goes on"
    fresh.lose(StoreError("a visitor could not leave"))
    await fresh._read()
    assert "it may not call 'hsetnx'" in str(fresh.error)
    assert is_away(fresh)
    make_user(any_store_url, DOCUMENTED)
    await fresh._read()
    assert not is_away(fresh)
    await fresh.close()
    await store.close()


async def test_a_read_that_hangs_keeps_no_other_from_getting_through(
    store: Counting, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "AWAY_SECONDS", 0)
    monkeypatch.setattr(store, "timeout_seconds", 0.05)
    fresh = Snapshot(store, 60, is_idle)
    await fresh.contact()
    offset = fresh._offset_ms
    with stores.admin(store_url) as admin:
        admin.execute_command("CLIENT PAUSE", 60_000, "WRITE")
        for _ in range(snapshot.MOST_READS + 2):
            await fresh._read()
    assert store.reads == 1 + snapshot.MOST_READS, "no more than so many at a time"
    assert is_away(fresh)
    hung = list(fresh._readings)
    with stores.admin(store_url) as admin:
        admin.execute_command("CLIENT UNPAUSE")
    await asyncio.gather(*hung)
    assert fresh._offset_ms == offset, "the time is not told by answers that were long on their way"
    assert is_away(fresh), "they were late"
    monkeypatch.setattr(store, "timeout_seconds", 5)
    await fresh._read()
    assert not is_away(fresh)
    await fresh.close()


async def test_p6_who_is_inside_does_not_wait_for_a_read(store: Counting, store_url: str) -> None:
    fresh = Snapshot(store, 60, is_idle)
    await fresh.fresh()
    fresh._read_at = float("-inf")
    with pytest.raises(StopIteration):
        fresh.fresh(inside=True).send(None)
    await fresh.close()


async def test_a_store_that_answers_late_is_as_good_as_away(
    store: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "timeout_seconds", 0)
    fresh = Snapshot(store, 60, is_idle)
    fresh.lose(StoreError("slow"))
    await fresh._read(5)
    assert fresh.away_since is not None
    assert fresh.window is not None, "what it says is taken all the same"
    await fresh.close()


def test_the_grace_is_that_of_the_scripts() -> None:
    assert f"local GRACE_US = {snapshot.GRACE_MS * 1000} " in read_script("sync")


async def test_p6_late_answers_do_not_shorten_how_long_passes_are_honoured(
    moved: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, store, fresh = moved
    await fresh.contact()
    fresh.lose(StoreError("slow"))
    ran_out = clock.ms(10)
    clock.advance(120)
    monkeypatch.setattr(store, "timeout_seconds", 0)
    await fresh._read(5)
    assert is_away(fresh)
    assert fresh.window is not None
    assert fresh.window.at == clock.ms(), "it was heard"
    assert fresh.ran_out_while_away(ran_out)


def test_a_task_of_an_event_loop_that_is_gone_is_replaced(settings: Make, store_url: str) -> None:
    store = Counting(store_url, settings())
    fresh = Snapshot(store, 60, is_idle)

    async def once() -> None:
        fresh._read_at = float("-inf")
        await fresh.fresh()
        await store.close()

    for reads in (1, 2):
        asyncio.run(once())
        assert store.reads == reads
