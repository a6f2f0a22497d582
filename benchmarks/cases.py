"""What is measured: each case sends one kind of request to one of the sites."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from benchmarks import sites, visitors
from benchmarks.machine import Cores
from benchmarks.servers import Server, Store, server, store
from benchmarks.visitors import API, among_others, others
from benchmarks.wrk import NO_COOKIES, BenchmarkError, Load
from tests.waiting import until

BARE = "bare app"
OPEN, ELSEWHERE, LINE = "open", "elsewhere", "line"
"""Three gates: one with room for everybody, one of other paths than those asked for, one before which a line stands."""

BROWSER = (
    "Connection: keep-alive",
    'Sec-CH-UA: "Chromium";v="140", "Not=A?Brand";v="24"',
    "Sec-CH-UA-Mobile: ?0",
    'Sec-CH-UA-Platform: "Linux"',
    "Upgrade-Insecure-Requests: 1",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-User: ?1",
    "Sec-Fetch-Dest: document",
    "Referer: http://127.0.0.1/",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en;q=0.9",
)
"""What Chromium sends besides its cookies when somebody follows a link."""

A_DAY = 86_400
LONG_STAYS: dict[str, Any] = {
    "room": OPEN,
    "exclude": "/robots.txt,/favicon.ico,/.well-known/*,/static/*",
    "window_size": 1_000_000,
    "capacity": 1_000_000,
    "session_seconds": A_DAY,
    "first_lease_seconds": A_DAY,
    "store_timeout_seconds": 5,
}
LONG_LINE: dict[str, Any] = {
    "room": LINE,
    "window_size": 1,
    "window_interval": 1,
    "capacity": 1_000_000,
    "store_timeout_seconds": 5,
}


@dataclass(frozen=True)
class Sizes:
    """How many take part; SMALL is for a try of the tool itself."""

    some: int
    many: int
    filler: int
    """Visitors in front of those whose tickets are measured, so that their turn does not come meanwhile."""
    with_rate: bool
    """Wait until the room has measured how fast it moves, half a minute, so that pages tell the time."""


FULL = Sizes(1_000, 50_000, 100_000, with_rate=True)
SMALL = Sizes(20, 60, 2_000, with_rate=False)


@dataclass(frozen=True)
class Case:
    """One kind of request; its cost stands beside that of `baseline` on the same server."""

    name: str
    site: str
    load: Load
    status: int = 200
    says: str = ""
    """What its answer has in it."""
    baseline: str = BARE

    @property
    def is_bare(self) -> bool:
        """Tell a baseline."""
        return self.site == "bare"


Sites = dict[str, Server]


def check(case: Case, where: Server, client: httpx.Client) -> int:
    """Ask once for what is to be measured, as wrk will; returns the answer's bytes. Raises BenchmarkError."""
    headers = dict(header.split(": ", 1) for header in case.load.headers)
    if cookie := case.load.cookies[0].replace("{n}", "0" * 9):
        headers["Cookie"] = cookie
    answer = client.request(case.load.method, where.url + case.load.path, headers=headers)
    client.cookies.clear()
    if answer.status_code != case.status or case.says not in answer.text:
        raise BenchmarkError(
            f"{case.name}: {answer.status_code} in place of {case.status} with {case.says!r}: {answer.text[:300]}"
        )
    return len(answer.content)


@contextmanager
def all_sites(kind: str, cores: Cores, stores: dict[str, Store]) -> Iterator[Sites]:
    """Start all that is measured under one kind of server."""
    with ExitStack() as stack:
        start = partial(server, kind, cores=cores)
        found = {
            "bare": start(sites.bare),
            "smallest": start(sites.smallest_gate),
            "sessions": start(sites.with_sessions),
            OPEN: start(sites.gated, behind=stores[OPEN], **LONG_STAYS),
            ELSEWHERE: start(sites.gated, behind=stores[ELSEWHERE], paths="/checkout/*"),
            LINE: start(sites.gated, behind=stores[LINE], **LONG_LINE),
        }
        yield {name: stack.enter_context(running) for name, running in found.items()}


@contextmanager
def all_stores(folder: Path, cores: Cores) -> Iterator[dict[str, Store]]:
    """Start a store for each gate, so that what one asks of its own is not mistaken for another's."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(store(folder / name, cores)) for name in (OPEN, ELSEWHERE, LINE)}


@dataclass(frozen=True)
class Credentials:
    """Cookie headers of real visitors, and one ticket of them for forgers."""

    passes: Sequence[str]
    tickets: Sequence[str]
    ticket: str
    session: str


def credentials(running: Sites, sizes: Sizes) -> Credentials:
    """Let visitors come: into the open room, and into the line."""
    passes = visitors.passes(running[OPEN].port, sizes.many)
    first = visitors.tickets(running[LINE].port, sizes.filler)
    tickets = visitors.tickets(running[LINE].port, sizes.some)
    if sizes.with_rate:
        _await_rate(running[LINE], first)
    return Credentials(
        [among_others(f"waitroom-{OPEN}", token) for token in passes],
        [among_others(f"waitroom-{LINE}", token) for token in tickets],
        tickets[0],
        visitors.begin_session(running["sessions"].port),
    )


def _await_rate(where: Server, first: Sequence[str]) -> None:
    """Wait for the pace. It is that of those who come, so the `first` come in as they are called."""
    entered = 0

    def has_rate() -> bool:
        nonlocal entered
        window = httpx.get(f"{where.url}{API}/window").json()
        for ticket in first[entered : window["called"]]:
            httpx.get(f"{where.url}{API}/status", headers={"Waitroom-Pass": ticket})
        entered = window["called"]
        return window["rate_per_minute"] is not None

    until(has_rate, "a measured rate", 90)


def all_cases(known: Credentials, sizes: Sizes) -> list[Case]:
    """List the cases, baselines first."""
    elsewhere = [others()]
    flood = among_others(f"waitroom-{LINE}", visitors.forged(known.ticket))
    large = among_others(f"waitroom-{LINE}", visitors.oversized())
    visit: Callable[..., Case] = partial(Case, says="inside")
    line: Callable[..., Case] = partial(Case, site=LINE, baseline="bare app, no cookies")
    some = f"{sizes.some:,} visitors"
    return [
        visit(BARE, "bare", Load("/shop", elsewhere)),
        visit("bare app, no cookies", "bare", Load("/shop")),
        visit("bare app, oversized cookies", "bare", Load("/shop", [large])),
        visit("bare app, a browser's headers", "bare", Load("/shop", elsewhere, headers=BROWSER)),
        visit(
            "smallest gate: one HMAC", "smallest", Load("/shop", visitors.of_the_smallest_gate(sizes.some))
        ),
        visit(
            "Starlette's SessionMiddleware",
            "sessions",
            Load("/shop", [among_others("session", known.session)]),
        ),
        visit("admitted, one visitor", OPEN, Load("/shop", known.passes[:1])),
        visit(f"admitted, {some}", OPEN, Load("/shop", known.passes[: sizes.some])),
        visit(f"admitted, {sizes.many:,} visitors", OPEN, Load("/shop", known.passes)),
        visit(
            f"admitted, a browser's headers, {some}",
            OPEN,
            Load("/shop", known.passes[: sizes.some], headers=BROWSER),
            baseline="bare app, a browser's headers",
        ),
        visit("unprotected path, no pass", ELSEWHERE, Load("/shop", elsewhere)),
        visit("excluded path, with a pass", OPEN, Load("/static/shop.css", known.passes[: sizes.some])),
        line("GET /window", load=Load(f"{API}/window"), says='"waiting"'),
        line(
            f"GET /status, {some}", load=Load(f"{API}/status", known.tickets), says='"waiting"', baseline=BARE
        ),
        line("POST /join", load=Load(f"{API}/join", NO_COOKIES, "POST"), status=201, says='"ticket"'),
        line(
            f"waiting page, {some}",
            load=Load("/shop", known.tickets),
            status=503,
            says="ahead",
            baseline=BARE,
        ),
        line("first visit in a line", load=Load("/shop"), status=503, says="<html"),
        line("forged cookies", load=Load("/shop", [flood]), status=503, says="<html", baseline=BARE),
        line(
            "oversized cookies",
            load=Load("/shop", [large]),
            status=503,
            says="<html",
            baseline="bare app, oversized cookies",
        ),
    ]
