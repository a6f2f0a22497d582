"""The oracle: it sees every call and every answer, also those that no process hears of, and holds them to the promises.

It keeps its own account of the room from the answers alone. Where a promise cannot hold after a loss, because nobody
who knew has called yet, the account says who knew: `Lineage.known`.
"""

import json
from typing import TYPE_CHECKING, Any

from tests.simulation.ledger import View
from tests.simulation.places import ENDINGS, Places
from tests.simulation.world import GRACE

if TYPE_CHECKING:
    from tests.simulation.processes import Process


class Oracle(Places):
    """One room's judge."""

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
            joining = [item for item in json.loads(items) if item[0] not in ENDINGS]
            for (_, id), (number, _, _) in zip(joining, reply[1], strict=True):
                if int(number):
                    self.places[id] = view.newest, int(number)
                    if self.places[id] > self.top_answered:
                        self.top_answered, self.top_answered_at = self.places[id], self.world.true
