"""What people see in a real Chromium while the store has lost the line and finds it again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests import stores
from tests.gates import API
from tests.shops import shop
from tests.stores import Box
from tests.waiting import DEADLINE_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="session")

SETTLING = "A short pause while the line is put back in order. Your place is kept."

WATCH = """() => {
  window.figures = [];
  const note = () => window.figures.push(document.getElementById("figure").textContent);
  note();
  new MutationObserver(note).observe(document.getElementById("figure"), { childList: true });
}"""


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with stores.box(tmp_path) as machine:
        yield machine


@pytest.fixture(autouse=True)
def _patient() -> None:
    expect.set_options(timeout=DEADLINE_SECONDS * 1000)


async def leave(page: Page, url: str) -> None:
    assert (await page.context.request.delete(f"{url}{API}/ticket")).status == 204


async def test_p3_p4_the_page_during_a_loss(browser: Browser, box: Box, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"capacity": 1, "settle_seconds": 3}
    async with shop(tmp_path, box.url, **settings) as (crowd, (server,)):
        (guest,) = await crowd.takes_numbers(1, "guest")
        pages = [await browser.new_page() for _ in range(2)]
        try:
            for number, page in enumerate(pages, 2):
                await page.goto(server.url)
                await expect(page.locator(".stub b")).to_have_text(str(number))
                await page.evaluate(WATCH)
            with box.client() as client:
                client.flushall()
            for page in pages:
                await expect(page.locator("#word")).to_have_text(SETTLING)
            for page in pages:
                await expect(page.locator("#word")).to_be_hidden()
                await expect(page.locator("#spoken")).to_have_text("The line goes on.")
            assert await pages[0].evaluate("figures") == ["Next"]
            assert {*await pages[1].evaluate("figures")} == {"1"}
            await guest.look()
            await guest.leaves()
            await expect(pages[0].locator("body")).to_have_text("inside")
            await expect(pages[1].locator("#figure")).to_have_text("Next")
            await leave(pages[0], server.url)
            await expect(pages[1].locator("body")).to_have_text("inside")
        finally:
            for page in pages:
                await page.close()
        assert not guest.disturbed, "P6"
