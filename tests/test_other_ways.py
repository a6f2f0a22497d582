"""What stands between the page and the gate, in a real Chromium: the visitor learns of the turn all the same."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.gates import API, bearer, eventually, join, status
from tests.serving import in_a_thread
from tests.sites import site
from waitroom.config.settings import Settings
from waitroom.web.middleware import WaitingRoomMiddleware

pytestmark = pytest.mark.asyncio(loop_scope="session")

Make = Callable[..., Settings]


@pytest.fixture(autouse=True)
def _patient() -> None:
    expect.set_options(timeout=60_000)


@pytest.fixture
def soon_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that take what is older than some seconds for a kept copy."""
    monkeypatch.setattr("waitroom.web.gate.STALE_SECONDS", 2)


def enter(url: str) -> str:
    """Take the one slot, as another visitor; returns the pass."""
    with httpx.Client(base_url=url, timeout=30, cookies={"sso": "1"}) as client:
        join(client)
        token: str = status(client).json()["pass"]
    return token


def leave(token: str, url: str) -> None:
    headers = bearer(token) | {"Cookie": "sso=1"}
    httpx.delete(f"{url}{API}/ticket", headers=headers, timeout=30).raise_for_status()


@asynccontextmanager
async def waiting(
    browser: Browser, app: ASGIApp
) -> AsyncIterator[tuple[BrowserContext, Page, Callable[[], Any]]]:
    """A visitor with number 2 before a site for one, and what frees the slot."""
    with in_a_thread(app) as url:
        token = await asyncio.to_thread(enter, url)
        context = await browser.new_context()
        try:
            context.set_default_timeout(60_000)
            page = await context.new_page()
            await page.goto(f"{url}/shop?q=1#reviews")
            await expect(page.locator(".stub b")).to_have_text("2")
            yield context, page, lambda: asyncio.to_thread(leave, token, url)
        finally:
            await asyncio.wait_for(context.close(), 30)


async def answers(send: Send, code: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def wanting_a_cookie(app: ASGIApp, how: str) -> ASGIApp:
    """A login page in front: without its cookie nothing gets by."""

    async def in_front(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or b"sso=1" in dict(scope["headers"]).get(b"cookie", b""):
            await app(scope, receive, send)
        elif dict(scope["headers"]).get(b"sec-fetch-mode") == b"navigate":
            here = scope["path"].encode() + b"?" + scope["query_string"]
            await answers(send, 302, [(b"location", here), (b"set-cookie", b"sso=1; Path=/")])
        elif how == "302":
            await answers(send, 302, [(b"location", b"http://login.invalid/")])
        else:
            await answers(send, int(how), [(b"content-type", b"text/html")], b"<p>Log in")

    return in_front


@pytest.mark.parametrize("how", ["302", "403", "200", "401"])
async def test_what_wants_a_cookie_of_everybody_gets_it(browser: Browser, settings: Make, how: str) -> None:
    gate = WaitingRoomMiddleware(site, settings=settings(capacity=1))
    async with waiting(browser, wanting_a_cookie(gate, how)) as (_, page, frees):
        await frees()
        await expect(page.locator("body")).to_contain_text('"number":2')
        assert page.url.endswith("/shop?q=1#reviews")


def keeping(app: ASGIApp, by_query: bool, kept: dict[bytes, list[Message]]) -> ASGIApp:
    """A cache in front that keeps `/window` for ever, of each query or of all alike."""

    async def in_front(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].endswith("/window"):
            await app(scope, receive, send)
            return
        key = scope["query_string"] if by_query else b""
        if key not in kept:
            got: list[Message] = []

            async def note(message: Message) -> None:
                got.append(message)

            await app(scope, receive, note)
            kept[key] = got
        for message in kept[key]:
            await send(dict(message))

    return in_front


@pytest.mark.parametrize("by_query", [True, False])
async def test_a_window_that_stands_still_is_noticed(
    browser: Browser, settings: Make, soon_stale: None, by_query: bool
) -> None:
    gate = WaitingRoomMiddleware(site, settings=settings(capacity=1))
    kept: dict[bytes, list[Message]] = {}
    async with waiting(browser, keeping(gate, by_query, kept)) as (_, page, frees):

        async def is_kept() -> bool:
            return bool(kept)

        await eventually(is_kept)
        await frees()
        await expect(page.locator("body")).to_contain_text('"number":2')


async def test_p4_a_page_whose_cookie_is_gone_comes_in_with_its_number(
    browser: Browser, settings: Make
) -> None:
    gate = WaitingRoomMiddleware(site, settings=settings(capacity=1))
    async with waiting(browser, gate) as (context, page, frees):
        await context.clear_cookies()
        await frees()
        await expect(page.locator("body")).to_contain_text('"number":2')


WORKER = b"""
self.addEventListener("install", (event) => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(clients.claim()));
self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET") return;
  event.respondWith(caches.open("all").then(async (cache) => {
    const kept = await cache.match(event.request, {ignoreSearch: IGNORE});
    if (kept) return kept;
    const answer = await fetch(event.request);
    await cache.put(event.request, answer.clone());
    return answer;
  }));
});
"""


def with_worker(app: ASGIApp, ignores: str) -> ASGIApp:
    async def in_front(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/javascript")]
        if scope["type"] == "http" and scope["path"] == "/sw.js":
            await answers(send, 200, headers, WORKER.replace(b"IGNORE", ignores.encode()))
        elif scope["type"] == "http" and scope["path"] == "/begin":
            script = b"<script>navigator.serviceWorker.register('/sw.js').then(() => navigator.serviceWorker.ready)"
            script += b".then(() => document.title = 'ready')</script>"
            await answers(send, 200, [(b"content-type", b"text/html")], script)
        else:
            await app(scope, receive, send)

    return in_front


@asynccontextmanager
async def with_worker_at_work(
    browser: Browser, app: ASGIApp
) -> AsyncIterator[tuple[Page, Callable[[], Any]]]:
    """A visitor with number 2 before a site for one, whose worker keeps all answers; and what frees the slot."""
    with in_a_thread(app) as url:
        token = await asyncio.to_thread(enter, url)
        context = await browser.new_context()
        try:
            page = await context.new_page()
            await page.goto(f"{url}/begin")
            await expect(page).to_have_title("ready")
            await page.goto(f"{url}/shop?q=1")
            await expect(page.locator(".stub b")).to_have_text("2")
            yield page, lambda: asyncio.to_thread(leave, token, url)
        finally:
            await asyncio.wait_for(context.close(), 30)


@pytest.mark.parametrize("code", [200, 503])
async def test_a_worker_that_keeps_everything_keeps_nobody(
    browser: Browser, settings: Make, code: int
) -> None:
    gate = WaitingRoomMiddleware(site, settings=settings(capacity=1, status_code=code))
    async with with_worker_at_work(browser, with_worker(gate, "false")) as (page, frees):
        await frees()
        await expect(page.locator("body")).to_contain_text('"number":2')


KEPT = "path => caches.match(path, {ignoreSearch: true, ignoreVary: true}).then(Boolean)"
"""Whether the worker has kept an answer."""
LONG_AGO = "for (const key of Object.keys(sessionStorage)) if (key.endsWith(' reload')) sessionStorage.removeItem(key)"
"""Reloads keep their distance, of half a minute where nothing answers well: this one has been kept."""


@pytest.mark.parametrize("kept", ["/window", "/status"])
async def test_a_worker_that_keeps_one_answer_for_all_queries_keeps_nobody(
    browser: Browser, settings: Make, soon_stale: None, kept: str
) -> None:
    """No address of the gate is answered anew: at last the page throws the copies away, and loads itself again."""
    gate = WaitingRoomMiddleware(site, settings=settings(capacity=1))
    async with with_worker_at_work(browser, with_worker(gate, "true")) as (page, frees):

        async def is_kept() -> bool:
            return bool(await page.evaluate(KEPT, API + kept))

        await eventually(is_kept)
        await frees()
        await page.evaluate(LONG_AGO)
        await expect(page.locator("body")).to_contain_text('"number":2')


def keeping_pages(app: ASGIApp) -> ASGIApp:
    """A cache in front that keeps the first page of each URL for ever, without its cookie, as caches do."""
    kept: dict[bytes, list[Message]] = {}

    async def in_front(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/shop":
            await app(scope, receive, send)
            return
        key = scope["query_string"]
        if key in kept:
            for message in kept[key]:
                await send(dict(message))
            return
        kept[key] = []

        async def note(message: Message) -> None:
            headers = [pair for pair in message.get("headers", ()) if pair[0] != b"set-cookie"]
            kept[key].append({**message, "headers": headers} if "headers" in message else message)
            await send(message)

        await app(scope, receive, note)

    return in_front


async def test_a_kept_first_page_gets_its_number_and_blames_no_cookies(
    browser: Browser, settings: Make, soon_stale: None
) -> None:
    gate = WaitingRoomMiddleware(site, settings=settings(capacity=1, status_code=200))
    async with waiting(browser, keeping_pages(gate)) as (_, page, frees):
        await expect(page.locator("#cookies")).to_be_hidden()
        await page.goto(page.url.split("?")[0] + "?q=1")  # the kept page again, as by F5
        await expect(page.locator(".stub b")).to_have_text("2")
        await expect(page.locator("#cookies")).to_be_hidden()
        await frees()
        await expect(page.locator("body")).to_contain_text('"number":2')


async def test_cookies_that_come_with_the_word_to_clear_them_do_not_stay(
    browser: Browser, settings: Make
) -> None:
    """So that the gate gives the slot back rather than set the pass again in that answer."""

    async def signs_out(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/sign-out":
            headers = [(b"clear-site-data", b'"cookies"'), (b"set-cookie", b"again=1; Path=/")]
            await answers(send, 200, headers, b"signed out")
        else:
            await site(scope, receive, send)

    gate = WaitingRoomMiddleware(signs_out, settings=settings(capacity=1))
    with in_a_thread(gate) as url:
        context = await browser.new_context()
        try:
            page = await context.new_page()
            await page.goto(url)
            await expect(page.locator("body")).to_contain_text('"number":1')
            await page.goto(f"{url}/sign-out")
            await expect(page.locator("body")).to_contain_text("signed out")
            assert await context.cookies() == []
            assert (await asyncio.to_thread(httpx.get, f"{url}{API}/window")).json()["inside"] == 0
        finally:
            await asyncio.wait_for(context.close(), 30)
