"""P3: nobody who asks as told is overtaken by more than the calls that a silence may cost."""

from collections.abc import Sequence

from tests.simulation.oracle import Oracle
from tests.simulation.visitors import Visitor
from tests.simulation.world import SECOND, World
from waitroom.config.settings import Settings
from waitroom.line.tickets import Ticket

LATE = 3 * SECOND
"""Who asks longer than this after the call, the last ask or the end of a silence was late."""


class Overtaking:
    """Sees who asks and who enters."""

    world: World
    oracle: Oracle

    def asks(self, visitor: Visitor, ticket: Ticket) -> None:
        """Note that somebody who was called asks for the place."""
        now, place = self.world.true, (ticket.epoch, ticket.number)
        called_at = self.oracle.called_at.get(place, now)
        since = max(visitor.asked_at or called_at, visitor.unheard_until)
        visitor.is_late |= now - since > LATE
        visitor.asked_at = now

    def enters(self, visitor: Visitor, ticket: Ticket, settings: Sequence[Settings]) -> None:
        """Hold the later numbers that entered before against the bound, where nothing was lost and no clock jumped."""
        if visitor.is_late or self.world.losses or self.world.jumps:
            return
        place = ticket.epoch, ticket.number
        later = sum(1 for other, at in self.oracle.lineage.used.items() if at and other > place)
        most = 2 * max(own.window_size for own in settings) + 2 * max(own.capacity for own in settings)
        self.oracle.check(later <= most, f"P3: {place} was overtaken by {later}")
