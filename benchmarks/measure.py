"""Measures cases: each once in every repeat, so that noise hits the baseline and the rest alike."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from benchmarks import wrk
from benchmarks.cases import Case, Sites, check
from benchmarks.machine import Cores
from benchmarks.results import Cost
from benchmarks.servers import Server
from benchmarks.wrk import BenchmarkError, Counted, Load

LENGTH_TOLERANCE = 0.1
"""By how much the mean length of all answers may differ from that of the one that was looked at."""
HEAD_BYTES = 1_500
"""Most bytes of an answer's head; wrk counts them too."""


@dataclass(frozen=True)
class Plan:
    """How long and how often."""

    seconds: float
    warm_up: float
    repeats: int
    cores: Cores
    folder: Path
    say: Callable[[str], None]


def measure(kind: str, cases: Sequence[Case], running: Sites, plan: Plan) -> list[Cost]:
    """Warm up, then measure all cases in turn, again and again. Raises BenchmarkError for answers that are not due."""
    costs = [Cost(kind, case.name, case.baseline) for case in cases]
    with httpx.Client(timeout=30) as client:
        for repeat in range(plan.repeats + 1):
            plan.say(f"{kind}: " + (f"repeat {repeat} of {plan.repeats}" if repeat else "warming up"))
            for case, cost in zip(cases, costs, strict=True):
                where = running[case.site]
                hold = partial(hold_to, case, check(case, where, client))
                if repeat:
                    take(cost, where, case.load, plan, hold)
                elif plan.warm_up:
                    hold(_drive(case.load, where, plan.warm_up, plan))
    return costs


def take(cost: Cost, where: Server, load: Load, plan: Plan, hold: Callable[[Counted], None]) -> None:
    """Drive a server once and add what that took to `cost`."""
    began, store = time.monotonic(), where.store
    calls, store_before = (store.script_calls(), store.cpu_seconds()) if store else (0, 0.0)
    before = where.cpu_seconds()
    counted = _drive(load, where, plan.seconds, plan)
    gate = where.cpu_seconds() - before
    hold(counted)
    in_store = store.cpu_seconds() - store_before if store else 0.0
    calls = store.script_calls() - calls if store else 0
    syncs = where.most_syncs(time.monotonic() - began)
    cost.gate.append(gate / counted.requests * 1e6)
    cost.store.append(in_store / counted.requests * 1e6)
    cost.calls.append(max(0, calls - syncs) / counted.requests)
    cost.rate.append(counted.requests / counted.microseconds * 1e6)


def _drive(load: Load, where: Server, seconds: float, plan: Plan) -> Counted:
    return wrk.Run(where.url, load, seconds, plan.cores.others, plan.folder).counted()


def hold_to(case: Case, length: int, counted: Counted) -> None:
    """Raise BenchmarkError where some answers were not what the case is about."""
    if counted.broken or not counted.requests:
        raise BenchmarkError(
            f"{case.name}: {counted.broken} connections broke, {counted.requests} were answered"
        )
    due = counted.requests if case.status >= 400 else 0
    # Answers that come as wrk stops are counted in one sum and not in the other.
    if abs(counted.refused - due) > case.load.connections:
        raise BenchmarkError(
            f"{case.name}: of {counted.requests} answers {counted.refused} had a status of 400 or above, not {due}"
        )
    mean = counted.bytes / counted.requests
    slack = LENGTH_TOLERANCE * length
    if not length - slack <= mean <= length + slack + HEAD_BYTES:
        raise BenchmarkError(
            f"{case.name}: answers have {mean:.0f} bytes on average, the one expected has {length}"
        )
