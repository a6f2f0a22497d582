"""What page libraries are told, header by header: always a path of this very site, and never a 2xx."""

import html
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import pytest

from tests.gates import API, client_of
from tests.test_middleware import full_house
from waitroom.config.settings import Settings

Make = Callable[..., Settings]

HTMX = {"HX-Request": "true"}
BOOSTED = {"HX-Request": "true", "HX-Boosted": "true"}
INERTIA = {"X-Inertia": "true", "X-Requested-With": "XMLHttpRequest"}
UNSENT = f"{API}/unsent?room="
LONG = "x" * 3000


async def told(settings: Settings, method: str, url: str, headers: dict[str, str]) -> httpx.Response:
    async with full_house(settings, line=1) as (gate, handler, _), client_of(gate) as client:
        answer = await client.request(method, f"http://shop.test{url}", headers=headers)
        assert not handler.scopes
        return answer


@pytest.mark.parametrize(
    ("url", "headers", "where"),
    [
        ("/goods?size=9", BOOSTED, "/goods?size=9"),
        ("/a%2Fb", BOOSTED, "/a%2Fb"),
        ("/caf%C3%A9", BOOSTED, "/caf%C3%A9"),
        ("//evil.test/", BOOSTED, "/.//evil.test/"),
        ("/%5Cevil.test/", BOOSTED, "/%5Cevil.test/"),
        ("/goods?" + LONG, BOOSTED, "/goods"),
        ("/part", {**HTMX, "HX-Current-URL": "http://shop.test/robots.txt"}, "/part"),
        ("/goods?size=9", INERTIA, "/goods?size=9"),
        ("/goods?size=9", {**INERTIA, "Purpose": "prefetch"}, "/goods?size=9"),
    ],
)
async def test_a_page_is_loaded_from_a_path_of_the_site(
    settings: Make, url: str, headers: dict[str, str], where: str
) -> None:
    answer = await told(settings(capacity=1), "GET", url, headers)
    if "X-Inertia" in headers:
        assert (answer.status_code, answer.headers["x-inertia-location"]) == (409, where)
    else:
        assert (answer.status_code, answer.headers["hx-redirect"]) == (503, where)


@pytest.mark.parametrize("here", ["http://shop.test/basket?a=1", "", "http://["])
async def test_a_part_of_a_page_with_a_line_loads_that_page_again(settings: Make, here: str) -> None:
    answer = await told(settings(capacity=1), "GET", "/part", {**HTMX, "HX-Current-URL": here})
    assert (answer.status_code, answer.headers["hx-refresh"]) == (503, "true")
    assert "hx-redirect" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "back"),
    [
        ({}, "/"),
        ({"Referer": "http://["}, "/"),
        ({"Referer": "http://shop.test"}, "/"),
        ({"Referer": "http://shop.test/basket?a=1&b=2"}, "/basket?a=1&b=2"),
        ({"Referer": "http://shop.test//evil.test"}, "/.//evil.test"),
        ({"Referer": "http://other.test/x", "HX-Current-URL": "http://shop.test/basket#top"}, "/basket"),
    ],
)
@pytest.mark.parametrize("library", [HTMX, INERTIA])
async def test_what_was_not_sent_leads_to_a_page_that_says_so_and_back(
    settings: Make, library: dict[str, str], headers: dict[str, str], back: str
) -> None:
    async with full_house(settings(capacity=1), line=1) as (gate, handler, _), client_of(gate) as client:
        answer = await client.post("/order", headers={**library, **headers})
        assert answer.status_code == (409 if library is INERTIA else 503)
        where = answer.headers["x-inertia-location" if library is INERTIA else "hx-redirect"]
        assert where.startswith(UNSENT)
        page = await client.get(where)
        assert page.status_code == 200
        assert "Nothing was sent" in page.text
        assert f'<a href="{html.escape(back)}">' in page.text
        assert not handler.scopes


@pytest.mark.parametrize(
    "to", ["//evil.test/", "https://evil.test/", "/\\evil.test", '"><script>', "javascript:alert(1)", "é"]
)
async def test_the_page_leads_to_no_other_site(settings: Make, to: str) -> None:
    async with full_house(settings(capacity=1)) as (gate, _, _), client_of(gate) as client:
        page = (await client.get(f"{API}/unsent", params={"to": to})).text
    assert "<script" not in page
    href = html.unescape(page.partition('href="')[2].partition('"')[0])
    assert href.startswith("/")
    assert urlsplit(f"http://shop.test{href}").hostname == "shop.test"
    assert not href.startswith("//")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Turbo-Request-Id": "1", "Accept": "text/html, application/xhtml+xml"},
        {"Turbo-Frame": "frame"},
        {"Accept": "text/vnd.turbo-stream.html, text/html, application/xhtml+xml"},
        {"X-Up-Version": "3.11.0", "X-Up-Target": "#there"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_is_shown_instead_loads_the_whole_page(
    settings: Make, method: str, headers: dict[str, str]
) -> None:
    answer = await told(settings(capacity=1), method, "/order?a=1&b=2", headers)
    assert answer.status_code == 503
    assert answer.headers["content-type"].startswith("text/html")
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert "waitroom-" in answer.headers["set-cookie"]
    where = "/order?a=1&amp;b=2" if method == "GET" else html.escape(UNSENT)
    assert f'<meta http-equiv="refresh" content="0; url={where}' in answer.text
    assert '<meta name="turbo-visit-control" content="reload">' in answer.text
    assert answer.headers.get("x-up-target") == ("body" if "X-Up-Version" in headers else None)


async def test_a_path_has_the_root_in_front_under_which_the_site_is(settings: Make) -> None:
    async with full_house(settings(capacity=1), line=1) as (gate, _, _):
        transport = httpx.ASGITransport(app=gate, root_path="/shop")
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as client:
            for path in ("/goods", "/shop/goods"):
                answer = await client.get(path, headers=BOOSTED)
                assert answer.headers["hx-redirect"] == "/shop/goods"
            answer = await client.post("/shop/order", headers=BOOSTED)
            assert answer.headers["hx-redirect"].startswith("/shop" + UNSENT)


async def test_nothing_that_is_fetched_ahead_loads_a_page(settings: Make) -> None:
    answer = await told(settings(capacity=1), "GET", "/goods", {**BOOSTED, "HX-Preloaded": "true"})
    assert answer.status_code == 503
    assert not {"hx-redirect", "hx-refresh"} & set(answer.headers)


@pytest.mark.parametrize("metadata", [{}, {"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "cors"}])
@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("/goods?_rsc=1ab2c", {"RSC": "1", "Next-Router-State-Tree": "%5B%22%22%5D", "Next-Url": "/"}),
        ("/goods/__data.json?x-sveltekit-invalidated=01", {}),
        ("/goods.data?_routes=routes%2Fgoods", {}),
        ("/goods?_data=routes%2Fgoods", {}),
    ],
)
async def test_what_a_framework_asks_for_a_page_is_never_taken_for_the_page(
    settings: Make, url: str, headers: dict[str, str], metadata: dict[str, str]
) -> None:
    """Next.js loads the whole page where it gets an error, the others show or load a page of an error."""
    answer = await told(
        settings(capacity=1, status_code=200 if metadata else 503), "GET", url, {**headers, **metadata}
    )
    assert answer.status_code == 503
    assert "text/x-component" not in answer.headers["content-type"]
    assert "X-Remix-Response" not in answer.headers


async def test_a_server_action_is_told_that_nothing_was_sent(settings: Make) -> None:
    headers = {
        "Next-Action": "40ab",
        "Accept": "text/x-component",
        "Content-Type": "text/plain;charset=UTF-8",
    }
    answer = await told(settings(capacity=1), "POST", "/order", headers)
    assert (answer.status_code, answer.headers["content-type"]) == (503, "text/plain")
    assert "Your request was not passed on" in answer.text


async def test_a_step_back_is_answered_with_what_htmx_shows(settings: Make) -> None:
    headers = {**HTMX, "HX-History-Restore-Request": "true"}
    answer = await told(settings(capacity=1), "GET", "/basket", headers)
    assert (answer.status_code, "location" in answer.headers) == (300, False)
    assert '<meta http-equiv="refresh" content="0; url=/basket">' in answer.text
