"""What `waitroom check` says of settings and URLs, without a store."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SECRET
from waitroom.check_settings import Finding, Judged, check_settings, judge
from waitroom.rooms import load_rooms
from waitroom.settings import Settings

GOOD = "hN2tWn0yF3Jq-8vXoZcLr5_eKdUiMb7gPsAa1RkQxYw"
ROOMS = load_rooms(
    room="shop",
    secret=GOOD,
    exclude="/robots.txt",
    rooms={"sale": {"paths": "/sale/*", "exclude": "/sale/hook"}},
)


def found(rooms: tuple[Settings, ...], *urls: str, proxies: str | None = "10.0.0.1") -> list[Finding]:
    judged, wrong = judge(rooms, urls or ("/",))
    return [*wrong, *check_settings(rooms, judged, proxies)]


def only(**keywords: Any) -> tuple[Settings, ...]:
    return load_rooms(**{"secret": GOOD, **keywords})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/", Judged("/", "/", "gated", (("shop", "/*"),))),
        ("https://shop.example", Judged("https://shop.example", "/", "gated", (("shop", "/*"),))),
        ("/sale/a%20b?x=/y#z", Judged("/sale/a%20b?x=/y#z", "/sale/a b", "gated", (("sale", "/sale/*"),))),
        (
            "http://shop.example:8000/sale/hook?id=1",
            Judged(
                "http://shop.example:8000/sale/hook?id=1", "/sale/hook", "excluded", (("sale", "/sale/hook"),)
            ),
        ),
        ("/_waitroom/window", Judged("/_waitroom/window", "/_waitroom/window", "own route")),
        (
            "/a/../sale/x",
            Judged("/a/../sale/x", "/a/../sale/x", "gated", (("shop", "/*"), ("sale", "/sale/*"))),
        ),
    ],
)
def test_a_url_is_judged_by_room_and_rule(url: str, expected: Judged) -> None:
    assert judge(ROOMS, [url]) == ([expected], [])


def test_a_path_that_no_room_has_is_free() -> None:
    assert judge(only(paths="/shop"), ["/about"]) == ([Judged("/about", "/about", "free")], [])


@pytest.mark.parametrize(
    "url",
    ["shop", "ftp://shop.example/x", "http:///x", "", "*", "http://[::1", "http://shop\u2100.example/x"],
)
def test_what_is_no_url_is_told_beside_the_rest(url: str) -> None:
    judged, (finding,) = judge(ROOMS, [url, "/"])
    assert [entry.url for entry in judged] == ["/"]
    assert (finding.level, finding.about) == ("error", url)
    assert finding.message == "is no URL: write https://host/path, or a path that begins with /"


@pytest.mark.parametrize(
    ("url", "treatment"),
    [("/app/sale/hook", "excluded"), ("/app/_waitroom/window", "own route"), ("//[x", "gated")],
)
def test_the_root_path_is_taken_off_as_the_server_does(url: str, treatment: str) -> None:
    judged, _ = judge(ROOMS, [url], "/app")
    assert judged[0].treatment == treatment


def test_good_settings_give_no_warning() -> None:
    assert found(ROOMS, "/", "/sale/x") == []


@pytest.mark.parametrize(
    "secret",
    [SECRET, f"{GOOD},an-example-that-nobody-else-would-think-of", "0361425061532460415203641520364120536"],
)
def test_a_made_up_secret_is_told_without_being_shown(secret: str) -> None:
    (finding,) = found(only(secret=secret))
    assert (finding.level, finding.about) == ("warning", "WAITROOM_SECRET")
    assert secret not in str(finding)


def test_findings_name_the_variable_of_the_room_and_what_is_taken_over_once(tmp_path: Path) -> None:
    (tmp_path / "waiting.html").write_text("{{ no such thing }}")
    own = only(rooms={"sale": {"paths": "/sale/*", "secret": SECRET, "templates": tmp_path}})
    assert {finding.about for finding in found(own)} == {
        "WAITROOM_ROOMS__SALE__SECRET",
        "WAITROOM_ROOMS__SALE__TEMPLATES",
    }
    over = only(secret=SECRET, rooms={"sale": {"paths": "/sale/*"}})
    assert [finding.about for finding in found(over)] == ["WAITROOM_SECRET"]


@pytest.mark.parametrize(
    ("settings", "level", "says"),
    [
        ({"join_limit": 5}, "note", "behind one, all visitors count as one client"),
        ({"challenge": "always"}, "note", "behind one, all visitors count as one client"),
        (
            {"join_limit": 5, "trusted_proxies": "10.0.0.1, 0.0.0.0/0"},
            "warning",
            "everyone's X-Forwarded-For",
        ),
        ({"join_limit": 5, "trusted_proxies": "::/0"}, "warning", "everyone's X-Forwarded-For"),
    ],
)
def test_who_is_believed_about_clients(settings: dict[str, Any], level: str, says: str) -> None:
    (finding,) = found(only(**settings))
    assert (finding.level, finding.about) == (level, "WAITROOM_TRUSTED_PROXIES")
    assert says in finding.message
    assert found(only(**{**settings, "trusted_proxies": "10.0.0.0/8"})) == []


def test_random_keys_are_not_taken_for_made_up_ones() -> None:
    for key in (GOOD, "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"):
        assert found(only(secret=key)) == []


def test_templates_that_cannot_be_used_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "waiting.html").write_text("{{ no such thing }}")
    (finding,) = found(only(templates=tmp_path))
    assert (finding.level, finding.about) == ("error", "WAITROOM_TEMPLATES")
    assert "waiting.html line 1" in finding.message


def test_a_cookie_for_a_whole_domain_is_noted() -> None:
    (finding,) = found(only(cookie_domain="shop.example"))
    assert (finding.level, finding.about) == ("note", "WAITROOM_COOKIE_DOMAIN")


@pytest.mark.parametrize(
    ("keywords", "url", "proxies", "level"),
    [
        ({}, "https://shop.example/", None, "warning"),
        ({"cookie_samesite": "none"}, "/", None, "warning"),
        ({}, "/", None, "note"),
        ({"cookie_secure": "always"}, "https://shop.example/", None, None),
        ({}, "https://shop.example/", "10.0.0.1", None),
        ({}, "/", "10.0.0.1,*", "note"),
    ],
)
def test_a_proxy_that_is_not_named(
    keywords: dict[str, str], url: str, proxies: str | None, level: str | None
) -> None:
    findings = found(only(**keywords), url, proxies=proxies)
    assert [finding.level for finding in findings] == ([level] if level else [])
    assert all(finding.about == "FORWARDED_ALLOW_IPS" for finding in findings)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/webhooks/stripe", ["another server"]),
        ("/payment/ipn", ["another server", "return from a payment page"]),
        ("/checkout/return", ["return from a payment page"]),
        ("/callback", ["another server", "return from a payment page"]),
        ("/returns-policy/", []),
        ("/robots.txt", []),
        ("/sale/hook", []),
        ("/shoes", []),
    ],
)
def test_a_gated_url_that_others_call_is_told_with_the_cure(url: str, said: list[str]) -> None:
    findings = found(ROOMS, url)
    assert len(findings) == len(said)
    for finding, words in zip(findings, said, strict=True):
        assert (finding.level, finding.about) == ("warning", url)
        assert words in finding.message
        assert f"WAITROOM_EXCLUDE=/robots.txt,{url}" in finding.message


def test_the_cure_names_the_variable_of_the_room() -> None:
    (finding,) = found(ROOMS, "/sale/return")
    assert "WAITROOM_ROOMS__SALE__EXCLUDE=/sale/hook,/sale/return" in finding.message
    assert "WAITROOM_ROOMS__SALE__COOKIE_SAMESITE=none" in finding.message


def test_with_strict_cookies_any_return_is_trouble() -> None:
    (finding,) = found(only(cookie_samesite="strict"), "/checkout/return")
    assert "where that page sends them from another site" in finding.message


@pytest.mark.parametrize("url", ["/x*/return", "/a,b/return", "/sale//return", "/a%3Fb/return"])
def test_a_path_that_is_no_pattern_of_itself_is_not_written_as_one(url: str) -> None:
    findings = found(only(), url)
    assert all("let it pass with a pattern in WAITROOM_EXCLUDE" in finding.message for finding in findings)
    assert findings


def test_a_path_of_two_rooms_is_told_for_both() -> None:
    assert len(found(ROOMS, "/x/../sale/return")) == 2


def test_with_cookies_for_other_sites_a_return_is_no_trouble() -> None:
    rooms = only(cookie_samesite="none", cookie_secure="always")
    assert found(rooms, "/checkout/return") == []
    assert len(found(rooms, "/webhook")) == 1


def test_without_urls_it_asks_for_them() -> None:
    (finding,) = check_settings(ROOMS, [], "10.0.0.1")
    assert (finding.level, finding.about) == ("note", "URLs")
