"""Passes as one process judges and renews them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conftest import SECRET
from tests.gates import eventually
from tests.rooms import open_request
from waitroom.config.settings import Settings, load
from waitroom.errors import StoreError
from waitroom.line.tickets import Pass
from waitroom.room.room import WaitingRoom
from waitroom.room.sessions import SKEW_MS

Make = Callable[..., Settings]


pytestmark = pytest.mark.usefixtures("patience")


@pytest_asyncio.fixture
async def shop(settings: Make) -> AsyncIterator[WaitingRoom]:
    opened = WaitingRoom(settings(session_seconds=20, first_lease_seconds=10, sync_seconds=0.05))
    await opened.start()
    yield opened
    await opened.close()


async def guest_of(shop: WaitingRoom, first: bool = False) -> Pass:
    if first:
        decision = await shop.decide(None)
        latest = getattr(decision, "latest", None)
    else:
        ticket = (await shop.join(None)).ticket
        assert ticket is not None
        latest = (await shop.stand(ticket)).latest
    assert isinstance(latest, Pass)
    return latest


def lasting(shop: WaitingRoom, of: Pass, ms: int) -> Pass:
    """The pass with so many milliseconds left."""
    return replace(of, expires_at=shop.snapshot.now() + ms)


async def test_p9_a_pass_is_judged_by_the_stores_clock(shop: WaitingRoom) -> None:
    guest = await guest_of(shop)
    assert shop.sessions.is_valid(guest)
    assert shop.sessions.is_valid(lasting(shop, guest, 1_000))
    assert not shop.sessions.is_valid(lasting(shop, guest, -1))
    assert shop.sessions.is_valid(lasting(shop, guest, 20_000 + SKEW_MS - 1_000))
    assert not shop.sessions.is_valid(lasting(shop, guest, 20_000 + SKEW_MS + 1_000))


async def test_p6_while_the_store_is_away_a_pass_is_honoured_for_one_session_more(shop: WaitingRoom) -> None:
    guest = await guest_of(shop)
    await shop.snapshot.close()
    shop.snapshot.lose(StoreError("gone"))
    assert shop.sessions.is_valid(lasting(shop, guest, -19_000))
    assert not shop.sessions.is_valid(lasting(shop, guest, -20_001))
    shop.snapshot.end(guest.id, 2**50)
    assert not shop.sessions.is_valid(guest), "P1: who has left stays out all the same"
    shop.sessions.renew_soon(lasting(shop, guest, 1))
    assert shop.sessions.latest(guest) is guest, "nobody asks a store that is away"


async def test_p1_a_pass_that_ran_out_well_before_the_store_went_away_stays_over(settings: Make) -> None:
    shop = WaitingRoom(settings(session_seconds=60))
    await shop.start()
    guest = await guest_of(shop)
    await shop.snapshot.close()
    shop.snapshot.lose(StoreError("gone"))
    assert shop.sessions.is_valid(lasting(shop, guest, -20_000)), "its lease lived still, P6"
    assert not shop.sessions.is_valid(lasting(shop, guest, -40_000)), "others may have its place"
    await shop.close()


async def test_p6_a_pass_that_ran_out_is_honoured_also_by_who_has_never_seen_the_store(
    tmp_path: Path,
) -> None:
    nowhere = load(redis_url=f"unix://{tmp_path}/none", secret=SECRET, session_seconds=60)
    shop = WaitingRoom(nowhere)
    await shop.start()
    now = shop.snapshot.now()
    guest = Pass(1, "epoch", 1, "id", now - 90_000, now - 50_000, 60_000, 0)
    assert shop.sessions.is_valid(guest)
    assert not shop.sessions.is_valid(replace(guest, expires_at=now - 61_000))
    await shop.close()


async def test_a_pass_is_renewed_from_half_its_life_on(shop: WaitingRoom) -> None:
    guest = await guest_of(shop)
    shop.sessions.renew_soon(lasting(shop, guest, 11_000))
    assert not shop.sessions._tasks
    older = lasting(shop, guest, 9_000)
    for _ in range(3):
        shop.sessions.renew_soon(older)
    assert len(shop.sessions._tasks) == 1, "once per session at a time"
    await asyncio.gather(*shop.sessions._tasks)
    latest = shop.sessions.latest(older)
    assert latest.expires_at > guest.expires_at - 1
    assert shop.sessions.latest(latest) is latest, "until it has been seen back"
    assert shop.sessions.latest(replace(latest)) == latest
    assert shop.sessions.latest(older) is older, "from then on the visitor has it"


async def test_a_first_lease_is_confirmed_by_its_return_and_not_by_a_stream(shop: WaitingRoom) -> None:
    guest = await guest_of(shop, first=True)
    assert guest.first
    assert guest.expires_at - guest.entered_at <= 12_000
    with open_request(shop.sessions, replace(guest, expires_at=shop.snapshot.now() + 1)):

        async def renewed() -> bool:
            return shop.sessions.latest(guest) is not guest

        await eventually(renewed)
        kept = shop.sessions.latest(guest)
        assert kept.first
        assert kept.expires_at - shop.snapshot.now() <= 12_000
    await asyncio.gather(*shop.sessions._tasks)
    full = await shop.sessions.revive(kept)
    assert full is not None
    assert not full.first
    assert full.expires_at - shop.snapshot.now() > 15_000


async def test_a_session_that_is_over_is_not_revived(shop: WaitingRoom) -> None:
    guest = await guest_of(shop)
    assert await shop.sessions.revive(replace(guest, id="somebody else's")) is None
    assert await shop.sessions.revive(guest) is not None
    await shop.leave(guest)
    assert await shop.sessions.revive(guest) is None
    shop.snapshot.ended.clear()
    assert await shop.sessions.revive(guest) is None, "P1: the store knows as well"


async def test_several_requests_keep_one_session_until_the_last_is_done(shop: WaitingRoom) -> None:
    guest = await guest_of(shop)
    longer = lasting(shop, guest, 19_500)
    assert not shop.sessions.keep_open()
    with open_request(shop.sessions, lasting(shop, guest, 9_000)):
        with open_request(shop.sessions, longer):
            assert shop.sessions.keep_open()
        assert not shop.sessions._tasks, "the newest pass known counts"
        with open_request(shop.sessions, lasting(shop, guest, 1)):
            pass
        assert shop.sessions.keep_open()
    assert not shop.sessions.keep_open()


async def test_p1_an_open_request_does_not_keep_a_session_that_ended(shop: WaitingRoom) -> None:
    guest = await guest_of(shop)
    with open_request(shop.sessions, lasting(shop, guest, 1)):
        shop.snapshot.end(guest.id, 2**50)
        assert shop.sessions.keep_open()
        assert not shop.sessions._tasks


async def test_a_session_at_its_greatest_length_is_not_renewed(settings: Make) -> None:
    shop = WaitingRoom(settings(session_seconds=20, max_session_seconds=30))
    await shop.start()
    guest = await guest_of(shop)
    shop.sessions.renew_soon(replace(guest, expires_at=guest.entered_at + 30_000, lease_ms=2**40))
    assert not shop.sessions._tasks
    shop.sessions.renew_soon(replace(guest, expires_at=guest.entered_at + 29_999, lease_ms=2**40))
    assert shop.sessions._tasks
    await shop.close()


async def test_passes_that_nobody_came_back_for_are_forgotten(shop: WaitingRoom) -> None:
    sessions = shop.sessions
    for _ in range(3):
        await sessions.revive(await guest_of(shop))
    assert len(sessions._renewed) == 3
    sessions.keep_open()
    assert len(sessions._renewed) == 3
    for id, known in list(sessions._renewed.items())[:2]:
        sessions._renewed[id] = lasting(shop, known, -1)
    sessions.keep_open()
    assert len(sessions._renewed) == 1
    for id, known in sessions._renewed.items():
        sessions._renewed[id] = lasting(shop, known, -1)
    sessions.keep_open()
    assert not sessions._renewed


async def test_a_renewal_that_fails_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shop = WaitingRoom(load(redis_url=f"unix://{tmp_path}/nobody", secret=SECRET))
    await shop.start()
    await shop.snapshot.close()
    shop.snapshot.away_since = None
    now = shop.snapshot.now()
    guest = Pass(1, "e", 1, "id", now, now + 1_000, 300_000, 0)
    with caplog.at_level("INFO", logger="waitroom"):
        for _ in range(2):
            shop.sessions.renew_soon(guest)
            await asyncio.gather(*shop.sessions._tasks)
    assert caplog.text.count("a renewal failed and will be tried again") == 2
    assert shop.sessions.latest(guest) is guest
    await shop.close()
