"""Requests that other origins and other sites send, as a real Chromium sends them: with which cookies, read by whom."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Frame, Page, expect

from tests.browser import chromium
from tests.cross_sites import Certificate, Sites, bound, serving, shop
from tests.gates import API, eventually, is_inside, session
from waitroom.config.settings import Settings
from waitroom.web.middleware import WaitingRoomMiddleware

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("patience")]

PATIENCE_MS = 30_000
JSON = {"Accept": "application/json"}
RETURNED = "One more step."

Make = Callable[..., Settings]
Profile = Callable[[int], Awaitable[BrowserContext]]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def launching(certificate: Certificate) -> dict[str, Any]:
    """How to start a browser that finds the sites by their names and believes their certificate."""
    return {"executable_path": chromium(), "args": ["--no-sandbox", *certificate.browser_arguments]}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def worldly(browser: Browser, launching: dict[str, Any]) -> AsyncIterator[Browser]:
    running = await browser.browser_type.launch(**launching)
    yield running
    await running.close()


ALLOWED, BLOCKED = 0, 1
"""Third-party cookies, as a Chromium profile has it in `cookie_controls_mode`."""


@pytest.fixture
def profile(browser: Browser, launching: dict[str, Any], tmp_path: Path) -> Profile:
    """Start a browser with a profile of its own; takes its mind on third-party cookies."""

    async def start(third_party: int) -> BrowserContext:
        preferences = tmp_path / "Default" / "Preferences"
        preferences.parent.mkdir()
        preferences.write_text(json.dumps({"profile": {"cookie_controls_mode": third_party}}))
        return await browser.browser_type.launch_persistent_context(tmp_path, **launching)

    return start


@dataclass
class Town:
    """The sites, a visitor's browser, and somebody who has no browser."""

    sites: Sites
    context: BrowserContext
    page: Page
    guest: httpx.AsyncClient

    async def window(self) -> dict[str, Any]:
        told: dict[str, Any] = (await self.guest.get(f"{API}/window")).json()
        return told

    async def inside(self, count: int) -> None:
        """Wait until so many are inside."""

        async def look() -> bool:
            return bool((await self.window())["inside"] == count)

        await eventually(look)

    async def cookie(self) -> str:
        """The gate's cookie as the visitor's browser has it."""
        cookies = await self.context.cookies(self.sites.shop)
        return next((one["value"] for one in cookies if "waitroom" in one["name"]), "")

    async def is_sent(self, how: str, to: str = "/paid") -> None:
        """Let the payment site send the visitor to the shop."""
        await self.page.goto(f"{self.sites.pay}/{how}?to={self.sites.shop}{to}")
        if how == "link":
            await self.page.locator("#go").click()


Build = Callable[..., AbstractAsyncContextManager[Town]]


@pytest.fixture
def town(worldly: Browser, certificate: Certificate, settings: Make) -> Build:
    """Build a town; `cors` names origins as `app` and `pay`, other keywords are the gate's settings."""

    @asynccontextmanager
    async def build(
        cors: str = "", javascript: bool = True, browsing: BrowserContext | None = None, **changed: Any
    ) -> AsyncIterator[Town]:
        at = bound()
        sites = Sites(at.getsockname()[1], certificate)
        origins = [{"app": sites.app, "pay": sites.pay}[name] for name in cors.split()]
        mine = settings(cors_origins=origins, sync_seconds=0.1, **changed)
        gate = WaitingRoomMiddleware(shop(sites.app, sites.pay), settings=mine)
        context = browsing or await worldly.new_context(java_script_enabled=javascript)
        context.set_default_timeout(PATIENCE_MS)
        with serving(gate, at, certificate):
            async with sites.client() as guest:
                try:
                    yield Town(sites, context, await context.new_page(), guest)
                finally:
                    await context.close()

    return build


async def told(where: Page | Frame) -> dict[str, Any]:
    """What the shop says that it got, once it has."""
    await expect(where.locator("body")).to_contain_text('"site":"inside"', timeout=PATIENCE_MS)
    answer: dict[str, Any] = json.loads(await where.locator("body").inner_text())
    return answer


async def enters(town: Town) -> str:
    """Visit the shop while there is room, and come back, as the first visit alone gives way; tells the session."""
    await town.page.goto(f"{town.sites.shop}/")
    await town.page.goto(f"{town.sites.shop}/")
    return str((await told(town.page))["session"])


async def number_on(page: Page) -> str:
    await expect(page.locator(".stub b")).to_have_text(re.compile(r"\d"), timeout=PATIENCE_MS)
    return await page.locator(".stub b").inner_text()


async def heading(where: Page | Frame, text: str) -> None:
    await expect(where.locator("h1:visible")).to_have_text(text, timeout=PATIENCE_MS)


# -- scripts of other origins ----------------------------------------------------------------------


@dataclass
class Heard:
    """What a script got to read of an answer."""

    code: int
    headers: dict[str, str]
    body: dict[str, Any]


async def asks(page: Page, url: str, **options: Any) -> Heard | None:
    """Fetch as a script of the page; None where the browser keeps the answer from it."""
    found = await page.evaluate(
        """async ([url, options]) => {
            try {
                const answer = await fetch(url, {credentials: "include", ...options});
                const text = await answer.text();
                const body = text.startsWith("{") ? JSON.parse(text) : {};
                return {code: answer.status, headers: Object.fromEntries(answer.headers), body};
            } catch {
                return null;
            }
        }""",
        [url, options],
    )
    return Heard(**found) if found else None


async def hears(page: Page, url: str, **options: Any) -> Heard:
    heard = await asks(page, url, **options)
    assert heard is not None, f"the browser kept the answer of {url} from the script"
    return heard


@pytest.mark.parametrize(("origin", "samesite"), [("app", "strict"), ("pay", "none")])
async def test_a_named_origins_script_waits_comes_in_and_leaves(
    town: Build, profile: Profile, origin: str, samesite: str
) -> None:
    """By cookie: of the same site with any, of another site with SameSite=None where the browser lets it."""
    browsing = await profile(BLOCKED if origin == "app" else ALLOWED)
    async with town(cors=origin, browsing=browsing, cookie_samesite=samesite, capacity=1) as there:
        page, shop = there.page, there.sites.shop
        await session(there.guest)
        await page.goto(f"{getattr(there.sites, origin)}/")

        held = await hears(page, f"{shop}/goods")
        assert (held.code, held.body["type"], held.body["number"]) == (503, "urn:waitroom:waiting", None)
        assert held.headers["content-type"] == "application/problem+json"
        assert int(held.headers["retry-after"]) >= 1
        assert (await hears(page, f"{shop}/goods")).body["number"] == 2, "the cookie did not come back"
        joined = await hears(page, f"{shop}{API}/join", method="POST")
        assert (joined.code, joined.body["number"]) == (200, 2)
        assert (await hears(page, f"{shop}{API}/window")).body["waiting"] == 1

        await there.guest.delete(f"{API}/ticket")

        async def comes_in() -> bool:
            return bool((await hears(page, f"{shop}{API}/status")).body["status"] == "active")

        await eventually(comes_in)
        goods = await hears(page, f"{shop}/goods")
        assert (goods.body["site"], goods.body["number"]) == ("inside", 2), "the site's own CORS allows it"

        assert (await hears(page, f"{shop}{API}/ticket", method="DELETE")).code == 204
        assert await there.cookie() == ""
        await there.inside(0)


@pytest.mark.parametrize("cors", ["app", ""])
async def test_p8_an_origin_that_is_not_named_reads_nothing_and_changes_nothing(
    town: Build, cors: str
) -> None:
    """Also where the cookie comes along with all that it asks."""
    async with town(cors=cors, cookie_samesite="none", capacity=1) as there:
        page, shop = there.page, there.sites.shop
        await session(there.guest)
        await page.goto(f"{shop}/")
        assert await number_on(page) == "2"
        ticket = await there.cookie()
        for origin in [there.sites.pay] if cors else [there.sites.pay, there.sites.app]:
            await page.goto(f"{origin}/")
            for path in ("/goods", f"{API}/status", f"{API}/window"):
                assert await asks(page, shop + path) is None
            assert await asks(page, f"{shop}{API}/join", method="POST") is None
            assert await asks(page, f"{shop}{API}/ticket", method="DELETE") is None
        assert await there.cookie() == ticket
        await page.goto(f"{shop}/")
        assert await number_on(page) == "2"


async def test_a_script_of_another_site_keeps_its_token_itself(town: Build) -> None:
    """No cookie is needed: the site's own CORS lets the script send `Waitroom-Pass` and read the renewed one."""
    async with town(cors="pay", capacity=1, session_seconds=4, first_lease_seconds=4) as there:
        page, shop = there.page, there.sites.shop
        await session(there.guest)
        await page.goto(f"{there.sites.pay}/")
        alone = {"credentials": "omit"}
        joined = await hears(page, f"{shop}{API}/join", method="POST", **alone)
        assert (joined.code, joined.body["number"]) == (201, 2)
        ticket = joined.body["ticket"]
        # The browser asks the site, not the gate, whether this header may be sent: the preflight goes through.
        held = await hears(page, f"{shop}/goods", headers={"Waitroom-Pass": ticket}, **alone)
        assert (held.code, held.body["number"]) == (503, 2)

        await there.guest.delete(f"{API}/ticket")

        async def comes_in() -> str | None:
            bearer = {"Authorization": f"Bearer {ticket}"}
            status = await hears(page, f"{shop}{API}/status", headers=bearer, **alone)
            return status.body.get("pass")

        token = await eventually(comes_in)
        sessions = set()

        async def is_renewed() -> str | None:
            goods = await hears(page, f"{shop}/goods", headers={"Waitroom-Pass": token}, **alone)
            assert goods.body["site"] == "inside"
            assert "waitroom-pass" not in goods.body["headers"], "the site saw the pass"
            sessions.add(goods.body["session"])
            return goods.headers.get("waitroom-pass")

        assert await eventually(is_renewed) != token
        assert len(sessions) == 1
        assert await there.cookie() == ""


async def test_where_third_party_cookies_are_blocked_samesite_none_is_of_no_help(
    town: Build, profile: Profile
) -> None:
    async with town(cors="pay", browsing=await profile(BLOCKED), cookie_samesite="none", capacity=1) as there:
        await session(there.guest)
        await there.page.goto(f"{there.sites.pay}/")
        for _ in range(3):
            held = await hears(there.page, f"{there.sites.shop}/goods")
            assert (held.code, held.body["number"]) == (503, None)
        assert (await there.window())["issued"] == 1


async def test_a_script_without_cookie_and_token_takes_a_place_for_as_long_as_its_request(
    town: Build,
) -> None:
    """Its Lax cookie is neither sent nor taken by the browser: without this one place would be used up at once."""
    async with town(cors="pay", capacity=1) as there:
        await there.page.goto(f"{there.sites.pay}/")
        for method in ("GET", "POST", "GET"):
            goods = await hears(there.page, f"{there.sites.shop}/goods", method=method)
            assert goods.body["site"] == "inside"
            await there.inside(0)
        await session(there.guest)
        assert (await hears(there.page, f"{there.sites.shop}/goods")).code == 503


# -- visitors who come back from a payment page ----------------------------------------------------


@pytest.mark.parametrize("how", ["link", "see-other"])
async def test_a_return_by_link_or_redirect_brings_the_pass(town: Build, how: str) -> None:
    """P6, with the Lax cookie of the default, in a full room."""
    async with town(capacity=1) as there:
        mine = await enters(there)
        if how == "link":
            await there.is_sent("link")
        else:
            # As in practice: the shop sends its visitor to the payment page, and that one back.
            back = f"{there.sites.pay}/see-other?to={there.sites.shop}/paid"
            await there.page.goto(f"{there.sites.shop}/see-other?to={back}")
        returned = await told(there.page)
        assert (returned["method"], returned["path"], returned["session"]) == ("GET", "/paid", mine)


@pytest.mark.parametrize("samesite", ["lax", "strict"])
async def test_p4_a_return_by_post_does_not_replace_the_pass(town: Build, samesite: str) -> None:
    """The browser keeps the cookie back. While there is room the form goes through, on a place of its own."""
    async with town(capacity=2, cookie_samesite=samesite) as there:
        mine = await enters(there)
        await there.page.goto(f"{there.sites.shop}/basket")
        before = await there.cookie()
        await there.is_sent("form")
        returned = await told(there.page)
        assert (returned["method"], returned["body"]) == ("POST", "paid=7")
        # For two minutes Chromium sends cookies that say nothing about other sites, but not the gate's.
        assert returned["cookies"] == {"basket": "3"}
        assert returned["session"] not in (mine, None)
        assert await there.cookie() == before
        await there.inside(1)
        await there.page.goto(f"{there.sites.shop}/account")
        assert (await told(there.page))["session"] == mine


async def test_a_return_by_post_that_the_site_answers_with_a_redirect_is_back_at_once(town: Build) -> None:
    async with town(capacity=2) as there:
        mine = await enters(there)
        await there.is_sent("form", "/see-other?to=/thanks")
        returned = await told(there.page)
        assert (returned["method"], returned["path"], returned["session"]) == ("GET", "/thanks", mine)


async def test_p4_a_return_by_post_to_a_full_room_is_told_and_leads_back_in(town: Build) -> None:
    async with town(capacity=1) as there:
        mine = await enters(there)
        before = await there.cookie()
        async with there.page.expect_response(f"{there.sites.shop}/paid") as sent:
            await there.is_sent("form")
        response = await sent.value
        assert (response.status, response.request.method) == (503, "POST")
        await heading(there.page, RETURNED)
        assert await there.cookie() == before
        await there.page.get_by_role("link", name="Continue").click()
        returned = await told(there.page)
        assert (returned["method"], returned["path"], returned["session"]) == ("GET", "/paid", mine)


@pytest.mark.parametrize("to", ["/paid", f"{API}/join"])
@pytest.mark.parametrize("samesite", ["lax", "strict"])
async def test_p4_another_sites_form_takes_nobodys_number_away(town: Build, samesite: str, to: str) -> None:
    async with town(capacity=1, cookie_samesite=samesite) as there:
        await session(there.guest)
        await there.page.goto(f"{there.sites.shop}/")
        assert await number_on(there.page) == "2"
        before = await there.cookie()
        async with there.page.expect_response(there.sites.shop + to):
            await there.is_sent("form", to)
        assert await there.cookie() == before
        await there.page.goto(f"{there.sites.shop}/")
        assert await number_on(there.page) == "2"


async def test_with_samesite_none_a_return_by_post_goes_through_a_full_room(town: Build) -> None:
    """P6"""
    async with town(capacity=1, cookie_samesite="none") as there:
        mine = await enters(there)
        await there.is_sent("form")
        returned = await told(there.page)
        assert (returned["method"], returned["body"], returned["session"]) == ("POST", "paid=7", mine)


async def test_an_excluded_return_path_is_open_to_all_and_takes_no_place(town: Build) -> None:
    async with town(capacity=1, exclude="/paid,/favicon.ico") as there:
        mine = await enters(there)
        before = await there.window()
        await there.is_sent("form")
        returned = await told(there.page)
        assert (returned["method"], returned["body"], returned["session"]) == ("POST", "paid=7", None)
        after = await there.window()
        assert [after[name] for name in ("inside", "issued")] == [
            before[name] for name in ("inside", "issued")
        ]
        await there.page.goto(f"{there.sites.shop}/account")
        assert (await told(there.page))["session"] == mine


# -- SameSite=strict, where links of other sites come without the cookie too ----------------------------


async def test_p4_strict_a_link_to_a_site_with_room_does_not_replace_the_pass(town: Build) -> None:
    async with town(capacity=2, cookie_samesite="strict") as there:
        mine = await enters(there)
        before = await there.cookie()
        await there.is_sent("link", "/goods?size=9")
        linked = await told(there.page)
        assert (linked["path"], linked["query"]) == ("/goods", "size=9")
        assert await there.cookie() == before
        await there.inside(1)
        await there.page.goto(f"{there.sites.shop}/account")
        assert (await told(there.page))["session"] == mine


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "no javascript"])
async def test_p4_strict_a_link_to_a_full_site_finds_the_pass_by_way_of_the_page(
    town: Build, javascript: bool
) -> None:
    """The page loads itself anew, and to that its own site is the sender."""
    async with town(capacity=1, cookie_samesite="strict", javascript=javascript) as there:
        mine = await enters(there)
        async with there.page.expect_response(lambda one: one.status == 503):
            await there.is_sent("link", "/goods?size=9")
        linked = await told(there.page)
        assert (linked["path"], linked["query"], linked["session"]) == ("/goods", "size=9", mine)


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "no javascript"])
@pytest.mark.parametrize("who", ["one in line", "newcomer"])
async def test_p4_strict_a_link_to_a_full_site_finds_or_takes_a_number(
    town: Build, who: str, javascript: bool
) -> None:
    async with town(capacity=1, cookie_samesite="strict", javascript=javascript) as there:
        await session(there.guest)
        if who == "one in line":
            await there.page.goto(f"{there.sites.shop}/")
            assert await number_on(there.page) == "2"
        await there.is_sent("link")
        assert await number_on(there.page) == "2"
        assert (await there.window())["issued"] == 2


# -- frames --------------------------------------------------------------------------------------------


def framed(there: Town) -> str:
    """A page of the shop with a frame in which the bank posts back to the shop."""
    bank = f"{there.sites.pay}/form?to={there.sites.shop}/paid"
    return f"{there.sites.shop}/frame?to={bank}"


async def inner(page: Page) -> Frame:
    async def look() -> Frame | None:
        return page.frame("inner")

    return await eventually(look)


async def test_p4_a_return_by_post_inside_a_frame_of_the_shop(town: Build) -> None:
    """As banks do it: a frame in the shop's page. The cookie stays behind, and the frame says how to go on."""
    async with town(capacity=1) as there:
        mine = await enters(there)
        before = await there.cookie()
        await there.page.goto(framed(there))
        frame = await inner(there.page)
        await heading(frame, RETURNED)
        assert await there.cookie() == before
        await frame.get_by_role("link", name="Continue").click()
        returned = await told(frame)
        assert (returned["method"], returned["path"], returned["session"]) == ("GET", "/paid", mine)


async def test_p4_a_return_by_post_inside_a_frame_goes_through_while_there_is_room(town: Build) -> None:
    async with town(capacity=2) as there:
        mine = await enters(there)
        before = await there.cookie()
        await there.page.goto(framed(there))
        returned = await told(await inner(there.page))
        assert (returned["method"], returned["body"]) == ("POST", "paid=7")
        assert returned["session"] != mine
        assert await there.cookie() == before
        await there.inside(1)


async def test_with_samesite_none_a_return_by_post_inside_a_frame_brings_the_pass(town: Build) -> None:
    async with town(capacity=1, cookie_samesite="none") as there:
        mine = await enters(there)
        await there.page.goto(framed(there))
        returned = await told(await inner(there.page))
        assert (returned["method"], returned["body"], returned["session"]) == ("POST", "paid=7", mine)


async def test_the_waiting_page_is_not_shown_in_a_frame_of_another_site(town: Build) -> None:
    async with town(capacity=1) as there:
        await session(there.guest)
        await there.page.goto(f"{there.sites.pay}/frame?to={there.sites.shop}/")

        async def is_refused() -> bool:
            return (await inner(there.page)).url.startswith("chrome-error:")

        await eventually(is_refused)


# -- webhooks --------------------------------------------------------------------------------------


async def test_a_webhook_is_told_to_come_again_where_its_path_is_not_excluded(town: Build) -> None:
    async with town(capacity=1, exclude="/hooks/open/*") as there, there.sites.client() as bank:
        await session(there.guest)
        for headers in ({}, {"Content-Type": "application/json"}):
            refused = await bank.post("/hooks/paid", content='{"order":7}', headers=headers)
            assert refused.status_code == 503
            assert "Your request was not passed on" in refused.json()["title"]
        refused = await bank.post("/hooks/paid", content='{"order":7}', headers=JSON)
        assert refused.status_code == 503
        assert refused.json()["type"] == "urn:waitroom:waiting"
        assert int(refused.headers["retry-after"]) >= 1
        passed = await bank.post("/hooks/open/paid", content='{"order":7}')
        assert is_inside(passed)
        assert passed.json()["body"] == '{"order":7}'
        assert (await there.window())["inside"] == 1
