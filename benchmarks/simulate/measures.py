"""What a simulation measures: what is in use, who was overtaken, and what it costs the store."""

import bisect
from collections import deque
from dataclasses import dataclass, field
from statistics import fmean

from benchmarks.simulate.engine import SECOND, Engine
from waitroom.config.settings import Settings
from waitroom.store.transitions import Claimed

LATE = 3 * SECOND
"""Who asks for the first time longer than this after the call, or at the door longer than this after the last ask, came
late."""
BIN = 10
"""Seconds of each point of the plotted share."""


@dataclass
class Figures:
    """What was measured between two moments."""

    seconds: float = 0.0
    inside_seconds: float = 0.0
    entries: int = 0
    calls: int = 0
    door: int = 0
    at_door: list[float] = field(default_factory=list)
    """How long each who came to the door stood there."""
    overtaken: int = 0
    """Most later numbers that entered before one who came in time."""
    overtaken_late: int = 0
    """And before one who came late."""
    shares: list[tuple[float, float]] = field(default_factory=list)
    """Time in seconds, share in use in the `BIN` before."""

    @property
    def mean_at_door(self) -> float:
        """Seconds; 0 where nobody was there."""
        return fmean(self.at_door) if self.at_door else 0.0


class Measures:
    """Sees everything that happens; P1 and P2 are held at each entry."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._interval = round(settings.window_interval * SECOND)
        self._inside = 0
        self._since = self._bin_at = engine.now
        self._bin: tuple[float, int] = (0.0, 0)
        self._lately: deque[int] = deque()
        self._called_at: dict[int, int] = {}
        self._called = 0
        self._numbers: list[int] = []
        self.figures = Figures()

    def begin(self) -> None:
        """Measure from now on."""
        self._pass_time()
        self._bin_at, self._bin = self._engine.now, (0.0, 0)
        self.figures = Figures()

    def end(self) -> Figures:
        """Take what was measured."""
        self._pass_time()
        return self.figures

    def each_bin(self) -> None:
        """Note a point for the plot."""
        self._pass_time()
        figures = self.figures
        inside_seconds, entries = self._bin
        self._bin = figures.inside_seconds, figures.entries
        span = (self._engine.now - self._bin_at) / SECOND
        self._bin_at = self._engine.now
        if span:
            share = self.share(figures.inside_seconds - inside_seconds, figures.entries - entries, span)
            figures.shares.append((self._engine.seconds, share))
        self._engine.after(BIN, self.each_bin)

    def share(self, inside_seconds: float, entries: int, seconds: float) -> float:
        """The share in use of whatever binds more."""
        of_capacity = inside_seconds / seconds / self._settings.capacity
        of_rate = entries / seconds * self._settings.window_interval / self._settings.window_size
        return max(of_capacity, of_rate)

    def _pass_time(self) -> None:
        seconds = (self._engine.now - self._since) / SECOND
        self._since = self._engine.now
        self.figures.seconds += seconds
        self.figures.inside_seconds += seconds * self._inside

    def called(self, called: int) -> None:
        """Note who was called just now."""
        for number in range(self._called + 1, called + 1):
            self._called_at[number] = self._engine.now
            self.figures.calls += 1
        self._called = max(self._called, called)

    def asked(self, claimed: Claimed) -> None:
        """Note an ask at the door."""
        self.figures.door += claimed.outcome == "door"

    def entered(self, number: int, asked_at: int | None, was_away: bool) -> None:
        """Note an entry, and hold it against P1 and P2; `asked_at` is when it was asked for first."""
        self._pass_time()
        now = self._engine.now
        self._inside += 1
        self._lately.append(now)
        while self._lately[0] <= now - self._interval:
            self._lately.popleft()
        if self._inside > self._settings.capacity:
            raise AssertionError(f"P1: {self._inside} are inside")
        if len(self._lately) > self._settings.window_size:
            raise AssertionError(f"P2: {len(self._lately)} entered within the interval")
        self.figures.entries += 1
        self._note_order(now, number, asked_at or now, was_away)

    def _note_order(self, now: int, number: int, asked_at: int, was_away: bool) -> None:
        if now > asked_at:
            self.figures.at_door.append((now - asked_at) / SECOND)
        later = len(self._numbers) - bisect.bisect(self._numbers, number)
        bisect.insort(self._numbers, number)
        is_late = asked_at - self._called_at.pop(number, now) > LATE
        if is_late or was_away:
            self.figures.overtaken_late = max(self.figures.overtaken_late, later)
        else:
            self.figures.overtaken = max(self.figures.overtaken, later)

    def left(self) -> None:
        """Note that a session is over."""
        self._pass_time()
        self._inside -= 1
