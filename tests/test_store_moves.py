"""An endpoint that moves: new connections lead to the promoted server, while the old one lives on as a replica."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from redis import exceptions

from tests import stores
from tests.conftest import SECRET
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.gates import API, client_of, eventually, free_port, gated
from tests.sites import site
from waitroom.config.settings import load
from waitroom.errors import StoreError
from waitroom.store.connections import Link, is_wrong_server
from waitroom.store.errors import explained
from waitroom.store.transitions import Store


@dataclass
class Pair:
    """Two servers of which one follows the other, and the endpoint before them."""

    old: Any  # redis-py does not type the commands that are sent by name
    new: Any
    new_url: str
    endpoint: FaultProxy

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.endpoint.port}"

    def fail_over(self, *, writable: bool = False) -> None:
        """Promote the new server, demote the old one, and let the endpoint lead to the new one."""
        stores.in_step(self.old)
        self.new.execute_command("REPLICAOF", "NO", "ONE")
        self.old.config_set("replica-read-only", "no" if writable else "yes")
        self.old.execute_command("REPLICAOF", "127.0.0.1", str(self.new.config_get("port")["port"]))
        self.endpoint.lead_to(self.new_url)


@contextmanager
def pair(folder: Path) -> Iterator[Pair]:
    (folder / "old").mkdir()
    (folder / "new").mkdir()
    with (
        stores.redis_server(folder / "old", "--port", str(free_port())) as old_url,
        stores.redis_server(folder / "new", "--port", str(free_port())) as new_url,
        redis.Redis.from_url(old_url, decode_responses=True) as old,
        redis.Redis.from_url(new_url, decode_responses=True) as new,
        fault_proxy(old_url) as endpoint,
    ):
        new.execute_command("REPLICAOF", "127.0.0.1", str(old.config_get("port")["port"]))
        stores.until(lambda: stores.replicates(old), "the replica is in step")
        yield Pair(old, new, new_url, endpoint)


@pytest.mark.parametrize("writable", [False, True], ids=["read-only", "takes writes"])
@pytest.mark.usefixtures("patience")
async def test_p4_p6_an_endpoint_that_moves_is_followed(tmp_path: Path, room: str, writable: bool) -> None:
    with pair(tmp_path) as them:
        settings = load(
            redis_url=them.url, secret=SECRET, room=room, sync_seconds=0.05, capacity=2, window_size=50
        )
        async with (
            gated(site, settings=settings) as gate,
            client_of(gate) as inside,
            client_of(gate) as waiting,
            client_of(gate) as late,
        ):
            assert (await inside.get("/")).status_code == 200
            assert (await inside.get("/")).status_code == 200
            assert (await waiting.post(f"{API}/join")).json()["number"] == 2
            them.fail_over(writable=writable)

            async def joins() -> int | None:
                assert (await inside.get("/")).status_code == 200, "P6: who is inside notices nothing"
                response = await late.post(f"{API}/join")
                return int(response.json()["number"]) if response.status_code == 201 else None

            assert await eventually(joins) == 3, "P4: the line goes on where it was"
            assert (await waiting.get(f"{API}/status")).json()["number"] == 2
        assert int(them.new.info("stats")["total_commands_processed"]) > 0


async def test_while_no_server_will_do_each_call_looks_for_another(tmp_path: Path, room: str) -> None:
    """Nothing is kept of what was looked up: the endpoint may move between any two calls."""
    with pair(tmp_path) as them:
        settings = load(redis_url=them.url, secret=SECRET, room=room)
        store = Store(them.url, settings)
        await store.join([("number", "a")])
        stores.in_step(them.old)
        them.endpoint.lead_to(them.new_url)  # before it is promoted
        them.old.execute_command("REPLICAOF", "127.0.0.1", str(them.new.config_get("port")["port"]))
        for _ in range(2):
            with pytest.raises(StoreError, match="replica"):
                await store.join([("number", "b")])
        them.new.execute_command("REPLICAOF", "NO", "ONE")
        _, (joined,) = await store.join([("number", "b")])
        assert joined.number == 2
        await store.close()


async def test_other_refusals_keep_their_connection(every_store_url: str) -> None:
    link = Link(every_store_url)
    with pytest.raises(exceptions.ResponseError):
        await link.call("EVAL", "return redis.error_reply('OTHER reason')", 1, "waitroom:{x}:y")
    await link.close()


async def test_a_refusal_out_of_a_script_ends_the_connection(every_store_url: str) -> None:
    link = Link(every_store_url)
    said = "return redis.error_reply('READONLY you cannot write against a replica')"
    for _ in range(2):
        # By sentinels the client itself finds out, and calls it a connection that has ended.
        with pytest.raises((exceptions.ReadOnlyError, exceptions.ConnectionError)):
            await link.call("EVAL", said, 1, "waitroom:{x}:y")
    assert await link.call("EVAL", "return 7", 1, "waitroom:{x}:y") == 7, "the next call has a new connection"
    await asyncio.gather(*(link.call("EVAL", "return 7", 1, "waitroom:{x}:y") for _ in range(20)))
    await link.close()


@pytest.mark.parametrize(
    ("error", "is_wrong"),
    [
        (exceptions.ReadOnlyError("You can't write against a read only replica."), True),
        (exceptions.MasterDownError("Link with MASTER is down"), True),
        (exceptions.ResponseError("Error running script: @user_script: 3: -READONLY You can't write"), True),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."), True),
        (exceptions.ResponseError("wrong number of arguments"), False),
    ],
    ids=["read-only", "primary down", "out of a script", "cut off from its replicas", "another"],
)
def test_errors_that_speak_of_the_role(error: exceptions.ResponseError, is_wrong: bool) -> None:
    assert is_wrong_server(error) is is_wrong
    assert type(explained(error, "redis://store")) is StoreError, "no reason to give up"
