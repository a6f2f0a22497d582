"""One schedule: what happens in what order, all of it drawn from the seed; and at its end, everybody gets in."""

import random

from tests.simulation.account import BrokenPromiseError
from tests.simulation.crowd import DOOR_SECONDS
from tests.simulation.faults import FAULTS, SILENT, Faults
from tests.simulation.parts import Parts
from tests.simulation.visitors import Visitor
from tests.simulation.world import SECOND, Server

STEPS = 14
PAUSES = (0.0, 0.0, 0.2, 0.7, 1.5, 3.0, 6.0, 15.0)


class Schedule(Faults):
    """A room, its processes and visitors, and everything that befalls them."""

    def __init__(self, server: Server, seed: int, parts: Parts) -> None:
        super().__init__(server, seed, parts)
        # A few kinds at a time: each is then met with and without the others.
        self.faults = self.chance.sample(FAULTS, self.chance.choice([0, 1, 2, 2, 3, 4]))
        # Of its own chance, which leaves the other schedules as they are: the planted bugs are found by some of them.
        if random.Random(f"silence {seed}").random() < SILENT:
            self.faults.append("silence")
        self.oracle.note("faults", *self.faults)

    def run(self) -> None:
        """Raises BrokenPromiseError."""
        for _ in range(STEPS):
            self._act()
            if self.faults and self.chance.random() < 0.3:
                getattr(self, f"_{self.chance.choice(self.faults)}")()
            self._pass_time(self.chance.choice(PAUSES))
        self._let_everybody_in()

    # -- the end -----------------------------------------------------------------------------------------

    def _let_everybody_in(self) -> None:
        """P4: the faults are over. Who keeps asking gets in, within a time that follows from the settings."""
        self.oracle.note("the faults are over")
        self.is_over = True
        for process in self.processes:
            process.is_cut, process.next_fault = False, None
        for visitor in self.visitors:
            visitor.stays = min(visitor.stays, 1)
        until = self.world.true + self._patience()
        while any(self._is_in_line(visitor) for visitor in self.visitors):
            if self.world.true > until:
                left = [f"{v.id} {v.ticket}" for v in self.visitors if self._is_in_line(v)]
                raise BrokenPromiseError(f"P4: who keeps asking was never let in: {left}")
            self._pass_time(2)

    def _is_in_line(self, visitor: Visitor) -> bool:
        return visitor.stage in ("page", "api", "proof", "ticket")

    def _patience(self) -> int:
        """Seconds for what is lost to be over, and then for each place to be given in turn, no-shows included."""
        settings = [process.settings for process in self.processes]
        lease = max(own.session_seconds for own in settings) + 30
        settle = max(own.settle_seconds + own.tempo.longest_poll for own in settings)
        each = max(own.claim_seconds + own.window_interval + DOOR_SECONDS for own in settings)
        size = min(min(own.window_size, own.capacity) for own in settings)
        count = len(self.oracle.sessions) + len(self.visitors) + self.oracle.numbers
        return round((settle + 2 * lease + each * (count / size + 1)) * SECOND)
