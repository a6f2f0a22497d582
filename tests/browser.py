"""A real Chromium for the tests that need one.

The fixture lives on the session's event loop, and so do the tests that use it:
`pytest.mark.asyncio(loop_scope="session")`.
"""

import os
import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
MISSING = f"no Chromium on this machine: none of {', '.join(NAMES)} is on the PATH"


def chromium() -> str | None:
    """Find a Chromium on this machine."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where there is no browser to be had, leave one test of those that need it, to say so in one clear skip."""
    if chromium() is not None or os.environ.get("CI") == "true":
        return
    wanting = [item for item in items if "browser" in getattr(item, "fixturenames", ())]
    for item in wanting[:1]:
        item.add_marker(pytest.mark.skip(reason=f"{MISSING}: {len(wanting)} tests left out"))
    config.hook.pytest_deselected(items=wanting[1:])
    items[:] = [item for item in items if item not in wanting[1:]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    path = chromium()
    if path is None:
        pytest.fail(MISSING)
    async with async_playwright() as playwright:
        # Chromium's own sandbox does not start as root, as which containers run.
        running = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        await running.close()
