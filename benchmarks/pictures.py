"""The pictures of docs/performance.md: memory and cost per poll by the number waiting."""

from pathlib import Path

from benchmarks.plots import Line, plot
from benchmarks.results import Spread, Waiting


def draw(lines: list[Waiting], folder: Path) -> None:
    """Draw both from what was measured."""
    waiting = [one.waiting for one in lines]
    plot(
        folder / "store-memory.svg",
        [
            Line("waitroom", waiting, [one.keys / 1024 for one in lines]),
            Line("a sorted set of visitors", waiting, [one.sorted_set / 1024 for one in lines], dashed=True),
        ],
        title="Evidence in the store",
        x="visitors waiting",
        y="KiB",
        log_x=True,
        log_y=True,
    )
    plot(
        folder / "cost-per-poll.svg",
        [
            Line("GET /status", waiting, [Spread.of(one.status).median for one in lines]),
            Line("GET /window", waiting, [Spread.of(one.window).median for one in lines]),
            Line("bare app", waiting, [Spread.of(one.bare).median for one in lines], dashed=True),
        ],
        title="CPU per poll, gate and store",
        x="visitors waiting",
        y="µs",
        log_x=True,
    )
