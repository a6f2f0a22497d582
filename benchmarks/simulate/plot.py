"""Draws the share in use over time, the sorted set's beside it. Needs matplotlib (the group `bench`)."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.plots import Line, plot
from benchmarks.simulate.runs import BaselineOutcome, Outcome

Pair = tuple[Outcome, BaselineOutcome]


def draw(folder: Path, pairs: Sequence[Pair]) -> list[Path]:
    """Draw one picture for each bound, and one for each run in which the no-shows change; answers the files."""
    pictures: dict[str, list[Pair]] = {}
    for pair in pairs:
        scenario = pair[0].scenario
        pictures.setdefault(scenario.name if scenario.changes else scenario.bound, []).append(pair)
    folder.mkdir(parents=True, exist_ok=True)
    return [_draw_one(folder / f"in-use-{name}.svg", shown) for name, shown in pictures.items()]


def _draw_one(path: Path, shown: Sequence[Pair]) -> Path:
    scenario, until = shown[0][0].scenario, shown[0][0].figures.shares[-1][0]
    lines: list[Line] = []
    for colour, (outcome, baseline) in enumerate(shown):
        for who, shares in (("waitroom", outcome.figures.shares), ("sorted set", baseline.shares)):
            label, dashed = f"{who}, {outcome.scenario.absent}", shares is baseline.shares
            lines.append(Line(label, *_points(shares), dashed=dashed, marks=False, colour=colour))
    plot(
        path,
        lines,
        title=f"Share of the {scenario.bound} in use, by how many never come",
        x="minutes",
        y="%",
        most_y=105,
        moments=[moment / 60 for moment in scenario.changes if moment < until],
    )
    return path


def _points(shares: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [seconds / 60 for seconds, _ in shares], [100 * share for _, share in shares]
