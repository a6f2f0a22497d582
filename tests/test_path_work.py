"""What is done to see which way a request goes has a bound, whatever its path: work is counted here, not time."""

import random
from functools import partial
from typing import Any

import pytest

from benchmarks.paths import (
    LENGTHS,
    ROOMS,
    WORST,
    all_asked,
    asked,
    figures,
    find_worst,
    plain,
    repeated,
    ways,
)
from tests.work import calls_of
from waitroom.web.answers.refresh import LONGEST, refresh
from waitroom.web.answers.refresh import plain as plain_url
from waitroom.web.routing import Routing

MOST_CALLS = 800
"""Functions that are called for a path, of any length and with any number of rooms; for a plain one some 40."""
FOUND = {rooms: {paths: ways(rooms, paths) for paths in ("/shop/*", "/*")} for rooms in ROOMS}
of_rooms = pytest.mark.parametrize("rooms", ROOMS)


def calls(found: Routing[int], scope: dict[str, Any]) -> int:
    """Count what is called to see which way a request goes."""
    found._kept.clear()
    return calls_of(partial(found.of, scope))


@of_rooms
@pytest.mark.parametrize("length", LENGTHS)
def test_the_worst_paths_that_were_found_take_no_more_than_a_few_plain_ones(rooms: int, length: int) -> None:
    for found in FOUND[rooms].values():
        assert calls(found, asked(plain(length))) <= 60
        for beginning in WORST:
            for scope in all_asked(repeated(beginning, length)):
                assert calls(found, scope) <= MOST_CALLS, (beginning, scope)


@of_rooms
def test_nor_do_worse_ones_that_are_looked_for(rooms: int) -> None:
    chance = random.Random(rooms)
    for paths in FOUND[rooms]:
        found = FOUND[rooms][paths]
        for length in (60, 250, 500, 2000):
            for is_sent in (True, False):
                how = {"is_sent": is_sent, "root_path": chance.choice(("", "/app"))}
                most, path = find_worst(partial(calls, found), length, chance, 60, **how)
                assert most <= MOST_CALLS, (path, how)


@pytest.mark.parametrize("odd", [b'"', b" ", b"\xe3", b"\\", b"%22"])
def test_nor_is_a_long_url_looked_at_again_and_again_that_a_page_comes_back_to(odd: bytes) -> None:
    long = odd * (60_000 // len(odd))
    for path, query in ((b"/shop/" + long, b""), (b"/shop", long)):
        scope = {"path": path.decode("latin-1"), "raw_path": path, "query_string": query}
        assert calls_of(partial(refresh, scope, b"5")) <= 100
        assert calls_of(partial(refresh, scope | {"raw_path": b""}, b"5")) <= 100 + 2 * LONGEST
        assert refresh(scope, b"5") == (b"refresh", b"5"), "too long for a header"
    assert calls_of(partial(plain_url, long)) <= 10
    assert plain_url(odd * 2).decode("ascii").isprintable()


def test_the_command_prints_the_worst_beside_a_plain_path() -> None:
    for figure in figures(seed=1, climbs=1, rounds=2, lengths=[60]):
        assert figure.worst > figure.plain > 0
        assert str(figure).split()[:2] == [str(figure.rooms), "60"]
