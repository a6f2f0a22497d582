"""The page comes back by itself at its own URL, and at no other, whatever that URL is: also in a real Chromium."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.async_api import Browser, Page, expect
from starlette.types import Receive, Scope, Send

from tests.gates import API, bearer, client_of, gated, join, session, status
from tests.serving import in_a_thread
from tests.sites import site
from waitroom.config.settings import Settings
from waitroom.room import overload
from waitroom.web.answers.refresh import LONGEST, refresh
from waitroom.web.middleware import WaitingRoomMiddleware

on_the_browsers_loop = pytest.mark.asyncio(loop_scope="session")

Make = Callable[..., Settings]
PAGE = {"Accept": "text/html"}


@pytest.fixture(autouse=True)
def _patient() -> None:
    expect.set_options(timeout=30_000)


def scope(path: str, query: bytes = b"", root_path: str = "", **more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": query,
        "root_path": root_path,
        **more,
    }


def written(*args: Any, **more: Any) -> str:
    name, value = refresh(scope(*args, **more), b"7")
    assert name == b"refresh"
    return value.decode("ascii")


@pytest.mark.parametrize(
    ("told", "url"),
    [
        (scope("/"), "/"),
        (scope(""), "/"),
        (scope("/shop"), "./shop"),
        (scope("/a/b/"), "."),
        (scope("/a/b", b"q=1&r=a;b,c"), "?q=1&r=a;b,c"),
        (scope("/", b"q=1"), "?q=1"),
        (scope("/a:b"), "./a:b"),
        (scope("/a b/café x?y"), "./caf%C3%A9%20x%3Fy"),
        (scope("/a/x y", raw_path=b"/a/x%20y"), "./x%20y"),
        (scope("/a/x/y", raw_path=b"/a/x%2fy?q=1"), "./x%2fy"),
        (scope("//evil.example"), "./evil.example"),
        (scope("//evil.example/"), "."),
        (scope("/app/", root_path="/app"), "/app/"),
        (scope("/", root_path="/app"), "/app/"),
        (scope("/app", root_path="/app"), "./app"),
        (scope("/app/shop/", root_path="/app/"), "."),
        (scope("/x", root_path="//evil.example"), "./x"),
        (scope("/", root_path="//evil.example"), "/evil.example/"),
        (scope("/", b"\"quoted' \r\nX: y<>\\\xff#"), "?%22quoted%27%20%0D%0AX:%20y%3C%3E%5C%FF%23"),
    ],
)
def test_the_page_is_loaded_again_from_where_it_came(told: dict[str, Any], url: str) -> None:
    assert refresh(told, b"7") == (b"refresh", f"7; url={url}".encode())


def test_a_url_that_is_too_long_for_a_header_is_left_out() -> None:
    """A proxy that takes only so much of headers would answer with an error of its own."""
    assert written("/", b"q" * (LONGEST - 1)).endswith("q")
    assert written("/", b"q" * LONGEST) == "7"
    assert written("/" + "q" * LONGEST) == "7"


@given(st.text(), st.binary(), st.text(), st.none() | st.binary())
def test_whatever_is_asked_for_the_header_is_whole_and_stays_on_its_host(
    path: str, query: bytes, root_path: str, raw_path: bytes | None
) -> None:
    told = scope(f"/{path}", query, root_path, raw_path=raw_path)
    value = refresh(told, b"7")[1].decode("ascii")
    assert value.isprintable()
    assert not set(value.partition("url=")[2]) & set(" \"'\\<>#")
    target = urlsplit(urljoin("http://shop.example/a/b?c=d", value.partition("url=")[2]))
    assert (target.scheme, target.netloc) == ("http", "shop.example")


async def test_refresh_and_retry_after_agree(settings: Make) -> None:
    async with (
        gated(site, settings=settings(capacity=1)) as gate,
        client_of(gate) as inside,
        client_of(gate) as guest,
    ):
        await session(inside)
        for _ in range(2):  # unnumbered, then with a number
            page = await guest.get("/shop?q=1", headers=PAGE)
            assert page.headers["refresh"] == f"{page.headers['retry-after']}; url=?q=1"
        gate._gates[0].room.snapshot._late_by = overload.LATEST + 1
        page = await guest.get("/shop", headers=PAGE)
        assert page.headers["refresh"] == f"{page.headers['retry-after']}; url=./shop"
        assert "Look now</a>" in page.text


# -- in a browser ----------------------------------------------------------------------------------------


@asynccontextmanager
async def visiting(browser: Browser, scripts: bool) -> AsyncIterator[Page]:
    context = await browser.new_context(java_script_enabled=scripts)
    try:
        context.set_default_timeout(30_000)
        yield await context.new_page()
    finally:
        await asyncio.wait_for(context.close(), 30)


def enter(url: str) -> str:
    """Take the one slot, as another visitor; returns the pass."""
    with httpx.Client(base_url=url, timeout=30) as client:
        join(client)
        token: str = status(client).json()["pass"]
    return token


def leave(token: str, url: str) -> None:
    httpx.delete(f"{url}{API}/ticket", headers=bearer(token), timeout=30).raise_for_status()


PATHS = ["/", "/a/b", "/a/b/", "/a/b?q=1", "/?q=1", "//a.example/b", "/a/x:y", "/a/caf%C3%A9%20x"]


@on_the_browsers_loop
@pytest.mark.parametrize("path", PATHS)
async def test_without_scripts_a_page_at_a_fragment_comes_in(
    browser: Browser, settings: Make, path: str
) -> None:
    with in_a_thread(WaitingRoomMiddleware(site, settings=settings(capacity=1))) as url:
        async with visiting(browser, scripts=False) as page:
            token = await asyncio.to_thread(enter, url)
            await page.goto(f"{url}{path}#reviews")
            await expect(page.locator(".stub b")).to_have_text("2")
            await asyncio.to_thread(leave, token, url)
            await expect(page.locator("body")).to_contain_text('"site":"inside"')
            assert page.url == f"{url}{path}"


@on_the_browsers_loop
async def test_below_a_mount_it_comes_in_as_well(browser: Browser, settings: Make) -> None:
    gate = WaitingRoomMiddleware(site, settings=settings(capacity=1))

    async def mount(scope: Scope, receive: Receive, send: Send) -> None:
        await gate({**scope, "root_path": "/app"} if scope["type"] == "http" else scope, receive, send)

    with in_a_thread(mount) as url:
        async with visiting(browser, scripts=False) as page:
            token = await asyncio.to_thread(enter, f"{url}/app")
            await page.goto(f"{url}/app/#reviews")
            await expect(page.locator(".stub b")).to_have_text("2")
            await asyncio.to_thread(leave, token, f"{url}/app")
            await expect(page.locator("body")).to_contain_text('"site":"inside"')
            assert page.url == f"{url}/app/"


@on_the_browsers_loop
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_a_page_that_carries_no_script_comes_back_at_a_fragment(
    browser: Browser, settings: Make, monkeypatch: pytest.MonkeyPatch, scripts: bool
) -> None:
    monkeypatch.setattr("waitroom.room.join_limit.MINUTE", 6.0)
    gate = WaitingRoomMiddleware(site, settings=settings(challenge="off", join_limit=1))
    with in_a_thread(gate) as url:
        async with visiting(browser, scripts) as first, visiting(browser, scripts) as page:
            await first.goto(url)
            await page.goto(f"{url}/shop#reviews")
            await expect(page.locator("#lead")).to_contain_text("Many numbers were taken from your network")
            await expect(page.locator("body")).to_contain_text("inside")


@on_the_browsers_loop
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_a_busy_process_is_asked_again_at_a_fragment(
    browser: Browser, settings: Make, scripts: bool
) -> None:
    gate = WaitingRoomMiddleware(site, settings=settings())
    with in_a_thread(gate) as url:
        async with visiting(browser, scripts) as page, visiting(browser, scripts) as other:
            await other.goto(f"{url}/shop")
            snapshot = gate._gates[0].room.snapshot
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(snapshot, "is_late", lambda _: True)
                await page.goto(f"{url}/shop#reviews")
                await expect(page.locator("h1")).to_have_text("Very many people are arriving.")
            await expect(page.locator("body")).to_contain_text('"site":"inside"')


@on_the_browsers_loop
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_a_link_looks_at_once(
    browser: Browser, settings: Make, monkeypatch: pytest.MonkeyPatch, scripts: bool
) -> None:
    """With scripts it keeps the fragment."""
    monkeypatch.setattr("waitroom.line.positions.Positions._spread", lambda *_: 3000)
    with in_a_thread(WaitingRoomMiddleware(site, settings=settings(capacity=1))) as url:
        async with visiting(browser, scripts) as page:
            token = await asyncio.to_thread(enter, url)
            await page.goto(f"{url}/shop#reviews")
            await expect(page.locator(".stub b")).to_have_text("2")
            await asyncio.to_thread(leave, token, url)
            await page.get_by_role("link", name="Look now").click()
            await expect(page.locator("body")).to_contain_text('"site":"inside"')
            assert page.url == f"{url}/shop{'#reviews' if scripts else ''}"
