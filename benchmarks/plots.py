"""Plots as SVG, the same bytes for the same points; legible on a light page and on a dark one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

mpl.use("svg")

INK = "#7d8590"
"""Axes and words: a grey that stands out from white and from black."""
COLOURS = ("#1f9e89", "#e07b39", "#7a6ff0", "#d6456b", "#8a8d3f")
STYLE = {
    "svg.hashsalt": "waitroom",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": [
        "DejaVu Sans",
        "Verdana",
    ],  # the first comes with matplotlib, which sets by its widths
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Line:
    """One line: its points in the order of `x`."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False
    """For what only stands beside it."""
    marks: bool = True
    """Show the measured points themselves; without them the line is thinner, for many points that lie close."""
    colour: int | None = None
    """Which of the colours, where it is not its own: of two lines that belong together."""


def plot(
    path: Path,
    lines: Sequence[Line],
    *,
    title: str,
    x: str,
    y: str,
    log_x: bool = False,
    log_y: bool = False,
    least_y: float | None = 0.0,
    most_y: float | None = None,
    moments: Sequence[float] = (),
) -> None:
    """Write one plot; `x` and `y` name the axes with their units.

    `least_y` is where a plain y axis begins, `most_y` where it ends; at `moments` of the x axis something changed.
    """
    with mpl.rc_context():
        mpl.rcParams.update(STYLE)  # type: ignore[arg-type]  # its stubs name each key
        figure = Figure(figsize=(7.2, 3.8), layout="constrained")
        axes = figure.subplots()
        for number, line in enumerate(lines):
            colour = COLOURS[(number if line.colour is None else line.colour) % len(COLOURS)]
            style, mark, width = (
                "--" if line.dashed else "-",
                "o" if line.marks else "",
                2 if line.marks else 1.5,
            )
            axes.plot(
                line.x, line.y, label=line.label, color=colour, linestyle=style, marker=mark, linewidth=width
            )
        for moment in moments:
            axes.axvline(moment, color=INK, linewidth=1.5, linestyle=":")
        axes.set(title=title, xlabel=x, ylabel=y)
        if log_x:
            axes.set_xscale("log")
        if log_y:
            axes.set_yscale("log")
        elif least_y is not None:
            axes.set_ylim(bottom=least_y, top=most_y)
        if len(lines) > 1:
            figure.legend(loc="outside lower center", ncols=min(len(lines), 3))
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})
