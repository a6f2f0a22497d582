"""Which room has a path: the most specific rule, and no spelling that gets round it."""

import posixpath
import re
from collections.abc import Callable
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waitroom.paths.owners import Owners, Rule
from waitroom.paths.patterns import Paths

SHOP, SALE, VIP = 0, 1, 2
AREAS = Owners(
    [
        (("/*",), ("/robots.txt", "/free/*", "/sale/free")),
        (("/sale/*", "*/checkout"), ("/sale/hook",)),
        (("/sale/vip", "/sale/v*/x"), ()),
    ]
)


@pytest.mark.parametrize(
    ("path", "rooms"),
    [
        ("/", {SHOP}),
        ("/sales", {SHOP}),
        ("/sale", {SALE}),
        ("/SALE/", {SHOP, SALE}),
        ("/sale/shoes", {SALE}),
        ("/cart/checkout", {SALE}),
        ("/sale/vip", {VIP}),
        ("/sale/vip/", {VIP}),
        ("/sale/vip/more", {SALE}),
        ("/sale/very/x", {VIP}),
        ("/robots.txt", set()),
        ("/free/tea", set()),
        ("/sale/hook", set()),
        ("/sale/free", {SALE}),
        ("/sale/%68ook", {SALE}),
    ],
)
def test_the_most_specific_rule_decides_and_its_rooms_exclusions_alone(path: str, rooms: set[int]) -> None:
    assert set(AREAS.rooms_of(path)) == rooms


@pytest.mark.parametrize(
    ("path", "rooms"),
    [
        ("/free/../sale/vip", {SHOP, VIP}),
        ("/sale/../x", {SHOP, SALE}),
        ("/sale//vip", {SALE, VIP}),
        ("/x;/../sale/hook", {SHOP, SALE, VIP}),
        ("/sale%2fvip", {SHOP, VIP}),
        ("//h/sale/vip", {SHOP, VIP}),
        ("/A//" * 2000, {SHOP, SALE, VIP}),
        ("/a%u0041", {SHOP, SALE, VIP}),
        ("/SALE/shoes", {SHOP, SALE}),
        ("/\u017fale/shoes", {SHOP, SALE}),
        ("/sa\u00adle/shoes", {SHOP, SALE}),
        ("/sale\\vip", {SHOP, VIP}),
        ("/%53ale/shoes", {SHOP, SALE}),
        ("/sale/../SALE/x", {SHOP, SALE}),
    ],
)
def test_p8_a_path_that_servers_read_differently_belongs_to_all_of_its_rooms(
    path: str, rooms: set[int]
) -> None:
    assert set(AREAS.rooms_of(path)) == rooms


def test_one_room_is_judged_as_its_paths_are() -> None:
    areas, paths = Owners([(("/shop/*",), ("/shop/free",))]), Paths(("/shop/*",), ("/shop/free",))
    for path in ("/", "/shop", "/shop/x", "/shop/free", "/shop/./free"):
        assert bool(areas.rooms_of(path)) is paths.gated(path)


def test_equal_rules_go_to_the_room_named_first() -> None:
    areas = Owners([(("/a*b",), ()), (("/ab*",), ())])
    assert areas.rooms_of("/abb") == (0,)
    areas = Owners([(("/shop",), ()), (("/shop/",), ())])
    assert areas.rooms_of("/shop") == (0,), "a final slash makes a pattern no narrower"
    areas = Owners([(("/a*b",), ()), (("/a***b",), ())])
    assert areas.rooms_of("/ab") == (0,), "nor do more stars"


def test_a_pattern_without_a_star_is_narrower_than_any_with_one() -> None:
    areas = Owners([(("/shop/*",), ()), (("/shop",), ())])
    assert areas.rooms_of("/shop") == (1,)
    assert areas.rooms_of("/shop/cart") == (0,)


def test_a_pattern_in_capitals_is_taken_whole() -> None:
    areas = Owners([(("/*",), ()), (("/sale/X",), ())])
    assert areas.rooms_of("/sale/X") == (1,)
    assert areas.rooms_of("/sale") == (0,)


def test_the_rule_is_told() -> None:
    assert AREAS.rules_of("/sale/shoes") == [Rule(SALE, "/sale/*")]
    assert AREAS.rules_of("/sale/vip/") == [Rule(VIP, "/sale/vip")]
    assert AREAS.rules_of("/sale/hook") == [Rule(SALE, "/sale/hook", True)]
    assert AREAS.rules_of("/sale/../x") == [Rule(SHOP, "/*"), Rule(SALE, "/sale/*")]
    assert {rule.room for rule in AREAS.rules_of("/a%u0041")} == {SHOP, SALE, VIP}
    assert Owners([(("/shop",), ())]).rules_of("/") == []


def test_an_exclusion_that_only_several_patterns_give_is_told_whole() -> None:
    areas = Owners([(("/*",), ("/a/*", "/b"))])
    assert areas.rooms_of("/a/../b") == ()
    assert areas.rules_of("/a/../b") == [Rule(0, "/a/*,/b", True)]


def test_capitals_in_a_pattern_are_its_own() -> None:
    areas = Owners([(("/*",), ()), (("/Sale/*",), ())])
    assert areas.rooms_of("/Sale/Shoes") == (1,)
    assert areas.rooms_of("/sale/shoes") == (0, 1), "a server may or may not take it for the same"


SERVERS: dict[str, Callable[[str], str]] = {
    "as it is": lambda path: path,
    "decodes": unquote,
    "ignores case": str.lower,
    "resolves": lambda path: posixpath.normpath("/" + path.lstrip("/")),
    "decodes, resolves": lambda path: posixpath.normpath("/" + unquote(path).lstrip("/")),
    "resolves, ignores case": lambda path: posixpath.normpath("/" + path.lstrip("/")).lower(),
    "turns backslashes": lambda path: path.replace("\\", "/"),
    "cuts parameters": lambda path: path.partition(";")[0],
    "collapses": lambda path: re.sub("//+", "/", path),
}


@settings(max_examples=2000)
@given(
    st.lists(
        st.sampled_from(
            ["sale", "SALE", "Vip", "vip", "/", "..", ".", "%2f", "%2e", "%53", ";", "\\", "x", "\u017f"]
        ),
        max_size=7,
    ).map(lambda parts: "/" + "".join(parts))
)
def test_p8_whatever_a_server_makes_of_a_path_its_room_has_to_admit(path: str) -> None:
    areas = Owners([(("/*",), ()), (("/sale/*",), ()), (("/vip/*",), ())])
    rooms = areas.rooms_of(path)
    for name, read in SERVERS.items():
        first = read(path).removeprefix("/").partition("/")[0]
        assert {"sale": 1, "vip": 2}.get(first, 0) in rooms, name
