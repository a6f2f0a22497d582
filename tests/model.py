"""The line in plain Python, told from its whole history: what the scripts have to answer.

The scripts keep only what they need and forget the rest. This keeps everything, and asks it each time: who
entered within the interval, who was called and may still come, who stands at the door. How many are called ahead of
what is free depends on what the scripts have learned: that is told, and held to what it may be at least and at most.
Times are microseconds.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from waitroom.config.settings import Settings
from waitroom.line.tickets import Ticket

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
    gave_up: bool = False
    """It left while it waited."""

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
    runs_until: int = 0
    """For so long the request of a first visit is taken to run."""
    counts_from: int = 0
    """When it entered, as its pass has it once it was confirmed."""

    @property
    def pass_ends(self) -> int:
        return self.lease_ends - (0 if self.first else GRACE)


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
    notes: list[tuple[int, int]] = field(default_factory=list)
    """How far the window had gone and when; of first visits not every one."""

    # -- what follows from the history ------------------------------------------------------------

    @property
    def issued(self) -> int:
        return len(self.visitors)

    @property
    def waiting(self) -> int:
        return sum(not each.gave_up for each in self.visitors[self.called :])

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

    def idle(self) -> list[Session]:
        """First visits that nobody has come back to yet and whose requests are over, oldest first."""
        idle = [each for each in self.inside() if each.first and each.runs_until <= self.now]
        return sorted(idle, key=lambda each: (each.runs_until, each.visitor.ticket.id))

    def gives_way(self) -> bool:
        return not self.waiting and not self.at_door()

    def free_first(self, free: int) -> tuple[int, int]:
        """At least and at most."""
        if not self.gives_way():
            return free, free
        most = self.places() + len(self.idle())
        return max(free, most - len(self.promised())), max(free, most)

    def can_displace(self) -> bool:
        """Whether a newcomer finds a place in what first visits have left, with all who are promised one coming."""
        rules, promised, entered = self.settings, len(self.promised()), self.entered_lately()
        of_capacity = rules.capacity - len(self.inside()) - promised
        of_rate = rules.window_size - len(entered) - promised
        for each in self.idle() if self.gives_way() else ():
            if of_capacity > 0 and of_rate > 0:
                break
            if each in entered or of_rate > 0:
                of_capacity, of_rate = of_capacity + 1, of_rate + (each in entered)
        return self.gives_way() and of_capacity > 0 and of_rate > 0

    def give_back(self, session: Session) -> None:
        """Nobody has come back: it was no entry, and its ticket is that of somebody who was called."""
        session.visitor.entered_at = None
        del self.sessions[session.visitor.ticket.id]

    def tell_time(self, now: int) -> None:
        self.now = now
        for session in list(self.sessions.values()):
            if session.first and not session.over and session.lease_ends <= now:
                self.give_back(session)

    def displaced(self, inside: set[str]) -> None:
        """First visits gave way: of who was inside these are left."""
        idle = self.idle()
        gone = [each for each in self.inside() if each.visitor.ticket.id not in inside]
        assert all(each in idle for each in gone), "only a first visit that is over gives way"
        for session in gone:
            self.give_back(session)

    def end_visit(self, how: str, id: str) -> None:
        session = self.sessions.get(id)
        if session is None or not session.first or session not in self.inside():
            return
        if how == "gone":
            self.give_back(session)
        else:
            session.runs_until = self.now
            session.lease_ends = min(
                session.lease_ends, self.now + self._us(self.settings.first_lease_seconds)
            )

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
            yield session.runs_until
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
        passed = [number for number, at in self.notes if at <= turns_over]
        kept = [each.number for each in self.at_door()]
        self.floor = max(self.floor, min(max(passed, default=0), min(kept, default=self.called + 1) - 1))
        self._pass_given_up()
        count = sum(not each.gave_up for each in self.visitors[self.called : called])
        assert min(self.least_free(), self.waiting) <= count <= self.waiting, "P3: a place is withheld"
        assert count <= max(self.least_free(), self.most_called()), (
            "more are called than could ever come in soon"
        )
        self._call(count)
        self._pass_given_up()

    def join(self, how: str, ticket: Ticket, called: int) -> int | None:
        """Take a number; answers when the pass ends, 0 for none, None where no number was taken.

        `called` is how far the window went.
        """
        at_once = self.issued < called
        may, must = (not self.waiting and free > 0 for free in (self.most_free(), self.least_free()))
        assert at_once or not self.can_displace(), "a first visit that is over keeps a newcomer out"
        if how == "first" and not at_once:
            assert not must, "a newcomer is kept out of a free place"
            return None
        assert must <= at_once <= may, (
            "a newcomer is called at once where nobody waits and there is room, else not"
        )
        visitor = Visitor(ticket)
        self.visitors.append(visitor)
        if at_once:
            self._call(1, is_first=how == "first")
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
        entered_at = session.entered_at // 1000 * 1000
        ends = self._pass_end(entered_at, first)
        if session not in self.inside() or self._pass_end(entered_at, first=False) <= self.now:
            return 0
        if first:
            session.runs_until = max(session.runs_until, self.now + self._us(self.settings.running_seconds))
        elif session.first:
            session.first, session.counts_from = False, entered_at
        session.lease_ends = max(session.lease_ends, ends + (0 if first else GRACE))
        return ends

    def leave(self, visitor: Visitor) -> int:
        """Leave, by ticket or pass; answers until when the pass has to be refused."""
        session = self.sessions.get(visitor.ticket.id)
        if session in self.inside():
            session.over = True
            self.left += 1
            if session.first:
                session.lease_ends, visitor.left = 0, True
                return 0
            if session.pass_ends <= self.now:
                return 0
            self.ended_version += 1
            return session.pass_ends
        if not visitor.entered_at and self.floor < visitor.number <= self.called:
            visitor.left, visitor.promised, visitor.asked_at = True, False, None
        visitor.gave_up = visitor.gave_up or visitor.number > self.called
        return 0

    def _us(self, seconds: float) -> int:
        return round(seconds * 1e6)

    def _call(self, count: int, is_first: bool = False) -> None:
        """Call the next who have not given up."""
        left = count
        while left:
            visitor = self.visitors[self.called]
            self.called += 1
            if not visitor.gave_up:
                visitor.called_at, visitor.promised = self.now, True
                left -= 1
        spared = self._us(self.settings.active_seconds) // 100
        is_spared = is_first and self.notes and self.notes[-1][1] > self.now - spared
        if count and not is_spared:
            self.notes.append((self.called, self.now))

    def _pass_given_up(self) -> None:
        while self.called < self.issued and self.visitors[self.called].gave_up:
            self.called += 1

    def _before(self, visitor: Visitor) -> list[Visitor]:
        """Those at the door who come before a visitor and ask as often as they were told."""
        since = self.now - HERE
        lower = self.visitors[: visitor.number - 1]
        return [each for each in lower if each.asked_at and each.asked_at > since]

    def _may_enter(self, visitor: Visitor) -> bool:
        return self.places() > len(self._before(visitor))

    def _enter(self, visitor: Visitor, first: bool) -> Session:
        visitor.entered_at, visitor.promised, visitor.asked_at = self.now, False, None
        lease_ends = self._pass_end(self.now, first) + (0 if first else GRACE)
        session = Session(visitor, self.now, lease_ends, first)
        session.runs_until = self.now + self._us(self.settings.running_seconds)
        session.counts_from = self.now
        self.sessions[visitor.ticket.id] = session
        return session

    def _claim_again(self, visitor: Visitor) -> tuple[str, int, int]:
        session = self.sessions[visitor.ticket.id]
        if session not in self.inside():
            return "expired", 0, 0
        if session.pass_ends <= self.now:
            ends = self._pass_end(session.counts_from, first=False)
            if ends <= self.now:
                return "expired", 0, 0
            session.lease_ends = max(session.lease_ends, ends + GRACE)
        return "active", session.pass_ends, session.entered_at

    def _pass_end(self, entered_at: int, first: bool) -> int:
        rules = self.settings
        short = min(rules.session_seconds, rules.running_seconds + rules.first_lease_seconds)
        ends = self.now + self._us(short if first else rules.session_seconds)
        longest = self._us(rules.max_session_seconds)
        return min(ends, entered_at + longest) if longest else ends
