"""No place goes unused (P1 to P3 held at each entry): `make simulate`, shorter.

Time and chance are the simulation's own, so that it goes the same way each time.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.simulate import __main__ as in_use
from benchmarks.simulate import eta, silence
from benchmarks.simulate.baseline import simulate_baseline
from benchmarks.simulate.page import IN_USE, IN_USE_HEAD, SHARED, SHARED_HEAD, WAITS, WAITS_HEAD
from benchmarks.simulate.processes import Server
from benchmarks.simulate.report import line_of, title
from benchmarks.simulate.runs import simulate
from benchmarks.simulate.scenarios import Scenario, scenarios
from benchmarks.simulate.silence import CAUSES, Cause
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

    def told() -> str:
        return f"{title()}\n{line_of(outcome, simulate_baseline(scenario, server.url, seed=1))}"

    assert outcome.share >= scenario.reach, told()
    assert outcome.figures.overtaken <= 2 * scenario.room["window_size"], told()
    assert outcome.figures.mean_at_door < 30, told()


def test_the_same_seed_makes_the_same_run(server: Server) -> None:
    scenario = replace(scenarios()["rate-30"], warm_up=5, length=30)
    first, second = (simulate(scenario, server, seed=7) for _ in range(2))
    assert (first.figures, first.script_calls) == (second.figures, second.script_calls)
    assert first.figures != simulate(scenario, server, seed=8).figures


def test_a_sorted_set_stands_still_behind_whoever_does_not_look(server: Server) -> None:
    scenario = replace(scenarios()["capacity-0"], warm_up=120, length=240)
    assert simulate_baseline(scenario, server.url, seed=1).share < 0.2


SHORT = (
    Cause("silence", 10, silent_for=20, reach=0.85),
    Cause("silence and no-shows", 20, silent_for=20, no_shows=0.3, reach=0.85),
    Cause("all in the background", 10, background=1.0, reach=0.25),
    Cause("ghosts behind others", 50, guests=100, ghosts=3000),
)


@pytest.mark.parametrize("cause", SHORT, ids=lambda cause: cause.name)
def test_p3_what_many_share_is_not_taken_for_as_many_who_never_come(server: Server, cause: Cause) -> None:
    """Few are called for nothing, nobody who asks as told is overtaken by more than a few, and waits hold."""
    found = silence.simulate(server, cause, seed=1)
    told = silence.line_of(found)
    assert found.is_reached(), told
    assert found.share_in_use is None or found.share_in_use > 0.75, told
    assert (found.passed_seconds is not None) == (cause.ghosts > 0), told


PAGE = Path(__file__).parent.with_name("docs") / "simulation.md"


def rows(page: str, marks: tuple[str, str]) -> list[str]:
    return [
        line for line in page.partition(marks[0])[2].partition(marks[1])[0].splitlines() if line[:1] == "|"
    ]


def test_the_figures_go_into_the_page_and_the_pictures_beside_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "before\n" + "".join(f"{begin}old figures\n{end}\n" for begin, end in (IN_USE, WAITS, SHARED))
    )
    words = ["--seconds", "20", "--write", str(page)]
    asked = ["--scenario", "rate-0", "--scenario", "rate-changing", "--plot", str(tmp_path)]
    in_use.main([*words, *asked])
    eta.main(words)
    silence.main(["--only", "3,000 who never come, and", "--write", str(page)])
    written = page.read_text("utf-8")
    assert written.startswith("before\n")
    assert "old figures" not in written
    assert [len(rows(written, marks)) for marks in (IN_USE, WAITS, SHARED)] == [2 + 2, 2 + 18, 2 + 1]
    assert {one.name for one in tmp_path.glob("*.svg")} == {"in-use-rate.svg", "in-use-rate-changing.svg"}


def test_the_page_has_its_figures() -> None:
    page = PAGE.read_text("utf-8")
    tables = (
        (IN_USE, IN_USE_HEAD, len(scenarios())),
        (WAITS, WAITS_HEAD, 18),
        (SHARED, SHARED_HEAD, len(CAUSES)),
    )
    for marks, head, count in tables:
        found = rows(page, marks)
        assert found[0] == f"| {' | '.join(head)} |"
        assert len(found) == 2 + count
