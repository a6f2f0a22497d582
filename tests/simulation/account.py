"""The oracle's account of a room: everything that was ever answered, and what each history of the store knows."""

import re
from typing import TYPE_CHECKING, Any

from tests.simulation.ledger import Lineage, Place, Registers, Remembered, Session
from tests.simulation.world import BEGIN, SECOND, World
from waitroom.config.settings import Settings
from waitroom.line.tickets import Pass

if TYPE_CHECKING:
    from tests.simulation.processes import Process


class BrokenPromiseError(AssertionError):
    """A promise was broken."""


class Account:
    """One room's history as the answers tell it, and the faults that have befallen it."""

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
        self.ever_floor: dict[str, int] = {}
        self.calls = 0
        self.numbers = 0
        """How many were ever given, by whatever history."""
        self.before: Registers = {}
        """The registers as the script found them, after it has merged."""
        self.called_at: dict[Place, int] = {}
        self.was_sent_twice = False
        self.presented: Pass | None = None
        """The pass with which somebody comes to be renewed."""
        self.left: set[str] = set()
        """Who gave up a ticket, whether they heard so or not."""
        self.began: dict[str, int] = {}
        """When each epoch was first seen; true time."""
        self.top_answered: Place = ("", 0)
        """The greatest rank that anybody was told."""
        self.top_answered_at = 0
        self.silent_loss_at = -1
        """True time of the last loss that no history's id shows."""
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

    def counted(self, ids: set[str], settings: Settings, now: int) -> tuple[list[str], list[str]]:
        """Of these sessions those that are inside, and those that entered within the interval."""
        counted = [s for s in map(self.sessions.__getitem__, ids) if not s.is_lent]
        since = now - round(settings.window_interval * SECOND)
        counted = [session for session in counted if not session.is_idle(now)]
        inside = sorted(session.id for session in counted if not session.is_over and session.pass_ends > now)
        return inside, sorted(session.id for session in counted if session.entered_at > since)
