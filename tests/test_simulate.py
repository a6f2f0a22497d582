"""No place goes unused (P1 to P3 held at each entry): `make simulate`, shorter.

Time and chance are the simulation's own, so that it goes the same way each time.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from benchmarks.simulate.baseline import simulate_baseline
from benchmarks.simulate.processes import Server
from benchmarks.simulate.report import line_of, title
from benchmarks.simulate.runs import simulate
from benchmarks.simulate.scenarios import Scenario, scenarios
from tests import stores

STEADY = [replace(each, warm_up=120, length=240) for each in scenarios().values() if each.reach]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A store of its own: the simulation empties it."""
    with stores.valkey(tmp_path_factory.mktemp("simulate")) as url:
        server = Server(url)
        yield server
        server.close()


@pytest.mark.parametrize("scenario", STEADY, ids=lambda scenario: scenario.name)
def test_p1_p2_p3_hardly_a_place_goes_unused_whoever_does_not_come(
    server: Server, scenario: Scenario
) -> None:
    outcome = simulate(scenario, server, seed=1)
    told = f"{title()}\n{line_of(outcome, simulate_baseline(scenario, server.url, seed=1))}"
    assert outcome.share >= scenario.reach, told
    assert outcome.figures.overtaken <= 2 * scenario.room["window_size"], told
    assert outcome.figures.mean_at_door < 30, told


def test_the_same_seed_makes_the_same_run(server: Server) -> None:
    scenario = replace(scenarios()["rate-30"], warm_up=5, length=30)
    first, second = (simulate(scenario, server, seed=7) for _ in range(2))
    assert (first.figures, first.script_calls) == (second.figures, second.script_calls)
    assert first.figures != simulate(scenario, server, seed=8).figures


def test_a_sorted_set_stands_still_behind_whoever_does_not_look(server: Server) -> None:
    scenario = replace(scenarios()["capacity-0"], warm_up=120, length=240)
    assert simulate_baseline(scenario, server.url, seed=1).share < 0.2
