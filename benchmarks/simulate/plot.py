"""Draws the share in use over time, the sorted set's beside it. Needs matplotlib (the group `bench`)."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.simulate.runs import BaselineOutcome, Outcome

COLOURS = ("#1b6ca8", "#b4532a", "#3b7d3a", "#6b4c9a")


def draw(folder: Path, pairs: Sequence[tuple[Outcome, BaselineOutcome]]) -> list[Path]:
    """Draw one picture for each bound, and one for each run in which the no-shows change; answers the files."""
    pictures: dict[str, list[tuple[Outcome, BaselineOutcome]]] = {}
    for pair in pairs:
        scenario = pair[0].scenario
        pictures.setdefault(scenario.name if scenario.changes else scenario.bound, []).append(pair)
    folder.mkdir(parents=True, exist_ok=True)
    return [_draw_one(folder / f"in-use-{name}.svg", shown) for name, shown in pictures.items()]


def _draw_one(path: Path, shown: Sequence[tuple[Outcome, BaselineOutcome]]) -> Path:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "waitroom"  # the same figures make the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 3.4), layout="constrained")
    for colour, (outcome, baseline) in zip(COLOURS, shown, strict=False):
        name = outcome.scenario.name
        axes.plot(*_points(outcome.figures.shares), color=colour, label=name, linewidth=1.2)
        axes.plot(
            *_points(baseline.shares), color=colour, label=f"{name}, sorted set", linewidth=1, linestyle=":"
        )
    for moment in shown[0][0].scenario.changes:
        axes.axvline(moment / 60, color="#888888", linewidth=0.8)
    axes.set(xlabel="minutes", ylabel=f"share of the {shown[0][0].scenario.bound} in use, %", ylim=(0, 105))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="x-small", ncols=2, loc="center right")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path


def _points(shares: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [seconds / 60 for seconds, _ in shares], [100 * share for _, share in shares]
