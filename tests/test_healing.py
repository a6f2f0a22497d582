"""The scripts on a store that has lost something: nobody loses a place, and nobody too many comes in (P1 to P4, P9)."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
import redis

from tests.conftest import SECRET
from tests.rooms import GRACE, Clock, Line
from waitroom.config.settings import load
from waitroom.line.tickets import UNCONFIRMED, Pass, Ticket, pass_of
from waitroom.store.transitions import KEYS, Store

SETTLE = 5


class Shop:
    """A room, its processes, and a server whose history is told by the test."""

    def __init__(self, url: str, room: str, **keywords: Any) -> None:
        self.settings = load(
            redis_url=url, secret=SECRET, room=room, **{"window_size": 100, "capacity": 3} | keywords
        )
        self.url, self.room = url, room
        self.clock = Clock()
        self.history: str | None = "one"
        self.lines: list[Line] = []

    def process(self, **changed: Any) -> Line:
        """Another process, which remembers nothing yet."""
        line = Line(self.url, self.settings.model_copy(update=changed), self.clock)
        line.store = Store(self.url, line.settings, self.clock, lambda: self.history)
        line.stores[:] = [line.store]
        self.lines.append(line)
        return line

    def keys(self) -> list[str]:
        return [f"waitroom:{{{self.room}}}:{key}" for key in KEYS]

    def lose_all(self) -> None:
        self.clock.advance(0, 1)  # no two stores are of the same microsecond
        with redis.Redis.from_url(self.url) as client:
            client.delete(*self.keys())

    def keep(self) -> dict[str, bytes]:
        """What a replica has at this moment."""
        with redis.Redis.from_url(self.url) as client:
            dumped = {key: client.dump(key) for key in self.keys()}
        return {key: content for key, content in dumped.items() if content}

    def go_back(self, kept: dict[str, bytes]) -> None:
        """The replica takes over; its server has another history."""
        self.lose_all()
        with redis.Redis.from_url(self.url) as client:
            for key, content in kept.items():
                client.restore(key, 0, content)


MakeShop = Callable[..., Shop]


@pytest_asyncio.fixture
async def open_shop(any_store_url: str, room: str) -> AsyncIterator[MakeShop]:
    made: list[Shop] = []

    def make(**keywords: Any) -> Shop:
        made.append(Shop(any_store_url, room, **keywords))
        return made[-1]

    yield make
    for shop in made:
        for line in shop.lines:
            await line.close()


async def hear(line: Line, *credentials: Ticket | Pass) -> None:
    for credential in credentials:
        line.store.evidence.hear(credential)
    await line.look()


# --- an empty store --------------------------------------------------------------------------------


async def test_p4_an_empty_store_goes_on_in_a_new_epoch_behind_all_who_waited(open_shop: MakeShop) -> None:
    shop = open_shop()
    line = shop.process()
    guests, waiting = await line.enter(3), await line.tickets(4)
    before = await line.look()
    shop.lose_all()
    (late,) = await line.tickets(1)
    after = await line.look()
    assert after.newest.name > before.newest.name
    assert (late.epoch, late.number) == (after.newest.name, 8), "numbers go on"
    assert (after.waiting, after.state, after.inside) == (5, "settling", 3)
    assert (after.epoch, after.called) == (before.epoch, before.called), "the line does not move backwards"
    shop.clock.advance(SETTLE)
    for guest in guests:
        await line.leave(as_pass_of(shop, guest))
    assert await line.claim(*waiting, late) == ["active", "active", "active", "waiting", "waiting"]


async def test_p5_a_number_of_an_earlier_epoch_is_given_to_no_proof_again(open_shop: MakeShop) -> None:
    shop = open_shop()
    line = shop.process()
    await line.enter(3)
    _, (before,) = await line.store.join([("enter", "proof")])
    written = shop.keep()
    lost = await line.tickets(1)
    shop.go_back(written)
    await line.look()
    _, (after,) = await line.store.join([("enter", "proof")])
    assert (before.number, lost[0].number, after.number) == (4, 5, 6)


def as_pass_of(shop: Shop, ticket: Ticket, seconds: float = 300) -> Pass:
    entered = ticket.issued_at
    return pass_of(ticket, entered, entered + round(seconds * 1000), round(seconds * 1000))


async def test_p1_sessions_that_the_store_has_forgotten_keep_their_places(open_shop: MakeShop) -> None:
    shop = open_shop()
    line = shop.process()
    guests, (first,) = await line.enter(3), await line.tickets(1)
    shop.lose_all()
    await line.look()
    shop.clock.advance(SETTLE)
    assert (await line.look()).inside == 3
    assert await line.renew(as_pass_of(shop, guests[0])), "P6: who is inside stays there"
    assert (await line.look()).inside == 3, "and was counted before"
    assert await line.claim(first) == ["waiting"]
    await line.leave(as_pass_of(shop, guests[1]))
    assert await line.claim(first) == ["active"]
    # After one session_seconds no pass of the forgotten can be in use any more.
    shop.clock.advance(300 - SETTLE)
    assert (await line.look()).inside == 2


async def test_p1_who_left_before_the_store_heard_of_it_again_is_out(open_shop: MakeShop) -> None:
    shop = open_shop()
    line = shop.process()
    (guest,) = await line.enter(1)
    shop.lose_all()
    await line.look()
    used = as_pass_of(shop, guest)
    assert (await line.leave(used))[0]
    assert await line.leave(used) == [0], "repeating it is harmless"
    assert await line.renew(used) == 0
    assert list(await line.ended()) == [guest.id]
    assert (await line.look()).inside == 0


async def test_p3_nobody_is_called_or_enters_while_the_room_settles(open_shop: MakeShop) -> None:
    shop = open_shop(capacity=5)
    line = shop.process()
    called, *_ = await line.tickets(1)
    shop.lose_all()
    (newcomer,) = await line.tickets(1)
    assert await line.claim(called, newcomer) == ["door", "waiting"]
    assert (await line.join("first", "enter"))[0].number == 0
    shop.clock.advance(SETTLE, -1)
    assert (await line.look()).state == "settling"
    assert await line.claim(called) == ["door"]
    shop.clock.advance(0, 1)
    assert await line.claim(newcomer, called) == ["active", "active"]


async def test_p2_entries_that_the_store_has_forgotten_count_for_their_interval(open_shop: MakeShop) -> None:
    shop = open_shop(capacity=10, window_size=2, window_interval=60)
    line = shop.process(settle_seconds=1)
    await line.enter(2)
    shop.lose_all()
    await line.tickets(1)
    shop.clock.advance(60, -1)
    assert (await line.look()).waiting == 1
    shop.clock.advance(0, 1)
    assert (await line.look()).waiting == 0


async def test_an_empty_store_of_which_nobody_remembers_is_a_new_room(open_shop: MakeShop) -> None:
    shop = open_shop()
    await shop.process().tickets(2)
    shop.lose_all()
    window = await shop.process().look()
    assert (window.issued, window.state) == (0, "open")


# --- only tickets remember -------------------------------------------------------------------------


async def test_p4_where_only_tickets_remember_they_have_a_poll_to_report(open_shop: MakeShop) -> None:
    shop = open_shop(capacity=1)
    first = shop.process()
    await first.enter(1)
    waiting = await first.tickets(3)
    shop.lose_all()
    line = shop.process()
    await hear(line, waiting[2])
    await hear(line, waiting[0])
    window = await line.look()
    assert (window.state, window.waiting) == ("settling", 3)
    shop.clock.advance(60)
    window = await line.look()
    assert (window.state, window.inside) == ("queueing", 1), "P1: as many may be inside as ever"
    shop.clock.advance(240)
    assert await line.claim(*waiting) == ["active", "waiting", "waiting"]


async def test_p4_a_newcomer_who_is_first_takes_nobodys_place(open_shop: MakeShop) -> None:
    shop = open_shop(capacity=2, session_seconds=20)
    first = shop.process()
    await first.enter(2)
    waiting = await first.tickets(2)
    shop.lose_all()
    line = shop.process()
    await line.enter(1)
    called, late = *await line.tickets(1), *await line.tickets(1)
    await hear(line, *waiting)
    assert (await line.look()).state == "settling"
    shop.clock.advance(60)
    # Who was called before the loss was heard of has not come for long: the others have lower ranks.
    assert await line.claim(late, *waiting, called) == ["waiting", "active", "active", "door"]
    assert (await line.look()).waiting == 1


async def test_a_process_that_remembers_shortens_the_pause(open_shop: MakeShop) -> None:
    shop = open_shop(capacity=5)
    first = shop.process()
    await first.enter(1)
    (ticket,) = await first.tickets(1)
    shop.lose_all()
    await hear(shop.process(), ticket)
    assert (await first.look()).state == "settling"
    shop.clock.advance(SETTLE)
    window = await first.look()
    assert (window.state, window.inside) == ("open", 1)


async def test_a_ticket_of_long_ago_stops_nobody(open_shop: MakeShop) -> None:
    """P8: whoever kept a ticket of a lost epoch is let in, and the room goes on."""
    shop = open_shop()
    (old,) = await shop.process().tickets(1)
    shop.lose_all()
    line = shop.process()
    await line.look()
    shop.clock.advance(3600)
    await hear(line, old)
    window = await line.look()
    assert (window.state, window.inside) == ("open", 0)
    assert await line.claim(old) == ["active"]


async def test_an_expired_generation_stays_so(open_shop: MakeShop) -> None:
    shop = open_shop()
    line = shop.process()
    (old,) = await line.tickets(1)
    reset = Ticket(2, old.epoch, 1, "reset", 0, 0)
    await hear(line, reset)
    assert (await line.look()).generation == 2
    assert await line.claim(old) == ["expired"]


# --- writes that were lost -------------------------------------------------------------------------


async def test_p4_a_replica_without_the_last_numbers_gives_none_twice(open_shop: MakeShop) -> None:
    shop = open_shop(capacity=1)
    line, other = shop.process(), shop.process()
    await line.enter(1)
    kept = shop.keep()
    waiting = await line.tickets(3)
    shop.go_back(kept)
    shop.history = "two"
    (newcomer,) = await other.tickets(1)
    assert (newcomer.epoch > waiting[0].epoch, newcomer.number) == (True, 2)
    assert (await line.look()).waiting == 4, "merged: who remembers spoke later"
    shop.clock.advance(SETTLE)
    await line.look()
    shop.clock.advance(300 + GRACE)
    assert await line.claim(newcomer, *waiting) == ["waiting", "active", "waiting", "waiting"]


async def test_p4_where_the_history_is_not_told_whoever_remembers_proves_the_loss(
    open_shop: MakeShop,
) -> None:
    shop = open_shop()
    shop.history = None
    line = shop.process()
    await line.tickets(1)
    kept = shop.keep()
    shop.clock.advance(1)
    before = await line.look()
    shop.go_back(kept)
    after = await line.look()
    assert after.newest.name > before.newest.name
    assert after.settling


async def test_a_new_history_alone_is_taken_for_a_loss(open_shop: MakeShop) -> None:
    shop = open_shop()
    before = await shop.process().look()
    shop.history = "two"
    after = await shop.process().look()
    assert after.newest.name > before.newest.name
    assert after.settling
    shop.clock.advance(SETTLE)
    assert (await shop.process().look()).state == "open"


async def test_p1_a_lost_renewal_frees_no_place(open_shop: MakeShop) -> None:
    shop = open_shop(capacity=1, session_seconds=100)
    line = shop.process()
    (guest,) = await line.enter(1)
    kept = shop.keep()
    shop.clock.advance(90)
    ends = await line.renew(guest)
    shop.go_back(kept)
    shop.history = "two"
    (waiting,) = await line.tickets(1)
    shop.clock.advance(70)
    assert shop.clock.ms() < ends
    assert await line.claim(waiting) == ["waiting"]
    shop.clock.advance(30 + GRACE)
    assert await line.claim(waiting) == ["active"]


async def test_late_reports_of_an_earlier_epoch_open_no_other(open_shop: MakeShop) -> None:
    shop = open_shop(capacity=1)
    line, other = shop.process(), shop.process()
    await line.enter(1)
    kept = shop.keep()
    lost = await line.tickets(3)
    shop.go_back(kept)
    shop.history = "two"
    epoch = (await other.look()).newest.name
    for ticket in lost:
        await hear(other, ticket)
        assert (await other.look()).newest.name == epoch
    assert (await other.look()).waiting == 3


# --- time ------------------------------------------------------------------------------------------


async def test_p9_a_clock_that_jumps_ahead_ends_nothing(open_shop: MakeShop) -> None:
    shop = open_shop(session_seconds=60)
    passed = [0.0]
    line = shop.process()
    line.store = Store(shop.url, line.settings, shop.clock, lambda: shop.history, lambda: passed[0])
    line.stores.append(line.store)
    (guest,) = await line.enter(1)
    shop.clock.advance(3600)
    passed[0] += 10
    window = await line.look()
    assert (window.inside, window.at) == (1, guest.issued_at + 10_000)
    shop.clock.advance(40)
    passed[0] += 40
    assert (await line.look()).at == guest.issued_at + 50_000, "from there it goes on"


async def test_p4_time_without_the_store_is_nobodys_turn(open_shop: MakeShop) -> None:
    shop = open_shop()
    line = shop.process()
    (called,) = await line.tickets(1)
    line.store.evidence.failed = True
    shop.clock.advance(3600)
    assert await line.claim(called) == ["active"]


async def test_p4_time_that_is_lost_with_the_store_is_nobodys_turn(open_shop: MakeShop) -> None:
    """Store and processes were down for an hour, and the store has kept what it knew."""
    shop = open_shop()
    (called,) = await shop.process().tickets(1)
    shop.clock.advance(3600)
    shop.history = "two"
    line = shop.process()
    await line.look()
    shop.clock.advance(SETTLE)
    assert await line.claim(called) == ["active"]


async def test_p6_who_was_let_in_without_the_store_is_inside_when_it_is_back(open_shop: MakeShop) -> None:
    shop = open_shop(capacity=1)
    line = shop.process()
    (called,) = await line.tickets(1)
    window = await line.look()
    assert window.sure == ((called.epoch, called.number),) * 2
    lent = Pass(
        1, called.epoch, 1, called.id, shop.clock.ms(), shop.clock.ms(100), 100_000, 0, False, UNCONFIRMED
    )
    assert await line.renew(lent)
    assert (await line.look()).inside == 1
    assert (await line.claimed(called)).entered_at == lent.entered_at


async def test_p7_a_floor_that_has_far_to_go_rises_by_steps(open_shop: MakeShop) -> None:
    """Where nobody but a ticket remembers an epoch, nobody knows its floor; no call may hold the store for long."""
    shop = open_shop()
    told = Ticket(1, "1759999999000000-before", 50_001, "id", shop.clock.ms(), 50_000)
    line = shop.process()
    line.store.evidence.hear(told)
    assert (await line.look()).epochs[0].called == 50_000
    shop.clock.advance(shop.settings.active_seconds + 75)
    floors = [(await line.look()).epochs[0].floor for _ in range(4)]
    assert floors == [20_000, 40_000, 50_000, 50_000]


async def test_p7_whoever_comes_back_below_the_floor_leaves_nothing_behind(open_shop: MakeShop) -> None:
    """Their tickets are expired by their numbers alone, so that their use needs no note."""
    shop = open_shop()
    line = shop.process()
    tickets = await line.enter(3)
    shop.clock.advance(shop.settings.active_seconds)
    assert (await line.look()).epochs[0].floor == 3
    shop.clock.advance(GRACE + 1)
    assert (await line.look()).inside == 0
    ends = shop.clock.ms(60)
    back = [pass_of(ticket, ticket.issued_at, ends, 60_000) for ticket in tickets]
    back = [replace(one, confirmed=UNCONFIRMED) for one in back]
    for one in back[:2]:
        assert await line.renew(one)
    assert (await line.look()).inside == 2
    assert await line.leave(back[2]) != [0], "the third one leaves without having been heard of"
    assert await line.claim(*tickets) == ["expired"] * 3, "P5"
    with redis.Redis.from_url(shop.url) as client:
        assert client.hkeys(f"waitroom:{{{shop.room}}}:used") == []


async def test_an_epoch_whose_tickets_have_all_had_their_turn_is_over_a_day_later(
    open_shop: MakeShop,
) -> None:
    shop = open_shop()
    line = shop.process()
    (old,) = await line.tickets(1)
    shop.lose_all()
    await line.look()
    shop.clock.advance(301)
    await line.look()
    shop.clock.advance(86_400)
    window = await line.look()
    assert window.over == old.epoch
    assert len(window.epochs) == 1
    assert await line.claim(old) == ["expired"]


# --- what the simulation found -----------------------------------------------------------------------


async def test_p4_a_failover_that_forgets_the_door_takes_nobodys_turn(open_shop: MakeShop) -> None:
    shop = open_shop(
        capacity=1, window_interval=5, active_window_count=2, claim_seconds=1, session_seconds=100
    )
    line = shop.process()
    (called,) = await line.tickets(1)
    shop.clock.advance(2)
    await line.enter(1)
    shop.clock.advance(6)
    await line.look()
    kept = shop.keep()
    assert await line.claim(called) == ["door"]
    shop.clock.advance(1)
    shop.go_back(kept)
    shop.history = "two"
    await line.look()
    shop.clock.advance(4)
    assert await line.claim(called) == ["door"], "called 13 s ago, of 10, and the store knows of no door"
    shop.clock.advance(6)
    assert await line.claim(called) == ["door"]


async def test_an_entry_by_a_clock_that_was_lost_keeps_nobody_out(open_shop: MakeShop) -> None:
    shop = open_shop(window_size=1, window_interval=10)
    (guest,) = await shop.process().enter(1)
    shop.lose_all()
    shop.clock.advance(-3600)
    line = shop.process()
    used = as_pass_of(shop, guest)
    assert await line.renew(used)
    (late,) = await line.tickets(1)
    shop.clock.advance(60)
    assert await line.claim(late) == ["active"]


async def test_a_session_at_its_end_takes_no_place_in_a_store_that_has_lost_it(open_shop: MakeShop) -> None:
    shop = open_shop(capacity=1, max_session_seconds=100, session_seconds=90)
    (guest,) = await shop.process().enter(1)
    shop.clock.advance(100)
    shop.lose_all()
    line = shop.process()
    honoured = as_pass_of(shop, guest, 180)
    assert await line.renew(honoured) == 0
    assert (await line.look()).inside == 0


async def test_p1_a_copy_of_a_longer_pass_is_refused_as_well(open_shop: MakeShop) -> None:
    """The store has forgotten that it renewed a session: of the renewal only a copy knows."""
    shop = open_shop()
    line = shop.process()
    (guest,) = await line.enter(1)
    shop.clock.advance(100)
    assert await line.renew(guest)
    shop.lose_all()
    await line.look()
    await line.leave(as_pass_of(shop, guest))
    shop.clock.advance(250)
    assert await line.renew(as_pass_of(shop, guest, 400)) == 0


async def test_p1_who_entered_after_a_process_was_told_is_none_of_those_it_knew(open_shop: MakeShop) -> None:
    shop = open_shop(capacity=2)
    early, late = shop.process(), shop.process()
    await early.enter(1)
    shop.clock.advance(1)
    (guest,) = await late.enter(1)
    shop.lose_all()
    await early.look()
    assert await early.renew(as_pass_of(shop, guest))
    assert (await early.look()).inside == 2, "the one that it knew of is still to come"


@pytest.mark.parametrize("leaves", [False, True])
@pytest.mark.parametrize("fails_over", [False, True])
async def test_p1_who_was_let_in_without_the_store_takes_no_place_of_those_it_knew(
    open_shop: MakeShop, fails_over: bool, leaves: bool
) -> None:
    """Only passes remember: of one whom the store let in, and of another whom a process did that was cut off."""
    shop = open_shop(capacity=1)
    first = shop.process()
    (guest,) = await first.enter(1)
    (waiting, called) = await first.tickets(2)
    lent = replace(as_pass_of(shop, called), confirmed=UNCONFIRMED)
    shop.lose_all()
    line = shop.process()
    await hear(line, as_pass_of(shop, guest), waiting)
    shop.clock.advance(60)
    if fails_over:
        shop.history = "two"
        await line.look()
        shop.clock.advance(60)
    assert await (line.leave(lent) if leaves else line.renew(lent))
    assert (await line.look()).inside == (1 if leaves else 2), (
        "the one that the store knew of is still to come"
    )
    assert await line.claim(waiting) == ["waiting"]


async def test_p1_a_process_that_knows_only_the_store_as_it_came_back_does_not_count(
    open_shop: MakeShop,
) -> None:
    """A failover that no history shows: who was started after it remembers nothing of what was lost."""
    shop = open_shop(capacity=3)
    shop.history = None
    line = shop.process()
    await line.enter(1)
    kept = shop.keep()
    shop.clock.advance(1)
    *_, told = [*(await line.enter(2)), *(await line.tickets(1))]
    shop.go_back(kept)
    newer, newest = shop.process(), shop.process()
    shop.clock.advance(1)
    assert (await newer.look()).inside == 1
    await newest.look()
    await hear(newer, told)
    assert (await newest.look()).inside == 3, "as many as may be"


async def test_p1_a_renewal_that_was_lost_keeps_the_place_of_a_lease_that_has_run_out(
    open_shop: MakeShop,
) -> None:
    shop = open_shop(capacity=1, session_seconds=10)
    line = shop.process()
    (guest,) = await line.enter(1)
    kept = shop.keep()
    shop.clock.advance(9)
    assert await line.renew(guest)
    shop.clock.advance(9)
    ends = await line.renew(as_pass_of(shop, guest, 19))
    shop.clock.advance(9)
    ends = await line.renew(as_pass_of(shop, guest, 28))
    shop.clock.advance(9)
    ends = await line.renew(as_pass_of(shop, guest, 37))
    shop.clock.advance(6)
    shop.go_back(kept)
    shop.history = "two"
    other = shop.process()
    await other.look()
    shop.clock.advance(2)
    assert shop.clock.ms() < ends
    claimed = await other.claimed(guest)
    assert (claimed.outcome, claimed.entered_at) == ("active", guest.issued_at)
    assert claimed.pass_ends >= ends


async def test_an_epoch_without_numbers_is_proof_of_a_loss(open_shop: MakeShop) -> None:
    shop = open_shop()
    shop.history = None
    line = shop.process()
    await line.tickets(1)
    kept = shop.keep()
    shop.lose_all()
    new = shop.process()
    lost = await new.look()
    shop.go_back(kept)
    shop.clock.advance(1)
    await shop.process().look()
    window = await new.look()
    assert window.settling
    assert window.newest.name > lost.newest.name
