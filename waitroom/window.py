"""The arithmetic of the line: a number and the window give status, ahead, wait and poll interval.

Pure: no clock, no I/O, no framework. The store's scripts hold the same order of ranks (see
`scripts/slide.lua`); everything else that has to know whose turn it is asks here.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

Status = Literal["waiting", "active", "expired"]
State = Literal["open", "queueing", "settling", "away"]

SHORTEST_POLL = 2
"""Seconds between two looks at the front of the line."""

LONGEST_POLL = 60
"""Seconds between two looks for those far away."""

ETA_LOW, ETA_HIGH = 0.75, 1.3
"""The range told for a wait of 1.0: the pace of the last minutes does not hold to the second."""

LARGEST_NUMBER = 2**53 - 1
"""The largest number that Lua and JavaScript hold exactly."""


class Rank(NamedTuple):
    """A ticket's place among all tickets of its room: tuples compare as visitors do."""

    epoch: str
    number: int


class Numbered(Protocol):
    """Whatever holds a place: a ticket, or the pass it became."""

    @property
    def epoch(self) -> str: ...  # noqa: D102
    @property
    def number(self) -> int: ...  # noqa: D102


def rank(ticket: Numbered) -> Rank:
    """Tell what rank a ticket has; nothing else compares tickets."""
    return Rank(ticket.epoch, ticket.number)


class Epoch(NamedTuple):
    """A stretch of the line whose numbers one store history handed out, and its part of the window."""

    name: str
    issued: int
    called: int
    floor: int


@dataclass(frozen=True, slots=True)
class Window:
    """The room at one moment, as the store told it."""

    generation: int
    over: str
    """Of this epoch and those before it every ticket has expired; empty where there is none."""
    epochs: tuple[Epoch, ...]
    """Those that are not over, oldest first; numbers are given in the last."""
    epoch: str
    """The newest of which somebody was called, or the last where nobody waits."""
    inside: int
    free: int
    """Places that a newcomer would be called into at once."""
    free_first: int
    """Of those, how many for visitors whose cookie has not come back yet."""
    rate_per_minute: float | None
    """Visitors called per minute while a line stood; None when not known."""
    at: int
    """When this was so, by the room's clock, in milliseconds."""
    ended_version: int
    """Counts the sessions that ended early, so that a process knows when to read their list."""
    settling: bool = False
    """The store has lost something: nobody is called or enters until those who came before have reported."""
    sure: tuple[Rank, Rank] | None = None
    """The lowest and the highest of those called lately for whom there are places, for each of them."""

    @property
    def newest(self) -> Epoch:
        """The epoch in which numbers are given."""
        return self.epochs[-1]

    def find(self, name: str) -> Epoch | None:
        """Find an epoch by its name; None where it is over or the store has not heard of it."""
        return next((epoch for epoch in self.epochs if epoch.name == name), None)

    def covers(self, place: Numbered, *, called: bool = False) -> bool:
        """Tell whether the store knows that a place was given, or called; if not, it is behind or has lost that."""
        epoch = self.find(place.epoch)
        if epoch is None:
            return place.epoch <= self.over
        return place.number <= (epoch.called if called else epoch.issued)

    @property
    def issued(self) -> int:
        """Highest number given in `epoch`."""
        return self._calling.issued

    @property
    def called(self) -> int:
        """Highest number called in `epoch`."""
        return self._calling.called

    @property
    def floor(self) -> int:
        """Highest number of `epoch` whose turn has passed."""
        return self._calling.floor

    @property
    def _calling(self) -> Epoch:
        return self.find(self.epoch) or self.newest

    @property
    def waiting(self) -> int:
        """Tickets not called yet: an upper bound, as some holders have gone away."""
        return sum(epoch.issued - epoch.called for epoch in self.epochs)

    @property
    def state(self) -> State:
        """`queueing` when a newcomer would have to wait, else `open`."""
        if self.settling:
            return "settling"
        return "queueing" if self.waiting or self.free < 1 else "open"


class Eta(NamedTuple):
    """An honest range for the wait, in whole seconds."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where one visitor stands, as the page and the API tell it."""

    status: Status
    number: int | None
    ahead: int
    eta: Eta | None
    poll_after: int


@dataclass(frozen=True, slots=True)
class Tempo:
    """How fast a room can move at most and how rarely its visitors may look, in seconds."""

    seconds_per_call: float
    longest_poll: float

    @classmethod
    def of(cls, window_size: int, window_interval: float, active_window_count: int) -> "Tempo":
        """Derive the tempo from the window's settings; nobody looks rarer than a third of the active time."""
        active_seconds = window_interval * active_window_count
        return cls(window_interval / window_size, min(LONGEST_POLL, active_seconds / 3))


def status(place: Rank, window: Window) -> Status:
    """Tell whether a rank is waiting, active or expired, as far as the window shows (used tickets are the store's).

    One of an epoch that the store has not heard of waits: the store has lost it, and will learn of it.
    """
    epoch = window.find(place.epoch)
    if epoch is None:
        return "expired" if place.epoch <= window.over else "waiting"
    if place.number > epoch.called:
        return "waiting"
    return "expired" if place.number <= epoch.floor else "active"


def ahead(place: Rank, window: Window) -> int:
    """Count the visitors still in front: those who wait with a lower rank."""
    if status(place, window) != "waiting":
        return 0
    epoch = window.find(place.epoch)
    in_epoch = place.number - epoch.called - 1 if epoch else 0
    return in_epoch + sum(older.issued - older.called for older in window.epochs if older.name < place.epoch)


def eta(in_front: int, window: Window, tempo: Tempo) -> Eta | None:
    """Estimate the wait behind `in_front` others from the measured rate; None where it is not known.

    Never below what the rate limit alone makes of it.
    """
    if not window.rate_per_minute:
        return None
    measured = (in_front + 1) / window.rate_per_minute * 60
    fastest = in_front * tempo.seconds_per_call
    low, high = max(measured * ETA_LOW, fastest), max(measured * ETA_HIGH, fastest)
    return Eta(math.floor(low), math.ceil(high))


def poll_seconds(in_front: int, tempo: Tempo) -> float:
    """Seconds until the next look, before jitter: short at the front, longer with the distance.

    A turn cannot come before everybody ahead was called at the full rate; looking three times until then is enough.
    """
    soonest = in_front * tempo.seconds_per_call / 3
    return max(1.0, min(max(soonest, SHORTEST_POLL), tempo.longest_poll))


def spread(seconds: float, chance: float, longest: float = LONGEST_POLL) -> int:
    """Spread polls by jitter: whole seconds, at least 1, from 90 % to 120 % of `seconds`; `chance` is in [0, 1).

    Never beyond `longest`: within that time everybody who waits is heard of.
    """
    return max(1, math.floor(min(seconds * (0.9 + 0.3 * chance), longest) + 0.5))
