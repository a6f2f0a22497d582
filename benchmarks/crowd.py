"""How long an admitted request takes while a crowd polls, and while nobody does.

A few visitors inside ask at a low, steady pace, so that what is seen is the server's answer and not their own queue.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from benchmarks import sites, visitors
from benchmarks.measure import Plan
from benchmarks.results import Latency
from benchmarks.servers import Server, server, store
from benchmarks.visitors import API, among_others
from benchmarks.wrk import BenchmarkError, Counted, Load, Run

ROOM = "crowd"
INSIDE = 8
PAUSE = 0.02
"""Seconds between two requests of a visitor inside: 400 requests in a second from all of them."""
SETTINGS: dict[str, Any] = {
    "room": ROOM,
    "capacity": INSIDE,
    "session_seconds": 86_400,
    "first_lease_seconds": 86_400,
    "store_timeout_seconds": 5,
}

_folders = count(1)


def latencies(kind: str, polling: int, every: float, plan: Plan) -> list[Latency]:
    """Measure both in turn, on one server.

    So many connections ask the gate for `/status`, each `every` so many seconds. Raises BenchmarkError.
    """
    idle, busy = Latency(kind, 0), Latency(kind, polling)
    folder = plan.folder / f"crowd-{next(_folders)}"
    with (
        store(folder, plan.cores) as behind,
        server(kind, sites.gated, plan.cores, behind, **SETTINGS) as where,
    ):
        inside = Load("/shop", _cookies(visitors.passes(where.port, INSIDE)), connections=INSIDE, pause=PAUSE)
        tickets = _cookies(visitors.tickets(where.port, polling))
        crowd = Load(f"{API}/status", tickets, connections=polling, pause=every)
        for repeat in range(plan.repeats):
            plan.say(f"{kind}: {polling:,} polling, repeat {repeat + 1} of {plan.repeats}")
            _take(idle, where, inside, plan)
            with _polling(where, crowd, plan):
                _take(busy, where, inside, plan)
    return [idle, busy]


def _cookies(tokens: list[str]) -> list[str]:
    return [among_others(f"waitroom-{ROOM}", token) for token in tokens]


def _take(latency: Latency, where: Server, load: Load, plan: Plan) -> None:
    seen = Run(where.url, load, plan.seconds, plan.cores.others, plan.folder).counted()
    _hold(seen, "visitors inside")
    latency.p50.append(seen.p50)
    latency.p99.append(seen.p99)


@contextmanager
def _polling(where: Server, load: Load, plan: Plan) -> Iterator[None]:
    """Let a crowd poll; returns when all of its connections are open and have asked."""
    crowd = Run(where.url, load, load.pause + plan.seconds + 2, plan.cores.others, plan.folder)
    try:
        time.sleep(load.pause + 1)
        yield
        _hold(crowd.counted(), "the crowd")
    finally:
        crowd.stop()


def _hold(seen: Counted, who: str) -> None:
    if seen.refused or seen.broken or not seen.requests:
        raise BenchmarkError(
            f"{who}: of {seen.requests} answers {seen.refused} were refusals, {seen.broken} broke"
        )
