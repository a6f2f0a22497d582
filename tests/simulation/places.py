"""Places: what happens to tickets and sessions in each script (P1, P2, P4, P5, P6)."""

from typing import TYPE_CHECKING, Any

from tests.simulation.ledger import Place, Session, View
from tests.simulation.losses import Losses
from tests.simulation.order import JUMP
from tests.simulation.world import SECOND
from waitroom.line.tickets import UNCONFIRMED, Pass, Ticket

if TYPE_CHECKING:
    from tests.simulation.processes import Process
    from tests.simulation.visitors import Visitor

ENDINGS = ("done", "gone")
"""What a join is told of first visits, beside who joins."""
HERE = 3 * SECOND
"""Who stands at the door and asks within this time is not overtaken."""


class Places(Losses):
    """Holds each script's own answers to the promises."""

    # -- each script --------------------------------------------------------------------------------------

    def _saw_sync(self, process: "Process", view: View, items: Any, answers: Any) -> set[str]:
        return set()

    def _saw_join(self, process: "Process", view: View, items: Any, answers: Any) -> set[str]:
        granted = set()
        self._saw_endings([(how, id) for how, id in items if how in ENDINGS], view.now)
        joining = [item for item in items if item[0] not in ENDINGS]
        for (how, id), (number, _, ends) in zip(joining, answers, strict=True):
            place = view.newest, int(number)
            if not place[1]:
                continue
            if id in self.holders.get(place, ()):
                continue  # the same proof, whose first answer was lost
            self.numbers += 1
            self.holders.setdefault(place, set()).add(id)
            if place <= self.top_answered:
                self.check(self._has_lost_top(view, place), f"P3: {place} is given after {self.top_answered}")
            if int(ends):
                self._grant(id, place, view.now, int(ends))
                granted.add(id)
                if how == "first":
                    session = self.sessions[id]
                    session.is_first = True
                    session.runs_until = view.now + round(process.settings.running_seconds * SECOND)
                    del self.lineage.used[place]
        return granted

    def _saw_endings(self, ended: list[tuple[str, str]], now: int) -> None:
        for how, id in ended:
            session = self.sessions[id]
            if session.is_first:
                session.runs_until = min(session.runs_until, now)
                session.is_given_back = session.is_given_back or how == "gone"

    def _saw_claim(self, process: "Process", view: View, items: Any, answers: Any) -> set[str]:
        granted = set()
        stood = {place for place, asked in self.lineage.door.items() if view.now - asked < HERE}
        for (_, epoch, number, id, _), (outcome, ends, entered_at, *_) in zip(items, answers, strict=True):
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
        if session and not session.is_over and place[1] > floor:
            self.check(
                self.lineage.own.get(id, 0) <= view.now, f"P5: {place} is inside and told it has expired"
            )
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
        for (_, epoch, number, _, _), (outcome, _, entered_at, *_) in zip(items, answers, strict=True):
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
            _, epoch, number, id, _, known_in, entered_at, is_first, _ = item
            session = self.sessions[id]
            if not int(answer):
                assert self.presented is not None
                if session.is_first or (is_first and known_in != view.newest):
                    continue  # its slot may have been given back: it claims
                self._check_refusal(process, view, session, self.presented.expires_at * 1000)
                continue
            if id not in self.lineage.own:
                self._find(session, process, view)
                self.lineage.used[epoch, number] = entered_at
                self.lineage.known.add(id)
                self.lineage.blurred.discard(id)
                session.is_over = session.is_lent = False
            elif session.is_over and known_in == UNCONFIRMED:
                # A copy that ran out while the store was away: the list of those who left is over by then.
                self._find(session, process, view)
                session.is_over = False
                self.lineage.ended.discard(id)
            self.check(id not in self.lineage.ended, f"P1: {id} has left, and comes back")
            self._extend(session, int(answer), view.now)
            if session.is_first:
                session.is_first = session.is_given_back = False
                self.lineage.used[epoch, number] = entered_at
                if not self.world.losses:  # else others may have come back meanwhile
                    self._check_counts(process, view)
        return set()

    def _find(self, session: Session, process: "Process", view: View) -> None:
        """It is taken for one of those that are accounted for, and may be of an older history than they are."""
        lineage = self.lineage
        lineage.found += 1
        is_older = session.id not in lineage.known and session.entered_at <= lineage.known_at
        if is_older or self._takes_from_others(session, process, view):
            inside, entered = lineage.unfeared
            lineage.unfeared = inside + 1, entered

    def _takes_from_others(self, session: Session, process: "Process", view: View) -> bool:
        """Whether it had left, and gets a place that is kept for somebody else, who is inside as well.

        The list of those who left is lost, and the pass is as good as theirs: no store could tell. It counts as inside
        from now on, so that when it leaves again no more than the place that it was given is one too many.
        """
        lineage = self.lineage
        is_kept = view.now < lineage.opened_at + process.settings.session_seconds * SECOND
        counted_at = max(lineage.known_at, lineage.lost_at)
        if lineage.opened == "tickets":
            counted_at = lineage.opened_at
        if not (session.is_over and is_kept and session.entered_at <= counted_at):
            return False
        inside, entered = lineage.valid
        lineage.valid = inside + 1, entered
        # Where a whole room is feared, some of its places may be nobody's.
        return lineage.opened != "tickets" or inside + 1 > lineage.feared

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
                self._find(session, process, view)
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
        place = visitor.ticket.epoch, visitor.ticket.number
        is_lost = len(self.holders[place]) > 1
        told = f"P4: {visitor.id} kept asking and has expired: {visitor.ticket}"
        self.check(is_used or is_late or is_lost, told)

    def has_passed(self, ticket: Ticket) -> bool:
        """Whether its turn had passed in any history."""
        return ticket.number <= self.ever_floor.get(ticket.epoch, 0)

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
        session.is_first = session.is_given_back = False
        self._extend(session, ends, now)
        self.lineage.used[place] = now
        self.lineage.known.add(id)
        self.lineage.ended.discard(id)
        self.lineage.blurred.discard(id)

    def _extend(self, session: Session, ends: int, now: int) -> None:
        session.pass_ends = max(session.pass_ends, ends)
        self.lineage.own[session.id] = max(self.lineage.own.get(session.id, 0), ends)
        session.lasts.setdefault(ends // 1000, (self.world.true, self.world.true + ends - now))

    def lent(self, given: Pass) -> None:
        """A process let somebody in while the store was away: nobody accounts for it until it reports."""
        if given.id not in self.sessions:
            place, ends = (given.epoch, given.number), given.expires_at * 1000
            self.sessions[given.id] = Session(given.id, place, given.entered_at * 1000, ends, is_lent=True)

    def _check_limits(self, process: "Process", view: View, granted: set[str]) -> None:
        """P1 and P2, by the settings of the process that let somebody in."""
        now = max(view.now, self.latest_clock)
        self.check(now >= self.lineage.settles_until, f"P1: {granted} enter while the room settles")
        self._check_counts(process, view)

    def _check_counts(self, process: "Process", view: View) -> None:
        settings, now = process.settings, max(view.now, self.latest_clock)
        inside, entered = self.counted(self.lineage.known, settings, now)
        more_inside, more_entered = self.lineage.unfeared
        most, rate = settings.capacity + more_inside, settings.window_size + more_entered
        self.check(len(inside) <= most, f"P1: {inside} are inside, of {settings.capacity}")
        self.check(len(entered) <= rate, f"P2: {entered} entered, of {settings.window_size}")
