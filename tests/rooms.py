"""A room of a test's own on a real store, its visitors, and a clock that stands until it is moved."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from waitroom.config.settings import Settings
from waitroom.line.tickets import Pass, Ticket, new_id
from waitroom.line.window import Window
from waitroom.room.sessions import Sessions
from waitroom.store.transitions import Claimed, Joined, Store

GRACE = 30
"""Seconds for which the store keeps a lease after its pass."""
DOOR = 10
"""Seconds for which who does not ask again is still at the door."""


@dataclass
class Clock:
    """Microseconds since the epoch."""

    now: int = 1_760_000_000_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float, microseconds: int = 0) -> None:
        self.now += round(seconds * 1e6) + microseconds

    def ms(self, seconds: float = 0) -> int:
        """The time that many seconds from now, as tickets and passes have it."""
        return (self.now + round(seconds * 1e6)) // 1000


@dataclass
class Line:
    """One process's view of a room; `again()` gives another's."""

    url: str
    settings: Settings
    clock: Clock = field(default_factory=Clock)
    stores: list[Store] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Store(self.url, self.settings, self.clock)
        self.stores.append(self.store)

    def again(self, **changed: object) -> "Line":
        return Line(self.url, self.settings.model_copy(update=changed), self.clock, self.stores)

    def key(self, name: str) -> str:
        """One of the room's keys in the store."""
        return f"waitroom:{{{self.settings.room}}}:{name}"

    async def close(self) -> None:
        for store in self.stores:
            await store.close()

    async def join(self, *hows: str) -> list[Joined]:
        return (await self.store.join([(how, new_id()) for how in hows]))[1]

    async def tickets(self, count: int) -> list[Ticket]:
        """Take numbers, as the API does: none of them enters."""
        return await self._issue(["number"] * count)

    async def enter(self, count: int) -> list[Ticket]:
        """Take numbers with which everybody is inside at once."""
        tickets = await self._issue(["enter"] * count)
        assert await self.claim(*tickets, enters=False) == ["active"] * count
        return tickets

    async def first(self) -> Pass:
        """Enter on a first lease, without a number of one's own."""
        id = new_id()
        window, (joined,) = await self.store.join([("first", id)])
        assert joined.number
        return Pass(
            window.generation,
            window.newest.name,
            joined.number,
            id,
            self.clock.ms(),
            joined.pass_ends,
            0,
            0,
            first=True,
        )

    async def end_visit(self, how: str, visit: Pass) -> None:
        """End the request of a first visit: "done", or "gone" where nobody is to come back."""
        await self.store.join([(how, visit.id)])

    async def _issue(self, hows: Sequence[str]) -> list[Ticket]:
        ids = [new_id() for _ in hows]
        window, answers = await self.store.join(list(zip(hows, ids, strict=True)))
        return [
            Ticket(window.generation, window.newest.name, joined.number, id, self.clock.ms(), joined.start)
            for id, joined in zip(ids, answers, strict=True)
        ]

    async def claimed(self, ticket: Ticket, enters: bool = True) -> Claimed:
        return (await self.store.claim([(ticket, enters)]))[1][0]

    async def claim(self, *tickets: Ticket, enters: bool = True) -> list[str]:
        """Claim one after the other, as different processes do; answers the outcomes."""
        return [(await self.claimed(ticket, enters)).outcome for ticket in tickets]

    async def renew(self, ticket: Ticket | Pass, confirms: bool = True) -> int:
        return (await self.store.renew([(as_pass(ticket), confirms)]))[1][0]

    async def leave(self, *leaving: Ticket | Pass) -> list[int]:
        return (await self.store.leave(leaving))[1]

    async def look(self) -> Window:
        return (await self.store.sync(-1))[0]

    async def ended(self) -> dict[str, int]:
        window, synced = await self.store.sync(-1)
        assert synced.ended is not None
        listed = dict(synced.ended)
        while synced.version < window.ended_version:
            window, synced = await self.store.sync(synced.version)
            listed |= synced.ended or {}
        return listed


@contextmanager
def open_request(sessions: Sessions, admitted: Pass) -> Iterator[None]:
    """Be in the midst of a request."""
    request = sessions.begin(admitted)
    try:
        yield
    finally:
        sessions.end(request)


def as_pass(ticket: Ticket | Pass) -> Pass:
    """The pass of a ticket that entered the moment it was issued."""
    if isinstance(ticket, Pass):
        return ticket
    return Pass(
        ticket.generation, ticket.epoch, ticket.number, ticket.id, ticket.issued_at, ticket.issued_at, 0, 0
    )
