"""A crowd whose members tell what became of each of them, and what has to be true of all of it together."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx

from tests import recorded_site
from tests.conftest import SECRET
from tests.gates import API, DEADLINE_SECONDS, page_data
from waitroom.line.tickets import Pass, Ticket, Tokens
from waitroom.line.window import Rank, rank

LOOKS = 0.15
"""Seconds between two visits of one member; every one of them is a page that is loaded anew."""


@dataclass
class Visitor:
    """A browser without scripts: it loads the same page again and again, wherever it stands."""

    crowd: "Crowd"
    name: str
    cookie: str = ""
    rank: Rank | None = None
    session: str = ""
    told: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    """Each page of the gate that was shown: when it was asked for, and what it said."""
    visited: bool = False
    """It got in before it had a cookie: a first visit, which holds its slot for a moment only."""
    inside: bool = False
    left_at: float = float("inf")
    disturbed: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return str(self.told[-1][1]["kind"]) if self.told else ""

    @property
    def number(self) -> int:
        return self.rank.number if self.rank else 0

    async def ask(self, method: str, path: str, url: str = "") -> httpx.Response | None:
        """Ask one of the servers; None where there is none just now."""
        headers = {"Accept": "text/html"}
        if self.cookie:
            headers["Cookie"] = f"waitroom-{self.crowd.room}={self.cookie}"
        try:
            response = await self.crowd.client.request(
                method, (url or self.crowd.url_for(self)) + path, headers=headers
            )
        except httpx.TransportError:
            return None
        self._keep(response)
        return response

    def _keep(self, response: httpx.Response) -> None:
        for line in response.headers.get_list("set-cookie"):
            for morsel in SimpleCookie(line).values():
                self.cookie = morsel.value
        held = self.crowd.tokens.read(self.cookie)
        if isinstance(held, Ticket | Pass):
            if self.rank != rank(held):
                self.crowd.changes.append((self.name, self.rank, rank(held)))
            self.rank, self.session = rank(held), held.id

    async def look(self, url: str = "") -> None:
        """Load the page once."""
        asked_at, is_first = time.time(), not self.cookie
        response = await self.ask("GET", "/", url)
        if response is None:
            return
        if response.status_code == 200:
            self.visited = self.visited or is_first
            self.inside = self.inside or not is_first
        elif self.inside:
            self.disturbed.append(f"{self.name} {asked_at}: {response.text[:200]}")
        else:
            self.told.append((asked_at, page_data(response)))

    async def comes_in(self) -> None:
        while not self.inside:
            await self.look()
            await asyncio.sleep(0 if self.inside else LOOKS)

    async def stays(self, until: asyncio.Event) -> None:
        """Come in, and go on using the site until then; every request has to reach it."""
        await self.comes_in()
        while not until.is_set():
            await self.look()
            await asyncio.sleep(LOOKS)

    async def leaves(self) -> None:
        self.left_at = time.time()
        while (gone := await self.ask("DELETE", f"{API}/ticket")) is None or gone.status_code != 204:
            await asyncio.sleep(LOOKS)

    async def lives(self, seconds: float = 0) -> None:
        """Wait for a turn, come in, use the site a little, and leave."""
        await self.comes_in()
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            await self.look()
            await asyncio.sleep(LOOKS)
        await self.leaves()


@dataclass
class Crowd:
    """Everybody who is there, and what the site has seen of them."""

    urls: list[str]
    client: httpx.AsyncClient
    record: Path
    room: str = "default"
    members: list[Visitor] = field(default_factory=list)
    changes: list[tuple[str, Rank | None, Rank]] = field(default_factory=list)
    """Every number that somebody got, and the one it replaced."""
    called: list[tuple[str, int]] = field(default_factory=list)
    """(epoch, called) of each `/window` that was read, in the order of the answers."""
    states: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tokens = Tokens([SECRET], self.room)

    def url_for(self, visitor: Visitor) -> str:
        return self.urls[self.members.index(visitor) % len(self.urls)]

    def more(self, count: int, name: str) -> list[Visitor]:
        """People who come by; nothing is asked for them yet."""
        arrived = [Visitor(self, f"{name} {number}") for number in range(1, count + 1)]
        self.members += arrived
        return arrived

    async def takes_numbers(self, count: int, name: str) -> list[Visitor]:
        """Come one after the other, until each has a number or is inside, and has come back there with its cookie."""
        arrived = self.more(count, name)
        for visitor in arrived:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not visitor.rank:
                    await visitor.look()
                if visitor.visited:
                    await visitor.look()
        return arrived

    async def window(self, url: str = "") -> dict[str, Any]:
        """Read the room, and remember how far it said to have called."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                try:
                    response = await self.client.get((url or self.urls[0]) + API + "/window")
                except httpx.TransportError:
                    await asyncio.sleep(LOOKS)
                    continue
                if response.status_code == 200:
                    break
        told: dict[str, Any] = response.json()
        self.called.append((told["epoch"], told["called"]))
        self.states.append(told["state"])
        return told

    async def becomes(self, state: str, url: str = "") -> dict[str, Any]:
        """Read the room until it is in that state."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (told := await self.window(url))["state"] != state:
                await asyncio.sleep(0.05)
        return told

    # -- what has to be true ----------------------------------------------------------------------

    def entries(self) -> dict[str, float]:
        """When each session first reached the site, in that order."""
        first: dict[str, float] = {}
        for entry in recorded_site.read(self.record):
            first.setdefault(entry.session, entry.at)
        return first

    def entered(self) -> list[str]:
        """The names of those who came in, in that order."""
        names = {visitor.session: visitor.name for visitor in self.members}
        return [names[session] for session in self.entries()]

    def check_capacity(self, capacity: int) -> None:
        """P1, by the site's own record: a session is there from its first request until its visitor leaves; one that
        began with a first visit from the second request on.
        """
        reached: dict[str, list[float]] = {}
        for entry in recorded_site.read(self.record):
            reached.setdefault(entry.session, []).append(entry.at)
        steps = []
        for visitor in self.members:
            if times := reached.get(visitor.session, [])[visitor.visited :]:
                steps += [(times[0], 1), (visitor.left_at, -1)]
        inside = 0
        for _, step in sorted(steps):
            inside += step
            assert inside <= capacity, f"P1: {inside} inside"

    def check_order(self, capacity: int = 1, besides: Visitor | None = None) -> None:
        """P3: nobody comes in who ranks behind somebody that has not even been called.

        As many as there are places may be on their way at once: with one place the order is exact.
        """
        ranks = {visitor.session: visitor.rank for visitor in self.members if visitor is not besides}
        came = [ranks[session] for session in self.entries() if session in ranks]
        for turn, one in enumerate(came):
            before = [other for other in came[turn + 1 :] if other and one and other < one]
            assert len(before) < capacity, f"P3: {one} came in before {before}"

    def check_places(self) -> None:
        """P4 and P6: nobody had to take another number, and nobody inside met anything but the site."""
        again = [change for change in self.changes if change[1] is not None]
        assert not again, f"P4: {again}"
        ranks = [visitor.rank for visitor in self.members if visitor.rank]
        assert len(set(ranks)) == len(ranks), "P4: a number was given twice"
        assert not [said for visitor in self.members for said in visitor.disturbed], "P6"

    def check_window(self) -> None:
        """What everyone may see never goes back."""
        assert self.called == sorted(self.called)


@asynccontextmanager
async def crowd_at(urls: Iterable[str], record: Path, **keywords: Any) -> AsyncIterator[Crowd]:
    """A crowd whose members keep their own cookies, on connections that they share."""
    no_jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    limits = httpx.Limits(max_connections=50)
    async with httpx.AsyncClient(cookies=no_jar, timeout=DEADLINE_SECONDS, limits=limits) as client:
        yield Crowd(list(urls), client, record, **keywords)


def recording(folder: Path) -> Path:
    """Where the sites that are started from now on write down who comes in."""
    path = folder / "entries"
    os.environ[recorded_site.VARIABLE] = str(path)
    return path
