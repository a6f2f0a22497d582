"""What a line costs the store does not depend on how many wait in it (P7)."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from tests.conftest import SECRET
from tests.rooms import Line
from waitroom.config.settings import load
from waitroom.store.transitions import KEYS

FEW, MANY = 1_000, 1_000_000
BATCH = 500
POLLS = 20
ROUNDING = 64
"""Bytes by which an allocator may round up what it gives."""


@dataclass
class Cost:
    """What one room costs: bytes of each key, digits of its numbers, and commands run for each kind of call."""

    memory: dict[str, int]
    digits: int
    commands: dict[str, dict[str, int]]


@pytest.fixture(scope="module")
def costs(any_store_url: str) -> tuple[Cost, Cost]:
    """Measure a room in which few wait, and another in which many do."""

    async def measure(waiting: int) -> Cost:
        shop = Line(any_store_url, load(redis_url=any_store_url, secret=SECRET, room=f"cost-{waiting:08}"))
        try:
            return await cost(shop, waiting)
        finally:
            await shop.close()

    return asyncio.run(measure(FEW)), asyncio.run(measure(MANY))


async def cost(shop: Line, waiting: int) -> Cost:
    await shop.enter(shop.settings.window_size)
    (first,) = await shop.tickets(1)
    left = waiting - 1
    while left:
        ids = range(left, max(0, left - BATCH), -1)
        window, _ = await shop.store.join([("number", f"nobody {id}") for id in ids])
        left -= len(ids)
    assert window.waiting == waiting
    bytes_taken, digits = memory(shop), count_digits(shop)

    async def poll() -> None:
        for _ in range(POLLS):
            await shop.store.sync(window.ended_version)

    async def slide() -> None:
        shop.clock.advance(shop.settings.window_interval)
        assert (await shop.store.sync(window.ended_version))[0].called == 2 * shop.settings.window_size

    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "poll": poll,
        "claim of who waits": lambda: shop.claim(first),
        "join": lambda: shop.join("enter"),
        "slide": slide,
        "claim": lambda: shop.claim(first),
        "renewal": lambda: shop.renew(first),
        "leave": lambda: shop.leave(first),
    }
    await shop.renew(first)  # loads what is not loaded yet, as the next ones do
    await shop.leave()
    await shop.look()
    await shop.store.claim([])
    return Cost(bytes_taken, digits, {name: await commands(shop, call) for name, call in calls.items()})


def memory(shop: Line) -> dict[str, int]:
    """Measure each of the room's keys, all its members; there are no other keys."""
    prefix = f"waitroom:{{{shop.settings.room}}}:"
    with redis.Redis.from_url(shop.url) as client:
        found: set[bytes] = set(client.scan_iter(f"{prefix}*", count=1000))
        assert found <= {f"{prefix}{key}".encode() for key in KEYS}
        return {key: client.memory_usage(f"{prefix}{key}", samples=0) or 0 for key in KEYS}


def count_digits(shop: Line) -> int:
    """Count the digits of the room's numbers, the one thing that may grow."""
    with redis.Redis.from_url(shop.url) as client:
        state: Any = client.hgetall(f"waitroom:{{{shop.settings.room}}}:state")
    return sum(len(re.findall(rb"\d", value)) for value in state.values())


async def commands(shop: Line, call: Callable[[], Awaitable[object]]) -> dict[str, int]:
    """Count the commands that a call makes the store run, those within the scripts included."""
    with redis.Redis.from_url(shop.url) as client:
        before = ran(client)
        await call()
        after = ran(client)
    return {name: count for name in after if (count := after[name] - before.get(name, 0))}


def ran(client: "redis.Redis") -> dict[str, int]:
    found: dict[str, dict[str, int]] = client.info("commandstats")
    return {name: stats["calls"] for name, stats in found.items() if name != "cmdstat_info"}


def test_p7_a_million_waiting_take_no_more_memory_than_a_thousand(costs: tuple[Cost, Cost]) -> None:
    few, many = costs
    grown = {key: many.memory[key] - few.memory[key] for key in KEYS}
    assert grown.pop("state") <= many.digits - few.digits + ROUNDING
    # The same five hundred ids; a skip list's levels are up to chance.
    assert grown.pop("joined") <= 2048
    # Nobody who waits has been promised anything yet: all the rest belongs to those inside.
    assert max(grown.values()) <= ROUNDING


def test_p7_no_call_costs_more_commands_whoever_waits(costs: tuple[Cost, Cost]) -> None:
    few, many = costs
    assert few.commands == many.commands
    assert many.commands["poll"]["cmdstat_evalsha"] == POLLS
    for call in many.commands.keys() - {"poll"}:
        assert many.commands[call]["cmdstat_evalsha"] == 1


def test_p7_a_poll_is_a_handful_of_commands(costs: tuple[Cost, Cost]) -> None:
    _, many = costs
    assert sum(many.commands["poll"].values()) <= 25 * POLLS


async def test_p7_memory_follows_the_active_windows_and_not_all_that_ever_came(
    any_store_url: str, room: str
) -> None:
    shop = Line(any_store_url, load(redis_url=any_store_url, secret=SECRET, room=room, capacity=100_000))
    tickets = await shop.tickets(10_000)
    sizes = []
    for _ in range(4):
        for _ in range(shop.settings.active_window_count + 3):
            shop.clock.advance(shop.settings.window_interval)
            window = await shop.look()
            called = tickets[window.called - shop.settings.window_size : window.called]
            await shop.store.claim([(ticket, True) for ticket in called[::2]])
        sizes.append(sum(memory(shop).values()))
    await shop.close()
    assert window.floor > 1000
    assert max(sizes) <= 1.1 * sizes[0]
