"""Several rooms' settings: what each takes over, and what can't be together."""

from typing import Any

import pytest

from tests.conftest import SECRET
from tests.sites import plain
from waitroom.config.rooms import check_together, load_rooms
from waitroom.config.settings import Settings, load
from waitroom.errors import SettingsError
from waitroom.web.middleware import WaitingRoomMiddleware


def wrong(**keywords: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        load_rooms(**keywords)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_without_further_rooms_there_is_the_plain_one() -> None:
    assert load_rooms(capacity=5) == (load(capacity=5),)


def test_a_further_room_takes_over_all_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAITROOM_WINDOW_SIZE", "7")
    monkeypatch.setenv("WAITROOM_ROOMS__SALE__PATHS", "/sale/*,/vip")
    monkeypatch.setenv("WAITROOM_ROOMS__SALE__SESSION_SECONDS", "2")
    monkeypatch.setenv("WAITROOM_ROOMS__SALE__EXCLUDE", "")
    first, sale = load_rooms(status_code=429, exclude="/hooks/*")
    assert (first.room, first.paths, first.session_seconds) == ("default", ("/*",), 300)
    assert (sale.room, sale.paths, sale.session_seconds) == ("sale", ("/sale/*", "/vip"), 2)
    assert (sale.window_size, sale.status_code, sale.exclude) == (7, 429, ("/hooks/*",))
    assert (first.capacity, sale.capacity) == (210, 210)
    assert sale.first_lease_seconds == 2, "what follows from a setting follows from the room's own"


def test_a_room_of_keywords_wins_over_its_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAITROOM_ROOMS__SALE__PATHS", "/sale/*")
    monkeypatch.setenv("WAITROOM_ROOMS__SALE__CAPACITY", "9")
    _, sale, late = load_rooms(
        capacity=3, rooms={"sale": {"capacity": 11}, "late": {"paths": ["/late"], "window_size": 2}}
    )
    assert (sale.paths, sale.capacity) == (("/sale/*",), 11)
    assert (late.room, late.paths, late.capacity, late.window_size) == ("late", ("/late",), 3, 2)


def test_a_service_has_no_paths_whatever_is_said_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAITROOM_ROOMS__SALE__CAPACITY", "9")
    monkeypatch.setenv("WAITROOM_ROOMS__SHOP__PATHS", "/*")
    assert [settings.paths for settings in load_rooms(service=True)] == [(), (), ()]


def test_variables_count_in_whatever_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("waitroom_rooms__Sale__paths", "/sale/*")
    assert load_rooms()[1].paths == ("/sale/*",)
    monkeypatch.setenv("WAITROOM_ROOMS__SALE__PATHS", "/sale")
    assert "is given twice, in capitals and otherwise" in wrong()
    monkeypatch.delenv("WAITROOM_ROOMS__SALE__PATHS")
    monkeypatch.setenv("waitroom_nonsense", "1")
    assert wrong().startswith("waitroom_nonsense: there is no such setting")


def test_what_is_wrong_with_several_rooms_is_all_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAITROOM_ROOMS__A__CAPACITY", "no")
    monkeypatch.setenv("WAITROOM_ROOMS__B__CAPACITY", "5")
    with pytest.raises(SettingsError) as caught:
        load_rooms()
    told = sorted((str(caught.value), *caught.value.others))
    assert [line.partition(" ")[0] for line in told] == [
        "WAITROOM_ROOMS__A__CAPACITY='no'",
        "WAITROOM_ROOMS__B__PATHS",
    ]


@pytest.mark.parametrize("rooms", [["sale"], {"sale": None}, "sale"])
def test_rooms_that_are_no_settings_by_name_are_told(rooms: Any) -> None:
    assert wrong(rooms=rooms).startswith("rooms= has each room's settings by its name, such as")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"SALE__CAPACITY": "9"},
            "WAITROOM_ROOMS__SALE__PATHS is not set: a further room needs paths of its own, such as /sale/*; "
            "WAITROOM_PATHS are those of the room 'default'",
        ),
        (
            {"SALE__PATHS": ","},
            "WAITROOM_ROOMS__SALE__PATHS=',' is not allowed; allowed: patterns that begin with / or *",
        ),
        (
            {"SALE__PATHS": "/*"},
            "the rooms 'default' and 'sale' both protect '/*': a path belongs to one room",
        ),
        (
            {"A__PATHS": "/x, /Shop/", "B__PATHS": "/shop"},
            "the rooms 'a' and 'b' both protect '/Shop/': a path belongs to one room",
        ),
        (
            {"SALE__PATHS": "/s", "SALE__CAPACTY": "9"},
            "WAITROOM_ROOMS__SALE__CAPACTY: there is no such setting; "
            "did you mean WAITROOM_ROOMS__SALE__CAPACITY?",
        ),
        (
            {"SALE__PATHS": "/s", "SALE__CAPACITY": "none"},
            "WAITROOM_ROOMS__SALE__CAPACITY='none' is not allowed; allowed: a whole number from 1",
        ),
        (
            {"SALE__PATHS": "/s", "SALE__SECRET": "short"},
            "WAITROOM_ROOMS__SALE__SECRET=(not shown) is not allowed",
        ),
        (
            {"SALE__PATHS": "/s", "SALE__PREFIX": "/q"},
            "WAITROOM_ROOMS__SALE__PREFIX can't be set: the gate's own routes are in one place",
        ),
        (
            {"SALE__PATHS": "/s", "SALE__ROOM": "x"},
            "WAITROOM_ROOMS__SALE__ROOM can't be set: its name is the one in the variable's",
        ),
        (
            {"SALE": "/s"},
            "WAITROOM_ROOMS__SALE names no room and setting: write it as WAITROOM_ROOMS__SALE__PATHS",
        ),
        ({"DEFAULT__PATHS": "/s"}, "two rooms are named 'default': give each a name of its own"),
        (
            {"B.C__PATHS": "/s"},
            "WAITROOM_ROOMS__B.C__ROOM='b.c' is not allowed; allowed: 1 to 40 letters, digits, - and _",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"WAITROOM_ROOMS__{name}", value)
    assert wrong().startswith(said)


def test_a_plain_setting_that_does_not_fit_a_room_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAITROOM_CLAIM_SECONDS", "60")
    monkeypatch.setenv("WAITROOM_ROOMS__SALE__PATHS", "/s")
    monkeypatch.setenv("WAITROOM_ROOMS__SALE__ACTIVE_WINDOW_COUNT", "1")
    assert wrong() == (
        "WAITROOM_ROOMS__SALE__CLAIM_SECONDS='60' (that of WAITROOM_CLAIM_SECONDS) is not allowed; "
        "allowed: seconds, from 0.1 to interval × count"
    )


def room(name: str, *paths: str, **changed: Any) -> Settings:
    return Settings(room=name, paths=paths, secret=(SECRET,), **changed)


def test_a_list_of_settings_is_held_to_the_same() -> None:
    for rooms, said in (
        ([], r"settings=\[\] names no room"),
        ([room("a", "/a"), room("b")], "the room 'b' has no paths"),
        ([room("a", "/a"), room("a", "/b")], "two rooms are named 'a'"),
        ([room("a", "/a"), room("b", "/b", prefix="/q")], "the prefixes /_waitroom and /q"),
        ([room("a", "/a", "**"), room("b", "*")], r"both protect '\*\*'"),
        ([room("b", "/a", cookie_name="w-a"), room("a-b", "/b", cookie_name="w")], "have the cookie 'w-a-b'"),
        ([{"room": "a"}], "settings= takes Settings"),
        ("a", "settings= takes Settings"),
    ):
        with pytest.raises(SettingsError, match=said):
            WaitingRoomMiddleware(plain, settings=rooms)  # type: ignore[arg-type]
    check_together([room("a", "/shop"), room("b", "/shop/*"), room("c", "/shop*")])
