"""What a line costs by its length: the store's memory and each poll, with a sorted set of visitors beside it."""

import asyncio
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import redis

from benchmarks import sites, visitors
from benchmarks.measure import Plan, take
from benchmarks.results import Cost, Waiting
from benchmarks.servers import SECRET, Server, Store, server, store
from benchmarks.visitors import API, among_others
from benchmarks.wrk import BenchmarkError, Counted, Load
from waitroom.config.settings import load as load_settings
from waitroom.store.transitions import Store as Scripts

ROOM = "waiting"
LENGTHS = (1_000, 10_000, 100_000, 1_000_000)
POLLING = 500
"""Visitors whose polls are measured: the last in line."""
BATCH = 500
SETTINGS: dict[str, Any] = {
    "room": ROOM,
    "window_size": 1,
    "window_interval": 86_400,
    "capacity": 1,
    "store_timeout_seconds": 5,
}
"""Nobody is called while it is measured, so that the line is as long as it says."""


def lines_of(lengths: Sequence[int], kind: str, plan: Plan) -> list[Waiting]:
    """Measure lines of those lengths, the shortest first. Raises BenchmarkError."""
    with ExitStack() as stack:
        ours = stack.enter_context(store(plan.folder / "line", plan.cores))
        theirs = stack.enter_context(store(plan.folder / "sorted-set", plan.cores))
        empty = ours.used_memory()
        gate = stack.enter_context(server(kind, sites.gated, plan.cores, ours, **SETTINGS))
        bare = stack.enter_context(server(kind, sites.bare, plan.cores))
        visitors.passes(gate.port, 1)
        found = []
        for length in sorted(lengths):
            plan.say(f"{length:,} waiting")
            asyncio.run(_fill(ours, length - POLLING))
            tickets = visitors.tickets(gate.port, POLLING)
            one = Waiting(length, ours.bytes_of(f"waitroom:{{{ROOM}}}:*"), ours.used_memory() - empty, 0)
            one.sorted_set = _sorted_set(theirs, length)
            _polls(one, gate, bare, tickets, plan)
            found.append(one)
    return found


async def _fill(behind: Store, waiting: int) -> None:
    """Let the line grow, by the script that the gate itself runs."""
    scripts = Scripts(behind.url, load_settings(redis_url=behind.url, secret=SECRET, **SETTINGS))
    try:
        window = (await scripts.sync(-1))[0]
        while (missing := waiting - window.waiting) > 0:
            ids = range(missing, max(0, missing - BATCH), -1)
            window, _ = await scripts.join([("number", f"nobody {id}") for id in ids])
    finally:
        await scripts.close()


def _sorted_set(behind: Store, waiting: int) -> int:
    """Bytes of what other queues keep: each visitor's id in a sorted set, by the time it came."""
    with redis.Redis.from_url(behind.url) as client:
        missing = waiting - int(client.zcard("line"))
        for start in range(0, missing, BATCH):
            now = time.time()
            client.zadd("line", {str(uuid.uuid4()): now for _ in range(min(BATCH, missing - start))})
    return behind.bytes_of("line")


def _polls(one: Waiting, gate: Server, bare: Server, tickets: Sequence[str], plan: Plan) -> None:
    polls = {
        "status": (
            gate,
            Load(f"{API}/status", [among_others(f"waitroom-{ROOM}", ticket) for ticket in tickets]),
        ),
        "window": (gate, Load(f"{API}/window")),
        "bare": (bare, Load("/")),
    }
    costs = {name: Cost("", name, "") for name in polls}
    for _ in range(plan.repeats):
        for name, (where, load) in polls.items():
            take(costs[name], where, load, plan, _hold)
    one.status, one.window, one.bare = (costs[name].whole for name in ("status", "window", "bare"))


def _hold(counted: Counted) -> None:
    if counted.refused or counted.broken or not counted.requests:
        raise BenchmarkError(
            f"of {counted.requests} polls {counted.refused} were refused, {counted.broken} broke"
        )
