"""The arithmetic of the line: a number and the window give status, ahead, wait and poll interval.

Pure: no clock, no I/O, no framework. The store's scripts hold the same order of ranks (see
`scripts/slide.lua`); everything else that has to know whose turn it is asks here.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, Protocol

Status = Literal["waiting", "active", "expired"]
State = Literal["open", "queueing", "settling", "away"]
Pace = Literal["steady", "slower", "standing"]

SHORTEST_POLL = 1
"""Seconds between two looks at the front of the line.

A called visitor learns of it within 3 s: what a process knows is `sync_seconds` (0.5) old at most, a cache in front
of it keeps that for 1 s, and with its jitter this is 1.2 s.
"""

LONGEST_POLL = 60
"""Seconds between two looks for those far away."""

LOOKS = 3
"""How often whoever waits looks until the turn can come at the soonest."""

FASTER = 2
"""By how much the line may become faster between two looks, without anybody hearing late of a turn."""

FASTEST = 10
"""Calls for each place: no further the store calls ahead of those who do not come."""

ETA_LOW, ETA_HIGH, ETA_SECONDS = 0.7, 1.38, 15
"""The range told for a wait of 1.0, and by how many seconds its ends are off at least: the pace does not hold to the
second, and over a short wait chance counts for more."""

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


@dataclass(frozen=True)
class Window:
    """The room at one moment, as the store told it; what follows from that is found out once, for all who ask."""

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
    """Numbers a minute that the line moves on by; None when not known or no line stands, 0 where it stands still."""
    at: int
    """When this was so, by the room's clock, in milliseconds."""
    ended_version: int
    """Counts the sessions that ended early, so that a process knows when to read their list."""
    settling: bool = False
    """The store has lost something: nobody is called or enters until those who came before have reported."""
    sure: tuple[Rank, Rank] | None = None
    """The lowest and the highest of those called lately for whom there are places, for each of them."""
    slower: bool = False
    """The rate has fallen within the last minutes."""
    door: int = 0
    """How many stand at the door."""
    left: int = 0
    """Of those who wait, how many have said that they leave, as far as the store remembers them."""
    lowest_left: tuple[Rank, ...] = ()
    """The lowest of those who left, in rank order."""
    backlog: int = 0
    """Called, and still to come in before those who wait: how many numbers the line has to move on by for them."""

    @cached_property
    def newest(self) -> Epoch:
        """The epoch in which numbers are given."""
        return self.epochs[-1]

    def find(self, name: str) -> Epoch | None:
        """Find an epoch by its name; None where it is over or the store has not heard of it."""
        for epoch in reversed(self.epochs):  # nearly always the last, and nearly always there is one
            if epoch.name == name:
                return epoch
        return None

    def covers(self, place: Numbered, *, called: bool = False) -> bool:
        """Tell whether the store knows that a place was given, or called; if not, it is behind or has lost that."""
        epoch = self.find(place.epoch)
        if epoch is None:
            return place.epoch <= self.over
        return place.number <= (epoch.called if called else epoch.issued)

    @cached_property
    def issued(self) -> int:
        """Highest number given in `epoch`."""
        return self._calling.issued

    @cached_property
    def called(self) -> int:
        """Highest number called in `epoch`."""
        return self._calling.called

    @cached_property
    def floor(self) -> int:
        """Highest number of `epoch` whose turn has passed."""
        return self._calling.floor

    @cached_property
    def _calling(self) -> Epoch:
        return self.find(self.epoch) or self.newest

    @cached_property
    def waiting(self) -> int:
        """Tickets not called yet: an upper bound, as some holders have gone away."""
        return max(0, sum(epoch.issued - epoch.called for epoch in self.epochs) - self.left)

    @cached_property
    def state(self) -> State:
        """`queueing` when a newcomer would have to wait, else `open`."""
        if self.settling:
            return "settling"
        return "queueing" if self.waiting or self.free_first < 1 else "open"

    @cached_property
    def pace(self) -> Pace:
        """How the line moves: what is to be said where a wait that was told no longer holds."""
        if self.rate_per_minute == 0:
            return "standing"
        return "slower" if self.slower else "steady"


class Eta(NamedTuple):
    """An honest range for the wait, in whole seconds."""

    low: int
    high: int


class Place(NamedTuple):
    """Where one visitor stands, as the page and the API tell it."""

    status: Status
    number: int | None
    ahead: int
    eta: Eta | None
    poll_after: int
    pace: Pace = "steady"


@dataclass(frozen=True, slots=True)
class Tempo:
    """How fast a room can move at most and how rarely its visitors may look, in seconds."""

    seconds_per_call: float
    """What the rate limit alone allows, where everybody who is called comes."""
    longest_poll: float
    burst_seconds: float = 0.0
    """As many as are called in this time may be called at once."""

    @classmethod
    def of(cls, window_size: int, window_interval: float, active_window_count: int) -> "Tempo":
        """Derive the tempo from the window's settings; nobody looks rarer than a third of the active time."""
        active_seconds = window_interval * active_window_count
        longest = min(LONGEST_POLL, active_seconds / 3)
        return cls(window_interval / window_size, longest, min(window_interval, LONGEST_POLL))


def stand(place: Numbered, window: Window) -> tuple[Status, int]:
    """Tell whether a rank is waiting, active or expired, as far as the window shows (used tickets are the store's), and
    how many are still to be called before it: those who wait with a lower rank and have not left.

    One of an epoch that the store has not heard of waits: the store has lost it, and will learn of it.
    """
    own, in_front = None, 0
    for epoch in window.epochs:
        if epoch.name < place.epoch:
            in_front += epoch.issued - epoch.called
        elif epoch.name == place.epoch:
            own = epoch
    if own is None:
        return ("expired", 0) if place.epoch <= window.over else ("waiting", in_front)
    if place.number > own.called:
        left = bisect_left(window.lowest_left, (place.epoch, place.number)) if window.left else 0
        return "waiting", in_front + place.number - own.called - 1 - left
    return ("expired" if place.number <= own.floor else "active"), 0


def status(place: Numbered, window: Window) -> Status:
    """Tell whether a rank is waiting, active or expired; see `stand`."""
    return stand(place, window)[0]


def ahead(place: Numbered, window: Window) -> int:
    """Count the visitors still in front; see `stand` and `with_door`."""
    return with_door(*stand(place, window), window)


def with_door(now: Status, in_front: int, window: Window) -> int:
    """Count those who stand at the door as well: they are in front of all who wait."""
    return window.door + in_front if now == "waiting" else 0


def wait_seconds(in_front: int, window: Window) -> float | None:
    """Estimate the wait behind `in_front` others at the pace of the last minutes; None where it is not known."""
    if not window.rate_per_minute:
        return None
    return (in_front + 1 + window.backlog) / window.rate_per_minute * 60


def around(seconds: float) -> Eta:
    """Tell an estimated wait as the range that is shown: for more than a minute at most 35 % from its middle."""
    low = min(seconds * ETA_LOW, seconds - ETA_SECONDS)
    high = max(seconds * ETA_HIGH, seconds + ETA_SECONDS)
    return Eta(max(0, math.floor(low)), math.ceil(high))


def eta(in_front: int, window: Window) -> Eta | None:
    """Tell the wait behind `in_front` others; None where it is not known."""
    seconds = wait_seconds(in_front, window)
    return None if seconds is None else around(seconds)


def poll_seconds(in_front: int, rate_per_minute: float | None, tempo: Tempo) -> float:
    """Seconds until the next look, before jitter: short at the front, longer with the distance.

    As many as are called in one window may be called at once. Those behind them look three times before their turn
    could come: at twice the measured rate, or at the rate limit where that is faster; where nothing is measured yet,
    as if only one of ten came.
    """
    limit = 1 / tempo.seconds_per_call
    usual = rate_per_minute / 60 if rate_per_minute else limit
    fastest = max(usual * FASTER, limit) if rate_per_minute else limit * FASTEST
    soonest = (in_front - usual * tempo.burst_seconds) / fastest
    return max(1.0, min(max(soonest / LOOKS, SHORTEST_POLL), tempo.longest_poll))


def spread(seconds: float, chance: float, longest: float = LONGEST_POLL) -> int:
    """Spread polls by jitter: whole seconds, at least 1, from 90 % to 120 % of `seconds`; `chance` is in [0, 1).

    Never beyond `longest`: within that time everybody who waits is heard of.
    """
    return max(1, math.floor(min(seconds * (0.9 + 0.3 * chance), longest) + 0.5))
