"""What the first tries of a newcomer to the gate, and a site's own trouble, do to who comes next: on a real server."""

import asyncio
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.gates import DEADLINE_SECONDS
from tests.serving import in_a_thread
from waitroom.config.settings import Settings
from waitroom.web.middleware import WaitingRoomMiddleware

Make = Callable[..., Settings]
AT_ONCE_SECONDS = 3
"""A newcomer to an empty site waits no longer, also where the machine is busy."""
IMAGE = {
    "Accept": "image/avif,image/webp,image/apng,*/*;q=0.8",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36",
}

pytestmark = pytest.mark.usefixtures("patience")


async def _home(_: Request) -> Response:
    return PlainTextResponse("You are inside.")


async def _broken(_: Request) -> Response:
    raise RuntimeError("the database is away")


def shop(settings: Settings) -> Starlette:
    """A site that has its gate by `add_middleware`."""
    routes = [Route("/", _home), Route("/a.png", _home), Route("/broken", _broken)]
    return Starlette(routes=routes, middleware=[Middleware(WaitingRoomMiddleware, settings=settings)])


def stranger(url: str, method: str = "GET", **keywords: Any) -> int:
    """One request of somebody who keeps no cookies, on a connection of its own."""
    return httpx.request(method, url, timeout=DEADLINE_SECONDS, **keywords).status_code


def test_thirty_visits_without_cookies_are_all_served(settings: Make) -> None:
    with in_a_thread(shop(settings())) as url:
        assert [stranger(url) for _ in range(30)] == [200] * 30


def test_sixty_at_once_are_all_served(settings: Make) -> None:
    with in_a_thread(shop(settings())) as url, ThreadPoolExecutor(60) as threads:
        assert list(threads.map(stranger, [url] * 60)) == [200] * 60


@pytest.mark.parametrize(
    ("path", "method", "headers"),
    [
        ("/", "GET", {"User-Agent": "curl/8.5.0", "Accept": "*/*"}),
        ("/", "HEAD", {"User-Agent": "monitor"}),
        ("/a.png", "GET", IMAGE),
    ],
    ids=["curl", "HEAD", "image"],
)
@pytest.mark.asyncio(loop_scope="session")
async def test_a_browser_comes_in_at_once_after_clients_without_cookies(
    settings: Make, browser: Browser, path: str, method: str, headers: dict[str, str]
) -> None:
    with in_a_thread(shop(settings(capacity=10))) as url:
        for _ in range(10):
            assert await asyncio.to_thread(stranger, url + path, method, headers=headers) == 200
        context = await browser.new_context()
        try:
            page = await context.new_page()
            shown = await page.goto(url, timeout=AT_ONCE_SECONDS * 1000)
            assert shown is not None
            assert shown.status == 200
            assert await page.inner_text("body") == "You are inside."
            again = await page.reload()
            assert again is not None
            assert again.status == 200, "and it has a place of its own"
        finally:
            await context.close()


def test_a_site_that_failed_has_all_its_slots(settings: Make) -> None:
    with in_a_thread(shop(settings(capacity=3, first_lease_seconds=60))) as url:
        assert [stranger(f"{url}/broken") for _ in range(12)] == [500] * 12
        with httpx.Client(base_url=url, timeout=DEADLINE_SECONDS) as visitor:
            assert [visitor.get("/").status_code for _ in range(3)] == [200] * 3


def test_a_sites_own_tests_without_a_with_block_are_all_served(settings: Make) -> None:
    with warnings.catch_warnings(action="ignore"):  # Starlette would rather have the httpx of tomorrow
        from starlette.testclient import TestClient
    app = shop(settings())
    assert [TestClient(app).get("/").status_code for _ in range(100)] == [200] * 100
