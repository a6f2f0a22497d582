"""`WAITROOM_EXCLUDE`: what a list adds up to, with a `+` in front and without."""

from typing import Any

import pytest

from tests.test_cli import within
from tests.test_settings import wrong
from waitroom.config.exclusions import DEFAULT_EXCLUDE
from waitroom.config.rooms import load_rooms
from waitroom.config.settings import load
from waitroom.errors import SettingsError


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ("+/webhooks/*", ("/webhooks/*",)),
        ("+/webhooks/*,/static/*", ("/webhooks/*", "/static/*")),
        (" + /webhooks/* , +/static/*", ("/webhooks/*", "/static/*")),
        (["+/webhooks/*", "/static/*"], ("/webhooks/*", "/static/*")),
        ("+*.css,/robots.txt,/a+b", ("*.css", "/a+b")),
    ],
)
def test_a_plus_in_front_adds_to_the_default(given: Any, added: tuple[str, ...]) -> None:
    assert load(exclude=given).exclude == (*DEFAULT_EXCLUDE, *added)


@pytest.mark.parametrize(
    ("given", "alone"), [("/webhooks/*", ("/webhooks/*",)), ("/a+b,/c", ("/a+b", "/c")), ((), ()), (",", ())]
)
def test_without_it_the_list_replaces_the_default(given: Any, alone: tuple[str, ...]) -> None:
    assert load(exclude=given).exclude == alone


def test_a_list_that_would_do_both_is_refused_in_one_line() -> None:
    message = wrong(exclude="/a,+/b")
    assert message.startswith(
        "WAITROOM_EXCLUDE='/a,+/b' is not allowed: with a + in front of its first entry"
    )
    assert "it cannot do both" in message


@pytest.mark.parametrize("given", ["+", "+,/a", "++/a", "+a", "+/a?b", 5, ["+/a", 5]])
def test_a_sign_makes_no_pattern_of_what_is_none(given: Any) -> None:
    assert wrong(exclude=given).startswith("WAITROOM_EXCLUDE=")


def test_a_further_room_adds_to_what_it_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAITROOM_EXCLUDE", "+/hooks/*")
    monkeypatch.setenv("WAITROOM_ROOMS__SALE__PATHS", "/sale/*")
    monkeypatch.setenv("WAITROOM_ROOMS__SALE__EXCLUDE", "+/sale/hook,/sale/feed")
    rooms = load_rooms(
        rooms={"tickets": {"paths": "/tickets/*", "exclude": ["+/tickets/x"]}, "b": {"paths": "/b"}}
    )
    plain = (*DEFAULT_EXCLUDE, "/hooks/*")
    assert [(settings.room, settings.exclude) for settings in rooms] == [
        ("default", plain),
        ("sale", (*plain, "/sale/hook", "/sale/feed")),
        ("tickets", (*plain, "/tickets/x")),
        ("b", plain),
    ]
    (replacing,) = load_rooms(exclude="/only", rooms={"sale": {"exclude": "+/sale/hook"}})[1:2]
    assert replacing.exclude == ("/only", "/sale/hook")
    monkeypatch.setenv("WAITROOM_ROOMS__SALE__EXCLUDE", "/a,+/b")
    with pytest.raises(SettingsError, match=r"^WAITROOM_ROOMS__SALE__EXCLUDE='/a,.*it cannot do both"):
        load_rooms()


def test_it_works_as_a_flag() -> None:
    flags = ("--exclude", "+/hooks/*", "--rooms", "sale__paths=/sale/*", "--rooms", "sale__exclude=+/sale/x")
    done = within(
        "check", "--forwarded-allow-ips", "::1", *flags, "/robots.txt", "/hooks/1", "/sale/x", "/sale/y"
    )
    treatments = [line.split()[:2] for line in done.stdout.splitlines()]
    assert [line for line in treatments if line[1].startswith("/")] == [
        ["excluded", "/robots.txt"],
        ["excluded", "/hooks/1"],
        ["excluded", "/sale/x"],
        ["gated", "/sale/y"],
    ]
