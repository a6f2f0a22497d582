"""Where a visitor stands, as the page and the API tell it: the arithmetic of `window` with this room's jitter."""

import random

from waitroom.line.tickets import Pass, Ticket
from waitroom.line.window import (
    SHORTEST_POLL,
    Place,
    Rank,
    Status,
    Tempo,
    Window,
    ahead,
    eta,
    poll_seconds,
    rank,
    spread,
    stand,
    status,
    wait_seconds,
    with_door,
)

AWAY_POLL = 5
"""Seconds between two looks while the store is away."""


def status_of(ticket: Ticket, window: Window) -> Status:
    """Tell a ticket's status as far as the window shows; one of an earlier generation is void."""
    return status(ticket, window) if ticket.generation >= window.generation else "expired"


class Positions:
    """Writes places; `chance` spreads the polls."""

    def __init__(self, tempo: Tempo, chance: random.Random) -> None:
        self._tempo = tempo
        self._chance = chance

    def in_line(self, ticket: Ticket, window: Window) -> Place:
        """Place a ticket in the line."""
        return self._place(ticket, window, *stand(ticket, window))

    def waiting(self, ticket: Ticket, window: Window) -> Place | None:
        """Place a ticket that waits, as far as the window shows; None for any other."""
        now, in_front = stand(ticket, window)
        if now != "waiting" or ticket.generation < window.generation:
            return None
        return self._place(ticket, window, now, in_front)

    def _place(self, ticket: Ticket, window: Window, now: Status, in_front: int) -> Place:
        told = eta(in_front, window) if now == "waiting" else None
        seconds = poll_seconds(in_front, window.rate_per_minute, self._tempo)
        before = with_door(now, in_front, window)
        return Place(now, ticket.number, before, told, self._spread(seconds), window.pace)

    def expected(self, place: Rank, window: Window) -> int:
        """Tell a newcomer's wait in whole seconds, at least one; 0 where there is none, or it is not known."""
        now, in_front = stand(place, window)
        seconds = wait_seconds(in_front, window) if now == "waiting" else None
        return 0 if seconds is None else max(1, round(seconds))

    def at_door(self, ticket: Ticket, before: int) -> Place:
        """Place a ticket that was called and found no free place, behind `before` others at the door."""
        return Place("waiting", ticket.number, before, None, self._spread(SHORTEST_POLL))

    def unnumbered(self, window: Window) -> Place:
        """Place a visitor behind everybody, without a number yet: the page comes back for it at once."""
        return Place("waiting", None, window.door + window.waiting, eta(window.waiting, window), 1)

    def without_store(self, ticket: Ticket | None, window: Window | None) -> Place:
        """Place a visitor as of the last time the store was seen."""
        in_front = 0
        if window is not None:
            in_front = ahead(rank(ticket), window) if ticket else window.door + window.waiting
        return Place("waiting", ticket.number if ticket else None, in_front, None, self._spread(AWAY_POLL))

    def inside(self, session: Pass) -> Place:
        """Place a visitor who is inside."""
        return Place("active", session.number, 0, None, self._spread(self._tempo.longest_poll))

    def expired(self, number: int) -> Place:
        """Place a ticket or session that is over."""
        return Place("expired", number, 0, None, 1)

    def _spread(self, seconds: float) -> int:
        return spread(seconds, self._chance.random(), self._tempo.longest_poll)
