"""The line's arithmetic: who waits, who may come in, how long it takes and when to look again."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.windows import EPOCH, window
from waitroom.config.settings import load
from waitroom.line.tickets import Pass, Ticket
from waitroom.line.window import (
    LARGEST_NUMBER,
    LONGEST_POLL,
    SHORTEST_POLL,
    Epoch,
    Eta,
    Rank,
    Tempo,
    Window,
    ahead,
    around,
    eta,
    poll_seconds,
    rank,
    spread,
    status,
)

LONG_OVER, OVER = "0000000000000000-aaaaaa", "0000000000000000-aaaaab"
EARLIER, LATER = "0000000000000001-aaaaaa", "0000000000000002-aaaaab"

WINDOW = window(30, 20, 10, rate_per_minute=60.0)
# Some of an earlier epoch still wait; numbers went on from the highest that was known of it.
HEALED = window(over=OVER, epochs=(Epoch(EARLIER, 25, 20, 10), Epoch(EPOCH, 30, 24, 24)), epoch=EARLIER)
TEMPO = Tempo.of(window_size=10, window_interval=10, active_window_count=30)

numbers = st.integers(1, LARGEST_NUMBER)
epochs = st.builds("{:016d}-{:06x}".format, st.integers(0, 10**16 - 1), st.integers(0, 16**6 - 1))
ranks = st.builds(Rank, epochs, numbers)
distances = st.integers(0, 10**9)
# The store tells it in tenths.
rates = st.none() | st.integers(0, 10**7).map(lambda tenths: tenths / 10)
tempos = st.builds(
    Tempo.of, st.integers(1, 10**6), st.floats(0.1, 86_400, allow_nan=False), st.integers(1, 10**5)
)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    issued = draw(st.integers(0, 10**6))
    called = draw(st.integers(0, issued))
    floor = draw(st.integers(0, called))
    return window(issued, called, floor, rate_per_minute=draw(rates))


# --- ranks ------------------------------------------------------------------------------------


def test_a_ticket_and_the_pass_it_became_have_one_rank() -> None:
    ticket = Ticket(1, EPOCH, 7, "id", 0, 0)
    became = Pass(1, EPOCH, 7, "id", 0, 0, 0, 0)
    assert rank(ticket) == rank(became) == Rank(EPOCH, 7)


@given(ranks, ranks)
def test_p3_ranks_compare_by_epoch_and_then_by_number(one: Rank, other: Rank) -> None:
    assert (one < other) == ((one.epoch, one.number) < (other.epoch, other.number))


@given(numbers, numbers)
def test_p3_whoever_came_in_a_later_epoch_ranks_behind(early: int, late: int) -> None:
    assert Rank(EARLIER, early) < Rank(EPOCH, late) < Rank(LATER, early)


@given(ranks, ranks)
def test_p3_a_rank_sorts_as_the_scripts_write_it(one: Rank, other: Rank) -> None:
    def written(rank: Rank) -> str:
        return f"{rank.epoch}:{rank.number:016d}"

    assert (written(one) < written(other)) == (one < other)


# --- status and ahead -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "expected", "in_front"),
    [
        (Rank(EPOCH, 1), "expired", 0),
        (Rank(EPOCH, 10), "expired", 0),
        (Rank(EPOCH, 11), "active", 0),
        (Rank(EPOCH, 20), "active", 0),
        (Rank(EPOCH, 21), "waiting", 0),
        (Rank(EPOCH, 30), "waiting", 9),
        # Of epochs that the store has not heard of nobody is called: it has lost them, and will learn.
        (Rank(EARLIER, 1000), "waiting", 0),
        (Rank(LATER, 15), "waiting", 10),
    ],
)
def test_status_and_ahead_follow_from_the_window(place: Rank, expected: str, in_front: int) -> None:
    assert status(place, WINDOW) == expected
    assert ahead(place, WINDOW) == in_front


@pytest.mark.parametrize(
    ("place", "expected", "in_front"),
    [
        (Rank(LONG_OVER, 99), "expired", 0),
        (Rank(OVER, 99), "expired", 0),
        (Rank(EARLIER, 10), "expired", 0),
        (Rank(EARLIER, 11), "active", 0),
        (Rank(EARLIER, 21), "waiting", 0),
        (Rank(EARLIER, 25), "waiting", 4),
        (Rank(EPOCH, 24), "expired", 0),
        (Rank(EPOCH, 25), "waiting", 5),
        (Rank(EPOCH, 30), "waiting", 10),
        (Rank(LATER, 31), "waiting", 11),
    ],
)
def test_p3_whoever_waits_from_an_earlier_epoch_is_ahead(place: Rank, expected: str, in_front: int) -> None:
    assert status(place, HEALED) == expected
    assert ahead(place, HEALED) == in_front


def test_p3_those_who_wait_stand_behind_one_another_across_epochs() -> None:
    given = [Rank(epoch.name, number + 1) for epoch in HEALED.epochs for number in range(epoch.issued)]
    waiting = [place for place in given if status(place, HEALED) == "waiting"]
    assert [ahead(place, HEALED) for place in waiting] == list(range(HEALED.waiting))


@pytest.mark.parametrize(
    ("place", "given", "called"),
    [
        (Rank(LONG_OVER, 99), True, True),
        (Rank(OVER, 99), True, True),
        (Rank(EARLIER, 20), True, True),
        (Rank(EARLIER, 21), True, False),
        (Rank(EARLIER, 25), True, False),
        (Rank(EARLIER, 26), False, False),
        (Rank(EPOCH, 24), True, True),
        (Rank(EPOCH, 31), False, False),
        (Rank(LATER, 1), False, False),
    ],
)
def test_p4_a_window_tells_whether_the_store_has_lost_a_place(place: Rank, given: bool, called: bool) -> None:
    assert HEALED.covers(place) is given
    assert HEALED.covers(place, called=True) is called


@given(ranks, windows())
def test_only_who_waits_has_others_ahead(place: Rank, window: Window) -> None:
    assert ahead(place, window) >= 0
    assert status(place, window) == "waiting" or ahead(place, window) == 0


@given(numbers, numbers, windows())
def test_ahead_grows_with_the_number(one: int, other: int, window: Window) -> None:
    low, high = sorted((one, other))
    assert ahead(Rank(EPOCH, low), window) <= ahead(Rank(EPOCH, high), window)


@given(numbers, windows(), st.integers(0, 10**6), st.integers(0, 10**6))
def test_p3_a_window_that_slides_brings_everybody_nearer(
    number: int, before: Window, calls: int, passed: int
) -> None:
    called = min(before.issued, before.called + calls)
    later = window(before.issued, called, min(called, before.floor + passed))
    order = ["waiting", "active", "expired"]
    place = Rank(EPOCH, number)
    assert order.index(status(place, later)) >= order.index(status(place, before))
    assert ahead(place, later) <= ahead(place, before)


# --- the room ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("issued", "free", "waiting", "state"),
    [(20, 1, 0, "open"), (20, 0, 0, "queueing"), (21, 0, 1, "queueing"), (21, 1, 1, "queueing")],
)
def test_a_room_is_open_where_a_newcomer_would_not_wait(
    issued: int, free: int, waiting: int, state: str
) -> None:
    room = window(issued, 20, free=free, free_first=free)
    assert (room.waiting, room.state) == (waiting, state)


def test_a_room_that_settles_says_so_whoever_waits() -> None:
    assert [window(20, 20, free=free, settling=True).state for free in (0, 1)] == ["settling"] * 2


def test_the_numbers_of_a_window_are_those_of_the_epoch_that_is_called() -> None:
    assert (HEALED.issued, HEALED.called, HEALED.floor, HEALED.waiting) == (25, 20, 10, 11)
    assert HEALED.newest == Epoch(EPOCH, 30, 24, 24)
    later = replace(HEALED, epoch=EPOCH)
    assert (later.issued, later.called, later.floor, later.waiting) == (30, 24, 24, 11)
    # An epoch that is over leaves the list; what is told then is of the newest.
    assert replace(HEALED, epoch=OVER).called == 24


# --- how long ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [None, 0.0])
def test_a_wait_is_not_told_where_the_pace_is_not_known(rate: float | None) -> None:
    assert eta(5, replace(WINDOW, rate_per_minute=rate)) is None


def test_a_wait_is_told_as_a_range_around_the_measured_pace() -> None:
    slow = replace(WINDOW, rate_per_minute=6.0)
    assert eta(0, slow) == Eta(0, 25)
    assert eta(4, slow) == Eta(35, 69)
    assert eta(59, slow) == Eta(420, 828)


def test_who_was_called_and_is_still_to_come_in_is_waited_for() -> None:
    slow = replace(WINDOW, rate_per_minute=6.0)
    assert eta(4, replace(slow, backlog=55)) == eta(59, slow)


@pytest.mark.parametrize(
    ("rate", "slower", "pace"),
    [(None, False, "steady"), (6.0, False, "steady"), (6.0, True, "slower"), (0.0, True, "standing")],
)
def test_a_window_says_how_the_line_moves(rate: float | None, slower: bool, pace: str) -> None:
    assert replace(WINDOW, rate_per_minute=rate, slower=slower).pace == pace


@given(st.floats(0, 10**9))
def test_a_range_is_around_the_wait_and_narrow_from_a_minute_on(seconds: float) -> None:
    low, high = around(seconds)
    assert 0 <= low <= seconds <= high
    middle = (low + high) / 2
    assert middle <= 60 or high - middle <= 0.35 * middle


@given(distances, distances, windows())
def test_a_longer_line_is_never_a_shorter_wait(one: int, other: int, window: Window) -> None:
    low, high = sorted((one, other))
    near, far = eta(low, window), eta(high, window)
    assert (near is None) == (far is None)
    if near is not None and far is not None:
        assert near.low <= far.low
        assert near.high <= far.high


# --- when to look again -----------------------------------------------------------------------


def test_the_tempo_follows_from_the_settings() -> None:
    assert Tempo.of(50, 10, 30) == Tempo(seconds_per_call=0.2, longest_poll=LONGEST_POLL, burst_seconds=10)
    assert Tempo.of(10, 1, 30) == Tempo(seconds_per_call=0.1, longest_poll=10, burst_seconds=1)
    assert Tempo.of(10, 3600, 30).burst_seconds == LONGEST_POLL


def test_a_called_visitor_in_the_foreground_learns_of_it_within_three_seconds() -> None:
    """What is known of the line is that old when it is told, and the next look is that far away."""
    in_a_cache, with_jitter = 1.0, spread_at_most(poll_seconds(0, 300, TEMPO))
    assert load().sync_seconds + in_a_cache + with_jitter <= 3


def spread_at_most(seconds: float) -> float:
    """The page's jitter, which knows no whole seconds, and that of `poll_after`, which does."""
    return max(seconds * 1.2, spread(seconds, 1 - 1e-9))


@pytest.mark.parametrize(
    ("rate", "in_front", "seconds"),
    [
        # The rate limit is one a second: ten may be called at once, and then one after the other.
        (60, 0, SHORTEST_POLL),
        (60, 10, SHORTEST_POLL),
        (60, 70, 10),
        (60, 250, 40),
        (60, 10**6, 60),
        # Where many do not come many more are called.
        (600, 700, 10),
        # Where places come free slowly they may come free faster soon.
        (6, 61, 20),
        # Nothing is measured yet.
        (None, 310, 10),
        (0, 310, 10),
    ],
)
def test_those_at_the_front_look_often_and_those_far_away_rarely(
    rate: float | None, in_front: int, seconds: float
) -> None:
    assert poll_seconds(in_front, rate, TEMPO) == pytest.approx(seconds)


def test_a_room_that_takes_more_is_looked_at_more_often() -> None:
    """Five a second: fifty at once, and then fifty a second, where nothing is measured yet."""
    assert poll_seconds(50 + 10 * 3 * 50, None, Tempo.of(50, 10, 30)) == pytest.approx(10)


def test_nobody_looks_more_often_than_once_a_second() -> None:
    assert poll_seconds(0, None, Tempo.of(10, 0.1, 1)) == 1


@given(distances, distances, rates, tempos)
def test_polls_grow_with_the_distance(one: int, other: int, rate: float | None, tempo: Tempo) -> None:
    low, high = sorted((one, other))
    near, far = poll_seconds(low, rate, tempo), poll_seconds(high, rate, tempo)
    assert 1 <= near <= far <= max(1, tempo.longest_poll)


@given(distances, rates, tempos)
def test_nobody_looks_less_than_three_times_while_a_call_stays_good(
    in_front: int, rate: float | None, tempo: Tempo
) -> None:
    assert poll_seconds(in_front, rate, tempo) <= max(1, tempo.longest_poll) <= LONGEST_POLL


def test_a_tab_in_the_background_looks_often_enough_while_its_call_stays_good() -> None:
    """Browsers let such a page run once a minute, and its next look may be that much later once more."""
    throttled = 60
    assert load().active_seconds >= 2 * (throttled + LONGEST_POLL * 1.2)


@pytest.mark.parametrize(
    ("seconds", "chance", "whole"),
    [(1, 0, 1), (1, 0.999, 1), (0.1, 0, 1), (10, 0, 9), (10, 0.999, 12), (60, 0, 54), (60, 0.999, 60)],
)
def test_jitter_keeps_near_what_was_asked_for(seconds: float, chance: float, whole: int) -> None:
    assert spread(seconds, chance) == whole


@given(st.floats(1, LONGEST_POLL), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_jitter_is_whole_seconds_and_grows_with_chance(seconds: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 1 <= spread(seconds, low) <= spread(seconds, high) <= seconds * 1.2 + 0.5


# --- who is ahead -----------------------------------------------------------------------------


def test_who_has_left_is_not_ahead_of_anybody() -> None:
    gone = replace(WINDOW, left=3, lowest_left=(Rank(EPOCH, 22), Rank(EPOCH, 23), Rank(EPOCH, 27)))
    assert [ahead(Rank(EPOCH, number), gone) for number in (21, 22, 24, 26, 28)] == [0, 1, 1, 3, 4]
    assert gone.waiting == 7


def test_who_stands_at_the_door_is_ahead_of_all_who_wait() -> None:
    crowded = replace(WINDOW, door=4)
    assert [ahead(Rank(EPOCH, number), crowded) for number in (15, 21, 30)] == [0, 4, 13]


def test_a_room_is_open_where_a_first_visit_would_give_way_to_a_newcomer() -> None:
    assert window(20, 20, 10, free=0, free_first=3).state == "open"
    assert window(20, 20, 10, free=0, free_first=0).state == "queueing"
    assert window(21, 20, 10, free=0, free_first=3).state == "queueing"
