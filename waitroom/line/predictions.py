"""What visitors were told of their wait, held against how long it was."""

from collections.abc import Mapping
from typing import NamedTuple, get_args

from waitroom.line.counters import Counted, Prediction
from waitroom.line.window import around

LIMITS = (5, 10, 15, 20, 30, 50)
"""Errors are counted up to so many percent of the wait, each in the first it fits."""

ERRORS: tuple[Prediction, ...] = get_args(Prediction)[2:]
"""The counters of errors: one for each limit, and one for what is beyond."""


def judge(expected: float, waited: float) -> tuple[Counted, Counted]:
    """Name what to count of a wait, both in seconds: whether it fell into the range told, and how far it was off."""
    told = around(expected)
    percent = 100 * abs(waited - expected) / max(waited, 1.0)
    bucket = next((i for i, limit in enumerate(LIMITS) if percent <= limit), len(LIMITS))
    is_kept = told.low <= waited <= told.high
    return "predictions_kept" if is_kept else "predictions_missed", ERRORS[bucket]


class Accuracy(NamedTuple):
    """How well waits were told."""

    waits: int
    share_kept: float
    """The share that fell into the range."""
    median_error: float | None
    """As a share of the wait; None where it is beyond the last limit."""


def accuracy(counts: Mapping[str, int]) -> Accuracy | None:
    """Read the counts; None where no wait that was told is over yet."""
    kept, count = counts["predictions_kept"], counts["predictions_kept"] + counts["predictions_missed"]
    return Accuracy(count, kept / count, _median(counts)) if count else None


def _median(counts: Mapping[str, int]) -> float | None:
    """Find the middle one, as if those of a bucket were spread evenly in it."""
    left = sum(counts[name] for name in ERRORS) / 2
    low = 0
    for name, high in zip(ERRORS, LIMITS, strict=False):
        if counts[name] and left <= counts[name]:
            return round((low + (high - low) * left / counts[name]) / 100, 3)
        left -= counts[name]
        low = high
    return None
