"""The main job on real parts: Chromium on one side, a site under uvicorn on the other, a store between."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect
from starlette.types import ASGIApp

from tests.gates import API, DEADLINE_SECONDS, join, status, told_by_the_store
from tests.serving import in_a_thread
from tests.sites import site, without_cookies
from waitroom.config.settings import Settings
from waitroom.web.middleware import WaitingRoomMiddleware

Make = Callable[..., Settings]

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/tickets/front-row?seat=7&day=sunday"
PATIENCE_MS = 30_000


@dataclass
class Site:
    """Where the site is."""

    url: str


@dataclass
class Somebody:
    """A visitor of flesh and tokens, who is inside or in line before the one under test."""

    server: Site
    token: str

    def leave(self) -> None:
        with httpx.Client(base_url=self.server.url, timeout=DEADLINE_SECONDS) as client:
            told_by_the_store(
                lambda: client.delete(f"{API}/ticket", headers=self._bearer())
            ).raise_for_status()

    def status(self) -> dict[str, Any]:
        with httpx.Client(base_url=self.server.url, timeout=DEADLINE_SECONDS) as client:
            told: dict[str, Any] = status(client, headers=self._bearer()).json()
            return told

    async def comes_in(self) -> None:
        """Ask until the turn has come, as a program would."""
        async with asyncio.timeout(PATIENCE_MS / 1000):
            while self.status()["status"] != "active":
                await asyncio.sleep(0.05)

    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def somebody(server: Site) -> Somebody:
    with httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS) as client:
        return Somebody(server, join(client).json()["ticket"])


@contextmanager
def full_site(
    settings: Make, on_the_way: Callable[[ASGIApp], ASGIApp] = lambda gate: gate
) -> Iterator[tuple[Site, Somebody]]:
    """A site for one under uvicorn, and the one who is in; what is `on_the_way` stands in front of the gate."""
    gate = WaitingRoomMiddleware(site, settings=settings(capacity=1, sync_seconds=0.1))
    with in_a_thread(on_the_way(gate)) as url:
        server = Site(url)
        inside = somebody(server)
        assert inside.status()["status"] == "active"
        yield server, inside


@asynccontextmanager
async def visitor(browser: Browser, **options: Any) -> AsyncIterator[tuple[BrowserContext, Page]]:
    context = await browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    try:
        yield context, await context.new_page()
    finally:
        await context.close()


def window(server: Site) -> dict[str, Any]:
    told: dict[str, Any] = httpx.get(f"{server.url}{API}/window", timeout=DEADLINE_SECONDS).json()
    return told


async def number_on(page: Page) -> str:
    await expect(page.locator(".stub b")).to_have_text(re.compile(r"\d"), timeout=PATIENCE_MS)
    return await page.locator(".stub b").inner_text()


async def is_let_in(page: Page, server: Site) -> None:
    """In at the very URL that was asked for, with its query string."""
    await expect(page.locator("body")).to_contain_text('"site":"inside"', timeout=PATIENCE_MS)
    assert page.url == server.url + PATH
    await expect(page.locator("body")).to_contain_text('"query":"seat=7&day=sunday"')
    await expect(page.locator("body")).to_contain_text('"cookies":{}')


async def waits_and_enters(page: Page, server: Site, inside: Somebody) -> None:
    await page.goto(server.url + PATH)
    await number_on(page)
    inside.leave()
    await is_let_in(page, server)


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "no javascript"])
async def test_a_visitor_waits_and_is_let_in(browser: Browser, settings: Make, javascript: bool) -> None:
    with full_site(settings) as (server, inside):
        async with visitor(browser, java_script_enabled=javascript) as (_, page):
            first = await page.goto(server.url + PATH)
            assert first is not None
            assert first.status == 503
            assert await number_on(page) == "2"
            await expect(page.locator("h1:visible")).to_have_text("You are in line.")
            inside.leave()
            await is_let_in(page, server)
            assert window(server)["inside"] == 1


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "no javascript"])
async def test_one_who_closes_the_tab_keeps_the_place(
    browser: Browser, settings: Make, javascript: bool
) -> None:
    """P4: also while others join behind."""
    with full_site(settings) as (server, inside):
        async with visitor(browser, java_script_enabled=javascript) as (context, page):
            await page.goto(server.url + PATH)
            number = await number_on(page)
            await page.close()
            later = somebody(server)
            page = await context.new_page()
            await page.goto(server.url + PATH)
            assert await number_on(page) == number
            inside.leave()
            await is_let_in(page, server)
            assert later.status()["status"] == "waiting"


async def test_one_who_leaves_the_line_gives_up_the_place(browser: Browser, settings: Make) -> None:
    with full_site(settings) as (server, _):
        async with visitor(browser) as (context, page):
            await page.goto(server.url + PATH)
            await number_on(page)
            await page.locator("#leave-ask").click()
            await page.locator("#leave-yes").click()
            await expect(page.locator("h1:visible")).to_have_text("You have left the line.")
            assert await context.cookies() == []
            await page.locator("#left a").click()
            assert await number_on(page) == "3"


async def test_one_who_is_inside_leaves_through_the_site(browser: Browser, settings: Make) -> None:
    """The site's own word frees the slot, and the next in line comes in."""
    with full_site(settings) as (server, inside):
        async with visitor(browser) as (_, page):
            await waits_and_enters(page, server, inside)
            following = somebody(server)
            assert following.status()["status"] == "waiting"
            goodbye = await page.goto(f"{server.url}/release")
            assert goodbye is not None
            assert "waitroom-command" not in goodbye.headers
            await expect(page.locator("body")).to_have_text("goodbye")
            await following.comes_in()


async def test_a_form_sent_while_there_is_a_line_is_not_swallowed(browser: Browser, settings: Make) -> None:
    with full_site(settings) as (server, _):
        async with visitor(browser) as (_, page):
            await page.route(
                f"{server.url}/form", lambda route: route.fulfill(body=FORM, content_type="text/html")
            )
            await page.goto(f"{server.url}/form")
            async with page.expect_response(f"{server.url}/order") as sent:
                await page.locator("button").click()
            response = await sent.value
            assert (response.status, response.request.method) == (503, "POST")
            assert "refresh" not in response.headers
            await expect(page.locator("h1:visible")).to_have_text("Nothing was sent.")
            await page.locator("a.button").click()
            assert await number_on(page) == "2"


FORM = '<form method="post" action="/order"><input name="seat" value="7"><button>Buy</button></form>'


async def test_a_browser_without_cookies_is_told_so(browser: Browser, settings: Make) -> None:
    """It takes no number, and does not ask again and again."""
    with full_site(settings, without_cookies) as (server, _):
        async with visitor(browser) as (_, page):
            asked = 0

            def count(_: Any) -> None:
                nonlocal asked
                asked += 1

            page.on("request", count)
            await page.goto(server.url + PATH)
            await expect(page.locator("h1:visible")).to_have_text("Your browser sends no cookies back.")
            await page.wait_for_timeout(3000)
            await expect(page.locator("h1:visible")).to_have_text("Your browser sends no cookies back.")
            assert asked <= 5, "the page, its reloads, and one question whether a cookie came"
            assert window(server)["issued"] == 1


async def test_one_who_was_in_and_out_is_not_taken_for_one_without_cookies(
    browser: Browser, settings: Make
) -> None:
    with full_site(settings) as (server, inside):
        async with visitor(browser) as (_, page):
            await waits_and_enters(page, server, inside)
            await page.goto(f"{server.url}/release")
            following = somebody(server)
            await following.comes_in()
            await page.goto(server.url + PATH)
            await number_on(page)
            await expect(page.locator("h1:visible")).to_have_text("You are in line.")
