"""What is done to see which way a request goes has a bound, whatever its path: work is counted here, not time."""

import random
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from benchmarks.paths import (
    LENGTHS,
    PIECES,
    ROOMS,
    STARTS,
    WORST,
    all_asked,
    asked,
    figures,
    find_worst,
    plain,
    repeated,
    ways,
)
from waitroom.paths import MOST_ESCAPES, NOBODYS, as_sent
from waitroom.readings import LONGEST_LETTERS, LONGEST_SPELLING, MOST_WORK, read
from waitroom.refresh import LONGEST, refresh
from waitroom.refresh import plain as plain_url
from waitroom.ways import Ways

MOST_CALLS = 800
"""Functions that are called for a path, of any length and with any number of rooms; for a plain one some 40."""
FOUND = {rooms: {paths: ways(rooms, paths) for paths in ("/shop/*", "/*")} for rooms in ROOMS}
of_rooms = pytest.mark.parametrize("rooms", ROOMS)


def calls(found: Ways[int], scope: dict[str, Any]) -> int:
    """Count what is called to see which way a request goes."""
    found._kept.clear()
    return calls_of(partial(found.of, scope))


def calls_of(action: Callable[[], object]) -> int:
    """Count what is called: functions of Python's and of the libraries in C."""
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count


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


@pytest.mark.parametrize("length", [20, 60, 256, 512, 2000])
def test_no_more_readings_are_found_than_there_is_work_for(length: int) -> None:
    chance = random.Random(length)
    made = ["".join([chance.choice(STARTS), *chance.choices(PIECES, k=length)])[:length] for _ in range(300)]
    for path in [*made, *(repeated(beginning, length) for beginning in WORST)]:
        found = read(path, partial(as_sent, path.encode("utf-8", "replace")))
        assert found.work <= MOST_WORK + LONGEST_SPELLING
        for each in (found.folded or (), found.exact or ()):
            assert len(each) <= MOST_WORK // 8
            assert sum(map(len, each)) <= 64 * MOST_WORK
            assert max(map(len, each), default=0) <= max(length, LONGEST_SPELLING)


def test_what_is_too_much_work_belongs_to_every_room() -> None:
    found = FOUND[10]["/*"]
    everyone = list(range(10))
    for path in (
        "/blog//" + "a" * LONGEST_SPELLING,
        "/blog/" + "ガ" * LONGEST_SPELLING,
        "/blog//" + "ガ" * LONGEST_LETTERS,
        "/blog/" + "/a/../b//c;d" * 20,
    ):
        assert found.of(asked(path)).rooms == everyone
        assert found.of({"path": path}).rooms == everyone
    assert found.of(asked("/blog/a" + "%2e" * (MOST_ESCAPES + 1))).rooms == everyone
    assert as_sent(b"/a" + b"%2e" * (MOST_ESCAPES + 1)) == NOBODYS
    assert as_sent(b"/" + b"%2F%41" * (MOST_ESCAPES // 2)) == "/" + "%2FA" * (MOST_ESCAPES // 2)


TOKEN = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjRfLXgifQ.eyJzdWIiOiIxMjM0NTY3ODkwIn0-_" * 24


@pytest.mark.parametrize("root_path", ["", "/app"])
@pytest.mark.parametrize(
    "target",
    [
        f"/verify/{TOKEN}.{TOKEN[:40]}",
        f"/verify/{TOKEN}/done",
        "/files/Report%20(final).PDF",
        "/files/2026%20%28Q3%29/Report%20%5Bfinal%5D%20v1.2.PDF",
        "/wiki/" + "%E6%97%A5%E6%9C%AC%E8%AA%9E" * 80,
        "/wiki/" + "%E3%82%AB%E3%82%99%E3%82%AC" * 40,
        "/wiki/" + "%D0%9F%D1%80%D0%B8%D0%B2%D0%B5%D1%82-" * 50,
        "/wiki/%E6%9D%B1%E4%BA%AC%2F%E5%A4%A7%E9%98%AA",
        "/web/2026/https://example.com/Some/Page.html",
        "/web/https%3A%2F%2Fexample.com%2FSome%2FPage.html",
        "/caf%C3%A9/cr%C3%A8me%20br%C3%BBl%C3%A9e",
        "/a/" + "Segment/" * 300,
        "/tags/c%23/100%25",
        "/map/@52.5,13.4,15z/data=!3m1!4b1",
        "/shop/item;v=1",
    ],
)
def test_a_long_path_that_a_site_gives_out_stays_in_its_one_room(target: str, root_path: str) -> None:
    found = FOUND[2]["/*"]
    assert found.of(asked(root_path + target, root_path=root_path)).rooms == [0]
    assert found.of(asked(f"{root_path}/sale1{target}", root_path=root_path)).rooms == [1]


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
