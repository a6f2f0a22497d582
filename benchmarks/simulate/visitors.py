"""A visitor with the waiting page open, who does what `templates/waiting.js` does.

The page looks at the process's snapshot, at an interval that grows with the distance and is spread by jitter. When
the number is called it loads itself again, which asks the store; at the door it asks at the door's interval. A tab in
the background is let run once a minute. The tab of a no-show is closed: it never asks again.
"""

from dataclasses import replace
from typing import Protocol

from benchmarks.simulate.engine import Engine
from benchmarks.simulate.measures import LATE
from benchmarks.simulate.processes import Process
from waitroom.config.settings import Settings
from waitroom.line import window as arithmetic
from waitroom.line.tickets import Pass, Ticket, pass_of
from waitroom.line.window import Tempo, Window
from waitroom.room.room import LONGEST_HOLD
from waitroom.store.transitions import Claimed

BACKGROUND = 60.0
"""Seconds between two looks of a tab in the background."""


class Site(Protocol):
    """Where somebody is inside."""

    engine: Engine
    settings: Settings

    def some_process(self) -> Process:
        """Choose one, as a balancer does."""

    def left(self) -> None:
        """Hear that somebody has left."""


class Line(Site, Protocol):
    """Where somebody waits."""

    def asked(self, claimed: Claimed) -> None:
        """Hear what a visitor was answered."""

    def entered(self, visitor: "Visitor", claimed: Claimed) -> None:
        """Let a visitor in."""


def interval(in_front: int, tempo: Tempo, rate_per_minute: float | None = None) -> float:
    """Seconds until the page's next look, before jitter."""
    shortest = round(arithmetic.poll_seconds(0, rate_per_minute, tempo))
    return max(arithmetic.poll_seconds(in_front, rate_per_minute, tempo), shortest)


class Visitor:
    """One visitor with a number; `was_away` once it did not ask at the door as often as it was told."""

    __slots__ = ("asked_at", "crowd", "in_background", "last_asked_at", "ticket", "was_away")

    def __init__(self, crowd: Line, ticket: Ticket, in_background: bool) -> None:
        self.crowd = crowd
        self.ticket = ticket
        self.in_background = in_background
        self.asked_at: int | None = None
        self.last_asked_at = 0
        self.was_away = False

    def join_in(self, in_front: int) -> None:
        """Begin somewhere between two looks: whoever has waited for long looks at times that are uniform in between."""
        usual = (
            BACKGROUND
            if self.in_background
            else self._interval(in_front, self.crowd.some_process().window) * 1.05
        )
        self.crowd.engine.after(self.crowd.engine.chance.random() * usual, self.look)

    def look(self) -> None:
        """Ask GET /window, and compare."""
        window = self.crowd.some_process().window
        if arithmetic.rank(self.ticket) <= (window.epoch, window.called):
            self.ask()
        else:
            self._wait(self._interval(self.ticket.number - window.called - 1, window))

    def ask(self) -> None:
        """Ask for the place: by loading the page again, and at the door by GET /status."""
        now = self.crowd.engine.now
        if self.asked_at is None:
            self.asked_at = now
        elif now - self.last_asked_at > LATE:
            self.was_away = True
        self.last_asked_at = now
        self._claim(self.crowd.some_process(), self.crowd.engine.now + round(LONGEST_HOLD * 1e6))

    def _claim(self, process: Process, until: int) -> None:
        """Claim; the gate holds the request where the place is known to come free until then."""
        claimed = process.claim(self.ticket)
        if claimed.free_in and self.crowd.engine.now + claimed.free_in * 1e6 <= until:
            self.crowd.engine.after(claimed.free_in, lambda: self._claim(process, until))
            return
        self.crowd.asked(claimed)
        if claimed.outcome == "active":
            self.crowd.entered(self, claimed)
        elif claimed.outcome == "door":
            self._wait_at_door(claimed)
        elif claimed.outcome == "waiting":
            self._wait(self._interval(0, process.window))

    def _interval(self, in_front: int, window: Window) -> float:
        return interval(in_front, self.crowd.settings.tempo, window.rate_per_minute)

    def _wait_at_door(self, claimed: Claimed) -> None:
        told = arithmetic.spread(arithmetic.SHORTEST_POLL, self.crowd.engine.chance.random())
        self._wait(told, self.ask)

    def _wait(self, seconds: float, then: object = None) -> None:
        jittered = seconds * (0.9 + 0.3 * self.crowd.engine.chance.random())
        wait = BACKGROUND if self.in_background else jittered
        self.crowd.engine.after(wait, then or self.look)  # type: ignore[arg-type]


class Guest:
    """A visitor inside, who uses the site until leaving; the pass is renewed from half of its life on."""

    __slots__ = ("_leaves_at", "_site", "_used")

    def __init__(self, site: Site, ticket: Ticket, claimed: Claimed, stay: float) -> None:
        now = site.engine.now
        self._site = site
        self._leaves_at = now + round(stay * 1e6)
        lease = round(site.settings.session_seconds * 1000)
        self._used: Pass = pass_of(ticket, claimed.entered_at, claimed.pass_ends, lease)
        self._next()

    def _next(self) -> None:
        left = (self._leaves_at - self._site.engine.now) / 1e6
        half = self._site.settings.session_seconds / 2
        self._site.engine.after(min(left, half), self._renew if left > half else self._leave)

    def _renew(self) -> None:
        ends = self._site.some_process().renew(self._used)
        self._used = replace(self._used, expires_at=ends)
        self._next()

    def _leave(self) -> None:
        self._site.left()
        self._site.some_process().leave(self._used)
