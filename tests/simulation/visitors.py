"""Visitors: they come, keep what they are given, ask when they were told to, and some of them vanish."""

from dataclasses import dataclass

from waitroom.line.tickets import Pass, Ticket


@dataclass
class Visitor:
    """One browser; `stage` is new, proof, ticket, inside or gone."""

    id: str
    stage: str
    due: int
    """True time of its next request."""
    stays: int
    """For how many requests it stays once it is inside."""
    keeps_asking: bool = True
    """Whether it means to come in; else it vanishes at its second request."""
    ticket: Ticket | None = None
    presented: Pass | None = None
    reached_at: int | None = None
    """When the store, or a window just read, last told it where it stands; the room's clock."""
    has_proof: bool = False
    """Whether its id is that of a proof which it has shown already."""
    is_at_door: bool = False
    asked_at: int | None = None
    """True time of the last ask for its place."""
    unheard_until: int = 0
    """Until then a silence kept it from asking."""
    is_late: bool = False
    """It asked for its place later than somebody who looks as told."""
    is_passed: bool = False
    """Its turn had passed already, in a history that was lost then: who knew of it may still come."""

    @property
    def credential(self) -> Ticket | Pass | None:
        return self.presented or self.ticket
