"""The figures in docs/crowds-of-machines.md, measured: `python -m tests.crowds`.

Visits without cookies come to a real server with a line in front of it; challenges are made, checked, and solved in a
real Chromium.
"""

import asyncio
import platform
import sys
import time
from collections.abc import Callable
from statistics import median, quantiles

import httpx
from playwright.async_api import async_playwright

from tests.browser import chromium
from tests.gates import API, Server, serving
from tests.solving import solved
from waitroom.config.settings import Settings
from waitroom.room.challenges import Challenges

CONNECTIONS = 20
IN_LINE = 100
ROUNDS = 2000
KEY = "a-key-for-measuring-that-is-long-enough"
DIFFICULTY = int(Settings.model_fields["challenge_difficulty"].default)

SOLVE = """async ([address, challenge]) => {
    const began = performance.now();
    const worker = new Worker(address);
    await new Promise((done, failed) => {
        worker.onmessage = ({ data }) => (data && data.derivedKey ? done() : failed(new Error("no solution")));
        worker.postMessage({ type: "work", challenge });
    });
    return performance.now() - began;
}"""


def issued(server: Server) -> int:
    """How many numbers were given, by a number that is taken to tell."""
    return int(httpx.post(f"{server.url}{API}/join").json()["number"])


async def visit(server: Server, visits: int) -> int:
    """Send visits without cookies; answers how many were let in."""
    let_in = 0

    async def some(count: int) -> None:
        nonlocal let_in
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            while count:
                client.cookies.clear()
                try:
                    answered = await client.get("/")
                except httpx.RemoteProtocolError:
                    continue  # the server had closed a connection that was idle too long: it is sent again
                let_in += answered.status_code == 200
                count -= 1

    shares = [visits // CONNECTIONS + (at < visits % CONNECTIONS) for at in range(CONNECTIONS)]
    await asyncio.gather(*map(some, shares))
    return let_in


def flood(visits: int) -> None:
    with serving("waitroom run tests.sites:site", capacity=1) as server:
        httpx.get(server.url)  # takes the one place
        for _ in range(IN_LINE):  # who is called does not come, so the line gets shorter by one in 90 s or so
            before = issued(server)
        began = time.monotonic()
        let_in = asyncio.run(visit(server, visits))
        seconds = time.monotonic() - began
        after = issued(server) - 1  # the one that was taken to tell
        print(f"in a line: {visits:,} visits without cookies in {seconds:.0f} s, {let_in} let in")
        print(f"  issued before {before}, after {after}: moved by {after - before}")
    with serving("waitroom run tests.sites:site", capacity=400, window_size=4000) as server:
        let_in = asyncio.run(visit(server, min(visits, 2000)))
        print(f"with room for 400: {min(visits, 2000):,} visits without cookies, {let_in} let in")


def told(what: str, act: Callable[[int], object]) -> None:
    times = []
    for at in range(ROUNDS):
        began = time.thread_time()  # not the time for which others had the processor
        act(at)
        times.append((time.thread_time() - began) * 1e6)
    print(f"{what}: median {median(times):.0f} µs, 99 of 100 within {quantiles(times, n=100)[-1]:.0f} µs")


def challenge() -> None:
    made = Challenges([KEY], "sale", DIFFICULTY)
    solution = solved(made.make(0))
    wrong = solved(made.make(0), derivedKey="00" * 32)
    told("make a challenge", lambda _: made.make(0))
    told("check a solution", lambda _: made.read(solution, 0))
    told("check a wrong one", lambda _: made.read(wrong, 0))


async def solve() -> None:
    with serving("waitroom run tests.sites:site", challenge="always") as server:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            page = await (await browser.new_context(java_script_enabled=True, bypass_csp=True)).new_page()
            await page.goto(f"{server.url}{API}/window")
            times = []
            for _ in range(20):
                challenge = httpx.get(f"{server.url}{API}/challenge").json()
                times.append(await page.evaluate(SOLVE, [f"{API}/challenge.js", challenge]))
            print(
                f"solve in {browser.version}, difficulty {DIFFICULTY}: median {median(times):.0f} ms, "
                f"longest {max(times):.0f} ms"
            )
            await browser.close()


if __name__ == "__main__":
    print(f"Python {platform.python_version()}, {platform.machine()}")
    challenge()
    asyncio.run(solve())
    flood(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
