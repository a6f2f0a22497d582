"""Runs a scenario: on the real scripts, and on the baseline with the same visitors."""

import time
from dataclasses import dataclass

from benchmarks.simulate.crowd import Crowd
from benchmarks.simulate.engine import Engine
from benchmarks.simulate.measures import Figures
from benchmarks.simulate.processes import Server, settings_of
from benchmarks.simulate.scenarios import Scenario


@dataclass(frozen=True)
class Outcome:
    """How a scenario went."""

    scenario: Scenario
    figures: Figures
    share: float
    script_calls: float
    """A second."""
    took: float
    """Seconds on the machine that simulated."""


@dataclass(frozen=True)
class BaselineOutcome:
    """How the sorted set did with the same visitors; `shares` as in `Figures`."""

    share: float
    shares: list[tuple[float, float]]
    took: float


def simulate(scenario: Scenario, server: Server, seed: int) -> Outcome:
    """Run one on the real scripts: the same seed and the same code make the same run, call by call."""
    began = time.perf_counter()
    server.empty()
    engine = Engine(seed)
    crowd = Crowd(engine, server, settings_of(server.url, scenario.room), scenario)
    crowd.fill()
    engine.run(scenario.warm_up)
    calls = server.calls
    crowd.measures.begin()
    crowd.measures.each_bin()
    engine.run(scenario.length)
    figures = crowd.measures.end()
    share = crowd.measures.share(figures.inside_seconds, figures.entries, figures.seconds)
    per_second = (server.calls - calls) / scenario.length
    return Outcome(scenario, figures, share, per_second, time.perf_counter() - began)
