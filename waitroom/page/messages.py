"""The messages of one language, and how numbers, waits and times are told in them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from markupsafe import escape

from waitroom.line.window import LARGEST_NUMBER, Eta

LANGUAGE = "en"

MINUTE, HOUR, DAY = 60, 3600, 86_400

SCALES = (
    (30 * MINUTE, "minutes", MINUTE, 1),
    (2 * HOUR, "minutes", MINUTE, 5),
    (2 * DAY, "hours", HOUR, 1),
    (LARGEST_NUMBER, "days", DAY, 1),
)
"""How a wait is told: up to so many seconds, in this unit of so many seconds, in steps of so many units."""

Messages = Mapping[str, Any]


def catalogue(text: str) -> dict[str, Any]:
    """Read a file of messages; raises ValueError where it is none."""
    try:
        read = json.loads(text)
    except ValueError as wrong:
        raise ValueError(f"messages.{LANGUAGE}.json is not JSON: {wrong}") from None
    if not isinstance(read, dict):
        raise ValueError(f"messages.{LANGUAGE}.json is not a JSON object")
    return read


def merged(shipped: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Lay an operator's own messages over the shipped ones, so that an older set lacks none of the newer."""
    groups = {name: {**shipped[name], **own.get(name, {})} for name in ("live", "check", "page")}
    return {**shipped, **own, **groups}


def as_html(messages: Any) -> Any:
    """Escape all messages as templates do: what is told by them need not be, each time."""
    if isinstance(messages, Mapping):
        return {name: as_html(message) for name, message in messages.items()}
    if isinstance(messages, list):
        return [as_html(message) for message in messages]
    return str(escape(messages)) if isinstance(messages, str) else messages


def say(message: str | Mapping[str, str], count: int = 0, **values: str) -> str:
    """Fill in a message, in the form that fits the count."""
    if not isinstance(message, str):
        message = message.get("one" if count == 1 else "other", message["other"])
    for name, value in values.items():
        message = message.replace(f"{{{name}}}", value)
    return message


def digits(number: int, messages: Messages) -> str:
    """Write a number in groups of three."""
    grouped, comma = f"{number:,}", messages["thousands"]
    return grouped if comma == "," else grouped.replace(",", comma)


def wait(eta: Eta | None, live: Messages) -> str:
    """Tell a range in people's words: its low end rounded down, its high end up."""
    if eta is None:
        return str(live["unknown"])
    if eta.high <= MINUTE:
        return str(live["under_a_minute"])
    name, unit, step = _scale(eta.high)
    low, high = eta.low // (unit * step) * step, -(-eta.high // (unit * step)) * step
    form = "upto" if low == 0 else "about" if low == high else "range"
    return say(live[f"{name}_{form}"], high, low=str(low), high=str(high))


def _scale(seconds: int) -> tuple[str, int, int]:
    for limit, name, unit, step in SCALES[:-1]:
        if seconds <= limit:
            return name, unit, step
    return SCALES[-1][1:]


@lru_cache(16)  # the same for all who look until the store is read again
def moment(at: int, form: str) -> tuple[str, str]:
    """Write a time, in milliseconds since 1970: as the clock shows it in UTC, by a message, and for programs."""
    utc = datetime.fromtimestamp(at / 1000, UTC)
    return say(form, time=f"{utc:%H:%M:%S}"), f"{utc:%Y-%m-%dT%H:%M:%SZ}"


def duration(seconds: float, page: Messages) -> str:
    """Tell how long something lasts, never more than it does."""
    units = (("days", DAY), ("hours", HOUR), ("minutes", MINUTE), ("seconds", 1))
    # From two of a unit on, or at exactly one: "90 seconds", but "1 minute".
    name, unit = next((each for each in units if seconds >= 2 * each[1] or seconds == each[1]), units[-1])
    count = max(1, int(seconds // unit))
    return say(page[name], count, n=str(count))
