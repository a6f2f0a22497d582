"""A failover that lost entries, found by processes that remember none of them; `make model` searches further."""

from collections.abc import AsyncIterator, Callable

import pytest
import redis.asyncio

from tests.rooms import Clock
from waitroom.settings import Settings
from waitroom.store import Store
from waitroom.tickets import new_id

SESSION = 300
SETTLED = 61
"""Seconds after which those who hold a ticket have had time to report."""


class Site:
    """A room for one, whose processes restart and whose store falls back to an older state."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url, self.settings, self.clock = url, settings, Clock()
        self.history = "a" * 40
        self.stores: list[Store] = []
        self.keys: dict[bytes, bytes] = {}

    def process(self) -> Store:
        self.stores.append(Store(self.url, self.settings, self.clock, history=lambda: self.history))
        return self.stores[-1]

    async def save(self) -> None:
        async with redis.asyncio.from_url(self.url) as client:
            self.keys = {key: await client.dump(key) or b"" for key in await self._found(client)}

    async def fail_over(self) -> None:
        async with redis.asyncio.from_url(self.url) as client:
            await client.delete(*await self._found(client))
            for key, value in self.keys.items():
                await client.restore(key, 0, value)
        self.history = "b" * 40

    async def _found(self, client: redis.asyncio.Redis) -> list[bytes]:
        return [key async for key in client.scan_iter(f"waitroom:{{{self.settings.room}}}:*")]


@pytest.fixture
async def site(any_store_url: str, settings: Callable[..., Settings]) -> AsyncIterator[Site]:
    site = Site(any_store_url, settings(redis_url=any_store_url, capacity=1, session_seconds=SESSION))
    yield site
    for store in site.stores:
        await store.close()


async def enter(process: Store) -> int:
    """Come in if there is a place; answers when the pass ends, 0 for not inside."""
    _, (joined,) = await process.join([("enter", new_id())])
    return joined.pass_ends


async def test_a_loss_that_nobody_remembers_leaves_all_places_taken(site: Site) -> None:
    """P1: sessions that neither the store nor a process knows hold their places for as long as a pass lives."""
    before = site.process()
    await before.join([])
    await site.save()
    pass_ends = await enter(before)
    assert pass_ends
    await site.fail_over()
    window, _ = await site.process().join([])
    assert window.inside == 1
    site.clock.advance(SETTLED)
    assert not await enter(site.process())
    site.clock.advance(SESSION - SETTLED + 1)
    assert site.clock.ms() > pass_ends
    window, _ = await site.process().join([])
    assert window.called == window.issued == 1


async def test_a_process_that_remembers_frees_the_places_that_were_free(site: Site) -> None:
    """P1: what had to be feared is taken back with the first word of one that knows."""
    before = site.process()
    await before.join([])
    await site.save()
    await site.fail_over()
    window, _ = await site.process().join([])
    assert window.inside == 1
    window, _ = await before.join([])
    assert window.inside == 0
    site.clock.advance(site.settings.settle_seconds + 1)
    assert await enter(before)
