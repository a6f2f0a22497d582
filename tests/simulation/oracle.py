"""The oracle: it sees every call and every answer, also those that no process hears of, and holds them to the promises.

It keeps its own account of the room from the answers alone. Where a promise cannot hold after a loss, because nobody
who knew has called yet, the account says who knew: `Lineage.known`.
"""

import json
import re
from collections.abc import Set
from typing import TYPE_CHECKING, Any

from tests.simulation.ledger import Lineage, Place, Registers, Remembered, Session, View
from tests.simulation.world import BEGIN, SECOND, World
from waitroom.settings import Settings
from waitroom.tickets import UNCONFIRMED, Pass

if TYPE_CHECKING:
    from tests.simulation.processes import Process
    from tests.simulation.visitors import Visitor

JUMP = 30 * SECOND
"""A jump that is smaller passes for time that has passed."""
DRIFT = 1000
"""Rounding: processes measure in floats."""
DOOR = 10 * SECOND
GRACE = 30 * SECOND


class BrokenPromiseError(AssertionError):
    """A promise was broken."""


class Oracle:
    """One room's judge."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lineage = Lineage()
        self.copies: dict[int, Lineage] = {}
        self.sessions: dict[str, Session] = {}
        self.remembered: dict[str, Remembered] = {}
        self.latest_clock = 0
        self.offset: int | None = None
        """How far the room's clock was from true time when it was last told."""
        self.clock_lost_at = -1
        """True time at which a call by somebody without memory took over a clock that had jumped ahead."""
        self.ever_called: dict[str, int] = {}
        self.calls = self.numbers = 0
        """How many were ever given, by whatever history."""
        self.called_at: dict[Place, int] = {}
        self.was_sent_twice = False
        self.presented: Pass | None = None
        """The pass with which somebody comes to be renewed."""
        self.left: set[str] = set()
        """Who gave up a ticket, whether they heard so or not."""
        self.began: dict[str, int] = {}
        """When each epoch was first seen; true time."""
        self.top_answered: Place = ("", 0)
        self.silent_loss_at = -1
        self.top_answered_at = 0
        self.holders: dict[Place, set[str]] = {}
        """Who was given each number; more than one where it was given once more after a loss without a sign."""
        self.places: dict[str, Place] = {}
        """Ranks that were answered, by id."""
        self.log: list[tuple[int, tuple[Any, ...]]] = []

    def note(self, *what: Any) -> None:
        self.log.append((self.world.true - BEGIN, what))

    def story(self) -> str:
        """All that happened, a line each, with the seconds since the beginning."""
        lines = (f"{at / SECOND:>10.3f}  {' '.join(map(str, what))}" for at, what in self.log)
        return re.sub(r"\b0*176(\d{13})\b", lambda time: f"{int(time[1]) / SECOND:g}s", "\n".join(lines))

    def check(self, holds: object, promise: str) -> None:
        if not holds:
            raise BrokenPromiseError(promise)

    # -- what the schedule does to the store ---------------------------------------------------------

    def emptied(self) -> None:
        self._lost()
        self.lineage = Lineage()

    def copied(self, slot: int) -> None:
        self.world.true += 1000
        self.copies[slot] = self.lineage.copy()

    def restored(self, slot: int) -> None:
        if not self._lost():
            self.silent_loss_at = self.world.true
        self.lineage = self.copies[slot].copy()

    def _lost(self) -> bool:
        """Tell whether the history that scripts see is another now."""
        self.world.losses += 1
        self.world.true += 1000  # no server restarts within the same moment
        return self.world.tells_loss()

    def restarted(self, process: "Process") -> None:
        self.remembered[process.name] = Remembered(losses=self.world.losses)

    # -- every call ------------------------------------------------------------------------------------

    def saw(self, process: "Process", name: str, items: str, memory: str, reply: Any) -> None:
        """A script ran, whether anybody hears the answer or not."""
        self.calls += 1
        view = View.read(reply[0])
        told = json.loads(memory)["told"]
        asked = json.loads(items)
        self.note(process.name, name, items, memory, "->", reply)
        mine = self.remembered[process.name]
        self._check_clock(view, mine)
        self._check_registers(view, mine, told)
        self._take_reports(process, view, mine, told)
        self._check_calls(view)
        self.before = self._without_joins(view, name, reply[1])
        self.lineage.clock, self.lineage.over, self.lineage.epochs = view.now, view.over, view.epochs
        self.latest_clock = max(self.latest_clock, view.now)
        granted = getattr(self, f"_saw_{name}")(process, view, asked, reply[1])
        if granted:
            self._check_limits(process, view, granted)
        # Whoever enters by two numbers, as the join was sent twice, is counted twice in that one answer.
        if not self.world.losses and not self.was_sent_twice:
            leases = [
                s.id for s in self.sessions.values() if not s.is_over and s.pass_ends + GRACE > view.now
            ]
            self.check(
                view.inside <= len(leases), f"P1: {view.inside} are said to be inside, but only {leases} are"
            )

    def heard(self, process: "Process", name: str, items: str, reply: Any) -> None:
        """The process has the answer."""
        view = View.read(reply[0])
        mine = self.remembered[process.name]
        mine.clock, mine.heard_at, mine.losses = view.now, self.world.true, self.world.losses
        mine.over = max(mine.over, view.over)
        for epoch, registers in view.epochs.items():
            before = mine.epochs.get(epoch, (0, 0, 0))
            mine.epochs[epoch] = tuple(map(max, before, registers))  # type: ignore[assignment]
        mine.called = max(mine.called, self.lineage.called)
        mine.known, mine.unfeared = set(self.lineage.known), self.lineage.unfeared
        if name == "join":
            for (_, id), (number, _, _) in zip(json.loads(items), reply[1], strict=True):
                if int(number):
                    self.places[id] = view.newest, int(number)
                    if self.places[id] > self.top_answered:
                        self.top_answered, self.top_answered_at = self.places[id], self.world.true

    # -- P9: the clock -----------------------------------------------------------------------------

    def _check_clock(self, view: View, mine: Remembered) -> None:
        last = max(self.lineage.clock, mine.clock or 0)
        self.check(view.now >= last, f"P9: the room's clock went back from {last} to {view.now}")
        if not self.world.jumps:
            self.check(
                view.now == self.world.store_time(), "P9: without a jump the room's clock is the store's"
            )
        if mine.clock is not None:
            expected = max(last, mine.clock + self.world.true - mine.heard_at)
            self.check(view.now <= expected + JUMP + DRIFT, "P9: a jump of the store's clock went through")
        offset = view.now - self.world.true
        went_on = self.offset is not None and offset - self.offset > JUMP
        if view.now < self.latest_clock or (went_on and self._is_clock_unknown(mine)):
            self._lose_clock(view)
        self.offset = offset

    def _is_clock_unknown(self, mine: Remembered) -> bool:
        """Who calls does not know how much time has passed, or knew a clock that was lost since."""
        return mine.clock is None or self.clock_lost_at >= mine.heard_at

    def _lose_clock(self, view: View) -> None:
        """The store's clock is believed, wherever it is: what was measured by the one before it is off."""
        self.clock_lost_at = self.world.true
        self.latest_clock = view.now
        self.lineage.known.clear()
        self.lineage.blurred |= set(self.sessions)
        for session in self.sessions.values():
            session.pass_ends, session.entered_at = min(session.pass_ends, view.now), 0

    # -- the registers -------------------------------------------------------------------------------

    def _check_registers(self, view: View, mine: Remembered, told: list[Any]) -> None:
        """P4: they only grow, and whatever the caller brings is merged."""
        for source in (self.lineage.epochs, mine.epochs):
            for epoch, before in source.items():
                if epoch <= view.over:
                    continue
                after = view.epochs.get(epoch)
                self.check(after is not None, f"P4: epoch {epoch} is forgotten")
                assert after is not None
                grown = all(a >= b for a, b in zip(after, before, strict=True))
                self.check(grown, f"P4: epoch {epoch} went back from {before} to {after}")
        for epoch, issued, called, _, _ in told:
            after = view.epochs.get(epoch)
            covered = epoch <= view.over or (after and after[0] >= issued and after[1] >= called)
            self.check(covered, f"P4: what a ticket told of {epoch} is not known: {issued}, {called}")
        for issued, called, floor in view.epochs.values():
            self.check(floor <= called <= issued, "floor, called and issued are out of order")
        last = max(self.lineage.called, mine.called)
        self.check(view.called() >= last, f"P3: the rank called went back from {last} to {view.called()}")

    def _check_calls(self, view: View) -> None:
        """P3: in order, and while it settles nobody. What any history has called before is merged, not called."""
        names = sorted(view.epochs)
        for epoch in names:
            self.began.setdefault(epoch, self.world.true)
            _, called, floor = view.epochs[epoch]
            before = self.ever_called.setdefault(epoch, floor)
            issued_before, _, floor_before = self.lineage.epochs.get(epoch, (0, 0, 0))
            if called == floor and issued_before == floor_before:
                self.ever_called[epoch] = before = max(called, before)  # numbers that were skipped
            if called <= before:
                continue
            for older in names[: names.index(epoch)]:
                issued, so_far, _ = view.epochs[older]
                self.check(so_far == issued, f"P3: {epoch} is called before {older} was to its end")
            self.check(
                view.now >= self.lineage.settles_until, "P4: somebody is called while the room settles"
            )
            for number in range(before + 1, called + 1):
                self.called_at[epoch, number] = view.now
            self.ever_called[epoch] = called
            self.lineage.called = max(self.lineage.called, (epoch, called))

    # -- who reports a loss -----------------------------------------------------------------------------

    def _take_reports(self, process: "Process", view: View, mine: Remembered, told: list[Any]) -> None:
        lineage, settings = self.lineage, process.settings
        is_ahead = mine.clock is not None and mine.clock > lineage.clock
        is_news = any(self._is_news(epoch, *registers) for epoch, registers in mine.epochs.items())
        is_news |= any(self._is_news(epoch, issued, called, 0) for epoch, issued, called, _, _ in told)
        if view.newest not in lineage.epochs:
            was_new = not lineage.epochs and not mine.epochs and not told
            lineage.opened, lineage.opened_at = "new" if was_new else "lost", view.now
            lineage.lost_at, lineage.noticed = lineage.clock, self.world.losses
            inside, entered = self._counted(set(self.sessions), settings, view.now)
            lineage.valid = len(inside), len(entered)
        elif lineage.noticed < self.world.losses and not is_ahead:
            lineage.blurred |= set(self.sessions) - lineage.own
        if self._remembers(mine, is_ahead):
            # Of what two processes saw of two histories, none accounts for all: the greater number counts.
            forgotten = set() if lineage.opened == "tickets" else lineage.known
            lineage.known = lineage.own | max(
                forgotten, mine.known, key=lambda ids: self._count_valid(ids, view)
            )
            lineage.opened = "processes"
            lineage.known_at = max(lineage.known_at, mine.clock or 0)
            lineage.unfeared = max(lineage.unfeared, mine.unfeared)
        elif is_news and lineage.opened != "processes":
            lineage.opened = "tickets"
            lineage.known = set(self.sessions)
            more_inside, more_entered = lineage.valid
            lineage.unfeared = (
                max(0, more_inside - settings.capacity),
                max(0, more_entered - settings.window_size),
            )
        pause = settings.settle_seconds
        if lineage.opened == "tickets":
            pause = max(pause, settings.tempo.longest_poll)
        lineage.settles_until = 0 if lineage.opened == "new" else lineage.opened_at + round(pause * SECOND)

    def _remembers(self, mine: Remembered, is_ahead: bool) -> bool:
        """Whether a process knows of something that was lost, and the store can tell."""
        lineage = self.lineage
        if mine.clock is None or mine.losses == self.world.losses or mine.clock <= lineage.lost_at:
            return False
        return is_ahead or lineage.noticed > mine.losses

    def _is_news(self, epoch: str, issued: int, called: int, floor: int) -> bool:
        before = self.lineage.epochs.get(epoch, (-1, -1, -1))
        is_more = any(a > b for a, b in zip((issued, called, floor), before, strict=True))
        return epoch > self.lineage.over and is_more

    def _count_valid(self, ids: Set[str], view: View) -> int:
        return sum(not self.sessions[id].is_over and self.sessions[id].pass_ends > view.now for id in ids)

    # -- each script --------------------------------------------------------------------------------------

    def _saw_sync(self, process: "Process", view: View, items: Any, answers: Any) -> set[str]:
        return set()

    def _saw_join(self, process: "Process", view: View, items: Any, answers: Any) -> set[str]:
        granted = set()
        for (_, id), (number, _, ends) in zip(items, answers, strict=True):
            place = view.newest, int(number)
            if not place[1]:
                continue
            self.numbers += 1
            self.holders.setdefault(place, set()).add(id)
            if place <= self.top_answered:
                self.check(self._has_lost_top(view, place), f"P3: {place} is given after {self.top_answered}")
            if int(ends):
                self._grant(id, place, view.now, int(ends))
                granted.add(id)
        return granted

    def _without_joins(self, view: View, name: str, answers: Any) -> Registers:
        """The registers before this call's own numbers were given."""
        given = sum(int(number) > 0 for number, _, _ in answers) if name == "join" else 0
        issued, called, floor = view.epochs[view.newest]
        return {**view.epochs, view.newest: (issued - given, called, floor)}

    def _has_lost_top(self, view: View, place: Place) -> bool:
        """The store lost the last rank, nobody who knew of it has called, and nothing shows that it did.

        Neither its history's id, nor a clock that is ahead of that rank's epoch.
        """
        epoch, number = self.top_answered
        if self.before.get(epoch, (0, 0, 0))[0] >= number:
            return False
        is_behind = place[0] <= epoch and self.began[place[0]] > self.top_answered_at
        return self.silent_loss_at >= self.top_answered_at or is_behind

    def _saw_claim(self, process: "Process", view: View, items: Any, answers: Any) -> set[str]:
        granted = set()
        stood = {place for place, asked in self.lineage.door.items() if view.now - asked < DOOR}
        for (_, epoch, number, id, _), (outcome, ends, entered_at) in zip(items, answers, strict=True):
            place = epoch, number
            if len(self.holders[place]) > 1:
                # Given once more, after a loss that nobody could know of: judged when it was given.
                if outcome == "active" and place not in self.lineage.used:
                    self._grant(id, place, view.now, int(ends))
                    granted.add(id)
                continue
            if outcome == "active":
                if self._saw_active(process, view, place, id, int(ends), int(entered_at)):
                    granted.add(id)
            elif outcome == "door":
                self.lineage.door[place] = view.now
            elif outcome == "waiting":
                called = view.epochs.get(epoch, (0, 0, 0))[1]
                self.check(number > called, f"P4: {place} waits, and was called")
            elif outcome == "expired":
                self._saw_expired(process, view, place, id)
        self._check_door(view, stood, items, answers)
        return granted

    def _saw_active(
        self, process: "Process", view: View, place: Place, id: str, ends: int, entered_at: int
    ) -> bool:
        """Whether the ticket entered just now."""
        used = self.lineage.used.get(place)
        if used is not None:
            self.check(used == entered_at, f"P5: {place} entered at {used} and again at {entered_at}")
            session = self.sessions[id]
            self.check(id not in self.lineage.ended, f"P5: {place} has left, and is inside again")
            self._extend(session, ends, view.now)
            return False
        self.check(entered_at == view.now, f"P5: {place} entered at {entered_at}, which nobody knows of")
        self._grant(id, place, view.now, ends)
        return True

    def _saw_expired(self, process: "Process", view: View, place: Place, id: str) -> None:
        session = self.sessions.get(id)
        floor = view.epochs.get(place[0], (0, 0, 0))[2]
        if session and id in self.lineage.own and not session.is_over and place[1] > floor:
            self.check(session.pass_ends <= view.now, f"P5: {place} is inside and told it has expired")
        if not session and id not in self.left:
            self.check_turn(place, view.now, round(process.settings.active_seconds * SECOND))

    def check_turn(self, place: Place, now: int, active: int) -> None:
        """P4: who never entered has had its active time."""
        at = self.called_at.get(place)
        self.check(at is not None and now >= at + active, f"P4: {place} has expired; it was called at {at}")

    def _check_door(self, view: View, stood: set[Place], items: Any, answers: Any) -> None:
        """P3: of two who stood at the door and asked at the same moment, the lower is not left there alone."""
        stayed = set()
        entered = set()
        for (_, epoch, number, _, _), (outcome, _, entered_at) in zip(items, answers, strict=True):
            if outcome == "door":
                stayed.add((epoch, number))
            elif outcome == "active" and int(entered_at) == view.now:
                entered.add((epoch, number))
        for place in entered:
            self.lineage.door.pop(place, None)
        if entered & stood and stayed & stood:
            last, first = max(entered & stood), min(stayed & stood)
            self.check(last < first, f"P3: {last} entered while {first} stood at the door")

    def _saw_renew(self, process: "Process", view: View, items: Any, answers: Any) -> set[str]:
        for item, answer in zip(items, answers, strict=True):
            _, epoch, number, id, _, known_in, entered_at, _, _ = item
            session = self.sessions[id]
            if not int(answer):
                assert self.presented is not None
                self._check_refusal(process, view, session, self.presented.expires_at * 1000)
                continue
            if id not in self.lineage.own:
                self._find(session)
                self.lineage.used[epoch, number] = entered_at
                self.lineage.own.add(id)
                self.lineage.known.add(id)
                self.lineage.blurred.discard(id)
                session.is_revived |= session.is_over
                session.is_over = session.is_lent = False
            elif session.is_over and known_in == UNCONFIRMED:
                # A copy that ran out while the store was away: the list of those who left is over by then.
                session.is_revived, session.is_over = True, False
                self.lineage.ended.discard(id)
            self.check(id not in self.lineage.ended, f"P1: {id} has left, and comes back")
            self._extend(session, int(answer), view.now)
        return set()

    def _find(self, session: Session) -> None:
        """It is taken for one of those that are accounted for, and may be of an older history than they are."""
        if session.id not in self.lineage.known and session.entered_at <= self.lineage.known_at:
            inside, entered = self.lineage.unfeared
            self.lineage.unfeared = inside + 1, entered

    def _check_refusal(self, process: "Process", view: View, session: Session, ends: int) -> None:
        longest = process.settings.max_session_seconds * SECOND
        is_capped = longest and view.now >= session.entered_at + longest
        if session.is_over or is_capped or session.id in self.lineage.blurred:
            return
        given, until = session.lasts.get(ends // 1000, (0, 0))
        if self.clock_lost_at >= given:
            return
        self.check(ends <= view.now, f"P6: {session.id} holds a pass and is refused")
        is_early = self.world.true < until - JUMP - SECOND
        self.check(not is_early, f"P9: the session of {session.id} ended early")

    def _saw_leave(self, process: "Process", view: View, items: Any, answers: Any) -> set[str]:
        for item, answer in zip(items, answers, strict=True):
            place, id = (item[1], item[2]), item[3]
            self.lineage.door.pop(place, None)
            self.left.add(id)
            session = self.sessions.get(id)
            if session and int(answer) and id not in self.lineage.own:
                self._find(session)
            if session and (int(answer) or id in self.lineage.own):
                session.is_over = True
                self.lineage.ended.add(id)
                self.lineage.used.setdefault(place, session.entered_at)
        return set()

    # -- what visitors are told ----------------------------------------------------------------------------

    def expired(self, visitor: "Visitor", now_ms: int, is_late: bool) -> None:
        """P4: nobody who keeps asking is told that the turn has passed."""
        is_used = visitor.id in self.sessions or visitor.id in self.left
        assert visitor.ticket is not None
        is_twice = len(self.holders[visitor.ticket.epoch, visitor.ticket.number]) > 1
        self.check(
            is_used or is_late or is_twice, f"P4: {visitor.id} kept asking and has expired: {visitor.ticket}"
        )

    def refused(self, presented: Pass, process: "Process") -> None:
        """P6: a pass that holds is never refused."""
        session = self.sessions[presented.id]
        now = max(self.latest_clock, process.now() * 1000)
        held = presented.expires_at * 1000 > now and not session.is_over
        given, _ = session.lasts.get(presented.expires_at, (0, 0))
        is_lost = presented.id in self.lineage.blurred or self.clock_lost_at >= given
        self.check(
            not held or is_lost or self._is_ended(presented.id),
            f"P6: {presented.id} holds a pass and is refused",
        )

    def _is_ended(self, id: str) -> bool:
        return any(id in lineage.ended for lineage in (self.lineage, *self.copies.values()))

    # -- grants -----------------------------------------------------------------------------------------

    def _grant(self, id: str, place: Place, now: int, ends: int) -> None:
        session = self.sessions.get(id)
        if session is None:
            session = self.sessions[id] = Session(id, place, now, ends)
        session.entered_at, session.is_over, session.is_lent = now, False, False
        session.is_revived = False
        self._extend(session, ends, now)
        self.lineage.used[place] = now
        self.lineage.own.add(id)
        self.lineage.known.add(id)
        self.lineage.ended.discard(id)
        self.lineage.blurred.discard(id)

    def _extend(self, session: Session, ends: int, now: int) -> None:
        session.pass_ends = max(session.pass_ends, ends)
        session.lasts.setdefault(ends // 1000, (self.world.true, self.world.true + ends - now))

    def lent(self, given: Pass) -> None:
        """A process let somebody in while the store was away: nobody accounts for it until it reports."""
        if given.id not in self.sessions:
            place, ends = (given.epoch, given.number), given.expires_at * 1000
            self.sessions[given.id] = Session(given.id, place, given.entered_at * 1000, ends, is_lent=True)

    def _check_limits(self, process: "Process", view: View, granted: set[str]) -> None:
        """P1 and P2, by the settings of the process that let somebody in."""
        settings, now = process.settings, max(view.now, self.latest_clock)
        self.check(now >= self.lineage.settles_until, f"P1: {granted} enter while the room settles")
        inside, entered = self._counted(self.lineage.known, settings, now)
        more_inside, more_entered = self.lineage.unfeared
        most, rate = settings.capacity + more_inside, settings.window_size + more_entered
        self.check(len(inside) <= most, f"P1: {inside} are inside, of {settings.capacity}")
        self.check(len(entered) <= rate, f"P2: {entered} entered, of {settings.window_size}")

    def _counted(self, ids: set[str], settings: Settings, now: int) -> tuple[list[str], list[str]]:
        """Of these sessions those that are inside, and those that entered within the interval."""
        counted = [s for s in map(self.sessions.__getitem__, ids) if not s.is_lent and not s.is_revived]
        since = now - round(settings.window_interval * SECOND)
        inside = sorted(session.id for session in counted if not session.is_over and session.pass_ends > now)
        return inside, sorted(session.id for session in counted if session.entered_at > since)
