"""All the ways to read a path: what is too much to find, and what long paths are read for certain all the same."""

import random
import sys
from functools import partial
from unicodedata import category, normalize
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.paths import PIECES, STARTS, WORST, asked, repeated, ways
from waitroom.paths import readings
from waitroom.paths.patterns import MOST_ESCAPES, NOBODYS, Paths, as_sent, strip_root
from waitroom.paths.readings import LONGEST_LETTERS, LONGEST_SPELLING, MOST_WORK, fold, read

marked = st.text(
    st.sampled_from("aA\u0301\u0316\u0327\uff9e\u30ab\xe9\xad\u200b\uff0f\0\ufdfa\u0345\u1e9e%/")
)
escaped = st.lists(st.sampled_from(["%", "%e3%82", "%ac", "%E9", "\xe9", "a", "%zz", "4", "\u30ab"])).map(
    "".join
)


@pytest.mark.parametrize("length", [20, 60, 256, 512, 2000])
def test_no_more_readings_are_found_than_there_is_work_for(length: int) -> None:
    chance = random.Random(length)
    made = ["".join([chance.choice(STARTS), *chance.choices(PIECES, k=length)])[:length] for _ in range(300)]
    for path in [*made, *(repeated(beginning, length) for beginning in WORST)]:
        found = read(path, partial(as_sent, path.encode("utf-8", "replace")))
        assert found.work <= MOST_WORK
        for each in (found.folded or (), found.exact or ()):
            assert len(each) <= MOST_WORK // 8
            assert sum(map(len, each)) <= 64 * MOST_WORK
            assert max(map(len, each), default=0) <= max(length, LONGEST_SPELLING)


def test_what_is_too_much_work_belongs_to_every_room() -> None:
    found = ways(10, "/*")
    everyone = list(range(10))
    for path in (
        "/blog//" + "a" * LONGEST_SPELLING,
        "/blog/" + "ガ" * LONGEST_SPELLING,
        "/blog//" + "ガ" * LONGEST_LETTERS,
        "/blog/" + "\ufdfa" * (LONGEST_SPELLING // 16),
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
    found = ways(2, "/*")
    assert found.of(asked(root_path + target, root_path=root_path)).rooms == [0]
    assert found.of(asked(f"{root_path}/sale1{target}", root_path=root_path)).rooms == [1]


def test_what_is_found_at_a_glance_is_no_work() -> None:
    assert read("/shop/7").work == read("/Shop/caf\xe9").work == 0
    assert 0 < read("/shop//7").work < read("/shop//7/..").work


def test_the_invisible_characters_are_those_that_unicode_calls_so() -> None:
    found = {code for code in range(sys.maxunicode + 1) if readings._INVISIBLE.match(chr(code))}
    formats = {code for code in range(sys.maxunicode + 1) if category(chr(code)) == "Cf"}
    assert found >= formats
    # Which a newer Unicode has, and this Python may not know of yet.
    assert found - formats <= set(range(0x13430, 0x13440)) | {0x890, 0x891}


@given(marked)
def test_a_text_is_folded_character_by_character(text: str) -> None:
    each = (normalize("NFKD", char) for char in text if category(char) != "Cf")
    assert fold(text) == "".join(each).casefold()


@given(escaped)
def test_escapes_are_decoded_as_the_standard_library_does(text: str) -> None:
    assert readings._unquote(text) == unquote(text)


@pytest.mark.parametrize(
    ("path", "below"),
    [
        ("/" * 2000, NOBODYS),
        ("/a//" + "b" * LONGEST_SPELLING, "a//" + "b" * LONGEST_SPELLING),
        ("/a\0", "a\0"),
        ("/" + "%61" * 60, "%61" * 60),
        ("/A" * 2000, "/A" * 2000),
        ("/a//b", "/a//b"),
    ],
)
def test_what_is_too_much_to_find_below_the_root_is_nobodys_path(path: str, below: str) -> None:
    assert strip_root(path, "/app") == below
    assert Paths(["/x"], ["/*"]).gated(below) is not below.startswith("/")
