"""A browser extension reads the gate's own answers, in a real Chromium, where its origin is named."""

import hashlib
import json
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.browser import chromium
from tests.conftest import SECRET
from tests.gates import API, uvicorn

pytestmark = pytest.mark.asyncio(loop_scope="session")

STARTING = ["--headless=new", "--no-sandbox", "--disable-features=DisableLoadExtensionCommandLineSwitch"]
ASK = """async (url) => {
    try {
        const answer = await fetch(url, {headers: {"Waitroom-Pass": "none"}});
        return [answer.status, (await answer.json()).type ?? "told"];
    } catch (error) { return [error.name]; }
}"""


def origin_of(extension: Path) -> str:
    """The origin that Chromium gives an extension by the folder that it is in."""
    digest = hashlib.sha256(str(extension).encode()).hexdigest()[:32]
    return f"chrome-extension://{''.join(chr(ord('a') + int(digit, 16)) for digit in digest)}"


@pytest.mark.parametrize("is_named", [True, False])
async def test_an_extension_reads_what_its_origin_may(
    browser: Browser, store_url: str, room: str, tmp_path: Path, is_named: bool
) -> None:
    extension = tmp_path / "extension"
    extension.mkdir()
    (extension / "manifest.json").write_text(
        json.dumps({"manifest_version": 3, "name": "shop", "version": "1"})
    )
    (extension / "page.html").write_text("<title>shop</title>")
    origin = origin_of(extension)
    named = origin if is_named else f"{origin[:-1]}{'a' if origin[-1] != 'a' else 'b'}"
    context = await browser.browser_type.launch_persistent_context(
        tmp_path / "profile",
        executable_path=chromium(),
        headless=False,
        args=[*STARTING, f"--disable-extensions-except={extension}", f"--load-extension={extension}"],
        ignore_default_args=["--disable-extensions"],
    )
    try:
        with uvicorn(
            "tests.sites:starlette_site", redis_url=store_url, secret=SECRET, room=room, cors_origins=named
        ) as gate:
            page = await context.new_page()
            await page.goto(f"{origin}/page.html")
            for path, answer in (("window", [200, "told"]), ("status", [401, "urn:waitroom:no-ticket"])):
                told = await page.evaluate(ASK, f"{gate.url}{API}/{path}")
                assert told == (answer if is_named else ["TypeError"])
    finally:
        await context.close()
