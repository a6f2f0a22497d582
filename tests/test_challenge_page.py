"""The page that checks a browser: in a real Chromium, with scripts and without, and where it cannot compute."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect
from starlette.types import ASGIApp

from tests.gates import API
from tests.serving import in_a_thread
from tests.sites import site, without_cookies
from waitroom.config.settings import Settings
from waitroom.room import guard
from waitroom.web.middleware import WaitingRoomMiddleware

on_the_browsers_loop = pytest.mark.asyncio(loop_scope="session")
pytestmark = pytest.mark.usefixtures("patience")

Make = Callable[..., Settings]
LONG = 3_600


@pytest.fixture(autouse=True)
def _patient() -> None:
    expect.set_options(timeout=30_000)


@contextmanager
def serving(settings: Settings, on_the_way: Callable[[ASGIApp], ASGIApp] | None = None) -> Iterator[str]:
    """The site behind the gate on a real server, in a thread, so that a test can move the time to be waited."""
    gate = WaitingRoomMiddleware(site, settings=settings)
    app = on_the_way(gate) if on_the_way else gate
    with in_a_thread(app) as url:
        yield url


@asynccontextmanager
async def visiting(browser: Browser, **options: Any) -> AsyncIterator[Page]:
    """A browser of one visitor; nothing on its console may speak of the policy or of a mistake."""
    context = await browser.new_context(**options)
    said: list[str] = []
    try:
        context.set_default_timeout(30_000)
        page = await context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        yield page
    finally:
        await asyncio.wait_for(context.close(), 30)
    assert [line for line in said if "Failed to load resource" not in line] == []


async def issued(page: Page, url: str) -> int:
    told = await (await page.request.get(f"{url}{API}/window")).json()
    return int(told["issued"])


@on_the_browsers_loop
async def test_a_browser_is_checked_and_comes_in(
    browser: Browser, settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "TIMED_SECONDS", LONG)  # it is the solution that opens
    with serving(settings(challenge="always")) as url:
        async with visiting(browser) as page:
            await page.goto(f"{url}/shop?q=1")
            await expect(page.locator("body")).to_contain_text("inside")
            assert page.url == f"{url}/shop?q=1"
            assert await issued(page, url) == 1


@on_the_browsers_loop
async def test_a_browser_is_checked_and_stands_in_line(
    browser: Browser, settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "TIMED_SECONDS", LONG)
    with serving(settings(challenge="auto", join_limit=1, capacity=1)) as url:
        async with visiting(browser) as page, visiting(browser) as second:
            for _ in range(2):  # the second time it shows that it keeps its cookie
                await page.goto(url)
                await expect(page.locator("body")).to_contain_text("inside")
            await second.goto(url)
            await expect(second.locator("#heading")).to_have_text("You are in line.")


@on_the_browsers_loop
async def test_the_page_stays_alive_and_tells_what_goes_on(
    browser: Browser, settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "TIMED_SECONDS", LONG)
    with serving(settings(challenge="always", challenge_difficulty=100_000)) as url:
        async with visiting(browser) as page:
            await page.goto(url)
            await expect(page.locator("#heading")).to_have_text("Checking your browser…")
            await expect(page.locator("#spoken")).to_have_text(
                "Your browser is being checked. There is nothing for you to do."
            )
            await expect(page.get_by_role("progressbar")).to_have_accessible_name("Checking your browser…")
            await until_working(page)
            # A page whose thread computes would draw nothing and answer nothing meanwhile.
            values: set[float] = set()
            while len(values) < 5:
                values.add(await page.eval_on_selector("#progress", "bar => bar.value"))
                frames = await page.evaluate(
                    "new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(() => drawn(2))))"
                )
                assert frames == 2
            assert len(page.workers) == 1


async def until_working(page: Page) -> None:
    while not page.workers:
        await asyncio.sleep(0.02)


@on_the_browsers_loop
async def test_without_scripts_a_browser_waits_and_comes_in(
    browser: Browser, settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "TIMED_SECONDS", 2)
    with serving(settings(challenge="always")) as url:
        async with visiting(browser, java_script_enabled=False) as page:
            await page.goto(url)
            text = await page.inner_text("main")
            assert "Checking your browser…" in text
            assert "the page comes back by itself in 2 seconds" in text
            await expect(page.locator("body")).to_contain_text("inside")


@on_the_browsers_loop
async def test_where_a_browser_cannot_compute_it_waits(
    browser: Browser, settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over plain http from another machine browsers have no WebCrypto: the page says so, and waits."""
    monkeypatch.setattr(guard, "TIMED_SECONDS", 3)
    with serving(settings(challenge="always")) as url:
        async with visiting(browser, proxy={"server": url}) as page:
            await page.goto("http://shop.test/shop?q=1")
            assert await page.evaluate("isSecureContext") is False
            await expect(page.locator("#word")).to_contain_text("takes a little longer")
            await expect(page.locator("body")).to_contain_text("inside")
            assert page.url == "http://shop.test/shop?q=1"


@on_the_browsers_loop
async def test_a_browser_without_cookies_is_told(
    browser: Browser, settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "TIMED_SECONDS", LONG)
    with serving(settings(challenge="always"), without_cookies) as url:
        async with visiting(browser) as page:
            await page.goto(url)
            await expect(page.locator("#cookies h1")).to_have_text("Your browser sends no cookies back.")
            await expect(page.locator("#view")).to_be_hidden()
            assert await issued(page, url) == 0, "numbers are for browsers whose cookie comes back"


@on_the_browsers_loop
async def test_who_is_refused_is_told_and_comes_back(
    browser: Browser, settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waitroom.room.join_limit.MINUTE", 6.0)
    with serving(settings(challenge="off", join_limit=1)) as url:
        async with visiting(browser) as first, visiting(browser) as page:
            await first.goto(url)
            await page.goto(url)
            await expect(page.locator("#lead")).to_contain_text("Many numbers were taken from your network")
            await expect(page.locator("body")).to_contain_text("inside")
