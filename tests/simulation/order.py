"""Order and time: P9, the room's clock; P3 and P4, the registers, who is called, and which rank a number has."""

from typing import Any

from tests.simulation.account import Account
from tests.simulation.ledger import Place, Registers, Remembered, View
from tests.simulation.world import SECOND

JUMP = 30 * SECOND
"""A jump that is smaller passes for time that has passed."""
DRIFT = 1000
"""Rounding: processes measure in floats."""


class Order(Account):
    """Holds what every answer begins with to the promises."""

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
        """Who calls does not know how much time has passed, or not by the clock that was lost or has come back."""
        if mine.clock is None or self.clock_lost_at >= mine.heard_at:
            return True
        return (
            self.clock_lost_at >= 0
            and self.lineage.clock > mine.clock + self.world.true - mine.heard_at + JUMP
        )

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
            self.ever_floor[epoch] = max(self.ever_floor.get(epoch, 0), view.epochs[epoch][2])
            _, called, floor = view.epochs[epoch]
            before = self.ever_called.setdefault(epoch, floor)
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

    # -- ranks ---------------------------------------------------------------------------------------

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
