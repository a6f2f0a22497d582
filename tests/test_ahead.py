"""Calling ahead, by the real scripts: what the window learns of those it calls, and what it makes of it (P1 to P3)."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.conftest import SECRET
from tests.rooms import Line, as_pass
from waitroom.settings import load
from waitroom.tickets import Ticket

MakeLine = Callable[..., Line]
ROOM: dict[str, Any] = {
    "window_size": 10_000,
    "window_interval": 10,
    "capacity": 40,
    "session_seconds": 300,
    "claim_seconds": 90,
}


@pytest.fixture
async def line(store_url: str, room: str) -> AsyncIterator[MakeLine]:
    made: list[Line] = []

    def make(**values: Any) -> Line:
        name = f"{room}-{len(made)}"
        made.append(Line(store_url, load(redis_url=store_url, secret=SECRET, room=name, **values)))
        return made[-1]

    yield make
    for each in made:
        await each.close()


async def seconds(shop: Line, count: int) -> None:
    """Let time pass as it does in a room that somebody looks at."""
    for _ in range(2 * count):
        shop.clock.advance(0.5)
        await shop.look()


async def serve(shop: Line, share: int) -> int:
    """Let one of `share` come, at the next look after the call, and stay until the one after that.

    Answers how many entered.
    """
    waiting, asked, inside, entered = await shop.tickets(9000), 0, list[Ticket](), 0
    for _ in range(40):
        shop.clock.advance(0.5)
        called = (await shop.look()).called
        await shop.store.withdraw([as_pass(guest) for guest in inside])
        coming = [ticket for ticket in waiting[asked:called] if ticket.number % share == 0]
        outcomes = await shop.claim(*coming)
        inside = [ticket for ticket, outcome in zip(coming, outcomes, strict=True) if outcome == "active"]
        entered += len(inside)
        asked = called
    return entered


async def test_where_nothing_was_learned_as_many_are_called_as_there_are_places(line: MakeLine) -> None:
    shop = line(**ROOM)
    await shop.tickets(200)
    assert (await shop.look()).called == 40
    shop.clock.advance(0, 1)
    assert (await shop.look()).called == 40


async def test_nobody_is_called_long_before_there_is_a_place(line: MakeLine) -> None:
    shop = line(**ROOM | {"capacity": 1})
    await shop.enter(1)
    await shop.tickets(2)
    await seconds(shop, 120)
    assert (await shop.look()).called == 1


async def test_who_does_not_come_is_not_waited_for(line: MakeLine) -> None:
    """The next is called long before `claim_seconds` are over, and who comes later is the next at the door."""
    shop = line(**ROOM | {"capacity": 1})
    late, following = await shop.tickets(2)
    await seconds(shop, 60)
    assert (await shop.look()).called == 2
    assert await shop.claim(following, late) == ["active", "door"]
    await shop.leave(following)
    assert await shop.claim(late) == ["active"]


async def test_the_share_that_comes_is_learned_and_so_many_more_are_called(line: MakeLine) -> None:
    """Where two of three never come, almost as many enter as where all do."""
    entered = await serve(line(**ROOM), share=1)
    assert 0.7 * entered < await serve(line(**ROOM), share=3) < 1.3 * entered


async def test_at_most_ten_times_the_places_are_called(line: MakeLine) -> None:
    shop = line(**ROOM)
    await shop.tickets(9000)
    called = (await shop.look()).called
    for _ in range(300):
        shop.clock.advance(0.5)
        window = await shop.look()
        assert window.called - called <= 400
        called = window.called


@pytest.mark.parametrize(("silent_for", "outcome"), [(2.999, "door"), (3, "active")])
async def test_p3_a_place_is_kept_for_the_lowest_at_the_door_as_long_as_it_asks(
    line: MakeLine, silent_for: float, outcome: str
) -> None:
    """And who is overtaken keeps the rank: it is the next."""
    shop = line(**ROOM | {"capacity": 3})
    guest, silent, later = await shop.tickets(3)
    full = shop.again(capacity=1)
    assert await full.claim(guest, silent) == ["active", "door"]
    shop.clock.advance(silent_for)
    await full.leave(guest)
    assert await full.claim(later) == [outcome]
    await full.leave(later)
    assert await full.claim(silent) == ["active"]


async def test_p3_many_at_the_door_are_counted_to_the_end(line: MakeLine) -> None:
    shop = line(**ROOM | {"capacity": 130})
    tickets = await shop.tickets(130)
    full = shop.again(capacity=1)
    assert await full.claim(*tickets) == ["active"] + ["door"] * 129
    shop.clock.advance(4)
    await full.leave(tickets[0])
    # All before it stand there and have stopped asking, but the 120th.
    assert await full.claim(tickets[120]) == ["active"]
    await full.leave(tickets[120])
    assert await full.claim(tickets[119]) == ["active"]
    assert await full.claim(tickets[129], tickets[60]) == ["door", "door"]
    await full.leave(tickets[119])
    assert await full.claim(tickets[128], tickets[60]) == ["door", "active"]


async def test_who_stands_at_the_door_is_told_when_the_interval_lets_them_in(line: MakeLine) -> None:
    shop = line(**ROOM | {"window_size": 3})
    assert await shop.claim(*await shop.tickets(3)) == ["active"] * 3
    shop.clock.advance(9.5)
    (following,) = await shop.tickets(1)
    shop.clock.advance(0.25)
    assert (await shop.look()).called == 4, "as a place is about to come free"
    claimed = await shop.claimed(following)
    assert (claimed.outcome, claimed.free_in) == ("door", 0.25)
    shop.clock.advance(claimed.free_in, -1)
    assert await shop.claim(following) == ["door"]
    shop.clock.advance(0, 1)
    assert await shop.claim(following) == ["active"]


async def test_where_the_room_is_full_nobody_can_tell_when_there_is_a_place(line: MakeLine) -> None:
    shop = line(**ROOM | {"capacity": 2})
    tickets = await shop.tickets(2)
    claims = [await shop.again(capacity=1).claimed(ticket) for ticket in tickets]
    assert [(claimed.outcome, claimed.free_in) for claimed in claims] == [("active", 0), ("door", 0)]
