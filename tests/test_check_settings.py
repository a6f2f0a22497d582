"""What `waitroom check` says of settings and URLs, without a store."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SECRET
from waitroom.check.settings import Finding, Judged, check_settings, judge
from waitroom.config.rooms import load_rooms
from waitroom.config.settings import Settings

GOOD = "hN2tWn0yF3Jq-8vXoZcLr5_eKdUiMb7gPsAa1RkQxYw"
ROOMS = load_rooms(
    room="shop",
    secret=GOOD,
    exclude="+/hook",
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


SERVER, PAYMENT, LOGIN = (
    "a call by another server",
    "a return from a payment page",
    "a return from a login page",
)
PROBE, FETCHED, WORKER = (
    "a health check",
    "a file that browsers fetch by themselves",
    "a service worker's script",
)


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        ("/webhooks/stripe /webhook /github-webhook/ /stripe/events /api/hooks/7", [SERVER]),
        ("/payment/ipn /callback", [SERVER, PAYMENT]),
        ("/checkout/return", [PAYMENT]),
        (
            "/signin-oidc /signin-google /saml/acs /saml2/acs /sso /oauth2/code /login/oauth2/code/okta",
            [LOGIN],
        ),
        ("/auth/callback /login/oauth /.auth/login/aad/callback /Account/ExternalLoginCallback", [LOGIN]),
        ("/healthz /livez /readyz /health /ping /up /api/health /actuator/health/liveness", [PROBE]),
        ("/metrics /actuator/prometheus", ["what monitoring reads"]),
        ("/sw.js /service-worker.js /firebase-messaging-sw.js /ngsw-worker.js", [WORKER]),
        ("/manifest.webmanifest /manifest.json /apple-touch-icon-180x180.png /favicon-32.png", [FETCHED]),
        ("/sitemap.xml /ads.txt", ["a file that search engines and the like read"]),
        ("/returns-policy/ /robots.txt /.well-known/acme-challenge/x /sale/hook /shoes /login /account", []),
        ("/health-food /blog/health /live/match /metrics-guide /stripes /author/jane /auth /pingpong", []),
    ],
)
def test_a_gated_url_that_programs_or_other_sites_lead_to_is_told(urls: str, said: list[str]) -> None:
    for url in urls.split():
        warnings = [finding for finding in found(ROOMS, url) if finding.level == "warning"]
        assert len(warnings) == len(said), url
        for finding, words in zip(warnings, said, strict=True):
            assert finding.about == url
            assert f"looks like {words}, gated by /*: " in finding.message


def test_one_line_lets_all_of_them_pass_and_does_what_it_says() -> None:
    urls = (
        "/webhooks/stripe",
        "/signin-oidc",
        "https://shop.example/healthz?deep=1",
        "/payment/ipn",
        "/shoes",
    )
    *_, cure = found(ROOMS, *urls)
    line = "+/hook,/webhooks/stripe,/signin-oidc,/healthz,/payment/ipn"
    assert cure == Finding("note", "WAITROOM_EXCLUDE", f"let them pass with WAITROOM_EXCLUDE={line}")
    cured = only(exclude=line)
    assert [judged.treatment for judged in judge(cured, [*urls, "/hook", "/robots.txt"])[0]] == [
        *["excluded"] * 4,
        "gated",
        *["excluded"] * 2,
    ]
    assert found(cured, *urls) == []


def test_a_list_that_replaced_the_default_one_is_warned_of_with_the_cure() -> None:
    warning, cure = found(only(exclude="/hooks/*"))
    assert (warning.level, warning.about) == ("warning", "WAITROOM_EXCLUDE")
    assert "/robots.txt, what search engines ask" in warning.message
    assert "/.well-known/*, the check of a certificate authority" in warning.message
    assert cure.message == "let them pass with WAITROOM_EXCLUDE=+/hooks/*"
    assert found(only(exclude="+/hooks/*")) == []
    (warning, cure) = found(only(exclude="/robots.txt"))
    assert "robots" not in warning.message
    assert cure.message == "let it pass with WAITROOM_EXCLUDE=+/robots.txt,/favicon.ico,/.well-known/*"
    assert found(only(paths="/shop/*", exclude="/shop/hook")) == [], "it has no such path"


def test_the_cure_names_the_variable_of_the_room() -> None:
    finding, cure = found(ROOMS, "/sale/return")
    assert "WAITROOM_ROOMS__SALE__COOKIE_SAMESITE=none" in finding.message
    assert cure.message.endswith(" WAITROOM_ROOMS__SALE__EXCLUDE=/sale/hook,/sale/return")
    adding = load_rooms(
        secret=GOOD, exclude="+/hook", rooms={"sale": {"paths": "/sale/*", "exclude": "+/sale/hook"}}
    )
    *_, cure = found(adding, "/sale/return", "/sale/sw.js")
    assert cure.message.endswith(" WAITROOM_ROOMS__SALE__EXCLUDE=+/sale/hook,/sale/return,/sale/sw.js")


def test_with_strict_cookies_any_return_is_trouble() -> None:
    finding, _ = found(only(cookie_samesite="strict"), "/checkout/return")
    assert "where that page sends them from another site" in finding.message


@pytest.mark.parametrize("url", ["/x*/return", "/a,b/return", "/sale//return", "/a%3Fb/return"])
def test_a_path_that_is_no_pattern_of_itself_is_not_written_as_one(url: str) -> None:
    *_, cure = found(only(), url)
    assert cure.message == "let them pass with patterns in this list"
    *_, cure = found(only(), url, "/sw.js")
    assert "WAITROOM_EXCLUDE=+/sw.js; for the others, " in cure.message


def test_a_path_of_two_rooms_is_told_for_both() -> None:
    told = found(ROOMS, "/x/../sale/return")
    assert [finding.level for finding in told] == ["warning", "note"] * 2


def test_with_cookies_for_other_sites_a_return_is_no_trouble() -> None:
    rooms = only(cookie_samesite="none", cookie_secure="always")
    assert found(rooms, "/checkout/return", "/signin-oidc") == []
    assert [finding.level for finding in found(rooms, "/webhook")] == ["warning", "note"]


def test_urls_of_several_origins_are_told_where_a_redirect_belongs() -> None:
    (finding,) = found(
        ROOMS, "http://shop.example/", "https://www.shop.example/", "/", "HTTP://shop.example/x"
    )
    assert (finding.level, finding.about) == ("note", "URLs")
    assert "http://shop.example and https://www.shop.example: what redirects" in finding.message
    assert found(ROOMS, "https://shop.example/", "https://shop.example/x", "/") == []


def test_without_urls_it_asks_for_them() -> None:
    (finding,) = check_settings(ROOMS, [], "10.0.0.1")
    assert (finding.level, finding.about) == ("note", "URLs")


@pytest.mark.parametrize(
    ("rules", "leave"),
    [
        ({"window_size": 5_000, "session_seconds": 600, "capacity": 2}, "305,002"),
        ({"window_size": 5_000, "session_seconds": 600, "capacity": 5_000}, "310,000"),
        ({"window_size": 50, "session_seconds": 86_400, "window_interval": 1, "capacity": 500}, "4,320,550"),
        ({"window_size": 5_000, "session_seconds": 600, "capacity": 10_000}, ""),  # 50 for each slot
        ({"window_size": 1_000, "session_seconds": 300, "capacity": 500, "window_interval": 10}, ""),
        ({}, ""),
    ],
)
def test_more_leaving_than_are_listed_are_warned_of(rules: dict[str, Any], leave: str) -> None:
    warned = [finding for finding in found(only(**rules)) if finding.about == "WAITROOM_SESSION_SECONDS"]
    assert [finding.level for finding in warned] == ["warning"] * bool(leave)
    assert all(finding.message.startswith(f"{leave} visitors could enter and leave") for finding in warned)


def test_a_page_with_status_200_is_warned_of() -> None:
    assert [finding for finding in found(only()) if finding.about == "WAITROOM_STATUS_CODE"] == []
    (finding,) = [
        finding for finding in found(only(status_code=200)) if finding.about == "WAITROOM_STATUS_CODE"
    ]
    assert finding.level == "warning"
    assert "may keep the page with status 200" in finding.message
