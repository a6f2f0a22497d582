"""Losses: who could tell the store of one, and for which sessions it then has to account (P1, P2)."""

from typing import TYPE_CHECKING, Any

from tests.simulation.ledger import Remembered, View
from tests.simulation.order import Order
from tests.simulation.world import GRACE, SECOND
from waitroom.config.settings import Settings

if TYPE_CHECKING:
    from tests.simulation.processes import Process


class Losses(Order):
    """Follows what each report tells the store.

    What nobody has told it yet it cannot know: these are the exceptions that docs/reliability.md lists.
    """

    def _take_reports(self, process: "Process", view: View, mine: Remembered, told: list[Any]) -> None:
        lineage, settings = self.lineage, process.settings
        is_ahead = mine.clock is not None and mine.clock > lineage.clock
        is_news = any(self._is_news(epoch, *registers) for epoch, registers in mine.epochs.items())
        is_news |= any(self._is_news(epoch, issued, called, 0) for epoch, issued, called, _, _ in told)
        if view.newest not in lineage.epochs:
            was_new = not lineage.epochs and not mine.epochs and not told
            lineage.opened, lineage.opened_at = "new" if was_new else "lost", view.now
            lineage.lost_at, lineage.noticed = lineage.clock, self.world.losses
            self._drop_stale(view, settings)
            inside, entered = self.counted(set(self.sessions), settings, view.now)
            lineage.valid, lineage.found, lineage.feared = (len(inside), len(entered)), 0, 0
        elif lineage.noticed < self.world.losses and not is_ahead:
            is_lost = {
                id for id, session in self.sessions.items() if session.pass_ends > lineage.own.get(id, 0)
            }
            lineage.blurred |= is_lost
            lineage.known -= is_lost
        if self._remembers(mine, is_ahead):
            # Of what two processes saw of two histories, none accounts for all: the greater number counts.
            forgotten: set[str] = set() if lineage.opened == "tickets" else lineage.known
            if not lineage.known <= mine.known:
                # Who has come back may have been of another history than those who are feared now.
                more_inside, more_entered = lineage.unfeared
                hidden = self._count_hidden(forgotten, mine.known, settings, view)
                lineage.unfeared = more_inside + lineage.found, more_entered + hidden
            is_more = self._count_valid(mine.known, view) > self._count_valid(forgotten, view)
            lineage.known = set(lineage.own) | (mine.known if is_more else forgotten)
            lineage.opened = "processes"
            lineage.known_at = max(lineage.known_at, mine.clock or 0)
            lineage.unfeared = max(lineage.unfeared, mine.unfeared)
        elif is_news and lineage.opened != "processes":
            lineage.opened = "tickets"
            lineage.known = set(self.sessions)
            lineage.feared = max(lineage.feared, settings.capacity)
            were_inside, had_entered = lineage.valid
            more_inside, more_entered = were_inside - lineage.feared, had_entered - settings.window_size
            lineage.unfeared = max(0, more_inside), max(0, more_entered)
        pause = settings.settle_seconds
        if lineage.opened == "tickets":
            pause = max(pause, settings.tempo.longest_poll)
        lineage.settles_until = 0 if lineage.opened == "new" else lineage.opened_at + round(pause * SECOND)

    def _drop_stale(self, view: View, settings: Settings) -> None:
        """Leases that had run out long ago in what is left; if they were renewed since, it does not show there."""
        lineage = self.lineage
        since = view.now - round(settings.session_seconds * SECOND) - 2 * GRACE
        for id in [id for id, ends in lineage.own.items() if ends <= since]:
            del lineage.own[id]
            lineage.known.discard(id)

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

    def _count_hidden(self, one: set[str], other: set[str], settings: Settings, view: View) -> int:
        """Entries that do not show where only the greater number of two histories counts."""
        entered = [len(self.counted(ids, settings, view.now)[1]) for ids in (one | other, one, other)]
        return entered[0] - max(entered[1:])

    def _count_valid(self, ids: set[str], view: View) -> int:
        valid = [self.sessions[id] for id in ids if not self.sessions[id].is_over]
        return sum(each.pass_ends > view.now and not each.is_given_back for each in valid)
