"""The crowd: visitors with a browser's manners who come, wait their turn, look around, buy, and go.

A process of its own that speaks plain HTTP and knows of the gate only what every browser does: a page with
`Retry-After` is not the site yet, and `Refresh` says when to look again.
"""

import asyncio
import os
import random
import re
import signal
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import click
import httpx

Pause = Callable[[float], Awaitable[None]]

FILL_SECONDS = 2.0  # a missing line is back to two thirds after this long
LONGEST_WAIT = 60.0  # seconds; what a page says beyond it is not believed
PARENT_SECONDS = 1.0  # how often the crowd asks whether the process that started it is still there

AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0",
)
NAMES = (
    "Ada",
    "Boris",
    "Chiara",
    "Dilnoza",
    "Emeka",
    "Freya",
    "Goran",
    "Hana",
    "Ines",
    "Jonas",
    "Khadija",
    "Luca",
)
WORDS = ("", "", "", "Take your time", "For the kettle", "Breathe", "Not yet", "One more page")


def held_for(response: httpx.Response) -> float | None:
    """Return the seconds after which a waiting page wants to be asked again; None for the site's own page."""
    if response.status_code != 503 and "retry-after" not in response.headers:
        return None
    said = response.headers.get("refresh") or response.headers.get("retry-after", "")
    number = re.match(r"\s*(\d+(?:\.\d+)?)", said)
    return min(float(number[1]), LONGEST_WAIT) if number else 5.0


@dataclass(frozen=True)
class Temper:
    """What sort of visitor one is.

    `patience` is how many waiting pages they look at before they give up for good (None: any number): with
    one they never took a number, with more they leave theirs unused.
    """

    patience: int | None
    pages: int
    buys: bool
    says_bye: bool

    @classmethod
    def draw(cls, chance: random.Random) -> "Temper":
        """Draw one: of twenty visitors one turns on the heel, two never come when they are called."""
        kind = chance.random()
        patience = 1 if kind < 0.05 else chance.randint(2, 5) if kind < 0.15 else None
        return cls(patience, chance.randint(1, 4), chance.random() < 0.45, chance.random() < 0.65)


@dataclass
class Crowd:
    """Everybody who is about: `outside` counts those not let in yet, `inside` those who are."""

    url: str
    chance: random.Random
    pause: Pause = asyncio.sleep
    outside: int = 0
    inside: int = 0
    # One for all of them: reading the certificates takes longer than everything else a visitor does.
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    async def gather(self, waiting: int, most: int) -> None:
        """Let people arrive at random for ever, so that about `waiting` stand outside, `most` in all.

        The fewer are outside, the likelier the next one comes.
        """
        async with asyncio.TaskGroup() as visitors:
            while True:
                await self.pause(self.chance.expovariate(waiting / FILL_SECONDS))
                wanted = self.chance.random() < 1 - self.outside / waiting
                if wanted and self.outside + self.inside < most:
                    visitors.create_task(self.arrive(random.Random(self.chance.getrandbits(64))))

    async def arrive(self, chance: random.Random) -> None:
        """Live through one visit, from the street and back to it."""
        self.outside += 1
        browser = httpx.AsyncClient(
            base_url=self.url,
            headers={
                "User-Agent": chance.choice(AGENTS),
                "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                "Accept-Language": chance.choice(("en", "en-GB,en;q=0.9", "de,en;q=0.7", "fr,en;q=0.5")),
            },
            timeout=30,
            trust_env=False,  # the shop is next door: no proxy on the way
            verify=self.tls,
            limits=httpx.Limits(keepalive_expiry=3),  # before the server tires of it
        )
        visitor = Visitor(self, chance, Temper.draw(chance), browser)
        try:
            async with browser:
                await visitor.visit()
        finally:
            visitor.let_in(False)
            self.outside -= 1


class Visitor:
    """One of the crowd: a browser with its cookies, and a temper."""

    def __init__(
        self, crowd: Crowd, chance: random.Random, temper: Temper, browser: httpx.AsyncClient
    ) -> None:
        self._crowd = crowd
        self._chance = chance
        self._temper = temper
        self._browser = browser
        self._inside = False
        self._held = 0

    def let_in(self, inside: bool) -> None:
        """Step over the threshold, or back."""
        if inside != self._inside:
            self._inside = inside
            self._crowd.inside += 1 if inside else -1
            self._crowd.outside -= 1 if inside else -1

    async def visit(self) -> None:
        """Wait, look around, perhaps buy, perhaps say goodbye."""
        if not await self._open("/"):
            return
        for _ in range(self._temper.pages):
            await self._linger(3, 9)
            if not await self._open(self._chance.choice(("/", "/inside", "/inside", "/checkout"))):
                return
        if self._temper.buys:
            await self._buy()
        if self._temper.says_bye:
            await self._linger(1, 4)
            await self._send("POST", "/bye")

    async def _buy(self) -> None:
        if not await self._open("/checkout"):
            return
        await self._linger(4, 10)
        pieces = "2" if self._chance.random() < 0.2 else "1"
        form = {"name": self._chance.choice(NAMES), "words": self._chance.choice(WORDS), "pieces": pieces}
        response = await self._send("POST", "/checkout", form)
        if response is not None and response.has_redirect_location:
            await self._open(response.headers["location"])

    async def _linger(self, least: float, most: float) -> None:
        await self._crowd.pause(self._chance.uniform(least, most))

    async def _open(self, path: str) -> bool:
        """Open a page of the site, waiting for it as the waiting page says; False when patience runs out."""
        unanswered = 0
        while True:
            response = await self._send("GET", path)
            if response is None:
                # Nobody answers: try again, each time a little later, and not all at the same moment.
                unanswered = min(unanswered + 1, 5)
                await self._linger(0.2 * unanswered, 0.8 * unanswered)
                continue
            unanswered = 0
            seconds = held_for(response)
            self.let_in(seconds is None)
            if seconds is None:
                return True
            self._held += 1
            if self._temper.patience is not None and self._held >= self._temper.patience:
                return False
            await self._linger(seconds, seconds + 0.3)

    async def _send(
        self, method: str, path: str, form: dict[str, str] | None = None
    ) -> httpx.Response | None:
        with suppress(httpx.RequestError):
            return await self._browser.request(method, path, data=form)
        return None


async def parent_gone(pause: Pause = asyncio.sleep) -> None:
    """Return when the process that started this one has ended, however it did."""
    parent = os.getppid()
    while os.getppid() == parent:
        await pause(PARENT_SECONDS)


async def main(
    url: str, *, chance: random.Random, pause: Pause = asyncio.sleep, waiting: int = 30, most: int = 100
) -> None:
    """Keep about `waiting` visitors before the site at `url`, until SIGINT, SIGTERM or the parent's end.

    `chance` decides everything that is left to it; `pause` is what passes the time, in seconds.
    """
    loop = asyncio.get_running_loop()
    ends = {
        asyncio.create_task(Crowd(url, chance, pause).gather(waiting, most)),
        asyncio.create_task(parent_gone()),
    }
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: [task.cancel() for task in ends])
    done, rest = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.wait(ends)
    for task in done:
        if not task.cancelled():
            task.result()


@click.command()
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The site they want into.")
@click.option("--seed", type=int, default=None, help="The same seed, the same people.  [default: by chance]")
@click.option(
    "--waiting", type=click.IntRange(1, 1000), default=30, show_default=True, help="About how many wait."
)
@click.option(
    "--most", type=click.IntRange(1, 2000), default=100, show_default=True, help="Most people in all."
)
def command(url: str, seed: int | None, waiting: int, most: int) -> None:
    """Send a crowd to a site, until Ctrl-C or until the process that started this one ends."""
    asyncio.run(main(url, chance=random.Random(seed), waiting=waiting, most=most))


if __name__ == "__main__":
    command()
