"""The limit of numbers by client and minute: exact for each, and bounded for all."""

import tracemalloc
from itertools import repeat

import pytest

from waitroom.room import join_limit
from waitroom.room.join_limit import JoinLimit


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_so_many_in_any_minute_and_no_more() -> None:
    clock = Clock()
    limit = JoinLimit(3, clock)
    for second in (0, 20, 40):
        clock.now = 1000 + second
        assert limit.take("one")
    assert not limit.take("one")
    assert limit.take("another")
    assert limit.seconds_left("one") == 21
    clock.now = 1059.9
    assert not limit.take("one")
    assert limit.seconds_left("one") == 1
    clock.now = 1060
    assert limit.take("one"), "what was refused does not count"
    assert not limit.take("one")
    clock.now = 1200
    assert [limit.take("one") for _ in range(4)] == [True, True, True, False]


def test_nothing_is_kept_of_those_who_have_gone() -> None:
    clock = Clock()
    limit = JoinLimit(2, clock)
    for client in range(100):
        assert limit.take(str(client))
    assert len(limit) == 100
    clock.now += 60
    assert limit.take("last")
    assert len(limit) == 1
    assert limit.seconds_left("0") == 1


def test_what_was_given_back_does_not_count() -> None:
    clock = Clock()
    limit = JoinLimit(2, clock)
    for second, client in enumerate(("one", "one", "another")):
        clock.now = 1000 + second
        assert limit.take(client)
    limit.give_back("one")
    assert limit.take("one")
    assert not limit.take("one")
    limit.give_back("another")
    limit.give_back("another")
    limit.give_back("nobody")
    assert len(limit) == 2
    assert [limit.take("another") for _ in range(3)] == [True, True, False]
    clock.now = 1060
    assert limit.take("one"), "the first was kept"
    assert not limit.take("one")
    clock.now = 1200
    assert limit.take("one")
    assert len(limit) == 1


def test_memory_is_bounded_whatever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join_limit, "MOST_COUNTED", 1000)
    limit = JoinLimit(5, Clock())
    for client in range(5000):
        assert limit.take(str(client))
    assert len(limit) == 1000
    # The newest are remembered.
    assert [limit.take("4999") for _ in repeat(None, 5)] == [True] * 4 + [False]


def test_the_bound_is_as_large_as_the_documentation_says() -> None:
    tracemalloc.start()
    try:
        limit = JoinLimit(5)
        for client in range(join_limit.MOST_COUNTED + 10_000):
            limit.take(f"2001:db8:{client:x}::/64")
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(limit) == join_limit.MOST_COUNTED
    assert used < 20_000_000
