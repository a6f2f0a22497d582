"""When this process is beyond its limit, and whom it turns away then, before anything is written about them."""

from waitroom.line.counters import Counters
from waitroom.line.positions import status_of
from waitroom.line.tickets import Credential, Pass, Ticket
from waitroom.line.window import Window
from waitroom.room.snapshot import Snapshot
from waitroom.store.batching import Batching
from waitroom.store.transitions import Joined

LATEST = 3.0
"""Seconds by which its loop may be late: what is asked now would be answered no sooner."""
MOST_JOINING = 10_000
"""Visitors who may wait for the store to give them a number."""


class Overload:
    """Looks at one process as it is now."""

    def __init__(
        self, snapshot: Snapshot, joins: Batching[tuple[str, str], tuple[Window, Joined]], counters: Counters
    ) -> None:
        self._snapshot = snapshot
        self._joins = joins
        self._counters = counters

    def turns_away(self, credential: Credential | None) -> bool:
        """Tell whether a request is to be turned away: never who is inside or was called, and nobody loses a place."""
        if not self._snapshot.is_late(LATEST) and self._joins.waiting() < MOST_JOINING:
            return False
        window = self._snapshot.window
        if isinstance(credential, Ticket) and window is not None:
            is_turned_away = status_of(credential, window) != "active"
        else:
            is_turned_away = not isinstance(credential, Pass)
        self._counters.add("turned_away", is_turned_away)
        return is_turned_away
