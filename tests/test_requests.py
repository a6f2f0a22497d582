"""What kind of request this is, by what browsers and programs really send."""

import pytest

from waitroom.web.requests.cookies import Scope
from waitroom.web.requests.kinds import (
    Kind,
    by_name,
    hides_cookies,
    is_cross_site,
    is_probe,
    is_safe,
    kind_of,
)


def scope(method: str = "GET", **headers: str) -> Scope:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"method": method, "headers": pairs}


def kind_of_one(method: str = "GET", **headers: str) -> Kind:
    asked = scope(method, **headers)
    return kind_of(asked, by_name(asked))


def is_from_elsewhere(method: str = "GET", **headers: str) -> bool:
    return is_cross_site(by_name(scope(method, **headers)))


def hides(samesite: str, method: str = "GET", **headers: str) -> bool:
    asked = scope(method, **headers)
    return hides_cookies(asked, by_name(asked), samesite)


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({}, Kind.NAVIGATION),
        ({"accept": "*/*"}, Kind.NAVIGATION),
        ({"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, Kind.NAVIGATION),
        ({"accept": "application/json"}, Kind.SCRIPT),
        ({"accept": "application/json, text/plain, */*"}, Kind.SCRIPT),
        ({"accept": "application/vnd.shop+json"}, Kind.SCRIPT),
        ({"accept": "text/html, application/json"}, Kind.NAVIGATION),
        ({"accept": "text/html;q=0.5, application/json"}, Kind.SCRIPT),
        ({"accept": "text/html, application/json;q=0.5"}, Kind.NAVIGATION),
        ({"accept": "text/html;q=much, application/json;level=1; Q=0.1"}, Kind.SCRIPT),
        ({"accept": "application/json;q=0, */*"}, Kind.NAVIGATION),
        ({"accept": "application/json;q=nan, text/html;q=inf,,;"}, Kind.NAVIGATION),
        ({"sec_fetch_dest": "document", "accept": "application/json"}, Kind.NAVIGATION),
        ({"sec_fetch_dest": "iframe"}, Kind.NAVIGATION),
        ({"sec_fetch_mode": "navigate"}, Kind.NAVIGATION),
        ({"sec_fetch_dest": "empty", "accept": "text/html"}, Kind.SCRIPT),
        ({"x_requested_with": "XMLHttpRequest", "accept": "text/html"}, Kind.SCRIPT),
        ({"sec_fetch_dest": "image"}, Kind.SUBRESOURCE),
        ({"sec_fetch_dest": "Style "}, Kind.SUBRESOURCE),
        ({"sec_purpose": "prefetch", "sec_fetch_dest": "document"}, Kind.AHEAD),
        ({"sec_purpose": "prefetch;prerender", "sec_fetch_mode": "navigate"}, Kind.AHEAD),
        ({"sec_purpose": "prefetch;anonymous-client-ip"}, Kind.AHEAD),
        ({"purpose": "prefetch"}, Kind.AHEAD),
        ({"purpose": "Preview"}, Kind.AHEAD),
        ({"x_purpose": "preview", "accept": "text/html"}, Kind.AHEAD),
        ({"x_moz": "prefetch", "accept": "text/html"}, Kind.AHEAD),
        ({"x_sec_purpose": "prefetch", "sec_fetch_dest": "empty"}, Kind.AHEAD),
        ({"hx_preloaded": "true", "sec_fetch_dest": "empty"}, Kind.AHEAD),
        ({"next_router_prefetch": "1", "sec_fetch_dest": "empty"}, Kind.AHEAD),
        ({"hx_request": "true", "accept": "text/html"}, Kind.SCRIPT),
        ({"x_inertia": "true", "accept": "text/html"}, Kind.SCRIPT),
        ({"x_turbo_request_id": "1", "accept": "text/html"}, Kind.SCRIPT),
        ({"rsc": "1", "accept": "*/*"}, Kind.SCRIPT),
        ({"next_action": "40ab", "accept": "text/x-component"}, Kind.SCRIPT),
        ({"x_up_version": "3.11.0", "accept": "text/html"}, Kind.SCRIPT),
        ({"accept": "text/html, application/xhtml+xml"}, Kind.SCRIPT),
        ({"accept": "text/vnd.turbo-stream.html, text/html, application/xhtml+xml"}, Kind.SCRIPT),
        ({"purpose": "checkout"}, Kind.NAVIGATION),
        ({"accept": "application/rss+xml"}, Kind.SCRIPT),
        ({"accept": "application/atom+xml, application/xml;q=0.9, */*;q=0.8"}, Kind.SCRIPT),
        ({"accept": "text/event-stream"}, Kind.SCRIPT),
        ({"accept": "application/x-ndjson"}, Kind.SCRIPT),
        ({"accept": "text/plain"}, Kind.SCRIPT),
        ({"accept": "text/csv;q=0.5, */*"}, Kind.SCRIPT),
        ({"accept": "application/octet-stream"}, Kind.SCRIPT),
        ({"accept": "text/*"}, Kind.NAVIGATION),
        ({"accept": "application/*, nothing, ,"}, Kind.NAVIGATION),
        (
            {"accept": "application/xml,application/xhtml+xml,text/html;q=0.9,image/png,*/*;q=0.5"},
            Kind.NAVIGATION,
        ),
        ({"accept": "image/avif,image/webp,image/*,*/*;q=0.8"}, Kind.SUBRESOURCE),
        ({"accept": "image/*"}, Kind.SUBRESOURCE),
        ({"accept": "text/css,*/*;q=0.1"}, Kind.SUBRESOURCE),
        ({"accept": "application/font-woff2;q=1.0,*/*;q=0.8"}, Kind.SUBRESOURCE),
        ({"accept": "audio/webm, application/ogg;q=0.7"}, Kind.SUBRESOURCE),
        ({"accept": "application/json, image/png;q=0.5"}, Kind.SCRIPT),
        ({"accept": "*/*", "content_type": "application/json"}, Kind.SCRIPT),
        ({"accept": "text/html", "content_type": "application/json"}, Kind.NAVIGATION),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_kind_by_headers(method: str, headers: dict[str, str], kind: Kind) -> None:
    assert kind_of_one(method, **headers) is kind


def test_only_a_browsers_own_question_is_a_preflight() -> None:
    asks = {"access_control_request_method": "POST"}
    assert kind_of_one("OPTIONS", origin="https://a.example", **asks) is Kind.PREFLIGHT
    assert kind_of_one("OPTIONS", **asks) is Kind.NAVIGATION
    assert kind_of_one("OPTIONS") is Kind.NAVIGATION
    assert kind_of_one("GET", access_control_request_method="POST") is Kind.NAVIGATION


def test_who_writes_is_no_probe() -> None:
    """It would change the site without a slot."""
    for agent in (b"kube-probe/1.31", b"Pingdom.com_bot"):
        named = {b"user-agent": agent}
        probes = {
            method: is_probe({"method": method}, named)
            for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS")
        }
        assert [method for method, probe in probes.items() if probe] == ["GET", "HEAD"]


def test_of_several_headers_of_a_name_the_first_counts() -> None:
    twice = scope(sec_fetch_dest="document")
    twice["headers"].append((b"sec-fetch-dest", b"image"))
    assert by_name(twice) == {b"sec-fetch-dest": b"document"}
    assert kind_of(twice, by_name(twice)) is Kind.NAVIGATION


def test_what_writes_is_no_part_of_a_page() -> None:
    assert kind_of_one("POST", sec_fetch_dest="image") is Kind.SCRIPT
    assert kind_of_one("POST", purpose="prefetch") is Kind.SCRIPT
    assert kind_of_one("POST", accept="image/png") is Kind.SCRIPT


@pytest.mark.parametrize(
    ("accept", "content_type", "kind"),
    [
        ("text/html,*/*;q=0.8", "application/x-www-form-urlencoded", Kind.NAVIGATION),
        ("text/html,*/*;q=0.8", "multipart/form-data; boundary=x", Kind.NAVIGATION),
        ("text/html", "", Kind.NAVIGATION),
        ("text/html", "application/json", Kind.SCRIPT),
        ("*/*", "application/json", Kind.SCRIPT),
        ("*/*", "application/x-www-form-urlencoded", Kind.SCRIPT),
        ("*/*", "multipart/form-data; boundary=x", Kind.SCRIPT),
        ("", "application/grpc+proto", Kind.SCRIPT),
        ("", "", Kind.SCRIPT),
        ("application/json", "application/x-www-form-urlencoded", Kind.SCRIPT),
    ],
)
def test_a_form_names_html_and_what_sends_else_is_a_program(
    accept: str, content_type: str, kind: Kind
) -> None:
    headers = {"accept": accept, "content_type": content_type}
    assert kind_of_one("POST", **{name: value for name, value in headers.items() if value}) is kind
    navigating = {**headers, "sec_fetch_mode": "navigate"}
    assert kind_of_one("POST", **navigating) is Kind.NAVIGATION, "a browser says so"


def test_safe_methods() -> None:
    safe = ("GET", "HEAD", "OPTIONS", "TRACE")
    writes = ("POST", "PUT", "PATCH", "DELETE", "PROPFIND", "get")
    assert [is_safe(scope(method)) for method in (*safe, *writes)] == [True] * 4 + [False] * 6


@pytest.mark.parametrize(
    ("method", "destination", "hidden_from"),
    [
        ("POST", "document", ["lax", "strict"]),
        ("POST", "empty", ["lax", "strict"]),
        ("GET", "document", ["strict"]),
        ("HEAD", "document", ["strict"]),
        ("GET", "iframe", ["lax", "strict"]),
        ("GET", "empty", ["lax", "strict"]),
    ],
)
def test_which_cookies_stay_behind_when_another_site_sends_a_request(
    method: str, destination: str, hidden_from: list[str]
) -> None:
    """As a real Chromium does it: see test_cross_site.py."""

    def hiding(**site: str) -> list[str]:
        asked = {"sec_fetch_dest": destination, **site}
        return [samesite for samesite in ("lax", "strict", "none") if hides(samesite, method, **asked)]

    assert hiding(sec_fetch_site="cross-site") == hidden_from
    for site in ("same-origin", "same-site", "none"):
        assert hiding(sec_fetch_site=site) == []
    assert hiding() == []


@pytest.mark.parametrize(
    ("origin", "host", "is_foreign"),
    [
        ("http://shop.test", "shop.test", False),
        ("http://SHOP.test:8080", "shop.test:8000", False),
        ("http://[::1]:3000", "[::1]:8000", False),
        ("http://app.shop.test", "shop.test", False),
        ("http://shop.test", "www.shop.test", False),
        ("http://pay.example", "shop.test", True),
        ("http://noshop.test", "shop.test", True),
        ("http://shop.test.evil.example", "shop.test", True),
        ("http://app.shop.test", "www.shop.test", True),
        ("http://evil.co.uk", "shop.co.uk", True),
        ("http://10.0.0.1", "10.0.0.2", True),
        ("null", "shop.test", True),
        ("http://[", "shop.test", True),
        ("http://shop.test", "", True),
        ("", "shop.test", False),
    ],
)
def test_without_fetch_metadata_the_origin_tells_who_sends(origin: str, host: str, is_foreign: bool) -> None:
    """To plain http browsers send none. Whoever is not clearly of the same site is taken for another."""
    sent = {"origin": origin, "host": host}
    assert is_from_elsewhere("POST", **sent) is is_foreign
    assert hides("lax", "POST", **sent) is is_foreign
    assert not hides("none", "POST", **sent)
    for site in ("same-origin", "same-site", "none"):
        assert not is_from_elsewhere("POST", **sent, sec_fetch_site=site), "what is said counts"
    assert is_from_elsewhere("POST", **sent, sec_fetch_site="cross-site")


def test_without_anything_a_request_is_one_of_the_sites_own() -> None:
    """A program, or a browser that goes to a page by a link or an address typed in."""
    assert not is_from_elsewhere("POST", host="shop.test")
