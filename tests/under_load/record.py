"""What happened, and what must not have."""

from dataclasses import dataclass, field

from waitroom.line.tickets import Ticket
from waitroom.line.window import rank


@dataclass(slots=True)
class Joined:
    """A number that a visitor was given; times by one machine's clock, in seconds."""

    token: str
    ticket: Ticket
    sent: float
    answered: float
    entered: float | None = None
    left: float | None = None
    latest: str | None = None
    """The pass that it was exchanged for."""
    sessions: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Record:
    """The whole run, as the visitors saw it."""

    seconds: float = 0.0
    """How long it lasted, from the first of those who stay inside to the last join."""
    joined: list[Joined] = field(default_factory=list)
    joins_held: int = 0
    """Joins that got no number, as the store was away: who asked was told so."""
    admitted: int = 0
    disturbed: list[str] = field(default_factory=list)
    """What visitors inside got in place of the site."""
    lost: list[str] = field(default_factory=list)
    """Tickets that were worth nothing in the end, though nobody had used them."""
    admitted_seconds: list[float] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)

    def doubles(self) -> int:
        """Numbers that two visitors hold."""
        return len(self.joined) - len({rank(one.ticket) for one in self.joined})

    def inversions(self) -> int:
        """Visitors who asked after another had the answer, and rank before that one."""
        ordered = sorted(self.joined, key=lambda one: rank(one.ticket))
        found, first_answer = 0, float("inf")
        for one in reversed(ordered):
            found += first_answer < one.sent
            first_answer = min(first_answer, one.answered)
        return found

    def double_slots(self) -> int:
        """Tickets that became more than one session."""
        return sum(len(one.sessions) > 1 for one in self.joined)

    def most_inside(self, always: int) -> int:
        """Most visitors inside at one time, `always` of them from the beginning to the end."""
        steps = [(one.entered, 1) for one in self.joined if one.entered is not None]
        steps += [(one.left, -1) for one in self.joined if one.left is not None]
        most = inside = 0
        for _, step in sorted(steps):
            inside += step
            most = max(most, inside)
        return most + always
