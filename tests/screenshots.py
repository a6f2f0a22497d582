"""Draw the README's pictures from a running gate: `python -m tests.screenshots docs/images`.

Nothing in them is posed: a real line in front of the demo's shop, seen by a real Chromium.
"""

import asyncio
import sys
import time
from pathlib import Path

import httpx
from playwright.async_api import Browser, ViewportSize, async_playwright

from tests.browser import chromium
from tests.gates import API, Server, bearer, free_port, started

PHONE: ViewportSize = {"width": 412, "height": 915}
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
BEFORE, AFTER = 60, 12
"""How many stand in line before and behind the visitor."""
LONGEST_SECONDS = 300


def form_a_line(server: Server, count: int) -> list[str]:
    """Take so many numbers; returns the tickets."""
    answers = [httpx.post(f"{server.url}{API}/join").raise_for_status() for _ in range(count)]
    return [answer.json()["ticket"] for answer in answers]


def move_until_there_is_a_rate(server: Server, line: list[str]) -> None:
    """Those in front come in when they are called, and go again, until it is known how fast the line moves."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while httpx.get(f"{server.url}{API}/window").json()["rate_per_minute"] is None:
        if time.monotonic() > deadline or not line:
            raise AssertionError("the line has no measured rate")
        told = httpx.get(f"{server.url}{API}/status", headers=bearer(line[0])).json()
        if told["status"] == "active":
            httpx.delete(f"{server.url}{API}/ticket", headers=bearer(told["pass"])).raise_for_status()
            del line[0]
        time.sleep(0.2)


async def draw(browser: Browser, server: Server, line: list[str], folder: Path) -> None:
    context = await browser.new_context(viewport=DESKTOP, device_scale_factor=1)
    page = await context.new_page()
    await page.goto(server.url)
    await page.locator("#figure").wait_for()
    form_a_line(server, AFTER)
    await asyncio.to_thread(move_until_there_is_a_rate, server, line)
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        for name, viewport in {"phone": PHONE, "desktop": DESKTOP}.items():
            await page.set_viewport_size(viewport)
            await page.reload()
            await page.locator("#figure").wait_for()
            await page.screenshot(path=folder / f"waiting-{name}-{scheme}.png")
    await context.close()


async def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "waitroom", "run", "demo_app.shop:app", "--port", str(port)]
    gate = ["--window-size", "1", "--window-interval", "3", "--capacity", "1"]
    with started([*command, *gate], {}, port) as server:
        line = form_a_line(server, BEFORE)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            await draw(browser, server, line, folder)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
