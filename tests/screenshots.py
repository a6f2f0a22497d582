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
from tests.gates import DEADLINE_SECONDS, Server, free_port, started

PHONE: ViewportSize = {"width": 390, "height": 844}
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
BEFORE, AFTER = 45, 12
"""How many stand in line before and behind the visitor."""


def form_a_line(server: Server, count: int) -> None:
    for _ in range(count):
        httpx.post(f"{server.url}/_waitroom/join").raise_for_status()


def await_a_rate(server: Server) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while httpx.get(f"{server.url}/_waitroom/window").json()["rate_per_minute"] is None:
        if time.monotonic() > deadline:
            raise AssertionError("the line has no measured rate")
        time.sleep(0.5)


async def draw(browser: Browser, server: Server, folder: Path) -> None:
    context = await browser.new_context(viewport=DESKTOP, device_scale_factor=1)
    page = await context.new_page()
    await page.goto(server.url)
    await page.locator("#figure").wait_for()
    form_a_line(server, AFTER)
    await asyncio.to_thread(await_a_rate, server)
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
    gate = ["--window-size", "1", "--window-interval", "5", "--claim-seconds", "5", "--capacity", "1"]
    with started([*command, *gate], {}, port) as server:
        form_a_line(server, BEFORE)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            await draw(browser, server, folder)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
