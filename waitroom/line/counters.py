"""What happened in a room that its operator should hear of, counted on its way to the store."""

from collections.abc import Mapping
from typing import Literal, get_args

Prediction = Literal[
    "predictions_kept",
    "predictions_missed",
    "prediction_error_5",
    "prediction_error_10",
    "prediction_error_15",
    "prediction_error_20",
    "prediction_error_30",
    "prediction_error_50",
    "prediction_error_more",
]
"""What was told of a wait: too usual for the log."""
Event = Literal[
    "foreign_tokens",
    "malformed_tokens",
    "surplus_tokens",
    "unsent_requests",
    "refused_sockets",
    "preflights",
    "refused_preflights",
    "wrong_solutions",
    "withheld_numbers",
    "turned_away",
    "store_failures",
    "store_late",
    "held_without_store",
    "let_in_without_store",
    "lent_places",
    "honoured_passes",
]
Counted = Literal[Event, Prediction]
EVENTS: tuple[Event, ...] = get_args(Event)
NAMES: tuple[Counted, ...] = get_args(Counted)


class Counters:
    """One process's counts since it last told the store; an event costs an addition, whatever a flood brings."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, name: Counted, count: int = 1) -> None:
        """Count an event, or several at once."""
        if count:
            self._counts[name] = self._counts.get(name, 0) + count

    def take(self) -> dict[str, int]:
        """Take what was counted, and begin anew."""
        taken, self._counts = self._counts, {}
        return taken

    def put_back(self, taken: Mapping[str, int]) -> None:
        """Keep for the next time what could not be told."""
        for name, count in taken.items():
            self._counts[name] = self._counts.get(name, 0) + count
