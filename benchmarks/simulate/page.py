"""What the simulations found, as tables of docs/simulation.md: marks to write between, and what stands there."""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.simulate.runs import BaselineOutcome, Outcome
from benchmarks.simulate.waits_told import Run
from benchmarks.table import Row, grid

if TYPE_CHECKING:
    from benchmarks.simulate.silence import Found

END = "<!-- end of figures -->"
IN_USE = "<!-- places in use: written by `make simulate WRITE=1` -->\n", END
SHARED = "<!-- what all share: written by `make simulate WRITE=1` -->\n", END
WAITS = "<!-- waits told: written by `make simulate WRITE=1` -->\n", END

IN_USE_HEAD = (
    "what binds, and who comes",
    "in use",
    "sorted set",
    "entered",
    "called for each",
    "asks at the door for each",
    "at the door, s",
    "overtaken by",
    "overtaken by, if late",
    "scripts/s",
)
SHARED_HEAD = (
    "what they share",
    "capacity",
    "outstanding",
    "overtaken by",
    "overtaken by, if late",
    "3,000 passed in, s",
    "ranges that held the wait",
    "in use",
)
WAITS_HEAD = (
    "room, how visitors come",
    "never come",
    "looks",
    "range shown",
    "wait in it",
    "over a minute",
    "wait in it",
    "±, median",
    "±, at most",
    "off by",
    "said to be slower",
    "heard within, s",
)


def in_use(seed: int, outcomes: Sequence[Outcome], baselines: Sequence[BaselineOutcome]) -> str:
    """Write the table of how much was in use."""
    warm_ups, lengths = (
        " or ".join(sorted({f"{seconds:,.0f} s" for seconds in spans}))
        for spans in zip(*((one.scenario.warm_up, one.scenario.length) for one in outcomes), strict=True)
    )
    told = f"Seed {seed}; each run: {warm_ups} of warming up, then {lengths}.\n"
    return f"{told}\n{grid(IN_USE_HEAD, map(_in_use_row, outcomes, baselines))}"


def _in_use_row(outcome: Outcome, baseline: BaselineOutcome) -> Row:
    figures, scenario = outcome.figures, outcome.scenario
    entries = max(1, figures.entries)
    return [
        f"{scenario.bound}, {scenario.absent} never come",
        _percent(outcome.share, 1),
        _percent(baseline.share, 1),
        f"{figures.entries:,}",
        f"{figures.calls / entries:.2f}",
        f"{figures.door / entries:.2f}",
        f"{figures.mean_at_door:.1f}",
        f"{figures.overtaken:,}",
        f"{figures.overtaken_late:,}",
        f"{outcome.script_calls:.1f}",
    ]


def shared(seed: int, found: "Sequence[Found]") -> str:
    """Write the table of what many share."""
    return f"Seed {seed}.\n\n{grid(SHARED_HEAD, map(shared_row, found))}"


def shared_row(found: "Found") -> Row:
    """Write one of its rows."""
    told, in_use, passed = found.share_told, found.share_in_use, found.passed_seconds
    return [
        found.cause.name,
        f"{found.cause.capacity:,}",
        "–" if found.outstanding is None else f"{found.outstanding:,}",
        "–" if found.overtaken is None else f"{found.overtaken:,}",
        f"{found.overtaken_late:,}",
        "–" if passed is None else f"{passed:.0f}",
        "–" if told is None or found.cause.ghosts else _percent(told),
        "–" if in_use is None else _percent(in_use),
    ]


def waits(seed: int, runs: Sequence[Run]) -> str:
    """Write the table of how well waits were told."""
    spans = {f"{run.arrivals.seconds:,.0f} s" for run in runs}
    return f"Seed {seed}; each run: {' or '.join(sorted(spans))}.\n\n{grid(WAITS_HEAD, _waits_rows(runs))}"


def _waits_rows(runs: Sequence[Run]) -> Iterator[Row]:
    for run in runs:
        figures = run.figures
        yield [
            f"{run.room.name}, {run.arrivals.name}",
            _percent(run.no_shows),
            f"{figures.looks:,}",
            _share(figures.told, figures.looks),
            _share(figures.kept, figures.told, 1),
            f"{figures.long:,}",
            _share(figures.long_kept, figures.long, 1),
            _percent(median(figures.widths)) if figures.widths else "–",
            _percent(max(figures.widths)) if figures.widths else "–",
            _percent(median(figures.errors), 1) if figures.errors else "–",
            _share(figures.words, figures.looks),
            f"{figures.heard_p99:.1f}" if figures.late else "–",
        ]


def _share(part: int, whole: int, digits: int = 0) -> str:
    return _percent(part / whole, digits) if whole else "–"


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"
