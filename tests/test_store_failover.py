"""A store whose primary dies, is demoted or gives a room away: the gate goes on without a restart."""

import asyncio
import signal
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from tests import stores
from tests.conftest import SECRET
from tests.gates import API, client_of, eventually, gated
from tests.rooms import Line
from tests.sites import site
from tests.test_store_rights import DOCUMENTED, IN_CLUSTERS, make_user
from waitroom.config.settings import load
from waitroom.errors import StoreError, StoreUnusableError


async def number_of_next(line: Line) -> int | None:
    """Join; None while the store is away."""
    try:
        (joined,) = await line.join("number")
    except StoreUnusableError:
        raise  # no failover is a reason to give up
    except StoreError:
        return None
    return joined.number


@pytest.mark.usefixtures("patience")
async def test_p4_a_killed_primary_is_replaced_and_the_gate_goes_on(tmp_path: Path, room: str) -> None:
    with stores.watched(tmp_path) as them:
        settings = load(redis_url=them.url, secret=SECRET, room=room, sync_seconds=0.05)
        async with (
            gated(site, settings=settings) as gate,
            client_of(gate) as first,
            client_of(gate) as second,
        ):
            assert (await first.post(f"{API}/join")).json()["number"] == 1
            with them.server(them.primary_port) as primary:
                stores.in_step(primary)
            them.primary.send_signal(signal.SIGKILL)
            stores.until(lambda: them.named_primary() == [them.replica_port] * 3, "the replica is promoted")

            async def joins() -> int | None:
                response = await second.post(f"{API}/join")
                return int(response.json()["number"]) if response.status_code == 201 else None

            assert await eventually(joins) == 2, "P4: the line goes on where it was"
            assert (await first.get(f"{API}/status")).json()["number"] == 1


async def test_a_demoted_primary_is_left_for_the_new_one(tmp_path: Path, room: str) -> None:
    with stores.watched(tmp_path) as them:
        line = Line(them.url, load(redis_url=them.url, secret=SECRET, room=room))
        assert await number_of_next(line) == 1
        with them.server(them.primary_port) as primary, them.sentinel(them.sentinel_ports[0]) as sentinel:
            stores.in_step(primary)

            def is_demoted() -> bool:
                # A sentinel gives a failover up that takes too long, and does not begin another by itself.
                if them.named_primary()[0] == them.primary_port:
                    with suppress(redis.ResponseError):
                        sentinel.execute_command("SENTINEL", "FAILOVER", stores.SERVICE)
                return bool(primary.info("replication")["role"] == "slave")

            stores.until(is_demoted, "the primary is demoted")
        # The connection still leads to a server that lives, and that now refuses to write.
        assert await eventually(lambda: number_of_next(line)) == 2
        await line.close()


async def test_a_sentinel_that_hangs_does_not_keep_the_others_from_being_asked(
    tmp_path: Path, room: str
) -> None:
    with stores.watched(tmp_path) as them:
        them.sentinels[0].send_signal(signal.SIGSTOP)
        try:
            line = Line(them.url, load(redis_url=them.url, secret=SECRET, room=room))
            assert await number_of_next(line) == 1
            await line.close()
        finally:
            them.sentinels[0].send_signal(signal.SIGCONT)


async def test_p4_a_clusters_dead_node_is_replaced_and_the_line_goes_on(tmp_path: Path, room: str) -> None:
    with stores.clustered(tmp_path, stores.shipped_valkey(), empty=1) as them:
        line = Line(them.url, load(redis_url=them.url, secret=SECRET, room=room))
        assert await number_of_next(line) == 1
        owner, spare = them.owner(room), list(them.nodes)[-1]
        with them.node(owner) as node, them.node(spare) as replica:
            replica.execute_command("CLUSTER", "REPLICATE", node.execute_command("CLUSTER", "MYID"))
            stores.until(lambda: stores.replicates(node), "the replica is in step")
            stores.in_step(node)
        them.nodes[owner].send_signal(signal.SIGKILL)
        assert await eventually(lambda: number_of_next(line)) == 2
        assert them.owner(room) == spare
        await line.close()


async def test_a_room_that_moves_to_a_node_without_slots_is_found_there(tmp_path: Path, room: str) -> None:
    with stores.clustered(tmp_path, stores.shipped_valkey(), primaries=2, empty=1) as them:
        url = make_user(them.url, DOCUMENTED, IN_CLUSTERS)
        with them.node(list(them.nodes)[-1]) as empty:
            for words in (DOCUMENTED, IN_CLUSTERS):
                empty.execute_command(*words)
        line = Line(url, load(redis_url=url, secret=SECRET, room=room))
        assert await number_of_next(line) == 1
        owner, new = them.owner(room), list(them.nodes)[-1]
        with them.node(owner) as here, them.node(new) as there:
            slot = here.execute_command("CLUSTER", "KEYSLOT", f"{{{room}}}")
            here_id, there_id = (node.execute_command("CLUSTER", "MYID") for node in (here, there))
            there.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", here_id)
            here.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", there_id)
            with pytest.raises(StoreError, match="is moving this room from one node to another just now"):
                await line.join("number")
            keys = here.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100)
            assert len(keys) > 1
            here.execute_command("MIGRATE", stores.LOOPBACK, new, "", 0, 5000, "KEYS", *keys)
            with pytest.raises(StoreError, match="is moving this room from one node to another just now"):
                await line.join("number")
            for node in (there, here):
                node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", there_id)
        assert await eventually(lambda: number_of_next(line)) == 2
        # Once found there it stays: each call goes to the new node at once.
        assert [await number_of_next(line) for _ in range(3)] == [3, 4, 5]
        await line.close()


async def test_a_call_is_made_once_however_the_connection_behaves(every_store_url: str, room: str) -> None:
    """Connections that died while idle are made anew, and no number is lost or given twice by that."""
    line = Line(every_store_url, load(redis_url=every_store_url, secret=SECRET, room=room))
    for number in range(1, 4):
        assert await number_of_next(line) == number
        with stores.admin(every_store_url) as admin:
            everywhere = {"target_nodes": "primaries"} if "cluster" in every_store_url else {}
            admin.execute_command("CLIENT KILL", "TYPE", "normal", "SKIPME", "yes", **everywhere)
    assert (await line.look()).issued == 3
    await asyncio.gather(*(line.join("number") for _ in range(20)))
    assert (await line.look()).issued == 23
    await line.close()
