"""What visitors are told of their wait, held against how long they waited.

Rooms begin empty; visitors arrive steadily, in a growing stream or in bursts, and all of them are simulated one by
one, from the first look on, through a cache that keeps GET /window for a second. What the page shows at each look is
kept until its visitor is let in; no-shows, who are never let in, count in nobody's favour.

`python -m benchmarks.simulate.eta --seed 1`; ends with 1 where what is to be reached is not.
"""

import argparse
import itertools
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.page import put
from benchmarks.simulate.engine import SECOND, Engine
from benchmarks.simulate.page import WAITS, waits
from benchmarks.simulate.processes import Process, Server, settings_of
from benchmarks.simulate.visitors import BACKGROUND, Guest
from benchmarks.simulate.waits_told import Arrivals, Figures, Room, Run
from waitroom.config.settings import Settings
from waitroom.line import window as arithmetic
from waitroom.line.tickets import Ticket
from waitroom.line.window import Eta, Window
from waitroom.store.embedded.server import share as share_store
from waitroom.store.transitions import Claimed

TICK = 0.25
"""Seconds between two batches of arrivals."""
CLOSES = 30.0
"""Seconds, on average, until a no-show's tab is closed."""
CACHED = SECOND
"""The max-age of GET /window."""
LONG = 60
"""Seconds of the waits whose range has to be narrow."""


ARRIVALS = (
    Arrivals("steady", lambda seconds: 1.5 if seconds < 900 else 0.7),
    Arrivals("ramping", lambda seconds: 0.5 + 3 * seconds / 900 if seconds < 900 else 0.2),
    Arrivals("bursty", lambda seconds: 6.0 if seconds % 240 < 40 else 0.3),
)
ROOMS = (
    Room(
        "capacity",
        {"capacity": 200, "window_size": 50, "window_interval": 5, "active_window_count": 60},
        200 / 60,
    ),
    Room(
        "small",
        {"capacity": 100, "window_size": 50, "window_interval": 10, "active_window_count": 30},
        100 / 60,
    ),
    Room(
        "rate", {"capacity": 5000, "window_size": 50, "window_interval": 10, "active_window_count": 30}, 5.0
    ),
)


COLUMNS = (
    ("room", 9),
    ("arrivals", 9),
    ("no-shows", 9),
    ("looks", 9),
    ("told", 6),
    ("kept", 7),
    ("> 1 min", 9),
    ("kept", 7),
    ("widest", 8),
    ("error", 7),
    ("slower", 8),
    ("climbs", 8),
    ("unsaid", 8),
    ("heard p99", 11),
    ("most", 6),
)


class Waiting:
    """A visitor in front of the page, who does what `templates/waiting.js` does."""

    __slots__ = ("closes_at", "crowd", "in_background", "ticket", "told")

    def __init__(self, crowd: "Crowd", ticket: Ticket, in_background: bool, closes_at: int | None) -> None:
        self.crowd = crowd
        self.ticket = ticket
        self.in_background = in_background
        self.closes_at = closes_at
        self.told: list[tuple[int, Eta | None, str]] = []

    def look(self) -> None:
        """Look at the line, as everyone does without a cookie."""
        engine = self.crowd.engine
        if self.closes_at is not None and engine.now >= self.closes_at:
            return
        window = self.crowd.cached()
        place = arithmetic.rank(self.ticket)
        status, in_front = arithmetic.stand(place, window)
        if status != "waiting":
            self.crowd.heard(self)
            self.ask()
            return
        self.told.append((engine.now, arithmetic.eta(in_front, window), window.pace))
        tempo = self.crowd.settings.tempo
        self._wait(arithmetic.poll_seconds(in_front, window.rate_per_minute, tempo), self.look)

    def ask(self) -> None:
        """Ask for the place."""
        claimed = self.crowd.some_process().claim(self.ticket)
        if claimed.outcome == "active":
            self.crowd.entered(self, claimed)
        elif claimed.outcome != "expired":
            self._wait(arithmetic.SHORTEST_POLL, self.ask)

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        jittered = seconds * (0.9 + 0.3 * self.crowd.engine.chance.random())
        self.crowd.engine.after(max(BACKGROUND, jittered) if self.in_background else jittered, then)


class Crowd:
    """The visitors of one room, and what serves them."""

    visitor: type[Waiting] = Waiting
    background = 0.2
    """The share of tabs that are in the background."""

    def __init__(
        self,
        engine: Engine,
        server: Server,
        room: Room,
        settings: Settings,
        arrivals: Arrivals,
        no_shows: float,
    ) -> None:
        self.engine = engine
        self.settings = settings
        self.figures = Figures()
        self._room = room
        self._arrivals = arrivals
        self._no_shows = no_shows
        self._ids = itertools.count()
        self._called = 0
        self._called_at: dict[int, int] = {}
        self._processes: list[Process] = []
        for _ in range(2):
            self._processes.append(Process(server, settings, engine, self.hear))
        self._cached = engine.now, self._processes[0].window

    def some_process(self) -> Process:
        """Choose one, as a balancer does."""
        return self.engine.chance.choice(self._processes)

    def left(self) -> None:
        """Note nothing: who has left is of no interest here."""

    def cached(self) -> Window:
        """Ask for the window as a visitor behind a cache does: it may be a second old, and the snapshot with it."""
        at, window = self._cached
        if at + CACHED <= self.engine.now:
            window = self.some_process().window
            self._cached = self.engine.now, window
        return window

    def hear(self, window: Window) -> None:
        """Note who was called."""
        for number in range(self._called + 1, window.called + 1):
            self._called_at[number] = self.engine.now
        self._called = max(self._called, window.called)

    def arrive(self) -> None:
        """Let some visitors take numbers; a busier crowd has as many more as will not show up."""
        share = self._arrivals.load(self.engine.seconds) / (1 - self._no_shows)
        expected = share * self._room.per_second * TICK
        count = int(expected) + (self.engine.chance.random() < expected % 1)
        process = self.some_process()
        for ticket in process.join([f"visitor{next(self._ids)}" for _ in range(count)]) if count else ():
            closes_at = None
            if self.engine.chance.random() < self._no_shows:
                closes_at = self.engine.now + round(self.engine.chance.expovariate(1 / CLOSES) * SECOND)
            in_background = self.engine.chance.random() < self.background
            self.visitor(self, ticket, in_background, closes_at).look()
        self.engine.after(TICK, self.arrive)

    def stay(self) -> float:
        """Draw how long somebody stays, in seconds."""
        return self.engine.chance.expovariate(1 / self._room.stay)

    def heard(self, visitor: Waiting) -> None:
        """Note how long it took the visitor to learn of the call."""
        if not visitor.in_background and visitor.told:
            self.figures.late.append((self.engine.now - self._called_at[visitor.ticket.number]) / SECOND)

    def entered(self, visitor: Waiting, claimed: Claimed) -> None:
        """Hold what was told against the wait that came of it."""
        Guest(self, visitor.ticket, claimed, self.stay())
        highest = None
        for at, told, pace in visitor.told:
            self.figures.looks += 1
            self.figures.words += pace != "steady"
            if told is None:
                continue
            if highest is not None and told.high > highest:
                self.figures.climbs += 1
                self.figures.unsaid += pace == "steady"
            highest = told.high
            self._compare(told, (self.engine.now - at) / SECOND)

    def _compare(self, told: Eta, wait: float) -> None:
        figures = self.figures
        is_kept = told.low <= wait <= told.high
        figures.told += 1
        figures.kept += is_kept
        expected = (told.low + told.high) / 2
        if expected > LONG:
            figures.long += 1
            figures.long_kept += is_kept
            figures.widths.append((told.high - expected) / expected)
            figures.errors.append(abs(wait - expected) / wait)


def simulate(server: Server, room: Room, arrivals: Arrivals, no_shows: float, seed: int) -> Figures:
    """Run one room with one kind of arrivals: the same seed and the same code make the same run."""
    server.empty()
    engine = Engine(seed)
    settings = settings_of(server.url, room.settings)
    crowd = Crowd(engine, server, room, settings, arrivals, no_shows)
    crowd.arrive()
    engine.run(arrivals.seconds)
    return crowd.figures


def main(words: Sequence[str] | None = None) -> int:
    """Run every room with all kinds of arrivals; 1 where a figure was not reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate.eta", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=math.inf, help="the most of each run (all of it)")
    parser.add_argument("--write", type=Path, help="a page to write the table into, between its marks")
    asked = parser.parse_args(words)
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="waitroom-simulate-") as folder:
        store = share_store(Path(folder))
        server = Server(store.url)
        print("".join(f"{name:>{width}}" for name, width in COLUMNS))
        for room, arrivals, no_shows in itertools.product(ROOMS, ARRIVALS, (0.0, 0.3)):
            short = replace(arrivals, seconds=min(arrivals.seconds, asked.seconds))
            figures = simulate(server, room, short, no_shows, asked.seed)
            runs.append(Run(room, short, no_shows, figures))
            cells = (room.name, arrivals.name, f"{no_shows:.0%}", *figures.cells())
            print(
                "".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=True)),
                flush=True,
            )
        server.close()
        store.close()
    if asked.write:
        put(asked.write, [(*WAITS, waits(asked.seed, runs))])
    return int(not all(run.figures.is_reached() for run in runs))


if __name__ == "__main__":
    sys.exit(main())
