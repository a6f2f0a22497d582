"""How the store is reached, and what is said where it can't be or will not do."""

import asyncio
import gc
import socket
import time
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvloop
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests import stores
from tests.conftest import SECRET
from tests.listening import listening
from tests.rooms import Line
from waitroom.config.settings import load
from waitroom.errors import StoreError, StoreUnusableError
from waitroom.line.tickets import new_id
from waitroom.store.connections import CONNECTIONS
from waitroom.store.transitions import KEYS, Joined, Store

StoreOf = Callable[[str], Store]


@pytest_asyncio.fixture
async def store_of(room: str) -> AsyncIterator[StoreOf]:
    """Connect to any url; closed at the end."""
    made: list[Store] = []

    def make(url: str) -> Store:
        made.append(Store(url, load(redis_url=url, secret=SECRET, room=room)))
        return made[-1]

    yield make
    for store in made:
        await store.close()


@pytest_asyncio.fixture
async def shop(every_store_url: str, room: str) -> AsyncIterator[Line]:
    """A room on each kind of store."""
    shop = Line(every_store_url, load(redis_url=every_store_url, secret=SECRET, room=room))
    yield shop
    await shop.close()


# --- scripts and connections -------------------------------------------------------------------


async def test_scripts_the_store_has_forgotten_are_loaded_again(shop: Line) -> None:
    before = await shop.look()
    with stores.admin(shop.url) as client:
        client.script_flush()
    assert await shop.look() == before


def test_a_store_serves_one_event_loop_after_another(every_store_url: str, room: str) -> None:
    shop = Line(every_store_url, load(redis_url=every_store_url, secret=SECRET, room=room))

    async def use() -> int:
        (ticket,) = await shop.tickets(1)
        await shop.close()
        return ticket.number

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert [asyncio.run(use()) for _ in range(3)] == [1, 2, 3]
        gc.collect()
    assert not [str(warning.message) for warning in warned]


async def test_a_store_that_was_never_used_is_closed_too(shop: Line) -> None:
    await shop.store.close()
    await shop.look()
    await shop.store.close()
    await shop.store.close()
    assert (await shop.look()).issued == 0


async def test_calls_that_arrive_together_find_the_scripts_once_loaded(shop: Line) -> None:
    await asyncio.gather(*(shop.join("enter") for _ in range(50)))
    window = await shop.look()
    assert (window.issued, window.inside) == (50, 50)


async def test_a_crowd_shares_a_few_connections(every_store_url: str, room: str, store_of: StoreOf) -> None:
    store = store_of(f"{every_store_url}{'&' if '?' in every_store_url else '?'}client_name={room}")
    await asyncio.gather(*(store.join([("number", new_id())]) for _ in range(100)))
    assert (await store.sync(0))[0].issued == 100
    in_cluster = "cluster" in every_store_url
    with stores.admin(every_store_url) as admin:
        everywhere = {"target_nodes": "primaries"} if in_cluster else {}
        told = str(admin.execute_command("CLIENT LIST", **everywhere))
    # Two more may have learnt what a cluster's nodes are.
    assert 1 <= told.count(f"{room}'") + told.count(f"{room} ") <= CONNECTIONS + 2 * in_cluster


async def test_who_waits_too_long_for_a_connection_is_told_so(any_store_url: str, store_of: StoreOf) -> None:
    store = store_of(f"{any_store_url}?max_connections=1&timeout=0.1")
    await store.sync(0)
    with stores.admin(any_store_url) as admin:
        admin.execute_command("CLIENT PAUSE", 10_000, "WRITE")
        first = asyncio.ensure_future(store.sync(0))
        await asyncio.sleep(0)
        with pytest.raises(StoreError, match=r"can't be reached: all 1 connections were busy for 0\.1 s"):
            await store.sync(0)
        admin.execute_command("CLIENT UNPAUSE")
    assert (await first)[0].issued == 0


def test_a_connection_that_uvloop_has_closed_is_made_anew(any_store_url: str, room: str) -> None:
    """It raises no OSError where something is written to one."""
    shop = Line(any_store_url, load(redis_url=any_store_url, secret=SECRET, room=room))

    async def use() -> None:
        assert await shop.join("number") == [Joined(1, 0, 0)]
        client: Any = shop.store._link()._client
        (connection,) = client.connection_pool._available_connections
        connection._writer.transport.abort()
        assert (await shop.join("number"))[0].number == 2
        connection._writer.transport.abort()
        connection.retry = Retry(NoBackoff(), 0)
        with pytest.raises(StoreError, match=r"can't be reached: .*the handler is closed"):
            await shop.join("number")
        assert (await shop.join("number"))[0].number == 3
        await shop.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(use())


async def test_what_a_store_is_and_what_its_clock_says(shop: Line) -> None:
    facts = await shop.store.facts()
    assert facts.server in ("redis", "valkey")
    assert int((facts.version or "").partition(".")[0]) >= 7
    assert facts.mode == ("cluster" if "cluster" in shop.url else "standalone")
    assert facts.maxmemory_policy == "noeviction"
    before = time.time()
    clocked = await shop.store.clock()
    assert 0 < clocked.round_trip <= time.time() - before
    assert abs(clocked.ahead) <= clocked.round_trip


@pytest.mark.parametrize(
    ("policy", "warned"), [("allkeys-lru", 1), ("allkeys-random", 1), ("volatile-lru", 0), ("noeviction", 0)]
)
async def test_a_store_that_may_throw_keys_away_is_told_once(
    tmp_path: Path, room: str, policy: str, warned: int, caplog: pytest.LogCaptureFixture
) -> None:
    with stores.redis_server(tmp_path, "--maxmemory-policy", policy) as url:
        for each in (room, f"{room}-2"):
            shop = Line(url, load(redis_url=url, secret=SECRET, room=each))
            await shop.look()
            await shop.close()
    lines = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == warned
    for line in lines:
        assert line.startswith(f"the store at {url} has maxmemory-policy {policy}: ")
        assert line.endswith("set maxmemory-policy noeviction")


async def test_no_key_of_a_room_ever_expires_by_itself(shop: Line) -> None:
    """Why policies that begin with volatile- are harmless."""
    await shop.enter(2)
    await shop.first()
    await shop.tickets(2)
    with stores.admin(shop.url) as client:
        keys = [f"waitroom:{{{shop.settings.room}}}:{name}" for name in KEYS]
        kept = [key for key in keys if client.exists(key)]
        assert len(kept) > 5
        assert {client.ttl(key) for key in kept} == {-1}


async def test_p4_a_store_restarted_empty_goes_on_from_what_processes_remember(
    tmp_path: Path, store_of: StoreOf
) -> None:
    with ExitStack() as first:
        url = first.enter_context(stores.redis_server(tmp_path))
        store = store_of(url)
        before, _ = await store.join([("number", new_id())])
        first.close()
        with pytest.raises(StoreError, match=f"the store at {url} can't be reached: "):
            await store.sync(0)
    with stores.redis_server(tmp_path):
        after, _ = await store.sync(0)
        forgetful, _ = await store_of(url).sync(0)
    assert after.epoch > before.epoch
    assert after.epochs[0] == before.epochs[0]
    assert (after.issued, after.waiting, after.state) == (1, 0, "settling")
    assert forgetful.epochs == after.epochs


async def test_a_store_that_nobody_remembers_is_a_new_room(store_of: StoreOf) -> None:
    with stores.store("valkey") as url:
        assert (await store_of(url).sync(0))[0].issued == 0


# --- stores that will not do -------------------------------------------------------------------


async def refused(store: Store, *, unusable: bool = False) -> str:
    """What the error says: one line, of the kind that tells whether another try may help."""
    with pytest.raises(StoreError) as raised:
        await store.sync(0)
    assert isinstance(raised.value, StoreUnusableError) == unusable
    assert "\n" not in str(raised.value)
    return str(raised.value)


async def test_a_store_nobody_listens_at_is_named(store_of: StoreOf, tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        said = await refused(store_of(f"redis://someone:password@127.0.0.1:{port}/3"))
    assert said.startswith(f"the store at redis://127.0.0.1:{port}/3 can't be reached: ")
    assert "password" not in said
    with pytest.raises(StoreError, match="can't be reached: Error 111"):
        await store_of(f"redis://127.0.0.1:{port}").clock()
    missing = tmp_path / "no.sock"
    assert f"unix://{missing} can't be reached" in await refused(store_of(f"unix://{missing}"))


async def test_a_wrong_password_is_told_as_such(store_of: StoreOf, tmp_path: Path) -> None:
    with stores.redis_server(tmp_path, "--requirepass", "right") as url:
        path = url.removeprefix("unix://")
        assert (await store_of(f"unix://:right@{path}").sync(0))[0].issued == 0
        for credentials in ("", ":wrong@", "nobody:right@"):
            said = await refused(store_of(f"unix://{credentials}{path}"), unusable=True)
            assert said.startswith(f"the store at {url} refused the user or password of WAITROOM_REDIS_URL: ")
            assert "wrong@" not in said


async def test_a_store_in_which_others_write_is_told_as_such(shop: Line) -> None:
    with stores.admin(shop.url) as client:
        client.set(f"waitroom:{{{shop.settings.room}}}:inside", "something else")
    assert "answered with an error: " in await refused(shop.store)


@pytest.mark.parametrize("version", ["6.2.14", "2.8.24"])
async def test_an_old_server_is_refused(store_of: StoreOf, version: str) -> None:
    async with stand_in(version) as url:
        assert await refused(store_of(url), unusable=True) == (
            f"the store at {url} is version {version}; Redis 7 or Valkey 7 and newer will do"
        )


@asynccontextmanager
async def stand_in(version: str) -> AsyncIterator[str]:
    """Speak just enough of the protocol to say a version, as no server that old can be had."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            words = [await read_word(reader) for _ in range(int(line[1:]))]
            told = f"# Server\r\nredis_version:{version}\r\n"
            answer = f"${len(told)}\r\n{told}\r\n" if words[0].upper() == b"INFO" else "+OK\r\n"
            writer.write(answer.encode())

    async with listening(serve) as port:
        yield f"redis://127.0.0.1:{port}"


async def read_word(reader: asyncio.StreamReader) -> bytes:
    length = int((await reader.readline())[1:])
    return (await reader.readexactly(length + 2))[:-2]
