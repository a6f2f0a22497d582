"""What browsers fetch before anyone wants to see it: never the site's page without a pass; the click asks again."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Response, expect

from tests import stores
from tests.conftest import SECRET
from tests.gates import (
    API,
    DEADLINE_SECONDS,
    Server,
    client_of,
    eventually,
    gated,
    is_inside,
    session,
    uvicorn,
)
from tests.sites import saying, site
from tests.stores import Box
from tests.test_middleware import full_house
from waitroom.config.settings import Settings, load

Make = Callable[..., Settings]

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("patience")]

AHEAD: list[dict[str, str]] = [
    {"Sec-Purpose": "prefetch", "Sec-Fetch-Dest": "document"},
    {"Sec-Purpose": "prefetch;prerender", "Sec-Fetch-Mode": "navigate"},
    {"Sec-Purpose": "prerender", "Sec-Fetch-Mode": "navigate"},
    {"Purpose": "prefetch"},
    {"Purpose": "Prerender"},
    {"X-Moz": "prefetch"},
    {"X-Purpose": "preview"},
    {"X-Sec-Purpose": "prefetch", "Sec-Fetch-Dest": "empty"},
]


@pytest.mark.parametrize("headers", AHEAD)
async def test_an_empty_room_gives_nothing_ahead_of_its_time_but_to_those_inside(
    settings: Make, headers: dict[str, str]
) -> None:
    async with full_house(settings(capacity=2)) as (gate, handler, guest), client_of(gate) as client:
        bare = await client.get("/goods", headers=headers)
        assert (bare.status_code, bare.content) == (503, b"")
        assert bare.headers["cache-control"] == "no-store"
        assert "set-cookie" not in bare.headers
        assert not handler.scopes
        assert is_inside(await guest.get("/goods", headers=headers)), "P6"
        assert (await client.get(f"{API}/window")).json()["issued"] == 1, "it was counted"
        assert is_inside(await client.get("/goods")), "the click"


async def test_an_open_gate_gives_nothing_ahead_of_its_time(tmp_path: Path) -> None:
    """What is kept would be shown without a word from the gate once the store is back."""
    box = Box(tmp_path, *stores.DURABLE)
    box.start()
    try:
        mine = load(redis_url=box.url, secret=SECRET, sync_seconds=0.05, on_store_failure="open")
        async with gated(site, settings=mine) as gate, client_of(gate) as client:
            box.stop()

            async def is_open() -> bool:
                response = await client.get("/")
                client.cookies.clear()
                return is_inside(response) and response.json()["number"] is None

            await eventually(is_open)
            for headers in AHEAD:
                assert (await client.get("/", headers=headers)).status_code == 503
    finally:
        box.stop()


@pytest.fixture(scope="module")
def shop() -> Iterator[Server]:
    """The page with the links is outside the room, as a search engine's that fetches its results ahead."""
    outside = "/lib/*,/shop/*,/favicon.ico"
    with uvicorn("tests.library_site:watched", capacity=50, exclude=outside, secret=SECRET) as server:
        yield server


async def told(server: Server, path: str) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=server.url, timeout=DEADLINE_SECONDS) as client:
        found: dict[str, Any] = (await client.get(path)).json()
        return found


@pytest.mark.parametrize("way", ["prefetch", "speculation?how=prefetch", "speculation?how=prerender"])
async def test_a_click_on_what_chromium_fetched_ahead_asks_and_is_counted(
    browser: Browser, shop: Server, way: str
) -> None:
    before, issued = await told(shop, "/lib/asked"), (await told(shop, f"{API}/window"))["issued"]

    async def refused() -> list[int]:
        statuses: list[int] = (await told(shop, "/lib/asked"))["ahead"]
        return statuses[len(before["ahead"]) :]

    context = await browser.new_context()
    try:
        page = await context.new_page()
        await page.goto(f"{shop.url}/shop/{way}")
        assert set(await eventually(refused)) == {503}
        seen = (await told(shop, "/lib/asked"))["asked"][len(before["asked"]) :]
        assert "GET /goods" not in seen, "the site gave a page ahead of its time"
        await page.click("#go")
        await expect(page.locator("h1")).to_contain_text("inside GET /goods")
        assert await page.locator("#visitor").text_content() == str(issued + 1)
    finally:
        await context.close()


releases = saying((b"waitroom-command", b"release"), text="goodbye")


@pytest.mark.parametrize("headers", AHEAD)
@pytest.mark.parametrize("path", ["/bye", "/free"])
async def test_what_is_fetched_ahead_releases_nobody(
    settings: Make, headers: dict[str, str], path: str
) -> None:
    """A link to log out may be fetched while its reader only looks at the page, or from another site's page."""
    mine = settings(capacity=1, exclude="/free")
    async with gated(releases, settings=mine) as gate, client_of(gate) as client:
        await session(client)
        for _ in range(2):
            ahead = await client.get(path, headers=headers)
            assert (ahead.status_code, ahead.text) == (200, "goodbye")
            assert "waitroom-command" not in ahead.headers
        assert (await client.get(f"{API}/window")).json()["inside"] == 1
        assert "Max-Age=0" in (await client.get(path)).headers["set-cookie"], "the click"


async def test_a_browser_that_throws_its_cookies_away_ahead_of_time_is_released(settings: Make) -> None:
    clears = saying((b"clear-site-data", b'"cookies"'), text="goodbye")
    async with gated(clears, settings=settings(capacity=1)) as gate, client_of(gate) as client:
        await session(client)
        await client.get("/bye", headers=AHEAD[0])

        async def is_free() -> bool:
            return bool((await client.get(f"{API}/window")).json()["inside"] == 0)

        await eventually(is_free)


def metadata(site: str, dest: str, mode: str) -> dict[str, str]:
    return {"Sec-Fetch-Site": site, "Sec-Fetch-Dest": dest, "Sec-Fetch-Mode": mode}


SHOWN_ELSEWHERE = [
    ("HEAD", {}),
    ("HEAD", metadata("same-origin", "empty", "cors")),
    ("GET", metadata("same-site", "image", "no-cors")),
    ("GET", metadata("cross-site", "image", "cors")),
    ("GET", metadata("same-site", "style", "no-cors")),
    ("GET", metadata("same-site", "iframe", "navigate")),
    ("GET", metadata("cross-site", "object", "navigate")),
    ("GET", metadata("same-site", "empty", "no-cors")),
]
GONE_TO = [
    ("GET", {}),
    ("GET", metadata("none", "document", "navigate")),
    ("GET", metadata("cross-site", "document", "navigate")),
    ("GET", metadata("same-origin", "image", "no-cors")),
    ("GET", metadata("same-origin", "iframe", "navigate")),
    ("GET", metadata("same-site", "empty", "cors")),
    ("POST", metadata("same-site", "empty", "no-cors")),
]


@pytest.mark.parametrize("path", ["/bye", "/free"])
async def test_parts_of_another_origins_page_release_nobody(settings: Make, path: str) -> None:
    """P4: a picture on a sibling host's page sends the cookies along."""
    mine = settings(capacity=1, exclude="/free")
    async with gated(releases, settings=mine) as gate, client_of(gate) as client:
        await session(client)
        for method, headers in SHOWN_ELSEWHERE:
            response = await client.request(method, path, headers=headers)
            assert response.status_code == 200
            assert "waitroom-command" not in response.headers
            assert "Max-Age=0" not in response.headers.get("set-cookie", ""), (method, headers)
            assert (await client.get(f"{API}/window")).json()["inside"] == 1


@pytest.mark.parametrize("path", ["/bye", "/free"])
async def test_what_a_visitor_goes_to_or_their_page_asks_for_releases_them(settings: Make, path: str) -> None:
    mine = settings(exclude="/free", capacity=len(GONE_TO), window_size=len(GONE_TO))
    async with gated(releases, settings=mine) as gate:
        for method, headers in GONE_TO:
            async with client_of(gate) as client:
                await session(client)
                response = await client.request(method, path, headers=headers)
                assert "Max-Age=0" in response.headers["set-cookie"], (method, headers)


async def json_of(response: Response | None) -> dict[str, Any]:
    assert response is not None
    found: dict[str, Any] = await response.json()
    return found


async def test_a_picture_on_a_siblings_page_releases_nobody(browser: Browser) -> None:
    """In a real browser, to which sibling hosts are one site: the room's cookie is sent along."""
    show = (
        "url => new Promise(done => { const it = new Image(); it.onload = it.onerror = done; it.src = url })"
    )
    context = await browser.new_context()
    try:
        with uvicorn("tests.sites:starlette_site", capacity=1, secret=SECRET) as server:
            home, sibling = (
                server.url.replace("127.0.0.1", f"{name}.localhost") for name in ("shop", "x.shop")
            )
            page = await context.new_page()
            await page.goto(f"{home}/")  # the first pass, and the cookie that comes back
            mine = await json_of(await page.goto(f"{home}/"))
            await page.goto(f"{sibling}/robots.txt")
            async with page.expect_request(f"{home}/release") as sent:
                await page.evaluate(show, f"{home}/release")
            headers = await (await sent.value).all_headers()
            assert headers["sec-fetch-site"] == "same-site"
            assert "waitroom" in headers["cookie"]
            again = await json_of(await page.goto(f"{home}/"))
            assert again["session"] == mine["session"] is not None
            await page.goto(f"{home}/release")
            assert not await context.cookies(home), "what the visitor goes to themselves"
    finally:
        await context.close()
