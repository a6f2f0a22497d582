"""Page libraries whose visitor has no pass any more: a click shows the waiting page, with the real ones."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from playwright.async_api import APIRequestContext, Browser, Page, expect

from tests.conftest import SECRET
from tests.gates import API, DEADLINE_SECONDS, Server, bearer, eventually, uvicorn

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

HTMX = ["htmx1", "htmx2", "htmx4"]
TURBO = ["turbo7", "turbo8"]
UNPOLY = ["unpoly11", "unpoly14"]
INERTIA = ["inertia1", "inertia2"]
MILLISECONDS = 20_000


@pytest.fixture(scope="module")
def shop(libraries: Path) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIBRARIES", str(libraries))
        patch.setenv("WAITROOM_STORE_TIMEOUT_SECONDS", "5")
        outside = "/lib/*,/shop/*,/favicon.ico"
        with uvicorn("tests.library_site:watched", capacity=1, exclude=outside, secret=SECRET) as server:
            yield server


@asynccontextmanager
async def full(
    shop: Server, browser: Browser, path: str, before: Callable[[Page], Awaitable[None]] | None = None
) -> AsyncIterator[tuple[Page, str]]:
    """A page of the shop's that was left open until somebody else has the only slot; the page, and their pass."""
    context = await browser.new_context()
    token = None
    try:
        page = await context.new_page()
        await page.goto(f"{shop.url}{path}")
        if "inertia" in path:
            await expect(page.locator("#ready")).to_be_attached(timeout=MILLISECONDS)
        if before:
            await before(page)
        await context.request.delete(f"{shop.url}{API}/ticket")
        token = await takes_place(shop)
        yield page, token
    finally:
        await context.pages[0].goto("about:blank")
        if token:
            await leaves(shop, token)
        await _comes_and_goes(shop, context.request)
        await context.close()


async def _comes_and_goes(shop: Server, request: APIRequestContext) -> None:
    """Nobody of one test is in the way of the next."""

    async def waits_no_more() -> bool:
        told = await (await request.get(f"{shop.url}{API}/status")).json()
        return bool(told.get("status") != "waiting")

    await eventually(waits_no_more)
    await request.delete(f"{shop.url}{API}/ticket")


async def takes_place(shop: Server) -> str:
    """Take the only slot; returns the pass."""
    async with httpx.AsyncClient(base_url=shop.url, timeout=DEADLINE_SECONDS) as client:
        ticket = (await client.post(f"{API}/join")).json()["ticket"]
        client.cookies.clear()

        async def ask() -> str | None:
            told = await client.get(f"{API}/status", headers=bearer(ticket))
            client.cookies.clear()
            token: str | None = told.json().get("pass")
            return token

        return await eventually(ask)


async def leaves(shop: Server, token: str) -> None:
    async with httpx.AsyncClient(base_url=shop.url, timeout=DEADLINE_SECONDS) as client:
        await client.delete(f"{API}/ticket", headers=bearer(token))


async def waits(page: Page, shop: Server, path: str) -> None:
    """The waiting page is the browser's whole document, at this path."""
    await expect(page.locator("#heading")).to_contain_text("You are in line", timeout=MILLISECONDS)
    await expect(page.locator("text=inside")).to_have_count(0)
    assert await page.evaluate("document.querySelectorAll('body > #view').length") == 1
    assert page.url == f"{shop.url}{path}"


@pytest.mark.parametrize("library", [*HTMX, *TURBO, *UNPOLY, *INERTIA])
async def test_a_link_shows_the_waiting_page_at_its_url_and_then_the_site(
    browser: Browser, shop: Server, library: str
) -> None:
    async with full(shop, browser, f"/inside/{library}") as (page, token):
        await page.click("#go")
        await waits(page, shop, "/goods?size=9")
        await leaves(shop, token)
        await expect(page.locator("h1").first).to_contain_text("inside GET /goods?size=9", timeout=30_000)


@pytest.mark.parametrize(
    ("library", "button", "path"),
    [
        *((library, "#search", "/goods?size=9") for library in ["htmx2", *TURBO, "unpoly14"]),
        *((library, "#part", f"/inside/{library}") for library in HTMX),
        *((library, "#part", "/part") for library in [*TURBO, *UNPOLY]),
        *((library, "#layer", "/part") for library in UNPOLY),
    ],
)
async def test_a_search_a_part_and_a_layer_show_the_whole_waiting_page(
    browser: Browser, shop: Server, library: str, button: str, path: str
) -> None:
    async with full(shop, browser, f"/inside/{library}") as (page, _):
        await page.click(button)
        await waits(page, shop, path)


@pytest.mark.parametrize(
    ("library", "button"),
    [
        *((library, "#send") for library in [*HTMX, *TURBO, *UNPOLY, *INERTIA]),
        *((library, "#post") for library in ["htmx2", "htmx4", "turbo8", "unpoly14"]),
    ],
)
async def test_a_form_is_said_to_be_unsent_and_the_way_back_leads_into_the_line(
    browser: Browser, shop: Server, library: str, button: str
) -> None:
    async with full(shop, browser, f"/inside/{library}") as (page, _):
        await page.click(button)
        await expect(page.locator("body > main > h1")).to_contain_text(
            "Nothing was sent", timeout=MILLISECONDS
        )
        assert await page.locator("h1").count() == 1
        await page.click("main a")
        await waits(page, shop, f"/inside/{library}")


@pytest.mark.parametrize("library", HTMX)
async def test_a_page_without_a_line_is_left_for_the_waiting_page_of_its_part(
    browser: Browser, shop: Server, library: str
) -> None:
    """Loaded again it would show itself, and a part that is asked for at once would load it for ever."""
    async with full(shop, browser, f"/shop/{library}") as (page, _):
        await page.click("#part")
        await waits(page, shop, "/part")


@pytest.mark.parametrize("library", HTMX)
async def test_a_step_back_to_what_htmx_has_forgotten_shows_the_waiting_page(
    browser: Browser, shop: Server, library: str
) -> None:
    async def forget(page: Page) -> None:
        await page.click("#go")
        await expect(page.locator("h1")).to_contain_text("inside GET /goods", timeout=MILLISECONDS)
        await page.evaluate("localStorage.clear(); sessionStorage.clear()")

    async with full(shop, browser, f"/inside/{library}", forget) as (page, _):
        await page.evaluate("history.back()")
        await waits(page, shop, f"/inside/{library}")


async def test_what_inertia_fetches_ahead_shows_nothing_until_the_click(
    browser: Browser, shop: Server
) -> None:
    async with full(shop, browser, "/inside/inertia2") as (page, _):
        async with page.expect_response(lambda response: "/goods" in response.url) as answered:
            await page.evaluate("ahead()")
        assert (await answered.value).status == 409
        await page.evaluate("new Promise((done) => setTimeout(done, 200))")
        assert await page.locator("iframe, dialog").count() == 0
        await page.click("#go")
        await waits(page, shop, "/goods?size=9")


async def test_an_event_source_asks_again_until_it_is_in(browser: Browser, shop: Server) -> None:
    """After any other status than 200 it would be closed for good."""
    async with full(shop, browser, "/shop/plain") as (page, token):
        await page.evaluate(
            """() => {
                const source = window.source = new EventSource("/events")
                window.heard = { waitroom: 0, message: 0 }
                for (const name of ["waitroom", "message"])
                    source.addEventListener(name, () => { window.heard[name] += 1 })
            }"""
        )

        async def hears_twice_that_it_waits() -> bool:
            return bool(await page.evaluate("window.heard.waitroom > 1"))

        async def is_in() -> bool:
            return bool(await page.evaluate("window.heard.message > 0"))

        await eventually(hears_twice_that_it_waits)
        assert not await is_in()
        assert await page.evaluate("source.readyState !== EventSource.CLOSED")
        await leaves(shop, token)
        await eventually(is_in)
        await page.evaluate("source.close()")
