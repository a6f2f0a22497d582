"""The benchmarks run: each case once and shortly. What they measure is nobody's to assert here."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import wrk
from benchmarks.__main__ import main
from benchmarks.cases import Case
from benchmarks.compare import compare
from benchmarks.flash import hold_crowd
from benchmarks.measure import hold_to
from benchmarks.page import BEGIN, END, FLASH_BEGIN
from benchmarks.plots import COLOURS, Line, plot
from benchmarks.results import Cost, Flash, Results
from benchmarks.wrk import BenchmarkError, Counted, Load
from tests.stores import missing

ROOT = Path(__file__).parent.parent
SHORTLY = "--small --seconds 0.2 --warm-up 0 --repeats 1 --waiting 600 1200"
FEW_POLLERS = "--pollers 20 --poll-seconds 1 --crowd-seconds 0.5"
SMALL_FLASH = "--flash 300 --flash-seconds 0.5 --flash-at-once 200"

FLASHES = [(300, False), (200, False), (200, True), (300, False), (300, False)]


def run(*words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "benchmarks", *words]
    # Servers that are measured are not slowed down by measuring their coverage.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env | variables, check=False)


def test_every_case_is_measured_and_written_down(tmp_path: Path) -> None:
    if shutil.which("wrk") is None:
        missing("wrk")
    page, kept = tmp_path / "page.md", tmp_path / "kept.json"
    page.write_text(f"before\n{BEGIN}old figures\n{END}\n{FLASH_BEGIN}old figures\n{END}\nafter\n")
    asked = [
        *SHORTLY.split(),
        *FEW_POLLERS.split(),
        *SMALL_FLASH.split(),
        "--servers",
        "uvicorn, uvloop",
        "--json",
        str(kept),
        "--write",
        str(page),
    ]
    done = run("run", *asked, "--plots", str(tmp_path))
    assert done.returncode == 0, done.stderr
    results = Results.read(kept)
    assert {one.case: len(one.gate) for one in results.costs} == dict.fromkeys(cases_told(done.stdout), 1)
    assert [one.polling for one in results.latencies] == [0, 20]
    assert [one.waiting for one in results.waiting] == [600, 1200]
    # That nobody was without an answer and no number was given twice, the run itself has seen to.
    assert [(one.connections, one.again) for one in results.flashes] == FLASHES
    assert all(len(one.refused) == 1 and one.lost <= one.refused for one in results.flashes)
    written = page.read_text()
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "old figures" not in written
    assert "| POST /join |" in written
    assert "| uvicorn, uvloop: 300 in 0.5 s |" in written
    assert {one.name for one in tmp_path.glob("*.svg")} == {"cost-per-poll.svg", "store-memory.svg"}
    # The store is asked for numbers, for many at a time, and for nothing else that is measured. In so short a time the
    # reads of the room that are taken off, as many as there may have been, can be more than the calls for numbers.
    calls = {one.case: one.calls[0] for one in results.costs}
    assert {case for case, count in calls.items() if count > 0} <= {"POST /join"}
    assert calls["POST /join"] < 1


def cases_told(report: str) -> list[str]:
    found = re.findall(r"^\| ([^|]+) \| [\d.]+ \(", report.partition("admitted requests")[0], re.MULTILINE)
    assert len(found) > 10, report
    return found


def test_without_wrk_it_says_what_to_install() -> None:
    done = run("run", PATH="")
    assert (done.returncode, done.stderr) == (2, f"{wrk.MISSING}\n")


CASE = Case("waiting page", "line", Load("/"), status=503)
COUNTED = Counted(1000, 1_000_000, 1_000_000, refused=1000, broken=0, p50=1, p99=2)


def test_answers_that_are_not_due_end_a_run() -> None:
    hold_to(CASE, 900, COUNTED)
    with pytest.raises(BenchmarkError, match="of 1000 answers 0 had a status of 400 or above, not 1000"):
        hold_to(CASE, 900, replace(COUNTED, refused=0))
    with pytest.raises(BenchmarkError, match="1000 bytes on average, the one expected has 9000"):
        hold_to(CASE, 9000, COUNTED)
    with pytest.raises(BenchmarkError, match="3 connections broke"):
        hold_to(CASE, 900, replace(COUNTED, broken=3))


def results(bare: list[float], admitted: list[float]) -> Results:
    costs = [Cost("uvicorn", name, "bare app") for name in ("bare app", "admitted")]
    for cost, samples in zip(costs, (bare, admitted), strict=True):
        cost.gate, cost.store = samples, [0.0] * len(samples)
        cost.calls, cost.rate = [0.0] * len(samples), [1.0] * len(samples)
    return Results({"commit": "abc"}, {}, costs)


@pytest.mark.parametrize(
    ("later", "verdict"),
    [
        (([20, 21], [30, 31]), "faster"),
        (([20, 21], [50, 52]), "slower"),
        (([20, 21], [39, 42]), "within the spread"),
        # All was slower in the later run, the bare app too: that is the machine.
        (([40, 42], [80, 83]), "within the spread"),
    ],
)
def test_only_changes_beyond_the_spread_are_told_as_such(
    later: tuple[list[float], list[float]], verdict: str
) -> None:
    table = compare(results([20, 21], [40, 42]), results(*later))
    (row,) = re.findall(r"^\| admitted .*$", table, re.MULTILINE)
    assert row.endswith(f"| {verdict} |")


def test_two_kept_runs_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        results([20, 21], [40, 42]).write(tmp_path / name)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "| admitted | 41.0 (40.0–42.0) | 41.0 (40.0–42.0) | +0 % |" in capsys.readouterr().out


def test_a_plot_of_the_same_points_has_the_same_bytes(tmp_path: Path) -> None:
    lines = [Line("one", [1, 10], [3, 3]), Line("two", [1, 10], [1, 9], dashed=True)]
    for name in ("a.svg", "b.svg"):
        plot(tmp_path / name, lines, title="t", x="x", y="y", log_x=True)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_lines_that_belong_together_have_one_colour_and_moments_stand_between_them(tmp_path: Path) -> None:
    ours, theirs = [Line(who, [1, 10], [3, 9], dashed=who == "b", marks=False, colour=1) for who in "ab"]
    plot(tmp_path / "one.svg", [ours, theirs], title="t", x="x", y="y", most_y=105, moments=[4])
    drawn = (tmp_path / "one.svg").read_text("utf-8")
    assert drawn.count(COLOURS[1]) == 4, "two lines, and both of them in the legend"
    assert COLOURS[0] not in drawn
    assert drawn.count("stroke-dasharray: 1.5,2.475") == 1, "the moment"


def test_the_micro_benchmarks_run() -> None:
    words = ["-o", "addopts=", "-p", "no:xdist", "-p", "no:cacheprovider", "--benchmark-disable", "-q"]
    command = [sys.executable, "-m", "pytest", *words, "benchmarks/micro"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout


def test_the_page_has_its_figures() -> None:
    page = (ROOT / "docs" / "performance.md").read_text("utf-8")
    figures = page.partition(BEGIN)[2].partition(END)[0]
    assert "| POST /join |" in figures
    assert "| 1,000,000 |" in figures
    flash = page.partition(FLASH_BEGIN)[2].partition(END)[0]
    assert ": 5,000 in 2 s |" in flash


def crowd(*numbers: int, **more: object) -> dict[str, object]:
    return {"numbers": list(numbers), "errors": {}, "statuses": {"201": len(numbers)}, **more}


FOUR = Flash("granian", "", 4, 1.0, again=False)


@pytest.mark.parametrize(
    ("met", "issued", "wrong"),
    [
        (crowd(1, 2, 3, 3), 4, "4 numbers were given, 3 different ones"),
        (crowd(1, 2, 3, 5), 4, "4 numbers were issued, 4 given, from 1 to 5"),
        (crowd(1, 2, 3, 4), 5, "5 numbers were issued, 4 given"),
        # One was refused, and two numbers are nobody's.
        (crowd(1, 2, 5), 5, "5 numbers were issued, 3 given"),
        (crowd(1, 2, 3, errors={"ConnectionResetError": 1}), 4, "some failed: .*ConnectionResetError"),
    ],
)
def test_a_crowd_whose_numbers_are_not_right_ends_a_run(
    met: dict[str, object], issued: int, wrong: str
) -> None:
    hold_crowd(FOUR, crowd(1, 2, 3, 4), 4)
    hold_crowd(FOUR, crowd(1, 2, 4), 4)
    with pytest.raises(BenchmarkError, match=wrong):
        hold_crowd(FOUR, met, issued)
