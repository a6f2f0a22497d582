"""A flash crowd: thousands of connections within seconds, and each takes a number from one gate that has just started.

Beside it what shows where a tail comes from: all of them in the same moment, a crowd that goes on asking, and servers
with other limits.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx

from benchmarks import newcomers, sites
from benchmarks.machine import ROOT, pin
from benchmarks.measure import Plan
from benchmarks.results import Flash
from benchmarks.servers import Server, server, store
from benchmarks.visitors import API
from benchmarks.wrk import BenchmarkError

AT_ONCE = 0.1
"""Seconds in which a client on one core opens thousands of connections."""
LONG_QUEUE = "--backlog 16384"
"""More than `net.core.somaxconn` allows on most systems, so that this is the limit."""
OWN_LIMITS = "--backlog 1024 --backpressure 1024"
"""What granian has where nothing is said."""
SOMAXCONN = Path("/proc/sys/net/core/somaxconn")
SETTINGS: dict[str, Any] = {"room": "flash", "window_size": 1, "window_interval": 86_400, "capacity": 1}
"""A line from the second visitor on; all else is as a site has it by default."""

_folders = count(1)


@dataclass(frozen=True)
class Crowds:
    """How many come: within some seconds, and at once."""

    connections: int
    seconds: float
    at_once: int

    def of(self, kind: str) -> Iterator[Flash]:
        """All that one server has to bear."""
        yield Flash(kind, "", self.connections, self.seconds, again=False)
        yield Flash(kind, "", self.at_once, AT_ONCE, again=False)
        yield Flash(kind, "", self.at_once, AT_ONCE, again=True)
        yield Flash(kind, "", self.connections, AT_ONCE, again=False)
        if kind == "granian":
            yield Flash(kind, OWN_LIMITS, self.at_once, AT_ONCE, again=False)
        else:
            yield Flash(kind, LONG_QUEUE, self.connections, AT_ONCE, again=False)


def flashes(kinds: Sequence[str], crowds: Crowds, plan: Plan, found: list[Flash]) -> None:
    """Measure all crowds on all servers, and add them to `found`. Raises BenchmarkError."""
    try:
        newcomers.allow_open_files(max(crowds.connections, crowds.at_once))
    except ValueError as error:
        raise BenchmarkError(str(error)) from error
    found += [one for kind in kinds for one in crowds.of(kind)]
    for repeat in range(plan.repeats):
        for one in found:
            plan.say(
                f"{one.server} {one.flags}: {one.connections:,} come, repeat {repeat + 1} of {plan.repeats}"
            )
            _take(one, plan)


def _take(one: Flash, plan: Plan) -> None:
    """Let a crowd come to a fresh room of a fresh gate, and add what it met."""
    with (
        store(plan.folder / f"flash-{next(_folders)}", plan.cores) as behind,
        server(one.server, sites.gated, plan.cores, behind, one.flags, **SETTINGS) as where,
    ):
        memory, gate = where.peak_memory(), where.cpu_seconds()
        calls, in_store = behind.script_calls(), behind.cpu_seconds()
        met = _come(one, where, plan.cores.others)
        one.gate.append((where.cpu_seconds() - gate) / one.connections * 1e6)
        one.store.append((behind.cpu_seconds() - in_store) / one.connections * 1e6)
        syncs = where.most_syncs(met["answered_in"])
        one.calls.append(max(0, behind.script_calls() - calls - syncs) / one.connections)
        one.memory.append(memory)
        one.grown.append(where.peak_memory() - memory)
        issued = int(httpx.get(f"{where.url}{API}/window", timeout=30).json()["issued"])
    hold_crowd(one, met, issued)
    if met["statuses"].keys() != {"201"}:
        plan.say(f"not all have a number: {met['statuses']}")
    _add(one, met, issued)


def _come(one: Flash, where: Server, core: int) -> dict[str, Any]:
    words = [str(where.port), str(one.connections), str(one.seconds), *(["again"] if one.again else [])]
    command = [sys.executable, "-m", "benchmarks.newcomers", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        pin(process.pid, core)
        said, wrong = process.communicate(timeout=newcomers.DEADLINE + 60)
    if process.returncode:
        raise BenchmarkError(f"the crowd did not come: {wrong.strip()}")
    met: dict[str, Any] = json.loads(said)
    return met


def hold_crowd(one: Flash, met: dict[str, Any], issued: int) -> None:
    """Raise BenchmarkError where a connection broke, or a number was given twice or went astray."""
    numbers = met["numbers"]
    who = f"{one.server} {one.flags}".strip()
    if met["errors"]:
        raise BenchmarkError(f"{who}: of {one.connections} connections some failed: {met['errors']}")
    if not numbers or len(set(numbers)) != len(numbers):
        raise BenchmarkError(f"{who}: {len(numbers)} numbers were given, {len(set(numbers))} different ones")
    refused = one.connections - len(numbers)
    # A number that the store gave too late for its visitor, who was refused, is nobody's.
    if min(numbers) < 1 or not max(numbers) <= issued <= len(numbers) + refused:
        raise BenchmarkError(
            f"{who}: {issued} numbers were issued, {len(numbers)} given, from {min(numbers)} to {max(numbers)};"
            f" answers: {met['statuses']}"
        )


def _add(one: Flash, met: dict[str, Any], issued: int) -> None:
    whole, sent = met["from_opening"], met["from_sending"]
    percent = quantiles(whole, n=100, method="inclusive")
    one.p50.append(percent[49])
    one.p99.append(percent[98])
    one.longest.append(max(whole))
    one.p99_sent.append(quantiles(sent, n=100, method="inclusive")[98])
    one.answered.append(met["answered_in"])
    one.resent.append(met["resent"])
    one.refused.append(one.connections - len(met["numbers"]))
    one.lost.append(issued - len(met["numbers"]))
    one.busiest.append(met["busiest"])
