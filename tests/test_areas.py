"""Which room has a path: the most specific rule, and no spelling that gets round it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waitroom.areas import Areas, Rule
from waitroom.paths import Paths

SHOP, SALE, VIP = 0, 1, 2
AREAS = Areas(
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
        ("/SALE/", {SALE}),
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
        ("/a%u0041", {SHOP, SALE, VIP}),
    ],
)
def test_p8_a_path_that_servers_read_differently_belongs_to_all_of_its_rooms(
    path: str, rooms: set[int]
) -> None:
    assert set(AREAS.rooms_of(path)) == rooms


def test_one_room_is_judged_as_its_paths_are() -> None:
    areas, paths = Areas([(("/shop/*",), ("/shop/free",))]), Paths(("/shop/*",), ("/shop/free",))
    for path in ("/", "/shop", "/shop/x", "/shop/free", "/shop/./free"):
        assert bool(areas.rooms_of(path)) is paths.gated(path)


def test_equal_rules_go_to_the_room_named_first() -> None:
    areas = Areas([(("/a*b",), ()), (("/ab*",), ())])
    assert areas.rooms_of("/abb") == (0,)


def test_the_rule_is_told() -> None:
    assert AREAS.rules_of("/sale/shoes") == [Rule(SALE, "/sale/*", False)]
    assert AREAS.rules_of("/sale/vip/") == [Rule(VIP, "/sale/vip", False)]
    assert AREAS.rules_of("/sale/hook") == [Rule(SALE, "/sale/hook", True)]
    assert AREAS.rules_of("/sale/../x") == [Rule(SHOP, "/*", False), Rule(SALE, "/sale/*", False)]
    assert {rule.room for rule in AREAS.rules_of("/a%u0041")} == {SHOP, SALE, VIP}
    assert Areas([(("/shop",), ())]).rules_of("/") == []


def test_an_exclusion_that_only_several_patterns_give_is_told_whole() -> None:
    areas = Areas([(("/*",), ("/a/*", "/b"))])
    assert areas.rooms_of("/a/../b") == ()
    assert areas.rules_of("/a/../b") == [Rule(0, "/a/*,/b", True)]


@given(st.text(alphabet="/sale.vip%2f;~x", max_size=24).map(lambda rest: f"/{rest}"))
def test_p8_every_room_that_a_reading_leads_to_has_to_admit(path: str) -> None:
    """Each room alone, with nothing excluded, is the judge of whether a path may be read as its own."""
    rooms = Areas([(("/sale/*",), ()), (("/vip/*",), ())]).rooms_of(path)
    assert set(rooms) == {
        at for at, pattern in enumerate(("/sale/*", "/vip/*")) if Paths((pattern,), ()).gated(path)
    }
