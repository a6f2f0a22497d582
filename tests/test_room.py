"""Decisions: what a credential and the snapshot make of a request, on a real store."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SECRET
from tests.gates import eventually
from waitroom.config.settings import Settings, load
from waitroom.errors import StoreError
from waitroom.line.tickets import Pass, Proof, Ticket, Tokens, new_id
from waitroom.line.window import Window
from waitroom.room import room as room_module
from waitroom.room.decisions import Admitted, AwayError, Decision, Held, Uncounted
from waitroom.room.room import PROOF_MS, WaitingRoom
from waitroom.room.sessions import SKEW_MS
from waitroom.store.transitions import Synced

Make = Callable[..., Settings]


pytestmark = pytest.mark.usefixtures("patience")


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[WaitingRoom]:
    room = WaitingRoom(settings, random.Random(7))
    await room.start()
    try:
        yield room
    finally:
        await room.close()


async def reported(room: WaitingRoom) -> None:
    """Wait until the report of an ended visit that is under way is over."""
    assert room.ended_visits._task is not None
    await room.ended_visits._task


async def inside(settings: Settings) -> int:
    """Count those inside, as another process sees them."""
    async with opened(settings) as other:
        assert other.snapshot.window is not None
        return other.snapshot.window.inside


async def ticket_of(room: WaitingRoom) -> Ticket:
    standing = await room.join(None)
    assert standing.ticket is not None
    return standing.ticket


async def guest_of(room: WaitingRoom) -> Pass:
    standing = await room.stand(await ticket_of(room))
    assert standing.latest is not None
    return standing.latest


def proof_of(room: WaitingRoom, age_ms: int = 0) -> Proof:
    return Proof(new_id(), room.snapshot.now() - age_ms)


def held(decision: Decision) -> Held:
    assert isinstance(decision, Held), decision
    return decision


def admitted(decision: Decision | None) -> Admitted:
    assert isinstance(decision, Admitted), decision
    return decision


# -- tickets -----------------------------------------------------------------------------------------


async def test_p3_who_was_called_too_long_ago_stands_at_the_door_and_is_the_next(settings: Make) -> None:
    async with opened(settings(capacity=1, claim_seconds=0.1)) as room:
        late = await ticket_of(room)
        await asyncio.sleep(0.15)  # the time after which a place is promised to the next
        guest = await guest_of(room)
        decision = held(await room.decide(late))
        assert (decision.kind, decision.credential, decision.new) == ("door", late, False)
        assert (decision.place.status, decision.place.ahead, decision.place.number) == ("waiting", 0, 1)
        standing = await room.stand(late)
        assert (standing.place.status, standing.place.ahead, standing.latest) == ("waiting", 0, None)
        newcomer = held(await room.decide(None))
        assert newcomer.kind == "first"
        await room.leave(guest)
        assert admitted(await room.decide(late)).latest.number == late.number


async def test_who_comes_a_moment_before_the_place_is_free_comes_in_with_that_very_request(
    settings: Make,
) -> None:
    async with opened(settings(window_size=3, window_interval=1, active_window_count=300)) as room:
        for _ in range(3):
            await guest_of(room)
        following = await ticket_of(room)

        async def is_called() -> bool:
            await room.snapshot.reread()
            assert room.snapshot.window is not None
            return room.snapshot.window.called == following.number

        await eventually(is_called)
        assert (await room.stand(following)).latest is not None


async def test_a_turn_that_has_passed_is_told_once_and_the_next_number_takes_its_place(
    settings: Make,
) -> None:
    async with opened(settings(capacity=1, active_window_count=1, window_interval=0.2)) as room:
        missed = await ticket_of(room)
        await asyncio.sleep(0.3)  # the time for which a call stays good
        await guest_of(room)

        async def passed() -> Held | None:
            decision = await room.decide(missed)
            return decision if isinstance(decision, Held) and decision.kind == "first" else None

        decision = await eventually(passed)
        assert isinstance(decision.credential, Proof)
        assert decision.credential.missed
        assert (await room.stand(missed)).place.status == "expired"
        again = held(await room.decide(decision.credential))
        assert isinstance(again.credential, Ticket)
        assert again.credential.missed
        assert again.credential.number > missed.number


async def test_p4_a_ticket_that_another_process_issued_is_not_taken_for_called(settings: Make) -> None:
    mine = settings(capacity=1, sync_seconds=60)
    async with opened(mine) as one, opened(mine) as two:
        guest = await guest_of(one)
        ticket = await ticket_of(one)
        assert held(await two.decide(ticket)).place.ahead == 0
        assert two.snapshot.window == one.snapshot.window or two.snapshot.window is not None
        assert (await two.stand(guest)).place.status == "active"


async def test_p5_requests_that_claim_at_once_share_one_session(settings: Make) -> None:
    async with opened(settings(capacity=3)) as one, opened(settings(capacity=3)) as two:
        ticket = await ticket_of(one)
        decisions = await asyncio.gather(*(room.decide(ticket) for room in (one, two) for _ in range(10)))
        assert {admitted(decision).latest.id for decision in decisions} == {ticket.id}
        assert one.snapshot.window is not None
        assert one.snapshot.window.inside == 1


async def test_a_read_that_began_before_the_ticket_was_issued_does_not_speak_of_it(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = settings(capacity=3, sync_seconds=60)
    async with opened(mine) as one, opened(mine) as two:
        await two.snapshot.reread()
        begun, issued = asyncio.Event(), asyncio.Event()
        sync = two._store.sync

        async def early(ended_version: int) -> tuple[Window, Synced]:
            answer = await sync(ended_version)
            begun.set()
            await issued.wait()
            return answer

        monkeypatch.setattr(two._store, "sync", early)
        reading = asyncio.create_task(two.snapshot.reread())
        await begun.wait()
        ticket = await ticket_of(one)
        deciding = asyncio.create_task(two.decide(ticket))
        await asyncio.sleep(0)
        issued.set()
        assert admitted(await deciding).latest.id == ticket.id
        await reading


async def test_a_ticket_of_a_room_that_was_reset_is_over(settings: Make) -> None:
    async with opened(settings()) as room:
        ticket = await ticket_of(room)
        void = Ticket(ticket.generation - 1, ticket.epoch, ticket.number, ticket.id, 0, 0)
        assert (await room.stand(void)).place.status == "expired"
        await room.leave(void)
        assert (await room.stand(ticket)).place.status == "active"


# -- proofs ------------------------------------------------------------------------------------------


async def test_requests_that_come_back_at_once_get_one_number(settings: Make) -> None:
    async with opened(settings(capacity=1)) as room:
        await guest_of(room)
        proof = proof_of(room)
        decisions = [held(each) for each in await asyncio.gather(*(room.decide(proof) for _ in range(10)))]
        assert {each.place.number for each in decisions} == {2}
        assert {each.new for each in decisions} == {True}
        other = held(await room.decide(proof_of(room)))
        assert other.place.number == 3


async def test_p4_a_second_tab_gets_the_number_of_the_first(settings: Make) -> None:
    """It comes a moment later, before the browser has the cookie with the number."""
    async with opened(settings(capacity=1)) as room:
        guest = await guest_of(room)
        proof = proof_of(room)
        first = held(await room.decide(proof))
        assert held(await room.decide(proof_of(room))).place.number == 3
        second = held(await room.decide(proof))
        assert (second.place.number, second.credential, second.new) == (2, first.credential, True)
        await room.leave(guest)
        assert isinstance(first.credential, Ticket)
        assert admitted(await room.decide(proof)).latest.id == first.credential.id


async def test_p5_a_visitor_who_does_not_wait_for_the_answer_takes_one_slot(settings: Make) -> None:
    async with opened(settings()) as room:
        proof = proof_of(room)
        sessions = {admitted(await room.decide(proof)).latest.id for _ in range(5)}
        assert len(sessions) == 1
        assert room.snapshot.window is not None
        assert room.snapshot.window.inside == 1
        await room.leave(admitted(await room.decide(proof)).latest)
        another = admitted(await room.decide(proof)).latest
        assert another.id not in sessions, "P1: what has ended is not given again"
        assert another.first


async def test_what_was_given_for_old_proofs_is_forgotten(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "MOST_EXCHANGED", 2)
    async with opened(settings(capacity=1)) as room:
        await guest_of(room)
        proofs = [proof_of(room) for _ in range(3)]
        numbers = [held(await room.decide(proof)).place.number for proof in proofs]
        assert held(await room.decide(proofs[2])).place.number == numbers[2]
        assert len(room._exchanged) == 2


async def test_a_visitor_whose_cookie_came_back_enters_on_a_full_lease_where_there_is_room(
    settings: Make,
) -> None:
    async with opened(settings(session_seconds=600)) as room:
        entered = admitted(await room.decide(proof_of(room)))
        assert entered.must_tell
        assert not entered.latest.first
        assert entered.latest.expires_at - room.snapshot.now() > 500_000


@pytest.mark.parametrize(
    ("age_ms", "good"),
    [
        (0, True),
        (-SKEW_MS + 1_000, True),
        (PROOF_MS - 1_000, True),
        (PROOF_MS + 1_000, False),
        (-SKEW_MS - 1_000, False),
        (-(2**52), False),
    ],
)
async def test_p8_a_proof_of_another_time_proves_nothing(settings: Make, age_ms: int, good: bool) -> None:
    """P9: two processes may read the store's clock a little differently; more than that was never signed here."""
    async with opened(settings(capacity=1)) as room:
        await guest_of(room)
        decision = held(await room.decide(proof_of(room, age_ms)))
        assert decision.kind == ("waiting" if good else "first")
        assert isinstance(decision.credential, Ticket if good else Proof)


async def test_visits_that_never_come_back_keep_nobody_out(settings: Make) -> None:
    async with opened(settings(capacity=3, window_size=3)) as room:
        for _ in range(30):
            visit = admitted(await room.decide(None)).latest
            assert visit.first
            room.ended_visits.add(visit.id, keeps=True)


async def test_p1_what_runs_at_this_moment_holds_its_slot(settings: Make) -> None:
    async with opened(settings(capacity=3, window_size=3)) as room:
        running = []
        for _ in range(3):
            visit = admitted(await room.decide(None)).latest
            running.append((visit, room.sessions.begin(visit)))
        assert held(await room.decide(None)).kind == "first"
        late = asyncio.ensure_future(room.decide(None))
        visit, request = running.pop()
        await asyncio.sleep(0)
        room.sessions.end(request)
        room.ended_visits.add(visit.id, keeps=True)
        assert admitted(await late).latest.id != visit.id


async def test_p5_a_first_visit_comes_back_to_its_slot_or_to_another(settings: Make) -> None:
    async with opened(settings(capacity=1)) as room:
        visit = admitted(await room.decide(None)).latest
        full = admitted(await room.decide(visit))
        assert (full.latest.id, full.latest.first, full.must_tell) == (visit.id, False, True)
        await room.leave(full.latest)

        other = admitted(await room.decide(None)).latest
        room.ended_visits.add(other.id, keeps=False)
        again = admitted(await room.decide(other))
        assert (again.latest.id, again.latest.first, again.must_tell) == (other.id, False, True)


async def test_p3_who_comes_back_to_a_full_room_stands_at_the_door(settings: Make) -> None:
    async with opened(settings(capacity=1)) as room:
        visit = admitted(await room.decide(None)).latest
        room.ended_visits.add(visit.id, keeps=False)
        guest = await guest_of(room)
        decision = held(await room.decide(visit))
        assert isinstance(decision.credential, Ticket)
        assert (decision.kind, decision.new, decision.credential.number) == ("door", True, visit.number)
        assert (await room.stand(visit)).place.status == "waiting"
        assert await room.admit(visit) is None
        await room.leave(guest)
        assert (await room.stand(visit)).latest is not None


async def test_what_has_ended_is_reported_again_after_a_call_that_failed(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings(capacity=2)) as room:
        visit = admitted(await room.decide(None)).latest
        join = room._store.join

        async def fails(_: object) -> None:
            raise StoreError("away")

        monkeypatch.setattr(room._store, "join", fails)
        room.ended_visits.add(visit.id, keeps=False)
        await reported(room)
        assert len(room.ended_visits) == 1
        monkeypatch.setattr(room._store, "join", join)
        await room.close()
        assert await inside(room.settings) == 0


async def test_a_slot_whose_first_visit_is_being_reported_over_is_waited_for(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The window that this process knows is of the moment in which the visit ran."""
    async with opened(settings(capacity=1)) as room:
        visit = admitted(await room.decide(None)).latest
        join, goes_on = room._store.join, asyncio.Event()

        async def slowly(items: Any) -> Any:
            await goes_on.wait()
            return await join(items)

        monkeypatch.setattr(room._store, "join", slowly)
        room.ended_visits.add(visit.id, keeps=False)
        await asyncio.sleep(0)
        assert (len(room.ended_visits), room.ended_visits.is_reporting()) == (0, True)
        newcomer = asyncio.ensure_future(room.decide(None))
        await asyncio.sleep(0)
        goes_on.set()
        assert admitted(await newcomer).latest.id != visit.id


async def test_a_report_that_is_under_way_as_the_room_closes_is_made_once_more(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings(capacity=1)) as room:
        visit = admitted(await room.decide(None)).latest
        join, begun = room._store.join, asyncio.Event()

        async def hangs_once(items: Any) -> Any:
            if begun.is_set():
                return await join(items)
            begun.set()
            return await asyncio.Event().wait()

        monkeypatch.setattr(room._store, "join", hangs_once)
        room.ended_visits.add(visit.id, keeps=False)
        await begun.wait()
        await room.close()
        assert await inside(room.settings) == 0


async def test_who_comes_back_to_a_slot_given_back_while_the_store_fails_is_told_so(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings(capacity=1)) as room:
        visit = admitted(await room.decide(None)).latest
        room.ended_visits.add(visit.id, keeps=False)
        await reported(room)

        async def fails(_: object) -> None:
            raise StoreError("away")

        monkeypatch.setattr(room._claims, "ask", fails)
        assert await room.admit(visit) is None
        assert room.outage.is_on()


async def test_p5_a_proof_that_let_its_visitor_in_elsewhere_is_inside_here(settings: Make) -> None:
    async with opened(settings(capacity=2)) as one, opened(settings(capacity=2)) as other:
        proof = proof_of(one)
        entered = admitted(await one.decide(proof)).latest
        standing = await other.join(proof)
        assert standing.latest is not None
        assert (standing.latest.id, standing.latest.number) == (entered.id, entered.number)


async def test_who_left_on_a_first_visit_is_a_newcomer(settings: Make) -> None:
    async with opened(settings(capacity=1)) as room:
        visit = admitted(await room.decide(None)).latest
        await room.leave(visit)
        assert admitted(await room.decide(visit)).latest.id != visit.id
        room.snapshot.end(visit.id, room.snapshot.now() + 60_000)
        assert await room.admit(visit) is None


# -- passes ------------------------------------------------------------------------------------------


async def test_p8_a_pass_from_the_future_is_believed_no_further_than_the_store_goes(settings: Make) -> None:
    """Signed, but longer than its lease: the store knows how long the session really lasts."""
    async with opened(settings(session_seconds=10)) as room:
        guest = await guest_of(room)
        longer = Pass(1, guest.epoch, guest.number, guest.id, guest.entered_at, 2**52, 10_000, 0)
        latest = admitted(await room.decide(longer)).latest
        half_a_call = 250  # by so much at most the process takes the store's clock for slower than it is
        assert latest.expires_at <= room.snapshot.now() + 10_000 + half_a_call
        stranger = Pass(1, guest.epoch, 7, new_id(), guest.entered_at, 2**52, 10_000, 0)
        assert await room.admit(stranger) is None
        assert await room.decide_uncounted(stranger) == Uncounted()


async def test_p6_a_pass_that_ran_out_while_its_lease_lives_is_renewed(settings: Make) -> None:
    async with opened(settings(session_seconds=10)) as room:
        guest = await guest_of(room)
        over = Pass(1, guest.epoch, guest.number, guest.id, guest.entered_at, guest.entered_at, 10_000, 0)
        revived = admitted(await room.decide(over))
        assert revived.must_tell
        assert revived.latest.id == guest.id
        assert revived.latest.expires_at >= guest.expires_at


async def test_a_pass_whose_session_is_over_is_as_nothing(settings: Make) -> None:
    async with opened(settings(capacity=1)) as room:
        guest = await guest_of(room)
        await room.leave(guest)
        assert await room.admit(guest) is None
        assert await room.admit(None) is None
        assert await room.admit(await ticket_of(room)) is None
        assert (await room.stand(guest)).place.status == "expired"
        await room.leave(guest)


async def test_max_session_seconds_ends_a_session_whatever_its_use(settings: Make) -> None:
    async with opened(settings(capacity=1, session_seconds=2, max_session_seconds=1)) as room:
        guest = await guest_of(room)
        assert guest.expires_at == guest.entered_at + 1_000

        async def out() -> bool:
            return isinstance(await room.decide(guest), Held) or await room.admit(guest) is None

        await eventually(out)
        assert room.snapshot.now() >= guest.expires_at - 1


# -- several credentials -----------------------------------------------------------------------------


async def test_the_best_valid_credential_counts(settings: Make) -> None:
    """P4: what is over never hides a place that is held."""
    async with opened(settings(capacity=2)) as room:
        used = await ticket_of(room)
        over = (await room.stand(used)).latest
        assert over is not None
        await room.leave(over)
        guest, _ = await guest_of(room), await guest_of(room)
        waits, later = await ticket_of(room), await ticket_of(room)
        proof = proof_of(room)

        async def best(*credentials: Pass | Ticket | Proof) -> object:
            return await room.best([*map(room.tokens.sign, credentials), "rubbish"])

        assert await best(proof, later, waits, guest) == guest
        assert await best(proof, later, waits) == waits
        assert await best(later, over) == later
        assert await best(later, used) == later
        assert await best(proof, used, over) == proof
        assert await best(used, over) == over
        assert await best(used) == used
        assert await best() is None


async def test_of_two_passes_the_longer_counts(settings: Make) -> None:
    async with opened(settings()) as room:
        guest = await guest_of(room)
        older = Pass(
            1, guest.epoch, guest.number, guest.id, guest.entered_at, guest.expires_at - 5, 10_000, 0
        )
        assert await room.best(map(room.tokens.sign, (older, guest))) == guest


# -- without a store ---------------------------------------------------------------------------------


def never_reached(tmp_path: Path, **keywords: Any) -> Settings:
    return load(redis_url=f"unix://{tmp_path}/nobody", secret=SECRET, **keywords)


TICKET = Ticket(1, "0000000000000001-abcdef", 5, "id", 1, 0)


async def test_before_the_first_contact_everybody_is_held(tmp_path: Path) -> None:
    async with opened(never_reached(tmp_path)) as room:
        for credential, number in ((None, None), (TICKET, 5), (Proof("id", 1), None)):
            decision = held(await room.decide(credential))
            assert (decision.kind, decision.place.number, decision.place.ahead) == ("away", number, 0)
            # Whoever has no number is given proof of having been here before those who come later.
            assert isinstance(decision.credential, Ticket if number else Proof)
            assert decision.new == (number is None), "P4: nothing replaces a ticket"
        assert await room.decide_uncounted(None) is None
        for call in (room.stand(TICKET), room.leave(TICKET)):
            with pytest.raises(StoreError):
                await call
        with pytest.raises(AwayError) as away:
            await room.join(None)
        assert isinstance(away.value.held.credential, Proof)
        now = room.snapshot.now()
        good = Pass(1, TICKET.epoch, 5, "id", now, now + 60_000, 60_000, 0)
        assert admitted(await room.decide(good)).latest == good, "P6"
        assert (await room.stand(good)).place.status == "active"
        ticket, proof = room.tokens.sign(TICKET), room.tokens.sign(Proof("id", 1))
        assert await room.best([ticket, room.tokens.sign(good)]) == good
        assert await room.best([proof, ticket]) == TICKET


async def test_the_gate_may_be_open_without_a_store(tmp_path: Path) -> None:
    async with opened(never_reached(tmp_path, on_store_failure="open")) as room:
        for credential in (None, TICKET, Proof("id", 1)):
            assert await room.decide(credential) == Uncounted()
        assert await room.decide_uncounted(None) == Uncounted()


# -- the rest ----------------------------------------------------------------------------------------


async def test_a_room_starts_and_closes_once(settings: Make) -> None:
    room = WaitingRoom(settings())
    await asyncio.gather(*(room.start() for _ in range(5)))
    tokens = room.tokens
    await room.start()
    assert room.tokens is tokens
    assert isinstance(tokens, Tokens)
    await room.close()
    await room.close()
    assert not room.started


async def test_the_site_is_told_who_is_there(settings: Make) -> None:
    async with opened(settings()) as room:
        told = room.visitor(Pass(1, "e", 7, "id", 0, 0, 0, 1_500))
        assert (told.room, told.number, told.session, told.waited_seconds) == (
            room.settings.room,
            7,
            "id",
            1.5,
        )


async def test_p1_a_called_visitor_comes_in_without_the_store_only_while_the_place_is_sure(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Called with a place to be had as the store was seen last: for half of `claim_seconds` after that."""
    async with opened(settings(capacity=1, claim_seconds=60)) as room:
        called = await ticket_of(room)
        await room.snapshot.reread()
        window = room.snapshot.window
        assert window is not None
        assert window.sure is not None
        room.snapshot.lose(StoreError("gone"))
        for seconds, comes_in in ((29, True), (31, False)):
            monkeypatch.setattr(room.snapshot, "now", lambda seconds=seconds: window.at + seconds * 1000)
            assert isinstance(room.outage.decide(called), Admitted) is comes_in
