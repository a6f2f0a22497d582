"""What visitors were told of their wait, held against how long it was."""

import asyncio
import json
import random

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tests import stores
from tests.conftest import SECRET
from tests.gates import eventually
from tests.rooms import Line
from tests.windows import EPOCH, window
from waitroom.cli import commands as cli
from waitroom.config.settings import load
from waitroom.line.counters import NAMES, Counted
from waitroom.line.positions import Positions
from waitroom.line.predictions import ERRORS, LIMITS, Accuracy, accuracy, judge
from waitroom.line.tickets import Pass, Ticket
from waitroom.line.window import Rank, Tempo, around
from waitroom.room.room import WaitingRoom

NONE: dict[str, int] = dict.fromkeys(NAMES, 0)


@pytest.mark.parametrize(
    ("expected", "waited", "names"),
    [
        (100, 100, ("predictions_kept", "prediction_error_5")),
        (105, 100, ("predictions_kept", "prediction_error_5")),
        (110, 100, ("predictions_kept", "prediction_error_10")),
        (100, 80, ("predictions_kept", "prediction_error_30")),
        (100, 69, ("predictions_missed", "prediction_error_50")),
        (100, 400, ("predictions_missed", "prediction_error_more")),
        # Short waits have room for chance in their range, and none in their error.
        (10, 1, ("predictions_kept", "prediction_error_more")),
        (1, 0, ("predictions_kept", "prediction_error_more")),
    ],
)
def test_a_wait_is_counted_by_its_range_and_its_error(
    expected: float, waited: float, names: tuple[str, str]
) -> None:
    assert judge(expected, waited) == names


@given(st.integers(1, 10**6), st.floats(0, 10**7))
def test_what_was_told_decides_what_is_kept(expected: int, waited: float) -> None:
    low, high = around(expected)
    kept, error = judge(expected, waited)
    assert (kept == "predictions_kept") == (low <= waited <= high)
    assert error in ERRORS
    assert len(ERRORS) == len(LIMITS) + 1


@pytest.mark.parametrize(
    ("errors", "median"),
    [
        ((4, 0, 0, 0, 0, 0, 0), 0.025),
        ((1, 2, 1, 0, 0, 0, 0), 0.075),
        ((0, 0, 0, 0, 4, 0, 0), 0.25),
        ((1, 0, 0, 0, 0, 1, 0), 0.05),
        ((1, 0, 0, 0, 0, 0, 3), None),
    ],
)
def test_the_median_is_read_from_the_counts(errors: tuple[int, ...], median: float | None) -> None:
    counts = NONE | dict(zip(ERRORS, errors, strict=True)) | {"predictions_kept": 3, "predictions_missed": 1}
    assert accuracy(counts) == Accuracy(4, 0.75, median)


def test_nothing_is_said_of_no_waits() -> None:
    assert accuracy(NONE) is None


# --- in a room --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "rate", "expected"), [(21, 30, 2), (22, 30, 4), (21, 6000, 1), (21, 0, 0), (20, 30, 0)]
)
def test_a_newcomer_is_told_whole_seconds(number: int, rate: float, expected: int) -> None:
    places = Positions(Tempo(0.2, 60), random.Random(1))
    assert places.expected(Rank(EPOCH, number), window(30, 20, 10, rate_per_minute=rate)) == expected


async def test_a_room_keeps_count_of_what_it_told(any_store_url: str, room: str) -> None:
    settings = load(redis_url=any_store_url, secret=SECRET, room=room, capacity=1, sync_seconds=0.05)
    one, other = WaitingRoom(settings), WaitingRoom(settings)
    await one.start()
    await other.start()
    guest = await ticket_of(one)
    assert guest.expected == 0, "who is called at once is told nothing"
    inside = (await one.stand(guest)).latest
    assert inside is not None
    untold = await ticket_of(one)
    assert untold.expected == 0, "the pace is not known yet"
    with stores.admin(any_store_url) as admin:
        seconds, _ = admin.time()
        at = f"{seconds}000000"
        admin.hset(f"waitroom:{{{room}}}:state", "pace", f"60.0 0 {at} 0 0 1 1 1:{at},1:{at}")
    told = await ticket_of(other)
    assert told.expected == 2
    await one.leave(inside)
    for ticket in (untold, told):

        async def enters(waiting: Ticket = ticket) -> Pass | None:
            return (await one.stand(waiting)).latest

        entered = await eventually(enters)
        assert (await one.stand(ticket)).latest is not None, "claimed again it counts no second time"
        await one.leave(entered)

    def counted() -> dict[str, int]:
        done = CliRunner().invoke(
            cli.main, ["status", "--json", "--redis-url", any_store_url, "--room", room]
        )
        fields = json.loads(done.stdout)
        assert (fields["predictions"] is None) == (not fields["counters"]["predictions_kept"])
        return {name: n for name, n in fields["counters"].items() if n and name.startswith("prediction")}

    async def is_counted() -> bool:
        return bool(await asyncio.to_thread(counted))

    await eventually(is_counted)
    await asyncio.gather(one.close(), other.close())
    (kept, n), (_, errors) = sorted((await asyncio.to_thread(counted)).items(), reverse=True)
    assert (kept, n, errors) == ("predictions_kept", 1, 1)


async def ticket_of(room: WaitingRoom) -> Ticket:
    ticket = (await room.join(None)).ticket
    assert ticket is not None
    return ticket


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({}, "none yet that are over"),
        (
            {"predictions_kept": 9, "predictions_missed": 1, "prediction_error_10": 10},
            "90 % of 10 within their range; median error 8 %",
        ),
        (
            {"predictions_missed": 1, "prediction_error_more": 1},
            "0 % of 1 within their range; median error over 50 %",
        ),
    ],
)
async def test_status_tells_how_well_waits_were_told(
    any_store_url: str, room: str, counts: dict[Counted, int], told: str
) -> None:
    line = Line(any_store_url, load(redis_url=any_store_url, secret=SECRET, room=room))
    for name, count in counts.items():
        line.store.counters.add(name, count)
    await line.look()
    await line.close()
    done = await asyncio.to_thread(
        CliRunner().invoke, cli.main, ["status", "--redis-url", any_store_url, "--room", room]
    )
    assert f"waits told    {told}\n" in done.stdout


async def test_predictions_are_not_in_the_log(
    any_store_url: str, room: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="waitroom")
    line = Line(any_store_url, load(redis_url=any_store_url, secret=SECRET, room=room))
    for name in ("predictions_kept", "prediction_error_5"):
        line.store.counters.add(name)
    await line.look()
    line.store.counters.add("foreign_tokens")
    line.store.counters.add("predictions_kept")
    await line.look()
    await line.close()
    assert caplog.messages == ["counted since the last time: 1 foreign_tokens"]
