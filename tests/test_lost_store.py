"""The store comes back with nothing, or is away for long, or for one process only: nobody loses a place.

What is claimed of those inside and of the order is read from what the site itself has written down.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from tests import stores
from tests.fault_proxy import fault_proxy
from tests.gates import DEADLINE_SECONDS, Server, eventually
from tests.rooms import Line
from tests.shops import all_live, serving, shop, staying
from tests.stores import DURABLE, Box, clustered, shipped_valkey
from tests.witnesses import crowd_at, recording
from waitroom.config.settings import Settings
from waitroom.store.embedded.server import running
from waitroom.store.transitions import KEYS


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """It keeps nothing on its disk."""
    with stores.box(tmp_path) as machine:
        yield machine


LOSS = "the store has lost something"


async def grown(count: Callable[[], int], before: int) -> bool:
    return count() > before


def flush(box: Box) -> None:
    with box.client() as client:
        client.flushall()


def lose(box: Box) -> None:
    box.kill()
    box.start()


def status_of(url: str, room: str) -> dict[str, Any]:
    """What the command line tells of the room."""
    command = [sys.executable, "-m", "waitroom", "status", "--json", "--redis-url", url, "--room", room]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (fields,) = [json.loads(line) for line in told.splitlines()]
    return dict(fields)


@pytest.mark.parametrize("empties", [flush, lose], ids=["flushed", "killed"])
async def test_p1_p3_p4_p6_a_store_that_comes_back_empty(
    box: Box, tmp_path: Path, empties: Callable[[Box], None]
) -> None:
    async with shop(tmp_path, box.url) as (crowd, (server,)):
        (guest,) = await crowd.takes_numbers(1, "guest")
        before = await crowd.takes_numbers(5, "before")
        told = await crowd.window()
        async with staying(guest):
            empties(box)
            settling = await crowd.becomes("settling")
            assert (settling["epoch"], settling["called"]) == (told["epoch"], 1), "nobody is called meanwhile"
            after = await crowd.takes_numbers(3, "after")
            assert {visitor.kind for visitor in after} == {"waiting"}, "nobody enters meanwhile"
            assert min(visitor.number for visitor in after) > before[-1].number, "numbers go on"
            settled = await crowd.becomes("queueing")
            assert (settled["waiting"], settled["inside"]) == (8, 1), "it knows of everybody again"
            seen = status_of(box.url, "default")
            assert (seen["waiting"], seen["inside"], seen["called"]) == (8, 1, 1)
        await all_live(*before, *after)
        assert crowd.entered() == [visitor.name for visitor in (guest, *before, *after)], "P3"
        await crowd.window()
        crowd.check_capacity(1)
        crowd.check_places()
        crowd.check_window()
        assert server.printed().count(LOSS) == 1


async def test_p1_p3_p4_four_workers_whose_store_is_emptied_again_and_again(box: Box, tmp_path: Path) -> None:
    """While a crowd comes, waits, goes in and leaves; each loss finds the room in another state."""
    record = recording(tmp_path)
    with serving(4, redis_url=box.url, capacity=3, window_interval=0.5) as server:
        async with crowd_at([server.url], record) as crowd:
            lives = [asyncio.create_task(visitor.lives(0.2)) for visitor in crowd.more(20, "one")]
            for _ in range(3):
                entered = len(crowd.entries())
                await eventually(partial(grown, lambda: len(crowd.entries()), entered))
                told = server.printed().count(LOSS)
                flush(box)
                lives += [asyncio.create_task(visitor.lives(0.2)) for visitor in crowd.more(3, "more")]
                await eventually(partial(grown, lambda: server.printed().count(LOSS), told))
            async with asyncio.timeout(2 * DEADLINE_SECONDS):
                await asyncio.gather(*lives)
            assert len(crowd.entries()) == len(lives) == 29, "nobody is lost"
            crowd.check_capacity(3)
            crowd.check_order(3)
            crowd.check_places()


async def test_p3_p4_p6_a_process_that_is_cut_off_while_the_store_loses_all(box: Box, tmp_path: Path) -> None:
    """The other goes on; both know the same again when the way is there again."""
    with fault_proxy(box.url) as way:
        async with shop(tmp_path, box.url, f"redis://127.0.0.1:{way.port}") as (crowd, servers):
            here, there = (server.url for server in servers)
            crowd.urls = [here]
            (guest,) = await crowd.takes_numbers(1, "guest")
            waiting = await crowd.takes_numbers(4, "waiting")
            await asyncio.gather(*(visitor.look(there) for visitor in (guest, *waiting)))
            way.refuse()
            await crowd.becomes("away", there)
            flush(box)
            await crowd.becomes("settling", here)
            await guest.look(there)
            for visitor in waiting[1:]:
                await visitor.look(there)
                assert (visitor.kind, visitor.told[-1][1]["number"]) == ("away", visitor.number)
            held = crowd.more(2, "held")
            for visitor in held:
                await visitor.look(there)
                assert (visitor.kind, visitor.rank) == ("away", None), "held without a number"
            others = await crowd.takes_numbers(2, "others")
            await guest.leaves()
            await all_live(waiting[0])
            told = await crowd.window(there)
            assert (told["called"], told["issued"]) == (1, 5), "a lower bound"
            way.heal()
            await crowd.becomes("queueing", there)
            for visitor in held:
                await visitor.look(there)
            crowd.urls = [here, there]
            await all_live(*waiting[1:], *others, *held)
        order = [guest, *waiting, *others]
        assert crowd.entered()[: len(order)] == [visitor.name for visitor in order], "P3"
        assert {*crowd.entered()[len(order) :]} == {visitor.name for visitor in held}
        crowd.check_capacity(1)
        crowd.check_order()
        crowd.check_places()


async def test_p3_p4_pods_that_are_restarted_one_by_one_after_a_loss(box: Box, tmp_path: Path) -> None:
    """Who has seen the loss is gone in the end; what it learned is with the others and in the store."""
    record = recording(tmp_path)
    with ExitStack() as one, ExitStack() as other:
        pods = [stack.enter_context(serving(redis_url=box.url)) for stack in (one, other)]
        async with crowd_at([pod.url for pod in pods], record) as crowd:
            (guest,) = await crowd.takes_numbers(1, "guest")
            before = await crowd.takes_numbers(4, "before")
            crowd.urls = [pods[1].url]
            flush(box)
            await crowd.becomes("settling")
            one.close()
            after = await crowd.takes_numbers(2, "after")
            crowd.urls = [one.enter_context(serving(redis_url=box.url)).url]
            other.close()
            last = await crowd.takes_numbers(1, "last")
            await crowd.becomes("queueing")
            await guest.look()
            await guest.leaves()
            await all_live(*before, *after, *last)
            assert crowd.entered() == [visitor.name for visitor in crowd.members], "P3"
            crowd.check_capacity(1)
            crowd.check_places()


async def test_p3_p4_p6_a_store_that_is_away_for_longer_than_anything_lasts(tmp_path: Path) -> None:
    """Passes, turns and kept places have all run out by the clock when it is back, with all it knew."""
    machine = Box(tmp_path, *DURABLE)
    machine.start()
    short = {"session_seconds": 3, "active_window_count": 4, "claim_seconds": 4, "first_lease_seconds": 3}
    async with shop(tmp_path, machine.url, capacity=3, **short) as (crowd, _):
        guest, *gone = await crowd.takes_numbers(3, "guest")
        called, offline, *waiting = await crowd.takes_numbers(4, "waiting")
        for visitor in gone:
            await visitor.leaves()
        assert (await crowd.becomes("queueing"))["called"] == offline.number
        machine.stop()
        gone_at = time.monotonic()
        await crowd.becomes("away")
        await called.look()
        assert called.inside, "the place was kept, by the word of the last snapshot"
        held = crowd.more(2, "held")
        while time.monotonic() < gone_at + 5:
            for visitor in (*waiting, *held):
                await visitor.look()
                assert visitor.kind == "away"
            if time.monotonic() < gone_at + 2:
                await guest.look()
                await called.look()
        assert not [visitor for visitor in held if visitor.rank], "no numbers without the store"
        machine.start()
        async with staying(guest), staying(called):
            await crowd.becomes("queueing")
            (late,) = crowd.more(1, "late")
            await late.look()
            assert (late.kind, late.rank) == ("away", None), "numbers go to those first who were held"
            lives = [asyncio.create_task(visitor.lives()) for visitor in (*waiting, *held, late)]
            await all_live(offline)
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not late.rank:
                    await crowd.window()
                    await asyncio.sleep(0.05)
        await asyncio.gather(*lives)
        assert late.rank > max(visitor.rank for visitor in held if visitor.rank)
        assert {visitor.name for visitor in crowd.members} == {*crowd.entered()}, "nobody is lost"
        crowd.check_capacity(3)
        crowd.check_order(3)
        crowd.check_places()
        crowd.check_window()
    machine.stop()


async def test_p1_sessions_that_ended_after_a_loss_are_told_to_who_knew_as_many_before(
    store_url: str, settings: Callable[..., Settings]
) -> None:
    """A process that asked nothing meanwhile must not take the new list for the one that it has read."""
    idle = Line(store_url, settings())
    busy = idle.again()
    (first,) = await idle.enter(1)
    await idle.leave(first)
    known = (await idle.look()).ended_version
    with stores.admin(store_url) as admin:
        admin.delete(*(f"waitroom:{{{idle.settings.room}}}:{key}" for key in KEYS))
    (second,) = await busy.enter(1)
    await busy.leave(second)
    ended = (await idle.store.sync(known))[1].ended
    assert ended is not None
    assert second.id in ended
    await idle.close()


async def test_p3_p4_p6_a_clusters_node_that_comes_back_empty(tmp_path: Path) -> None:
    with clustered(tmp_path, shipped_valkey(), primaries=1) as them:
        async with shop(tmp_path, them.url) as (crowd, _):
            guest, *before = await crowd.takes_numbers(4, "early")
            async with staying(guest):
                them.lose(them.owner("default"))
                after = await crowd.takes_numbers(2, "after")
                assert (await crowd.becomes("queueing"))["waiting"] == 5
            await all_live(*before, *after)
            assert crowd.entered() == [visitor.name for visitor in crowd.members], "P3"
            crowd.check_capacity(1)
            crowd.check_places()
            crowd.check_window()


def running_at(server: Server) -> Path:
    """The socket of a server's embedded store."""
    (socket,) = [path for path in running() if path.parent.name.endswith(f"-{server.process.pid}")]
    return socket


def end_server(pid: int) -> int:
    return pid


def end_keeper(pid: int) -> int:
    """The process that would start another."""
    return psutil.Process(pid).ppid()


@pytest.mark.parametrize("victim", [end_server, end_keeper])
async def test_p1_p3_p4_p6_an_embedded_store_that_is_killed_comes_back(
    tmp_path: Path, victim: Callable[[int], int]
) -> None:
    """However young it is, and if nobody is left to start it but those who use it."""
    async with shop(tmp_path, "embedded://") as (crowd, (server,)):
        guest, *before = await crowd.takes_numbers(3, "early")
        with redis.Redis.from_url(f"unix://{running_at(server)}") as client:
            pid = int(client.info("server")["process_id"])
        async with staying(guest):
            os.kill(victim(pid), signal.SIGKILL)
            after = await crowd.takes_numbers(1, "after")
            assert (await crowd.becomes("queueing"))["waiting"] == 3
        await all_live(*before, *after)
        assert crowd.entered() == [visitor.name for visitor in crowd.members], "P3"
        crowd.check_capacity(1)
        crowd.check_places()
        crowd.check_window()
