"""Calling ahead, by the real scripts: what the window learns of those it calls, and what it makes of it (P1 to P3)."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.conftest import SECRET
from tests.rooms import Line, as_pass
from waitroom.config.settings import load
from waitroom.line.tickets import Ticket

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
        await shop.store.leave([as_pass(guest) for guest in inside])
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


async def hush(shop: Line, count: int) -> int:
    """Serve a full room to a waiting line, then let nobody's claims through; answers how many are outstanding."""
    capacity = shop.settings.capacity
    waiting, asked, inside = await shop.tickets(50 * capacity), 0, list[Ticket]()
    for step in range(80 + 2 * count):
        shop.clock.advance(0.5)
        called = (await shop.look()).called
        leaving, inside = inside[: capacity // 20 or 1], inside[capacity // 20 or 1 :]
        await shop.store.leave([as_pass(guest) for guest in leaving])
        if step >= 80:
            continue
        outcomes = await shop.claim(*waiting[asked:called])
        assert set(outcomes) <= {"active", "door"}
        inside += [
            ticket for ticket, told in zip(waiting[asked:called], outcomes, strict=True) if told == "active"
        ]
        asked = called
    return called - asked


@pytest.mark.parametrize("capacity", [10, 50, 200])
@pytest.mark.parametrize("silent_for", [8, 20])
async def test_a_silence_that_all_share_does_not_call_the_whole_line(
    line: MakeLine, capacity: int, silent_for: int
) -> None:
    """While those inside go on leaving, for which places are promised: not everybody is a no-show at once."""
    assert await hush(line(**ROOM | {"capacity": capacity}), silent_for) <= 5 * capacity


@pytest.mark.parametrize("served", [0, 20])
async def test_a_stretch_of_numbers_that_never_come_is_passed(line: MakeLine, served: int) -> None:
    """3,000 of them within five minutes, also where nobody has ever come."""
    shop = line(**ROOM | {"capacity": 50})
    waiting = await shop.tickets(3000 + served)
    for _ in range(2 * 300):
        shop.clock.advance(0.5)
        called = (await shop.look()).called
        for guest in waiting[: min(served, called)]:
            if (await shop.claimed(guest)).outcome == "active" and called > 2 * served:
                await shop.leave(guest)
        served = 0 if called > 2 * served else served
    assert called == len(waiting)


async def test_numbers_that_nobody_asks_for_are_called_by_the_places_there_are(line: MakeLine) -> None:
    """However many were taken while nobody waited, one after the other or all at once."""
    shop = line(**ROOM | {"capacity": 1})
    for _ in range(60):
        await shop.join(*["number"] * 10)
        await seconds(shop, 1)
    assert (await shop.look()).called <= 40
