"""Says what came of the simulations: a table, and JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.simulate.runs import BaselineOutcome, Outcome

COLUMNS = (
    ("scenario", 18),
    ("in use", 7),
    ("reach", 6),
    ("sorted set", 11),
    ("entries", 8),
    ("calls/entry", 12),
    ("door/entry", 11),
    ("s at door", 10),
    ("overtaken", 10),
    ("if late", 8),
    ("scripts/s", 10),
    ("took s", 7),
)


def title() -> str:
    """The table's first line."""
    return "".join(f"{name:>{width}}" for name, width in COLUMNS)


def line_of(outcome: Outcome, baseline: BaselineOutcome) -> str:
    """One scenario's line."""
    figures, scenario = outcome.figures, outcome.scenario
    entries = max(1, figures.entries)
    cells = (
        scenario.name,
        f"{outcome.share:.1%}",
        f"{scenario.reach:.0%}" if scenario.reach else "",
        f"{baseline.share:.1%}",
        figures.entries,
        f"{figures.calls / entries:.2f}",
        f"{figures.door / entries:.2f}",
        f"{figures.mean_at_door:.2f}",
        figures.overtaken,
        figures.overtaken_late,
        f"{outcome.script_calls:.1f}",
        f"{outcome.took:.1f}",
    )
    return "".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=True))


def write_json(
    path: Path, seed: int, outcomes: Sequence[Outcome], baselines: Sequence[BaselineOutcome]
) -> None:
    """Write all figures."""
    told = [
        {
            "scenario": outcome.scenario.name,
            "share": outcome.share,
            "script_calls_per_second": outcome.script_calls,
            **asdict(outcome.figures),
            "sorted_set": {"share": baseline.share, "shares": baseline.shares},
        }
        for outcome, baseline in zip(outcomes, baselines, strict=True)
    ]
    path.write_text(json.dumps({"seed": seed, "outcomes": told}, indent=1) + "\n", encoding="utf-8")
