"""What a long line costs: what its pages ask, on paper and in virtual time, and what that keeps busy.

`python -m benchmarks.scale --write docs/scale.md` (`make scale`) puts the tables into the page. What a request costs
is an argument: `make bench` measures it.
"""

import argparse
import heapq
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.page import put
from waitroom.line.window import Tempo, poll_seconds

BEGIN, END = "<!-- scale: written by `make scale` -->\n", "<!-- end of scale -->"
LINES = (10_000, 100_000, 1_000_000, 10_000_000)
SIMULATED = 1_000_000
SECONDS, WARM_UP = 150, 90
JITTER = 1.05
"""The page's mean wait, for an interval of 1."""
BUSY = 0.5
"""How much of a core a process may need: what is left is for bursts and for those inside."""
SYNCS = 2.0
"""Each process reads the room so many times a second."""
CALLS = 4.0
"""Script calls for each who comes in: number, claim, one renewal, leaving; together they are fewer."""


@dataclass(frozen=True)
class Costs:
    """Microseconds of a core: for a request, and for a script on the store."""

    window: float
    status: float
    page: float
    join: float
    script: float


@dataclass(frozen=True)
class Load:
    """Requests a second that the pages make."""

    waiting: int
    windows: float
    loads: float
    """Pages of those whose turn came."""
    door: float
    """Asks of those who found the last place taken: GET /status."""
    arriving: float
    """New visitors: a first page, a page with the number, and the number."""

    def cores(self, costs: Costs, windows: float) -> float:
        """Cores of the gate that it keeps busy, where so many GET /window a second come through."""
        arriving = self.arriving * (2 * costs.page + costs.join)
        return (windows * costs.window + self.loads * costs.page + self.door * costs.status + arriving) / 1e6


def on_paper(waiting: int, tempo: Tempo, per_minute: float) -> float:
    """Add up how often those at each distance look; all beyond the longest interval look alike."""
    total, distance = 0.0, 0
    while distance < waiting:
        seconds = poll_seconds(distance, per_minute, tempo)
        if seconds >= tempo.longest_poll:
            return total + (waiting - distance) / (seconds * JITTER)
        total += 1 / (seconds * JITTER)
        distance += 1
    return total


def by_simulation(waiting: int, tempo: Tempo, per_minute: float, seed: int) -> tuple[float, int]:
    """Let everybody in a line look as the page does; answers looks a second, mean and most in any second.

    Visitors came at any time before, so their first look is anywhere within their interval. An event is one number:
    the time in milliseconds, and the place in line below it.
    """
    chance = random.Random(seed)  # noqa: S311  # repeatable, nothing secret
    bits = 24
    events: list[int] = []
    for place in range(waiting):
        first = chance.random() * JITTER * poll_seconds(place, per_minute, tempo)
        events.append((int(first * 1000) << bits) + place)
    heapq.heapify(events)
    counts = [0] * (SECONDS + 1)
    while events[0] >> bits < SECONDS * 1000:
        at, place = events[0] >> bits, events[0] & ((1 << bits) - 1)
        counts[at // 1000] += 1
        in_front = place - int(at / 60_000 * per_minute)
        if in_front < 0:
            heapq.heappop(events)
            continue
        seconds = poll_seconds(in_front, per_minute, tempo) * (0.9 + 0.3 * chance.random())
        heapq.heapreplace(events, ((at + int(seconds * 1000)) << bits) + place)
    measured = counts[WARM_UP:SECONDS]
    return sum(measured) / len(measured), max(measured)


def tables(told: argparse.Namespace) -> Iterator[str]:
    """Write the tables line by line."""
    tempo = Tempo.of(told.window_size, told.window_interval, told.active_window_count)
    costs = Costs(told.window, told.status, told.page, told.join, told.script)
    per_minute = told.rate or 60 * told.window_size / told.window_interval
    per_second = per_minute / 60
    yield "| | µs of a core |"
    yield "|---|---|"
    yield f"| `GET /window` | {costs.window:g} |"
    yield f"| `GET /status` | {costs.status:g} |"
    yield f"| the waiting page | {costs.page:g} |"
    yield f"| `POST /join`, with the store's share | {costs.join:g} |"
    yield f"| a script on the store | {costs.script:g} |"
    yield ""
    mean, most = by_simulation(SIMULATED, tempo, per_minute, told.seed)
    paper = on_paper(SIMULATED, tempo, per_minute)
    yield (
        f"{SIMULATED:,} waiting, {per_second:g} called a second: {paper:,.0f} looks a second on paper; in virtual time "
        f"{mean:,.0f}, and {most:,} in the busiest second."
    )
    yield ""
    yield (
        "| waiting | looks/s | cores | processes | behind a CDN: looks/s | cores | processes "
        "| store: scripts/s | of its core |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for waiting in LINES:
        load = Load(
            waiting,
            on_paper(waiting, tempo, per_minute),
            per_second,
            per_second * told.door,
            waiting / told.coming,
        )
        cached = min(load.windows, float(told.edges))
        alone, behind = load.cores(costs, load.windows), load.cores(costs, cached)
        most_processes = _processes(alone)
        scripts = most_processes * SYNCS + per_second * CALLS + load.arriving / told.together
        yield (
            f"| {waiting:,} | {load.windows:,.0f} | {alone:.2f} | {most_processes} | {cached:,.0f} | {behind:.2f} | "
            f"{_processes(behind)} | {scripts:,.0f} | {scripts * costs.script / 1e4:.1f} % |"
        )


def _processes(cores: float) -> int:
    return max(2, -int(-cores // BUSY))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables, or write them into a page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    for name, microseconds in (("window", 24), ("status", 34), ("page", 61), ("join", 82), ("script", 150)):
        parser.add_argument(f"--{name}", type=float, default=microseconds, help="µs (%(default)s)")
    parser.add_argument("--window-size", type=int, default=50)
    parser.add_argument("--window-interval", type=float, default=10)
    parser.add_argument("--active-window-count", type=int, default=30)
    parser.add_argument("--rate", type=float, help="numbers called a minute (what the rate limit allows)")
    parser.add_argument(
        "--edges", type=int, default=50, help="places in which a CDN keeps a copy (%(default)s)"
    )
    parser.add_argument(
        "--coming", type=float, default=600, help="seconds in which they all come (%(default)s)"
    )
    parser.add_argument("--together", type=float, default=10, help="joins that share a call (%(default)s)")
    parser.add_argument(
        "--door", type=float, default=1, help="asks at the door for each who comes in (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path, help="the page to write the tables into")
    told = parser.parse_args(arguments)
    text = "\n".join(tables(told)) + "\n"
    if told.write is None:
        print(text, end="")
        return 0
    put(told.write, [(BEGIN, END, text)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
