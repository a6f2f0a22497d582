"""A store that hangs for a moment again and again: newcomers are held up by it once, not for as long as it lasts."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests import stores
from tests.conftest import SECRET
from tests.gates import API, bearer, client_of, eventually, gated, page_data, session
from tests.sites import site
from tests.stores import Box
from tests.test_store_away import is_away, is_ready, pause, resume
from waitroom.config.settings import load
from waitroom.room.grace import LONGEST_AWAY_POLL, REST_SECONDS, Grace
from waitroom.web.middleware import WaitingRoomMiddleware

STRANGER = {"Sec-Fetch-Site": "cross-site", "Origin": "https://other.test"}
FRIEND = STRANGER | {"Origin": "https://friend.test"}


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is not a store that hangs."""
    monkeypatch.setenv("WAITROOM_STORE_TIMEOUT_SECONDS", "1")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with stores.box(tmp_path, *stores.DURABLE) as machine:
        yield machine


@asynccontextmanager
async def full(box: Box) -> AsyncIterator[WaitingRoomMiddleware]:
    mine = load(
        redis_url=box.url, secret=SECRET, capacity=1, sync_seconds=0.05, cors_origins=FRIEND["Origin"]
    )
    async with gated(site, settings=mine) as gate, client_of(gate) as guest:
        await session(guest)
        yield gate


@asynccontextmanager
async def hanging(gate: WaitingRoomMiddleware, box: Box) -> AsyncIterator[None]:
    """The store hangs until the block ends, and is known to be back then."""
    async with client_of(gate) as probe:
        pause(box)
        try:
            await eventually(partial(is_away, probe))
            yield
        finally:
            resume(box)
        await eventually(partial(is_ready, probe))


async def looks(gate: WaitingRoomMiddleware) -> httpx.Response:
    """A newcomer comes to a page, for the first time."""
    async with client_of(gate) as newcomer:
        return await newcomer.get("/")


async def joins(gate: WaitingRoomMiddleware, headers: dict[str, str] | None = None) -> httpx.Response:
    """A program that keeps no cookies asks for a number."""
    async with client_of(gate) as program:
        return await program.post(f"{API}/join", headers=headers)


async def test_newcomers_are_served_between_the_hiccups_of_a_store(box: Box) -> None:
    """Each of them finds somebody to hold, and each return would begin the time anew in which those go first."""
    async with full(box) as gate:
        kinds = []

        async def has_one_more() -> bool:
            async with hanging(gate, box):
                assert page_data(await looks(gate))["kind"] == "away"
            joined = await joins(gate)
            kinds.append(page_data(await looks(gate))["kind"])
            return joined.status_code == 201

        assert not await has_one_more(), "those who were held go first"
        await eventually(has_one_more)
        assert await has_one_more(), "it has not begun anew"
        assert kinds[0] == "away"
        assert kinds[-1] == "first"


async def test_who_asks_for_a_number_in_vain_gets_proof_to_come_back_with(box: Box) -> None:
    async with full(box) as gate:
        async with hanging(gate, box):
            early = await joins(gate)
            strange = await joins(gate, STRANGER)
            elsewhere = await joins(gate, FRIEND)
            again = await joins(gate, bearer(early.json()["proof"]))
        assert (early.status_code, early.json()["type"]) == (503, "urn:waitroom:store-away")
        assert 4 <= int(early.headers["retry-after"]) <= LONGEST_AWAY_POLL
        assert "waitroom-default=pr." in early.headers["set-cookie"]
        assert "set-cookie" not in elsewhere.headers, "P4: it would replace what the visitor has"
        assert strange.status_code == 403, "another site's page takes no number, nor a proof for one"
        assert "set-cookie" not in strange.headers
        assert again.status_code == 503
        assert "proof" not in again.json(), "the first one counts"
        assert "set-cookie" not in again.headers

        late = await joins(gate)
        assert (late.status_code, late.json()["type"]) == (503, "urn:waitroom:store-away"), (
            "held ones go first"
        )
        for held, number in ((early, 2), (elsewhere, 3)):
            joined = await joins(gate, bearer(held.json()["proof"]))
            assert (joined.status_code, joined.json()["number"]) == (201, number)

        async def has_number() -> bool:
            return (await joins(gate, bearer(late.json()["proof"]))).status_code == 201

        await eventually(has_number)


async def test_a_ticket_that_asks_in_vain_is_kept(box: Box) -> None:
    async with full(box) as gate:
        joined = await joins(gate)
        async with hanging(gate, box):
            held = await joins(gate, bearer(joined.json()["ticket"]))
        assert held.status_code == 503
        assert "proof" not in held.json()
        assert "set-cookie" not in held.headers, "P4"
        assert (await joins(gate, bearer(joined.json()["ticket"]))).json()["number"] == 2


class Absences:
    """What became of a grace by several absences, in a time that the test makes pass."""

    def __init__(self) -> None:
        self.grace = Grace()
        self.at = 1_000.0

    def away(self, seconds: float, holds: bool = True) -> None:
        self.grace.lost(self.at)
        self.grace.is_owed = self.grace.is_owed or holds
        self.at += seconds
        self.grace.returned(self.at)

    def held_up(self, seconds: float) -> bool:
        """Let the store stay for so long, and tell whether newcomers are held up then."""
        self.at += seconds
        return self.grace.is_on(self.at)


@pytest.mark.parametrize(("away", "there"), [(0.7, 2), (0.7, 9), (3, 3), (5, 0.5)])
def test_hiccups_hold_newcomers_up_once_in_a_while(away: float, there: float) -> None:
    absences = Absences()
    held_up, came = 0, 0
    while absences.at < 1_000 + 600:
        absences.away(away)
        held_up += absences.held_up(there)
        came += 1
    assert held_up * there <= 10 * LONGEST_AWAY_POLL * (REST_SECONDS / (REST_SECONDS + LONGEST_AWAY_POLL))
    assert held_up < came / 5


def test_every_absence_that_lasts_is_followed_by_a_grace() -> None:
    absences = Absences()
    absences.away(0.7)
    assert absences.held_up(LONGEST_AWAY_POLL - 1)
    assert not absences.held_up(1)
    absences.away(0.7)
    assert not absences.held_up(0), "a moment, and not long after the last one"
    absences.away(LONGEST_AWAY_POLL)
    assert absences.held_up(1), "many were held"
    absences.held_up(LONGEST_AWAY_POLL + REST_SECONDS)
    absences.away(0.7, holds=False)
    assert not absences.held_up(0), "there is nobody to wait for"
    absences.away(0.7)
    assert absences.held_up(0)
