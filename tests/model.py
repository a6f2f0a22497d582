"""The line in plain Python, told from its whole history: what the scripts have to answer.

The scripts keep only what they need and forget the rest. This keeps everything, and asks it each time: who
entered within the interval, who was called and may still come, who stands at the door. How many are called ahead of
what is free depends on what the scripts have learned: that is told, and held to what it may be at least and at most.
Times are microseconds.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from waitroom.settings import Settings
from waitroom.tickets import Ticket

GRACE = 30_000_000
DOOR = 10_000_000
HERE = 3_000_000
AHEAD = 1_000_000
MOST_AHEAD = 10


@dataclass
class Visitor:
    """One number's way through the room."""

    ticket: Ticket
    called_at: int | None = None
    promised: bool = False
    asked_at: int | None = None
    entered_at: int | None = None
    left: bool = False

    @property
    def number(self) -> int:
        return self.ticket.number


@dataclass
class Session:
    """From entering to the end of the lease; `first`: the cookie has not come back."""

    visitor: Visitor
    entered_at: int
    lease_ends: int
    first: bool
    over: bool = False

    @property
    def pass_ends(self) -> int:
        return self.lease_ends - GRACE


@dataclass
class Model:
    """A room and everything that ever happened in it; `settings` are those of the process that calls."""

    settings: Settings
    now: int
    visitors: list[Visitor] = field(default_factory=list)
    sessions: dict[str, Session] = field(default_factory=dict)
    called: int = 0
    floor: int = 0
    ended_version: int = 0
    left: int = 0

    # -- what follows from the history ------------------------------------------------------------

    @property
    def issued(self) -> int:
        return len(self.visitors)

    @property
    def waiting(self) -> int:
        return self.issued - self.called

    def inside(self) -> list[Session]:
        return [each for each in self.sessions.values() if not each.over and each.lease_ends > self.now]

    def entered_lately(self) -> list[Session]:
        since = self.now - self._us(self.settings.window_interval)
        return [each for each in self.sessions.values() if each.entered_at > since]

    def promised(self) -> list[Visitor]:
        since = self.now - self._us(self.settings.claim_seconds)
        return [each for each in self.visitors if each.promised and (each.called_at or 0) > since]

    def at_door(self) -> list[Visitor]:
        return [each for each in self.visitors if each.asked_at and each.asked_at > self.now - DOOR]

    def places(self) -> int:
        return min(
            self.settings.capacity - len(self.inside()),
            self.settings.window_size - len(self.entered_lately()),
        )

    def least_free(self) -> int:
        """What is free where everybody comes who was called and may still come."""
        return max(0, self.places() - len(self.promised()) - len(self.at_door()))

    def most_free(self) -> int:
        """And where nobody does."""
        return max(0, self.places() - len(self.at_door()))

    def free_first(self, free: int) -> int:
        held = [each for each in self.inside() if each.first]
        recent = [each for each in self.entered_lately() if each in held]
        of_capacity = max(10, self.settings.capacity // 4) - len(held)
        of_rate = max(10, self.settings.window_size // 4) - len(recent)
        return max(0, min(free, of_capacity, of_rate))

    def most_called(self) -> int:
        """So many may be called at once: ten times the places that there are, or may be, a second from now."""
        soon = self.now + AHEAD
        interval = self._us(self.settings.window_interval)
        inside = sum(each.lease_ends > soon for each in self.inside())
        entered = sum(each.entered_at > soon - interval for each in self.entered_lately())
        leaving = self.left * AHEAD / 30_000_000
        places = min(self.settings.capacity - inside + leaving, self.settings.window_size - entered)
        return math.floor(MOST_AHEAD * max(0, places))

    def free_in(self, visitor: Visitor) -> int:
        """At the door: how long until the interval lets this visitor in; 0 where it is the capacity that does not."""
        before = len(self._before(visitor))
        if self.settings.capacity - len(self.inside()) <= before:
            return 0
        times = sorted(each.entered_at for each in self.entered_lately())
        missing = before + 1 - (self.settings.window_size - len(times))
        return (
            times[missing - 1] + self._us(self.settings.window_interval) - self.now
            if missing <= len(times)
            else 0
        )

    def ended(self) -> dict[str, int]:
        return {
            id: each.pass_ends // 1000
            for id, each in self.sessions.items()
            if each.over and each.pass_ends > self.now
        }

    def edges(self) -> Iterator[int]:
        """Every moment at which time alone changes something, that is still to come."""
        rules = self.settings
        for session in self.sessions.values():
            yield session.entered_at + self._us(rules.window_interval)
            yield session.lease_ends
            yield session.pass_ends
        for visitor in self.visitors:
            if visitor.called_at:
                yield visitor.called_at + self._us(rules.claim_seconds)
                yield visitor.called_at + self._us(rules.active_seconds)
            if visitor.asked_at:
                yield visitor.asked_at + DOOR
                yield visitor.asked_at + HERE

    # -- what the scripts do ----------------------------------------------------------------------

    def look(self, called: int) -> None:
        """Slide the window; `called` is how far it went."""
        turns_over = self.now - self._us(self.settings.active_seconds)
        passed = [each.number for each in self.visitors if each.called_at and each.called_at <= turns_over]
        kept = [each.number for each in self.at_door()]
        self.floor = max(self.floor, min(max(passed, default=0), min(kept, default=self.called + 1) - 1))
        count = called - self.called
        assert min(self.least_free(), self.waiting) <= count <= self.waiting, "P3: a place is withheld"
        assert count <= max(self.least_free(), self.most_called()), (
            "more are called than could ever come in soon"
        )
        self._call(count)

    def join(self, how: str, ticket: Ticket, called: int) -> int | None:
        """Take a number; answers when the pass ends, 0 for none, None where no number was taken.

        `called` is how far the window went.
        """
        at_once = self.issued < called
        may, must = (not self.waiting and free > 0 for free in (self.most_free(), self.least_free()))
        if how == "first" and not (at_once and self.free_first(self.most_free())):
            assert not (must and self.free_first(self.least_free())), "a newcomer is kept out of a free place"
            return None
        assert must <= at_once <= may, (
            "a newcomer is called at once where nobody waits and there is room, else not"
        )
        visitor = Visitor(ticket)
        self.visitors.append(visitor)
        if at_once:
            self._call(1)
        if not at_once or how == "number":
            return 0
        return self._enter(visitor, first=how == "first").pass_ends

    def claim(self, visitor: Visitor, enters: bool) -> tuple[str, int, int]:
        if visitor.number <= self.floor or visitor.left:
            return "expired", 0, 0
        if visitor.entered_at:
            return self._claim_again(visitor)
        if visitor.number > self.called:
            return "waiting", 0, 0
        if not enters:
            return "door" if visitor in self.at_door() else "called", 0, 0
        if not self._may_enter(visitor):
            visitor.promised, visitor.asked_at = False, self.now
            return "door", 0, 0
        return "active", self._enter(visitor, first=False).pass_ends, self.now

    def renew(self, id: str, confirms: bool) -> int:
        session = self.sessions[id]
        first = session.first and not confirms
        # A pass tells when it was entered in milliseconds.
        ends = self._pass_end(session.entered_at // 1000 * 1000, first)
        if session not in self.inside() or ends <= self.now:
            return 0
        session.first = first
        session.lease_ends = max(session.lease_ends, ends + GRACE)
        return ends

    def leave(self, visitor: Visitor) -> int:
        """Leave, by ticket or pass; answers until when the pass has to be refused."""
        session = self.sessions.get(visitor.ticket.id)
        if session in self.inside():
            session.over = True
            self.left += 1
            if session.pass_ends <= self.now:
                return 0
            self.ended_version += 1
            return session.pass_ends
        if not visitor.entered_at and self.floor < visitor.number <= self.called:
            visitor.left, visitor.promised, visitor.asked_at = True, False, None
        return 0

    def _us(self, seconds: float) -> int:
        return round(seconds * 1e6)

    def _call(self, count: int) -> None:
        for visitor in self.visitors[self.called : self.called + count]:
            visitor.called_at, visitor.promised = self.now, True
        self.called += count

    def _before(self, visitor: Visitor) -> list[Visitor]:
        """Those at the door who come before a visitor and ask as often as they were told."""
        since = self.now - HERE
        lower = self.visitors[: visitor.number - 1]
        return [each for each in lower if each.asked_at and each.asked_at > since]

    def _may_enter(self, visitor: Visitor) -> bool:
        return self.places() > len(self._before(visitor))

    def _enter(self, visitor: Visitor, first: bool) -> Session:
        visitor.entered_at, visitor.promised, visitor.asked_at = self.now, False, None
        lease_ends = self._pass_end(self.now, first) + GRACE
        session = Session(visitor, self.now, lease_ends, first)
        self.sessions[visitor.ticket.id] = session
        return session

    def _claim_again(self, visitor: Visitor) -> tuple[str, int, int]:
        session = self.sessions[visitor.ticket.id]
        if session not in self.inside():
            return "expired", 0, 0
        if session.pass_ends <= self.now:
            ends = self._pass_end(session.entered_at, first=False)
            if ends <= self.now:
                return "expired", 0, 0
            session.lease_ends = max(session.lease_ends, ends + GRACE)
        return "active", session.pass_ends, session.entered_at

    def _pass_end(self, entered_at: int, first: bool) -> int:
        rules = self.settings
        ends = self.now + self._us(rules.first_lease_seconds if first else rules.session_seconds)
        longest = self._us(rules.max_session_seconds)
        return min(ends, entered_at + longest) if longest else ends
