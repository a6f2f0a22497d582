"""What visitors were told of their wait, held against how long it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waitroom.counters import NAMES
from waitroom.predictions import ERRORS, LIMITS, Accuracy, accuracy, judge
from waitroom.window import around

NONE: dict[str, int] = dict.fromkeys(NAMES, 0)


@pytest.mark.parametrize(
    ("expected", "waited", "names"),
    [
        (100, 100, ("predictions_kept", "prediction_error_5")),
        (105, 100, ("predictions_kept", "prediction_error_5")),
        (110, 100, ("predictions_kept", "prediction_error_10")),
        (100, 80, ("predictions_kept", "prediction_error_30")),
        (100, 69, ("predictions_missed", "prediction_error_50")),
        (100, 400, ("predictions_missed", "prediction_error_more")),
        # Short waits have room for chance in their range, and none in their error.
        (10, 1, ("predictions_kept", "prediction_error_more")),
        (1, 0, ("predictions_kept", "prediction_error_more")),
    ],
)
def test_a_wait_is_counted_by_its_range_and_its_error(
    expected: float, waited: float, names: tuple[str, str]
) -> None:
    assert judge(expected, waited) == names


@given(st.integers(1, 10**6), st.floats(0, 10**7))
def test_what_was_told_decides_what_is_kept(expected: int, waited: float) -> None:
    low, high = around(expected)
    kept, error = judge(expected, waited)
    assert (kept == "predictions_kept") == (low <= waited <= high)
    assert error in ERRORS
    assert len(ERRORS) == len(LIMITS) + 1


@pytest.mark.parametrize(
    ("errors", "median"),
    [
        ((4, 0, 0, 0, 0, 0, 0), 0.025),
        ((1, 2, 1, 0, 0, 0, 0), 0.075),
        ((0, 0, 0, 0, 4, 0, 0), 0.25),
        ((1, 0, 0, 0, 0, 1, 0), 0.05),
        ((1, 0, 0, 0, 0, 0, 3), None),
    ],
)
def test_the_median_is_read_from_the_counts(errors: tuple[int, ...], median: float | None) -> None:
    counts = NONE | dict(zip(ERRORS, errors, strict=True)) | {"predictions_kept": 3, "predictions_missed": 1}
    assert accuracy(counts) == Accuracy(4, 0.75, median)


def test_nothing_is_said_of_no_waits() -> None:
    assert accuracy(NONE) is None
