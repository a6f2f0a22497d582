"""The scripts, each documented answer, on every kind of store, under a clock that the tests move."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio

from tests import stores
from tests.conftest import SECRET
from tests.rooms import DOOR, GRACE, Line
from waitroom.check.settings import MOST_LISTED
from waitroom.config.settings import load
from waitroom.line.tickets import Ticket, new_id, ticket_of
from waitroom.line.window import rank
from waitroom.store.transitions import KEYS, Store

MakeLine = Callable[..., Line]

# Small enough to be filled by hand; every number differs, so that no two can be mistaken for each other.
SMALL: dict[str, Any] = {
    "window_size": 3,
    "window_interval": 10,
    "active_window_count": 8,
    "capacity": 100,
    "session_seconds": 300,
    "first_lease_seconds": 40,
    "claim_seconds": 25,
}
ACTIVE = 80
RUNNING = 2
"""Seconds for which a first visit is taken to run, unless its process says that it does so longer."""


@pytest_asyncio.fixture
async def line(every_store_url: str, room: str) -> AsyncIterator[MakeLine]:
    """Make a room's line on each kind of store; closed at the end."""
    made: list[Line] = []

    def make(**keywords: Any) -> Line:
        settings = load(**{"redis_url": every_store_url, "secret": SECRET, "room": room, **SMALL, **keywords})
        made.append(Line(every_store_url, settings))
        return made[-1]

    yield make
    for each in made:
        await each.close()


def key(line: Line, name: str) -> str:
    assert name in KEYS
    return f"waitroom:{{{line.settings.room}}}:{name}"


def used(line: Line) -> int:
    """Count the used tickets that the store remembers."""
    with stores.admin(line.url) as client:
        return int(client.hlen(key(line, "used")))


# --- a room ------------------------------------------------------------------------------------


async def test_a_new_room_is_empty_and_open(line: MakeLine) -> None:
    shop = line()
    window = await shop.look()
    assert (window.generation, window.issued, window.called, window.floor, window.inside) == (1, 0, 0, 0, 0)
    assert (window.free, window.free_first) == (3, 3)
    assert (window.state, window.at, window.rate_per_minute) == ("open", shop.clock.ms(), None)


async def test_an_epoch_is_stamped_with_the_stores_time_and_stays(line: MakeLine) -> None:
    shop = line()
    epoch = (await shop.look()).epoch
    assert epoch.startswith(f"{shop.clock.now:016d}-")
    shop.clock.advance(1000)
    assert (await shop.again().look()).epoch == epoch


async def test_rooms_do_not_share_anything(line: MakeLine) -> None:
    one = line(capacity=1)
    other = line(capacity=1, room=f"{one.settings.room}-2")
    await one.enter(1)
    assert (await other.look()).issued == 0
    await other.enter(1)


# --- joins -------------------------------------------------------------------------------------


async def test_a_number_is_called_at_once_where_there_is_room(line: MakeLine) -> None:
    shop = line()
    assert await shop.join("number") == [(1, 0, 0)]
    window = await shop.look()
    assert (window.issued, window.called, window.inside, window.free) == (1, 1, 0, 2)


async def test_who_enters_at_once_has_a_full_lease(line: MakeLine) -> None:
    shop = line()
    assert await shop.join("enter") == [(1, 0, shop.clock.ms(300))]
    window = await shop.look()
    assert (window.issued, window.called, window.inside, window.free) == (1, 1, 1, 2)


async def test_a_first_lease_is_short(line: MakeLine) -> None:
    shop = line()
    assert await shop.join("first") == [(1, 0, shop.clock.ms(RUNNING + 40))]
    assert (await shop.look()).inside == 1


async def test_a_line_gives_numbers_that_wait(line: MakeLine) -> None:
    shop = line()
    await shop.enter(3)
    assert await shop.join("number", "enter") == [(4, 3, 0), (5, 3, 0)]
    window = await shop.look()
    assert (window.issued, window.called, window.waiting, window.state) == (5, 3, 2, "queueing")


async def test_a_line_gives_no_number_to_who_did_not_prove_the_cookie(line: MakeLine) -> None:
    shop = line()
    await shop.enter(3)
    assert await shop.join("first") == [(0, 0, 0)]
    assert (await shop.look()).issued == 3


async def test_joins_of_one_call_are_served_in_their_order(line: MakeLine) -> None:
    shop = line()
    answers = await shop.join("number", "enter", "first", "enter", "first", "number")
    assert [(number, start, bool(ends)) for number, start, ends in answers] == [
        (1, 0, False),
        (2, 1, True),
        (3, 2, True),
        (4, 3, False),
        (0, 0, False),
        (5, 3, False),
    ]
    window = await shop.look()
    assert (window.issued, window.called, window.inside, window.free) == (5, 3, 2, 0)


async def test_p5_an_id_that_has_a_number_gets_it_again_from_any_process(line: MakeLine) -> None:
    one = line(capacity=1)
    other = one.again()

    async def join(shop: Line, how: str, id: str) -> tuple[int, int, int]:
        return tuple((await shop.store.join([(how, id)]))[1][0])  # type: ignore[return-value]  # a named tuple

    entered = await join(one, "enter", "a")
    assert entered == (1, 0, one.clock.ms(300))
    assert await join(other, "number", "a") == entered
    waiting = await join(one, "number", "b")
    assert waiting == (2, 1, 0)
    assert await join(other, "enter", "b") == waiting
    assert (await one.store.join([("enter", "c"), ("enter", "c")]))[1][1].number == 3
    assert (await one.look()).issued == 3


async def test_p7_of_ids_that_have_a_number_the_latest_are_remembered(line: MakeLine) -> None:
    shop = line()
    await shop.store.join([("enter", "a")])
    for _ in range(2):
        await shop.tickets(400)
    with stores.admin(shop.url) as client:
        assert client.zcard(key(shop, "joined")) == 500
        taken = client.memory_usage(key(shop, "joined"), samples=0)
        assert taken is not None
        assert taken < 64 * 1024
    assert (await shop.store.join([("enter", "a")]))[1][0].number == 802


async def test_a_call_without_items_changes_nothing(line: MakeLine) -> None:
    shop = line()
    before = await shop.look()
    assert await shop.store.join([]) == (before, [])
    assert await shop.store.claim([]) == (before, [])
    assert await shop.store.renew([]) == (before, [])
    assert await shop.store.leave([]) == (before, [])


async def test_p3_a_newcomer_never_overtakes_those_who_wait(line: MakeLine) -> None:
    shop = line()
    await shop.enter(3)
    waiting = await shop.tickets(4)
    shop.clock.advance(10)
    assert await shop.join("enter", "first") == [(8, 6, 0), (0, 0, 0)]
    assert await shop.claim(*waiting, enters=False) == ["called", "called", "called", "waiting"]


# --- claims ------------------------------------------------------------------------------------


async def test_a_called_ticket_becomes_a_session(line: MakeLine) -> None:
    shop = line()
    (ticket,) = await shop.tickets(1)
    assert (await shop.claimed(ticket))[:3] == ("active", shop.clock.ms(300), shop.clock.ms())
    window = await shop.look()
    assert (window.inside, window.free) == (1, 2)


async def test_a_claim_that_enters_tells_when_its_turn_came(line: MakeLine) -> None:
    """With the call, or at the door; of one that is too late for its promise that is not known any more."""
    shop = line(capacity=3, window_size=20)
    called = await shop.tickets(3)
    turn = shop.clock.ms()
    shop.clock.advance(5)
    assert [(await shop.claimed(called[0])).turn_at for _ in range(2)] == [turn, 0]
    shop.clock.advance(25)  # the promises to the others are over
    others = await shop.tickets(2)
    assert await shop.claim(*others) == ["active"] * 2
    assert [(await shop.claimed(ticket)).outcome for ticket in called[1:]] == ["door"] * 2
    await shop.leave(called[0])
    shop.clock.advance(1)
    assert (await shop.claimed(called[1])).turn_at == shop.clock.ms()
    await shop.leave(others[0])
    shop.clock.advance(30)  # nobody is at the door any more
    assert (await shop.claimed(called[2])).turn_at == 0


async def test_asking_does_not_enter(line: MakeLine) -> None:
    shop = line()
    (ticket,) = await shop.tickets(1)
    assert (await shop.claimed(ticket, enters=False))[:3] == ("called", 0, 0)
    assert (await shop.look()).inside == 0


async def test_a_waiting_ticket_is_not_let_in(line: MakeLine) -> None:
    shop = line()
    await shop.enter(3)
    (ticket,) = await shop.tickets(1)
    assert (await shop.claimed(ticket))[:3] == ("waiting", 0, 0)
    assert (await shop.look()).inside == 3


async def test_p5_a_ticket_claimed_again_is_the_same_session(line: MakeLine) -> None:
    shop = line(capacity=2)
    ticket, other = await shop.tickets(2)
    first = await shop.claimed(ticket)
    shop.clock.advance(5)
    again = first._replace(turn_at=0)
    assert await shop.again().claimed(ticket) == again
    assert await shop.claimed(ticket, enters=False) == again
    assert (await shop.store.claim([(ticket, True)] * 3))[1] == [again] * 3
    window = await shop.look()
    assert (window.inside, window.free) == (1, 0)
    assert await shop.claim(other) == ["active"]


async def test_p5_a_claim_finds_what_was_renewed_meanwhile(line: MakeLine) -> None:
    shop = line()
    (ticket,) = await shop.enter(1)
    shop.clock.advance(70)
    await shop.renew(ticket)
    assert (await shop.claimed(ticket)).pass_ends == shop.clock.ms(300)


async def test_a_claim_of_who_is_inside_on_the_grace_alone_renews_it(line: MakeLine) -> None:
    shop = line()
    (ticket,) = await shop.enter(1)
    entered_at = shop.clock.ms()
    shop.clock.advance(70)  # the floor has not passed the number yet
    short = shop.again(session_seconds=1, first_lease_seconds=1)
    (late,) = await short.enter(1)
    shop.clock.advance(1)
    assert (await shop.claimed(late))[:3] == ("active", shop.clock.ms(300), shop.clock.ms(-1))
    assert (await shop.claimed(ticket))[:3] == ("active", entered_at + 300_000, entered_at)


async def test_p8_tickets_nobody_was_given_change_no_place(line: MakeLine) -> None:
    shop = line()
    (ticket,) = await shop.tickets(1)
    before = await shop.look()
    garbage = [
        (replace(ticket, number=2), "waiting"),
        (replace(ticket, number=2**53 - 1), "waiting"),
        (replace(ticket, epoch="9999999999999999-ffffff"), "waiting"),
        (replace(ticket, generation=2), "expired"),
        (replace(ticket, generation=0), "expired"),
    ]
    assert await shop.claim(*(forged for forged, _ in garbage)) == [outcome for _, outcome in garbage]
    assert await shop.leave(*(forged for forged, _ in garbage)) == [0] * len(garbage)
    assert await shop.look() == before
    assert await shop.claim(ticket) == ["active"]


# --- the rate (P2) -----------------------------------------------------------------------------


async def test_p2_the_interval_is_exact_to_the_microsecond(line: MakeLine) -> None:
    shop = line()
    await shop.enter(3)
    (ticket,) = await shop.tickets(1)
    shop.clock.advance(10, -1)
    claimed = await shop.claimed(ticket)
    assert (claimed.outcome, claimed.free_in) == ("door", 0.000_001), (
        "called ahead, as the place is about to be free"
    )
    shop.clock.advance(0, 1)
    assert await shop.claim(ticket) == ["active"]


async def test_p2_the_interval_rolls(line: MakeLine) -> None:
    shop = line()
    for _ in range(3):
        await shop.enter(1)
        shop.clock.advance(3)
    waiting = await shop.tickets(4)
    for seconds in (1, 3, 3):  # 10, 13 and 16 seconds after the beginning
        shop.clock.advance(seconds, -1)
        assert "active" not in await shop.claim(*waiting)
        shop.clock.advance(0, 1)
        assert await shop.claim(*waiting) == ["active"] + ["waiting"] * (len(waiting) - 1)
        waiting = waiting[1:]


async def test_p2_nothing_is_saved_up_while_nobody_comes(line: MakeLine) -> None:
    shop = line()
    await shop.look()
    shop.clock.advance(86_400)
    assert [bool(ends) for _, _, ends in await shop.join(*["enter"] * 7)] == [True] * 3 + [False] * 4
    window = await shop.look()
    assert (window.issued, window.called, window.inside) == (7, 3, 3)


async def test_p2_the_called_who_come_late_and_the_next_share_one_interval(line: MakeLine) -> None:
    shop = line()
    early = await shop.tickets(3)
    late = await shop.tickets(3)
    shop.clock.advance(9)
    assert await shop.claim(*early) == ["active"] * 3
    shop.clock.advance(10, -1)
    assert "active" not in await shop.claim(*late)
    shop.clock.advance(0, 1)
    assert await shop.claim(*late) == ["active"] * 3


async def test_p2_the_rate_holds_by_whatever_way_they_enter(line: MakeLine) -> None:
    shop = line()
    (ticket,) = await shop.tickets(1)
    await shop.renew(await shop.first())
    await shop.enter(1)
    assert await shop.claim(ticket) == ["active"]
    shop.clock.advance(10, -1)
    assert await shop.join("first", "enter", "number") == [(0, 0, 0), (4, 3, 0), (5, 3, 0)]


async def test_p2_leaving_frees_a_place_but_not_the_rate(line: MakeLine) -> None:
    shop = line()
    await shop.leave(*await shop.enter(3))
    (ticket,) = await shop.tickets(1)
    assert (await shop.look()).inside == 0
    assert await shop.claim(ticket) == ["waiting"]
    shop.clock.advance(10)
    assert await shop.claim(ticket) == ["active"]


async def test_p2_a_smaller_window_in_another_process_does_not_forget_entries(line: MakeLine) -> None:
    shop = line()
    smaller = shop.again(window_size=1)
    await shop.enter(3)
    await smaller.look()
    assert (await shop.look()).free == 0
    shop.clock.advance(10)
    await shop.look()
    assert await shop.enter(3)


async def test_p2_a_store_whose_clock_steps_back_lets_nobody_in_early(line: MakeLine) -> None:
    shop = line()
    await shop.enter(3)
    shop.clock.advance(10)
    await shop.enter(3)
    shop.clock.advance(-5)
    assert (await shop.join("enter"))[0].pass_ends == 0
    shop.clock.advance(10, -1)  # the room's clock has gone on from where it was
    (ticket,) = await shop.tickets(1)
    assert await shop.claim(ticket) != ["active"]
    shop.clock.advance(0, 1)
    assert await shop.claim(ticket) == ["active"]


async def test_no_window_slides_while_nobody_waits(line: MakeLine) -> None:
    shop = line()
    await shop.enter(1)
    for _ in range(5):
        shop.clock.advance(10)
        window = await shop.look()
        assert (window.issued, window.called) == (1, 1)


async def test_p2_a_window_does_not_slide_twice_for_one_interval(line: MakeLine) -> None:
    shop = line(capacity=1000)
    assert await shop.claim(*(await shop.tickets(10))[:3]) == ["active"] * 3
    for _ in range(4):
        shop.clock.advance(2)
        assert (await shop.again().look()).called == 3


# --- the capacity (P1) -------------------------------------------------------------------------


async def test_p1_a_full_room_lets_in_as_many_as_leave(line: MakeLine) -> None:
    shop = line(capacity=2)
    inside = await shop.enter(2)
    waiting = await shop.tickets(3)
    shop.clock.advance(60)
    assert await shop.claim(*waiting) == ["waiting"] * 3
    assert await shop.leave(inside[0]) == [shop.clock.ms(240)]
    assert await shop.claim(*waiting) == ["active", "waiting", "waiting"]
    assert (await shop.look()).inside == 2


async def test_p1_a_lease_is_kept_30_seconds_longer_than_its_pass(line: MakeLine) -> None:
    shop = line(capacity=1)
    await shop.enter(1)
    (ticket,) = await shop.tickets(1)
    shop.clock.advance(300 + GRACE, -1)
    assert await shop.claim(ticket) == ["waiting"]
    shop.clock.advance(0, 1)
    assert await shop.claim(ticket) == ["active"]


async def test_p1_the_called_count_against_the_capacity(line: MakeLine) -> None:
    shop = line(capacity=2)
    await shop.tickets(1)
    await shop.enter(1)
    assert await shop.join("enter", "first") == [(3, 2, 0), (0, 0, 0)]


async def test_p1_lowering_the_capacity_evicts_nobody_and_lets_nobody_in(line: MakeLine) -> None:
    shop = line()
    ticket, other = await shop.tickets(2)
    inside = await shop.enter(1)
    lower = shop.again(capacity=1)
    assert await lower.claim(ticket, other) == ["door", "door"]
    assert (await lower.look()).inside == 1
    assert await lower.renew(inside[0]) == shop.clock.ms(300)
    await lower.leave(inside[0])
    assert await lower.claim(other, ticket) == ["door", "active"]


async def test_p3_a_place_promised_to_several_goes_to_the_lowest_at_the_door(line: MakeLine) -> None:
    shop = line(window_size=4)
    (inside,) = await shop.enter(1)
    tickets = await shop.tickets(3)
    lower = shop.again(capacity=1)
    assert await lower.claim(tickets[0]) == ["door"]
    assert await lower.claim(tickets[0], enters=False) == ["door"]
    await lower.leave(inside)
    # One place, promised to two and waited for by a third.
    assert await lower.claim(*tickets) == ["active", "door", "door"]


async def test_p3_a_promise_is_no_way_past_the_door_where_the_places_do_not_suffice(line: MakeLine) -> None:
    shop = line(window_size=5)
    inside = await shop.enter(1)
    tickets = await shop.tickets(4)
    lower = shop.again(capacity=1)
    assert await lower.claim(tickets[0]) == ["door"]
    await lower.leave(*inside)
    assert await lower.claim(tickets[1], tickets[0]) == ["door", "active"]


# --- called, but not there ---------------------------------------------------------------------


async def test_a_place_not_claimed_goes_to_the_next_in_line(line: MakeLine) -> None:
    """At the latest when `claim_seconds` are over: until then who was called is expected less and less."""
    shop = line(capacity=1)
    await shop.tickets(2)
    shop.clock.advance(5)
    assert (await shop.look()).called == 1
    shop.clock.advance(20)
    assert (await shop.look()).called == 2


async def test_a_latecomer_enters_where_nobody_waits(line: MakeLine) -> None:
    shop = line()
    tickets = await shop.tickets(3)
    shop.clock.advance(ACTIVE, -1)
    assert await shop.claim(*tickets) == ["active"] * 3


async def test_p3_of_two_called_into_one_place_who_comes_takes_it_and_the_other_is_next(
    line: MakeLine,
) -> None:
    shop = line(capacity=1)
    late, following, last = await shop.tickets(3)
    shop.clock.advance(25)
    assert await shop.claim(following, late, last) == ["active", "door", "waiting"]
    await shop.leave(following)
    assert await shop.claim(last, late) == ["waiting", "active"]


async def test_p3_a_latecomer_gets_the_next_place_before_all_who_were_called_later(line: MakeLine) -> None:
    shop = line(capacity=1)
    late, following, last = await shop.tickets(3)
    shop.clock.advance(25)
    assert await shop.claim(following) == ["active"]
    assert await shop.claim(late) == ["door"]
    await shop.leave(following)
    assert (await shop.look()).called == 2
    assert await shop.claim(last, late) == ["waiting", "active"]


async def test_p3_of_those_at_the_door_the_lowest_enters_first(line: MakeLine) -> None:
    shop = line(window_size=10, capacity=3)
    tickets = await shop.tickets(6)
    shop.clock.advance(25)
    assert await shop.claim(*tickets[3:]) == ["active"] * 3
    assert await shop.claim(tickets[2], tickets[0], tickets[1]) == ["door"] * 3
    await shop.leave(tickets[3])
    assert await shop.claim(tickets[2], tickets[1], tickets[0]) == ["door", "door", "active"]
    shop.clock.advance(5)
    await shop.leave(*tickets[4:])
    # Two places for the two at the door: either of them may come first.
    assert await shop.claim(tickets[2], tickets[1]) == ["active", "active"]


async def test_the_door_is_forgotten_10_seconds_after_the_last_ask(line: MakeLine) -> None:
    shop = line(capacity=1)
    late, following, last = await shop.tickets(3)
    shop.clock.advance(25)
    assert await shop.claim(following, late) == ["active", "door"]
    shop.clock.advance(DOOR, -1)
    assert await shop.claim(late) == ["door"]
    await shop.leave(following)
    shop.clock.advance(DOOR, -1)
    assert await shop.claim(late, enters=False) == ["door"]
    shop.clock.advance(0, 1)
    assert await shop.claim(late, enters=False) == ["called"]
    assert await shop.claim(last) == ["active"]


async def test_those_at_the_door_count_when_the_window_slides(line: MakeLine) -> None:
    shop = line(capacity=2)
    await shop.tickets(2)
    late, *_ = await shop.tickets(2)
    shop.clock.advance(25)
    window = await shop.look()
    assert (window.called, window.free) == (4, 0)
    shop.clock.advance(25)
    inside = await shop.enter(2)
    assert await shop.claim(late) == ["door"]
    await shop.leave(inside[0])
    assert (await shop.look()).free == 0
    assert await shop.join("enter", "first") == [(7, 6, 0), (0, 0, 0)]


# --- the floor ---------------------------------------------------------------------------------


async def test_a_turn_has_passed_after_the_active_time(line: MakeLine) -> None:
    shop = line()
    (ticket,) = await shop.tickets(1)
    shop.clock.advance(ACTIVE, -1)
    assert await shop.claim(ticket, enters=False) == ["called"]
    assert (await shop.look()).floor == 0
    shop.clock.advance(0, 1)
    assert await shop.claim(ticket) == ["expired"]
    window = await shop.look()
    assert (window.floor, window.called, window.inside) == (1, 1, 0)


async def test_the_floor_follows_each_call(line: MakeLine) -> None:
    shop = line()
    for _ in range(3):
        await shop.tickets(1)
        shop.clock.advance(4)
    shop.clock.advance(ACTIVE - 12)
    for floor in (1, 2, 3):
        assert (await shop.look()).floor == floor
        shop.clock.advance(4)


async def test_the_floor_never_passes_who_is_at_the_door(line: MakeLine) -> None:
    shop = line(capacity=2)
    gone, late, *others = await shop.tickets(4)
    shop.clock.advance(25)
    assert await shop.claim(*others, late) == ["active", "active", "door"]
    for _ in range(12):
        shop.clock.advance(9)
        assert await shop.claim(late) == ["door"]
    window = await shop.look()
    assert (window.floor, window.called) == (1, 4)
    assert await shop.claim(gone) == ["expired"]
    await shop.leave(others[0])
    assert await shop.claim(late) == ["active"]
    assert (await shop.look()).floor == 4


async def test_the_floor_goes_on_when_the_door_is_forgotten(line: MakeLine) -> None:
    shop = line(capacity=2)
    late, _, *others = await shop.tickets(4)
    shop.clock.advance(25)
    assert await shop.claim(*others) == ["active", "active"]
    shop.clock.advance(ACTIVE - 25, -1)
    assert await shop.claim(late) == ["door"]
    shop.clock.advance(DOOR, -1)
    assert (await shop.look()).floor == 0
    shop.clock.advance(0, 1)
    assert (await shop.look()).floor == 2
    assert await shop.claim(late) == ["expired"]


# --- used tickets ------------------------------------------------------------------------------


async def test_a_used_ticket_is_void_after_leaving(line: MakeLine) -> None:
    shop = line()
    (ticket,) = await shop.enter(1)
    await shop.leave(ticket)
    assert await shop.claim(ticket) == ["expired"]
    assert await shop.again().claim(ticket, enters=False) == ["expired"]
    assert (await shop.look()).inside == 0


async def test_a_used_ticket_is_void_after_the_session_ran_out(line: MakeLine) -> None:
    shop = line(active_window_count=100)
    (ticket,) = await shop.enter(1)
    shop.clock.advance(300 + GRACE)
    assert await shop.claim(ticket) == ["expired"]
    assert (await shop.look()).floor == 0


async def test_a_ticket_left_while_called_is_void_and_its_place_goes_on(line: MakeLine) -> None:
    shop = line(capacity=1)
    ticket, following = await shop.tickets(2)
    assert await shop.leave(ticket, ticket) == [0, 0]
    assert await shop.claim(ticket, following) == ["expired", "active"]


async def test_a_ticket_left_at_the_door_is_void_and_its_place_goes_on(line: MakeLine) -> None:
    shop = line(capacity=1)
    late, following, last = await shop.tickets(3)
    shop.clock.advance(25)
    assert await shop.claim(following, late) == ["active", "door"]
    await shop.leave(late, following)
    assert await shop.claim(last, late) == ["active", "expired"]


async def left(line: Line) -> int:
    """Count the numbers that were given up and not passed yet."""
    with stores.admin(line.url) as client:
        return int(client.zcard(key(line, "left")))


async def test_who_leaves_in_front_of_the_line_is_passed_at_once(line: MakeLine) -> None:
    """Also while the room is full; nothing of them stays in the store."""
    shop = line(capacity=3)
    guests = await shop.enter(3)
    leavers = await shop.tickets(3)
    (following,) = await shop.tickets(1)
    before = used(shop)
    assert await shop.leave(*leavers) == [0, 0, 0]
    assert ((await shop.look()).waiting, used(shop), await left(shop)) == (1, before, 0)
    await shop.leave(guests[0])
    shop.clock.advance(10)
    assert await shop.claim(following) == ["active"], "no place was kept for those who left"


async def test_who_leaves_in_the_middle_of_the_line_is_promised_no_place(line: MakeLine) -> None:
    shop = line(capacity=1)
    (guest,) = await shop.enter(1)
    first, *leavers, following = await shop.tickets(5)
    await shop.leave(*leavers, leavers[0])
    window = await shop.look()
    assert (window.waiting, await left(shop)) == (2, 3)
    await shop.leave(guest)
    shop.clock.advance(10)
    assert await shop.claim(first) == ["active"]
    await shop.leave(first)
    shop.clock.advance(10)
    assert await shop.claim(following) == ["active"]
    assert ((await shop.look()).waiting, await left(shop)) == (0, 0)


async def test_where_all_who_waited_have_left_a_newcomer_enters_at_once(line: MakeLine) -> None:
    shop = line(capacity=1)
    (guest,) = await shop.enter(1)
    await shop.leave(*await shop.tickets(3), guest)
    shop.clock.advance(10)
    await shop.enter(1)


async def test_p7_only_so_many_who_left_are_remembered_the_lowest(line: MakeLine) -> None:
    shop = line(capacity=1)
    await shop.enter(1)
    first, *leavers = await shop.tickets(502)
    await shop.leave(*leavers[::-1])
    assert await left(shop) == 400
    with stores.admin(shop.url) as client:
        taken = client.memory_usage(key(shop, "left"), samples=0)
        assert taken is not None
        assert taken < 64 * 1024
    window = await shop.look()
    assert (window.left, window.lowest_left) == (400, tuple(map(rank, leavers[:100])))
    await shop.leave(first)
    assert ((await shop.look()).waiting, await left(shop)) == (102, 0)


async def test_who_left_a_line_that_was_called_in_another_stores_history_is_forgotten(line: MakeLine) -> None:
    shop = line(capacity=1)
    await shop.enter(1)
    *_, last = await shop.tickets(3)
    await shop.leave(last)
    with stores.admin(shop.url) as client:
        client.zadd(key(shop, "left"), {f"{last.epoch}:{1:016d}": 0, f"{'0' * 16}-000000:{1:016d}": 0})
    await shop.look()
    assert await left(shop) == 1
    assert (await shop.look()).waiting == 2


async def test_who_stands_at_the_door_learns_how_many_stand_before_them(line: MakeLine) -> None:
    shop = line(capacity=3)
    tickets = await shop.tickets(3)
    full = shop.again(capacity=1)
    assert [(await full.claimed(ticket)).before for ticket in tickets] == [0, 0, 1]
    assert [(await full.claimed(ticket, enters=False)).before for ticket in tickets] == [0, 0, 1]


async def test_used_tickets_are_forgotten_when_the_floor_has_passed_them(line: MakeLine) -> None:
    shop = line()
    (inside,) = await shop.enter(1)
    await shop.leave(*await shop.tickets(1))
    shop.clock.advance(ACTIVE, -1)
    await shop.look()
    assert used(shop) == 2
    shop.clock.advance(0, 1)
    assert (await shop.look()).floor == 2
    assert used(shop) == 0
    assert await shop.claim(inside) == ["expired"]
    assert await shop.renew(inside) == shop.clock.ms(300)


async def test_many_used_tickets_are_forgotten_at_once(line: MakeLine) -> None:
    shop = line(window_size=2500, capacity=2500)
    await shop.enter(2500)
    shop.clock.advance(ACTIVE)
    assert (await shop.look()).floor == 2500
    assert used(shop) == 0
    shop.clock.advance(300 + GRACE - ACTIVE)
    assert (await shop.look()).inside == 0


# --- renewals ----------------------------------------------------------------------------------


async def test_a_renewed_session_goes_on_from_now(line: MakeLine) -> None:
    shop = line(capacity=1)
    (ticket,) = await shop.enter(1)
    for _ in range(5):
        shop.clock.advance(250)
        assert await shop.renew(ticket) == shop.clock.ms(300)
    assert (await shop.look()).inside == 1


async def test_a_lease_that_still_lives_is_renewed_after_its_pass(line: MakeLine) -> None:
    shop = line()
    (ticket,) = await shop.enter(1)
    shop.clock.advance(300 + GRACE, -1)
    assert await shop.renew(ticket) == (shop.clock.now + 300_000_000) // 1000
    shop.clock.advance(300 + GRACE)
    assert await shop.renew(ticket) == 0


async def test_a_session_that_left_is_not_renewed(line: MakeLine) -> None:
    shop = line()
    (ticket,) = await shop.enter(1)
    await shop.leave(ticket)
    assert await shop.renew(ticket) == 0
    assert await shop.renew(await shop.first(), confirms=False) == shop.clock.ms(RUNNING + 40)
    assert (await shop.look()).inside == 1


async def test_a_renewal_never_shortens_a_lease(line: MakeLine) -> None:
    shop = line(capacity=1)
    (ticket,) = await shop.enter(1)
    shorter = shop.again(session_seconds=50, first_lease_seconds=40)
    assert await shorter.renew(ticket) == shop.clock.ms(50)
    shop.clock.advance(299)
    assert await shop.renew(ticket) == shop.clock.ms(300)


async def test_a_session_ends_after_its_longest_time_whatever_its_use(line: MakeLine) -> None:
    shop = line(max_session_seconds=500, capacity=1)
    (ticket,) = await shop.enter(1)
    end = shop.clock.ms(500)
    shop.clock.advance(250)
    assert await shop.renew(ticket) == end
    shop.clock.advance(250, -1000)
    assert await shop.renew(ticket) == end
    shop.clock.advance(0, 1000)
    assert await shop.renew(ticket) == 0
    assert (await shop.look()).inside == 1
    shop.clock.advance(GRACE)
    assert (await shop.look()).inside == 0


async def test_the_longest_time_is_no_longer_for_a_ticket_than_for_its_pass(line: MakeLine) -> None:
    shop = line(max_session_seconds=20, capacity=1)
    (ticket,) = await shop.enter(1)
    shop.clock.advance(20, -1000)
    assert (await shop.claimed(ticket))[:3] == ("active", shop.clock.ms(0.001), shop.clock.ms(-19.999))
    shop.clock.advance(0, 1000)
    assert await shop.claim(ticket) == ["expired"]


@pytest.mark.parametrize(("how", "seconds"), [("first", RUNNING + 20), ("enter", 30)])
async def test_the_longest_time_caps_the_first_lease_too(line: MakeLine, how: str, seconds: int) -> None:
    shop = line(max_session_seconds=30, first_lease_seconds=20)
    assert await shop.join(how) == [(1, 0, shop.clock.ms(seconds))]
    assert (await shop.again(max_session_seconds=10).join(how))[0].pass_ends == shop.clock.ms(10)


# --- first leases ------------------------------------------------------------------------------


async def test_a_first_lease_becomes_full_when_the_cookie_comes_back(line: MakeLine) -> None:
    shop = line()
    newcomer = await shop.first()
    shop.clock.advance(1)
    assert await shop.renew(newcomer, confirms=True) == shop.clock.ms(300)
    shop.clock.advance(300 + GRACE, -1)
    assert (await shop.look()).inside == 1
    assert await shop.renew(newcomer, confirms=False) == shop.clock.ms(300)


async def test_a_first_lease_lasts_while_its_request_runs_and_a_little_longer(line: MakeLine) -> None:
    shop = line(capacity=1)
    newcomer = await shop.first()
    for _ in range(3):
        shop.clock.advance(RUNNING)
        assert await shop.renew(newcomer, confirms=False) == shop.clock.ms(RUNNING + 40)
        assert await shop.join("first") == [(0, 0, 0)]
    shop.clock.advance(RUNNING + 40, -1)
    assert (await shop.look()).inside == 1
    shop.clock.advance(0, 1)
    window = await shop.look()
    assert (window.inside, window.free_first) == (0, 1)


async def test_a_first_visit_that_is_over_is_kept_for_its_lease(line: MakeLine) -> None:
    shop = line(first_lease_seconds=3)
    newcomer = await shop.first()
    await shop.end_visit("done", newcomer)
    shop.clock.advance(3, -1)
    assert (await shop.look()).inside == 1
    shop.clock.advance(0, 1)
    assert (await shop.look()).inside == 0


async def test_one_that_was_never_known_to_be_over_ends_by_itself(line: MakeLine) -> None:
    """Its process may have died; what it says late changes nothing."""
    shop = line(first_lease_seconds=3)
    newcomer = await shop.first()
    shop.clock.advance(RUNNING + 3)
    assert (await shop.look()).inside == 0
    await shop.end_visit("done", newcomer)
    await shop.end_visit("gone", newcomer)
    assert (await shop.look()).inside == 0
    assert await shop.renew(newcomer, confirms=False) == 0


async def test_no_longer_than_it_would_have_lasted(line: MakeLine) -> None:
    shop = line(first_lease_seconds=3)
    newcomer = await shop.first()
    shop.clock.advance(RUNNING + 2)
    await shop.end_visit("done", newcomer)
    shop.clock.advance(1)
    assert (await shop.look()).inside == 0


async def test_p2_what_was_given_back_was_no_entry(line: MakeLine) -> None:
    shop = line()
    for newcomer in [await shop.first() for _ in range(3)]:
        await shop.end_visit("gone", newcomer)
        await shop.end_visit("gone", newcomer)
    window = await shop.look()
    assert (window.inside, window.free, window.issued) == (0, 3, 3)
    await shop.enter(3)


@pytest.mark.parametrize("how", ["done", "gone"])
async def test_whose_cookie_has_come_back_is_told_over_too_late(line: MakeLine, how: str) -> None:
    shop = line()
    newcomer = await shop.first()
    await shop.renew(newcomer)
    await shop.end_visit(how, newcomer)
    shop.clock.advance(250)
    assert (await shop.look()).inside == 1


@pytest.mark.parametrize("small", [{"capacity": 2, "window_size": 9}, {"capacity": 9, "window_size": 2}])
@pytest.mark.parametrize("how", ["first", "enter", "number"])
async def test_newcomers_take_the_slots_of_first_visits_that_are_over_oldest_first(
    line: MakeLine, small: dict[str, int], how: str
) -> None:
    shop = line(**small)
    oldest, newer = [await shop.first() for _ in range(2)]
    assert (await shop.look()).free_first == 0
    assert await shop.join("first") == [(0, 0, 0)]
    await shop.end_visit("done", oldest)
    shop.clock.advance(0.001)
    await shop.end_visit("done", newer)
    assert (await shop.look()).free_first == 2
    (joined,) = await shop.join(how)
    assert (joined.number, joined.start) == (3, 2)
    assert await shop.renew(newer) == shop.clock.ms(300)
    assert await shop.renew(oldest) == 0


async def test_any_number_of_them_one_after_the_other_are_let_in(line: MakeLine) -> None:
    shop = line(capacity=3)
    for number in range(1, 31):
        newcomer = await shop.first()
        assert newcomer.number == number
        await shop.end_visit("done", newcomer)


async def test_the_rate_is_freed_by_an_entry_of_the_interval_alone(line: MakeLine) -> None:
    shop = line(window_size=1, first_lease_seconds=40)
    old = await shop.first()
    await shop.end_visit("done", old)
    shop.clock.advance(10)
    await shop.enter(1)
    assert await shop.join("first") == [(0, 0, 0)]
    assert await shop.renew(old) == shop.clock.ms(300)


async def test_nobody_who_waits_or_stands_at_the_door_is_overtaken(line: MakeLine) -> None:
    shop = line(capacity=1, first_lease_seconds=20)
    newcomer = await shop.first()
    (waiting,) = await shop.tickets(1)
    await shop.end_visit("done", newcomer)
    assert await shop.join("first") == [(0, 0, 0)]
    await shop.end_visit("gone", newcomer)
    assert await shop.claim(waiting) == ["active"]


async def test_who_stands_at_the_door_is_not_overtaken(line: MakeLine) -> None:
    shop = line(capacity=1, first_lease_seconds=20)
    first = await shop.first()
    await shop.end_visit("gone", first)
    second = await shop.first()
    assert await shop.claim(ticket_of(first)) == ["door"]
    await shop.end_visit("done", second)
    assert (await shop.look()).free_first == 0
    assert await shop.join("first") == [(0, 0, 0)]


async def test_p5_who_comes_back_late_enters_again_or_stands_first_at_the_door(line: MakeLine) -> None:
    shop = line(capacity=1, claim_seconds=1)
    first = await shop.first()
    await shop.end_visit("done", first)
    (second,) = await shop.enter(1)
    waiting = await shop.tickets(1)
    assert await shop.renew(first) == 0
    assert await shop.claim(ticket_of(first)) == ["door"]
    await shop.leave(second)
    assert await shop.claim(*waiting) == ["waiting"]
    shop.clock.advance(1)
    assert (await shop.claimed(ticket_of(first)))[:3] == ("active", shop.clock.ms(300), shop.clock.ms())
    assert await shop.claim(ticket_of(first)) == ["active"]
    assert (await shop.look()).inside == 1
    await shop.leave(first)
    assert await shop.claim(ticket_of(first)) == ["expired"]


async def test_where_its_turn_is_over_it_has_expired(line: MakeLine) -> None:
    shop = line()
    first = await shop.first()
    shop.clock.advance(ACTIVE)
    await shop.look()
    assert await shop.claim(ticket_of(first)) == ["expired"]


async def test_p5_who_left_on_a_first_lease_does_not_come_back(line: MakeLine) -> None:
    shop = line()
    first = await shop.first()
    assert await shop.leave(first) == [0]
    assert (await shop.look()).inside == 0
    assert await shop.renew(first) == 0
    assert await shop.claim(ticket_of(first)) == ["expired"]


async def test_a_claim_of_who_is_on_a_first_lease_confirms_it(line: MakeLine) -> None:
    shop = line()
    first = await shop.first()
    shop.clock.advance(1)
    assert (await shop.claimed(ticket_of(first)))[:3] == ("active", shop.clock.ms(300), shop.clock.ms(-1))
    shop.clock.advance(200)
    assert (await shop.look()).inside == 1


async def test_and_after_the_longest_time_it_does_not(line: MakeLine) -> None:
    shop = line(max_session_seconds=30, first_lease_seconds=40)
    first = await shop.first()
    shorter = shop.again(max_session_seconds=10)
    shop.clock.advance(11)
    assert await shorter.claim(ticket_of(first)) == ["expired"]


async def test_a_cookie_that_comes_back_after_the_longest_time_confirms_nothing(line: MakeLine) -> None:
    shop = line(max_session_seconds=30, first_lease_seconds=20)
    newcomer = await shop.first()
    shop.clock.advance(30)
    assert await shop.renew(newcomer, confirms=True) == 0
    assert (await shop.look()).inside == 0


async def test_first_visits_are_remembered_only_while_they_last(line: MakeLine) -> None:
    shop = line(capacity=3)
    for _ in range(300):
        await shop.end_visit("done", await shop.first())
        shop.clock.advance(0.001)
    with stores.admin(shop.url) as client:
        kinds = {"inside": "zcard", "first": "zcard", "entries": "zcard", "used": "hlen", "calls": "llen"}
        kept = {name: getattr(client, count)(key(shop, name)) for name, count in kinds.items()}
    assert kept == {"inside": 3, "first": 3, "entries": 3, "used": 0, "calls": 1}


async def test_places_promised_count_against_first_leases(line: MakeLine) -> None:
    shop = line(window_size=40, capacity=11)
    answers = await shop.join(*["number"] * 5, *["first"] * 7)
    assert [bool(joined.number) for joined in answers] == [True] * 11 + [False]


async def test_p1_after_a_loss_a_first_lease_may_have_been_confirmed(line: MakeLine) -> None:
    shop = line(first_lease_seconds=3)
    newcomer = await shop.first()
    store = Store(shop.url, shop.settings, shop.clock, history=lambda: "another")
    shop.stores.append(store)
    await store.sync(-1)
    shop.clock.advance(60)
    assert (await shop.look()).inside == 1
    assert await shop.renew(newcomer) == shop.clock.ms(300)


# --- leaving and the list of the ended ---------------------------------------------------------


async def test_who_leaves_is_listed_until_the_last_pass_would_have_run_out(line: MakeLine) -> None:
    shop = line()
    (ticket,) = await shop.enter(1)
    before = await shop.look()
    shop.clock.advance(100)
    end = await shop.renew(ticket)
    shop.clock.advance(50)
    assert await shop.leave(ticket) == [end]
    after = await shop.look()
    assert after.ended_version == before.ended_version + 1
    assert await shop.ended() == {ticket.id: end}
    shop.clock.advance(250, -1)
    assert await shop.ended() == {ticket.id: end}
    shop.clock.advance(0, 1)
    assert await shop.ended() == {}


async def test_leaving_again_is_harmless(line: MakeLine) -> None:
    shop = line()
    inside = await shop.enter(2)
    end = shop.clock.ms(300)
    assert (await shop.store.leave([inside[0], inside[0]]))[1] == [end, 0]
    assert await shop.leave(inside[0]) == [0]
    window = await shop.look()
    assert (window.inside, window.ended_version) == (1, 1)


async def test_a_session_on_the_grace_alone_leaves_without_a_trace(line: MakeLine) -> None:
    shop = line()
    (ticket,) = await shop.enter(1)
    shop.clock.advance(300)
    assert await shop.leave(ticket) == [0]
    window = await shop.look()
    assert (window.inside, window.ended_version) == (0, 0)


async def test_of_the_list_is_read_what_was_added(line: MakeLine) -> None:
    shop = line()
    inside = await shop.enter(2)
    await shop.leave(inside[0])
    window, synced = await shop.store.sync(0)
    assert synced == ({inside[0].id: shop.clock.ms(300)}, window.ended_version)
    assert (await shop.store.sync(window.ended_version))[1] == (None, window.ended_version)
    await shop.again().leave(inside[1])
    again, synced = await shop.store.sync(window.ended_version)
    assert synced == ({inside[1].id: shop.clock.ms(300)}, again.ended_version)
    other = shop.again()
    assert set(await other.ended()) == {ticket.id for ticket in inside}, "who is new reads it all"
    await other.close()


async def end_many(shop: Line, count: int, at_once: int) -> None:
    """Have so many sessions end early, in turns that the room has slots for."""
    for _ in range(count // at_once):
        assert all(await shop.leave(*await shop.enter(at_once)))


async def test_a_long_list_is_read_in_parts(line: MakeLine) -> None:
    shop = line(window_size=10_000, capacity=500)
    await end_many(shop, 2_500, 500)
    sizes, version = [], -1
    while version < 2_500:
        window, synced = await shop.store.sync(version)
        assert synced.ended is not None
        sizes.append(len(synced.ended))
        version = synced.version
    assert (sizes, window.ended_version) == ([1000, 1000, 500], 2_500)


async def test_a_busy_shops_releases_free_their_slots(line: MakeLine) -> None:
    """As many as enter in one lease are listed, whatever the capacity: ten times as many as there are slots here."""
    shop = line(window_size=10_000, capacity=300)
    for _ in range(10):
        assert all(await shop.leave(*await shop.enter(300)))
        shop.clock.advance(25)
    assert (await shop.look()).inside == 0
    assert len(await shop.ended()) == 3_000


def count_endings(shop: Line) -> int:
    with stores.admin(shop.url) as client:
        return int(client.zcard(shop.key("endings")))


async def test_what_has_run_out_is_forgotten(line: MakeLine) -> None:
    shop = line(window_size=10_000, capacity=1_500)
    await end_many(shop, 3_000, 1_500)
    shop.clock.advance(100)
    await end_many(shop, 500, 500)
    shop.clock.advance(200)
    for left in (2_500, 1_500, 500, 500):
        await shop.look()
        assert count_endings(shop) == left
    assert len(await shop.ended()) == 500
    shop.clock.advance(100)
    assert await shop.ended() == {}
    assert count_endings(shop) == 0


@pytest.mark.parametrize("lost", ["order", "order and version", "list"])
async def test_a_list_without_an_order_is_read_whole(line: MakeLine, lost: str) -> None:
    """As an earlier version's scripts leave it, or a store that throws single keys away."""
    shop = line(window_size=4, capacity=4)
    inside = await shop.enter(4)
    await shop.leave(*inside[:2])
    known = (await shop.look()).ended_version
    with stores.admin(shop.url) as client:
        if lost == "list":
            client.delete(shop.key("ended"))
        else:
            client.zadd(shop.key("ended"), {inside[2].id: shop.clock.ms(300) * 1000})
            client.hincrby(shop.key("state"), "ended_version", 1)
        if lost == "order and version":
            client.delete(shop.key("endings"))
            client.hdel(shop.key("state"), "ended_noted")
    if lost != "list":
        _, synced = await shop.store.sync(known)
        assert synced.ended is not None
        assert set(synced.ended) == {ticket.id for ticket in inside[:3]}
    await shop.leave(inside[3])
    _, synced = await shop.store.sync(known)
    assert synced.ended is not None
    assert inside[3].id in synced.ended


async def test_a_full_list_frees_a_slot_only_at_the_passs_own_end(line: MakeLine) -> None:
    """By the rules in force: here the rate was higher before."""
    before = line(window_size=10_000, capacity=25)
    await end_many(before, 1_250, 25)
    shop = before.again(window_size=1)  # 50 for each slot
    shop.clock.advance(10)
    (last,) = await shop.enter(1)
    assert await shop.leave(last) == [0]
    assert len(await shop.ended()) == 1_250
    assert (await shop.look()).inside == 1
    shop.clock.advance(300)
    assert await shop.ended() == {}
    shop.clock.advance(GRACE)
    assert (await shop.look()).inside == 0


async def test_a_small_room_has_a_list_of_a_thousand(line: MakeLine) -> None:
    before = line(window_size=10_000, capacity=2)
    await end_many(before, 1_000, 2)
    shop = before.again(window_size=1)
    shop.clock.advance(10)
    (last,) = await shop.enter(1)
    assert await shop.leave(last) == [0]


async def test_one_who_comes_and_goes_fills_no_room(line: MakeLine) -> None:
    """What was let in within one lease, at the highest rate, may all leave: each leaving frees its slot."""
    shop = line(window_size=5_000, session_seconds=600, capacity=2)
    await end_many(shop, 1_400, 2)
    assert (await shop.look()).inside == 0


async def test_the_list_has_an_end_that_memory_sets(line: MakeLine) -> None:
    """Where the rate would let more leave within one lease, as `waitroom check` warns."""
    shop = line(window_size=1_000_000, capacity=2)
    first, last = await shop.enter(2)
    with stores.admin(shop.url) as client:
        for begin in range(0, MOST_LISTED - 1, 50_000):
            numbers = range(begin, min(begin + 50_000, MOST_LISTED - 1))
            ends = shop.clock.ms(300) * 1000
            client.zadd(shop.key("endings"), {f"{number} {ends:016}": number for number in numbers})
        client.hset(
            shop.key("state"), mapping={"ended_version": MOST_LISTED - 1, "ended_noted": MOST_LISTED - 1}
        )
    assert all(await shop.leave(first))
    assert await shop.leave(last) == [0]
    assert count_endings(shop) == MOST_LISTED


async def test_who_leaves_makes_room_for_the_next_in_the_same_call(line: MakeLine) -> None:
    shop = line(capacity=1)
    (inside,) = await shop.enter(1)
    shop.clock.advance(10)
    await shop.tickets(1)
    window, _ = await shop.store.leave([inside])
    assert (window.called, window.waiting) == (2, 0)


# --- the pace ----------------------------------------------------------------------------------


async def test_the_pace_is_measured_while_a_line_stands(line: MakeLine) -> None:
    shop = line(window_size=12, capacity=10_000)
    waiting = await shop.tickets(150)
    assert (await shop.look()).rate_per_minute is None
    rates = []
    for second in range(1, 61):
        shop.clock.advance(1)
        window = await shop.look()
        rates.append(window.rate_per_minute)
        await shop.store.claim([(ticket, True) for ticket in waiting if ticket.number <= window.called])
        if second < 10:
            assert window.rate_per_minute is None
    assert rates[-1] == pytest.approx(72, rel=0.2)


async def test_a_line_that_stands_still_is_told_to(line: MakeLine) -> None:
    shop = line(window_size=12, capacity=120, session_seconds=10_000, active_window_count=1000)
    moving = Moving(shop, await shop.tickets(300))
    is_told(await moving.told(9), "steady", 72)
    assert (await moving.told(6))[-1] == ("standing", 0)
    assert set(await moving.told(120)) == {("standing", 0)}, "and stays so, until somebody is called"
    # It goes on: what was measured before says nothing any more.
    more = shop.again(capacity=10_000)
    goes_on = Moving(more, moving.waiting)
    assert await goes_on.told(1) == [("steady", None)]
    is_told(await goes_on.told(9), "steady", 72)


async def test_the_first_filling_of_an_empty_site_is_not_its_pace(line: MakeLine) -> None:
    """Five a second until it is full; then one leaves every second."""
    shop = line(window_size=50, capacity=120)
    waiting = await shop.tickets(300)
    inside: list[Ticket] = []
    rates = []
    for second in range(120):
        shop.clock.advance(1)
        window = await shop.look()
        rates.append(window.rate_per_minute)
        called = [ticket for ticket in waiting if ticket.number <= window.called]
        _, answers = await shop.store.claim([(ticket, True) for ticket in called])
        inside += [ticket for ticket, told in zip(called, answers, strict=True) if told.outcome == "active"]
        waiting = [ticket for ticket in waiting if ticket not in inside]
        if second > 30:
            await shop.leave(inside[second])
    assert rates[-1] == pytest.approx(60, rel=0.3)
    assert max(rate for rate in rates if rate is not None) < 100


async def test_a_pace_that_only_wavers_is_told_as_it_was(line: MakeLine) -> None:
    shop = line(window_size=24, capacity=10_000, active_window_count=1000)
    line_of = Moving(shop, await shop.tickets(900))
    await line_of.told(9)
    steady = (await line_of.told(1))[0]
    is_told([steady], "steady", 144)
    told = []
    for size in (22, 26, 24, 22, 25, 26):
        told += await Moving(shop.again(window_size=size), line_of.waiting).told(3)
    assert set(told) == {steady}


async def test_the_pace_is_forgotten_with_the_line(line: MakeLine) -> None:
    shop = line()
    waiting = await shop.tickets(5)
    await shop.claim(*waiting)
    shop.clock.advance(10)
    window = await shop.look()
    assert (window.waiting, window.rate_per_minute) == (0, None)


async def test_the_pace_follows_a_change(line: MakeLine) -> None:
    shop = line(capacity=10_000, active_window_count=1000, window_size=12)
    moving = Moving(shop, await shop.tickets(2000))
    faster = Moving(shop.again(window_size=48), moving.waiting)
    for line_of, rate, pace in ((moving, 72, "steady"), (faster, 288, "steady"), (moving, 72, "slower")):
        told = await line_of.told(16)
        assert told[-1][1] == pytest.approx(rate, rel=0.2)
        assert pace in {pace for pace, _ in told}
    assert (await moving.told(16))[-1][0] == "steady"


Told = tuple[str, float | None]


def is_told(told: list[Told], pace: str, rate: float) -> None:
    assert told[-1][0] == pace
    assert told[-1][1] == pytest.approx(rate, rel=0.2)


@dataclass
class Moving:
    """A line of whom everybody comes in as soon as they are called."""

    shop: Line
    waiting: list[Ticket]

    async def told(self, windows: int) -> list[Told]:
        """What is told of the pace in each of so many windows."""
        told: list[Told] = []
        for _ in range(windows):
            self.shop.clock.advance(10)
            window = await self.shop.look()
            told.append((window.pace, window.rate_per_minute))
            called = [ticket for ticket in self.waiting if ticket.number <= window.called]
            await self.shop.store.claim([(ticket, True) for ticket in called])
            del self.waiting[: len(called)]
        return told


# --- looking from outside ----------------------------------------------------------------------


async def test_a_look_at_no_room_makes_none(line: MakeLine) -> None:
    shop = line()
    assert await shop.store.look() == {}
    with stores.admin(shop.url) as client:
        assert not client.exists(*(key(shop, name) for name in KEYS))


async def test_a_look_tells_the_room_and_changes_nothing(line: MakeLine) -> None:
    shop = line()
    await shop.enter(1)
    await shop.first()
    await shop.tickets(3)
    shop.clock.advance(1000)
    seen = await shop.again(capacity=7, window_size=7, window_interval=7).store.look()
    assert int(seen["called"]) == 3
    assert int(seen["waiting"]) == 2
    assert int(seen["issued"]) == 5
    assert int(seen["inside"]) == 0
    assert (int(seen["capacity"]), int(seen["window_size"])) == (100, 3)
    assert (await shop.look()).called == 5


# --- the store's own clock (P9) ----------------------------------------------------------------


async def test_p9_without_a_clock_of_the_tests_the_stores_own_decides(
    every_store_url: str, room: str
) -> None:
    settings = load(redis_url=every_store_url, secret=SECRET, room=room, **SMALL)
    store = Store(every_store_url, settings)
    with stores.admin(every_store_url) as client:
        before = client.time()
        window, (joined,) = await store.join([("enter", new_id())])
        after = client.time()
    await store.close()
    assert milliseconds(before) <= window.at <= milliseconds(after)
    assert joined.pass_ends == window.at + 300_000


def milliseconds(time: Any) -> int:
    seconds, microseconds = time
    return int(seconds) * 1000 + int(microseconds) // 1000
