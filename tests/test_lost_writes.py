"""The store goes on without the last that was written: nobody is told a number that ranks before an earlier one."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests import stores
from tests.shops import all_live, shop, staying
from tests.stores import Box
from tests.test_store_rights import DOCUMENTED, make_user
from waitroom.store.transitions import KEYS


def cut_off_replica(them: stores.Watched) -> None:
    """The replica lives, and hears nothing of its primary any more."""
    with them.server(them.replica_port) as replica, them.server(them.primary_port) as primary:
        stores.in_step(primary)
        replica.config_set("masterauth", "none that would do")
        primary.client_kill_filter(_type="replica")
        stores.until(lambda: replica.info("replication")["master_link_status"] == "down", "it is cut off")


async def test_p1_p3_p4_p6_a_failover_that_lost_the_last_second(tmp_path: Path) -> None:
    with stores.watched(tmp_path) as them:
        async with shop(tmp_path, them.url, capacity=2, sync_seconds=0.2) as (crowd, _):
            guest, gone = await crowd.takes_numbers(2, "guest")
            before = await crowd.takes_numbers(3, "before")
            async with staying(guest):
                await asyncio.to_thread(cut_off_replica, them)
                await gone.leaves()
                await before[0].comes_in()
                in_lost_second = await crowd.takes_numbers(3, "lost")
                told = await crowd.window()
                async with staying(before[0]):
                    them.primary.send_signal(signal.SIGKILL)
                    after = await crowd.takes_numbers(2, "after")
                    assert them.named_primary()[0] == them.replica_port
                    assert min(visitor.number for visitor in after) > told["issued"]
                    settled = await crowd.becomes("queueing")
                    # Who left in the lost second is taken to be there until the lease ends: never too many are let in.
                    assert (settled["waiting"], settled["inside"]) == (7, 3)
            await all_live(*before[1:], *in_lost_second, *after)
        later = [*before[1:], *in_lost_second, *after]
        assert crowd.entered() == [visitor.name for visitor in (guest, gone, before[0], *later)], "P3"
        crowd.check_capacity(2)
        crowd.check_places()
        crowd.check_window()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with stores.box(tmp_path) as machine:
        yield machine


def read(client: Any) -> dict[str, bytes]:
    keys = [f"waitroom:{{default}}:{key}" for key in KEYS]
    return {key: written for key in keys if (written := client.dump(key))}


def put_back(client: Any, written: dict[str, bytes]) -> None:
    """All at once, as a failover would."""
    with client.pipeline() as at_once:
        at_once.flushall()
        for key, value in written.items():
            at_once.restore(key, 0, value)
        at_once.execute()


async def test_p1_p3_p4_lost_writes_where_scripts_may_not_ask_for_the_servers_history(
    box: Box, tmp_path: Path
) -> None:
    """What the processes remember tells, and the log says what is weaker, once."""
    url = make_user(box.url, DOCUMENTED, without="+info")
    async with shop(tmp_path, url) as (crowd, (server,)):
        (guest,) = await crowd.takes_numbers(1, "guest")
        before = await crowd.takes_numbers(2, "before")
        async with staying(guest):
            with redis.Redis.from_url(box.url) as client:
                written = read(client)
                lost = await crowd.takes_numbers(2, "lost")
                put_back(client, written)
            after = await crowd.takes_numbers(2, "after")
            await crowd.becomes("settling")
            assert (await crowd.becomes("queueing"))["waiting"] == 6
        await all_live(*before, *lost, *after)
        assert crowd.entered() == [visitor.name for visitor in crowd.members], "P3"
        crowd.check_capacity(1)
        crowd.check_places()
        crowd.check_window()
        assert server.printed().count("doesn't let scripts ask for INFO") == 1
