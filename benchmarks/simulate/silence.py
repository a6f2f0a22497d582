"""What many share: a silence, tabs that are all in the background, numbers that nobody comes with.

No-shows are learned one by one, and each of these looks for a while as if nobody came any more. A line of forty times
the capacity is served to its end, all visitors simulated one by one. In a silence nothing that those who wait ask gets
through, while those inside go on leaving; pages ask again as `templates/waiting.js` does after a failure.

`python -m benchmarks.simulate.silence --seed 1`; ends with 1 where what is to be reached is not.
"""

import argparse
import bisect
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.page import put
from benchmarks.simulate import eta
from benchmarks.simulate.engine import BEGIN, SECOND, Engine
from benchmarks.simulate.measures import LATE
from benchmarks.simulate.page import SHARED, shared, shared_row
from benchmarks.simulate.processes import Server, settings_of
from benchmarks.simulate.visitors import BACKGROUND
from benchmarks.simulate.waits_told import Arrivals, Room
from waitroom.config.settings import Settings
from waitroom.line import window as arithmetic
from waitroom.line.tickets import Ticket
from waitroom.store.embedded.server import share as share_store
from waitroom.store.transitions import Claimed

COMING = 60.0
"""Seconds in which all of them come."""
RECENT = 20 * SECOND
"""Who was called within this time and is not in is outstanding."""
STAYS = 8.0, 12.0
COUNT_RECENT = "return redis.call('ZCOUNT', KEYS[1], ARGV[1], '+inf')"
MOST_SECONDS = 1500.0

SLOWEST_GHOSTS, MOST_OUTSTANDING = 300.0, 5
"""Seconds for all ghosts, numbers outstanding for each place after 20 s of silence."""


@dataclass(frozen=True)
class Cause:
    """What they share, and the room in which; times in seconds since the first came."""

    name: str
    capacity: int
    silent_for: float = 0.0
    silent_from: float = 120.0
    background: float = 0.2
    no_shows: float = 0.0
    guests: int | None = None
    """Numbers whose visitors come; without that forty times the capacity."""
    ghosts: int = 0
    """Numbers behind those, taken at once, with which nobody comes."""
    reach: float = 0.0
    """The share of the ranges that have to hold the wait; 0: nothing is said."""

    @property
    def measured_from(self) -> float:
        """Seconds from which on the ranges and the places in use count: once all have come, and no silence is left."""
        return self.silent_from + self.silent_for if self.silent_for else COMING

    @property
    def room(self) -> Room:
        """A room whose rate does not bind: stays of ten seconds need half of it."""
        shape: dict[str, float] = {
            "capacity": self.capacity,
            "window_size": self.capacity,
            "window_interval": 5,
            "active_window_count": 60,
        }
        return Room(self.name, shape, self.capacity / 10)

    def arrivals(self) -> Arrivals:
        """All of them within a minute."""
        guests = 40 * self.capacity if self.guests is None else self.guests
        load = guests * (1 - self.no_shows) / COMING / self.room.per_second
        return Arrivals(self.name, lambda seconds: load if seconds < COMING else 0.0, MOST_SECONDS)


CAUSES = (
    Cause("silence of 20 s", 10, silent_for=20, reach=0.85),
    Cause("silence of 20 s", 50, silent_for=20, reach=0.85),
    Cause("silence of 20 s, 30 % never come", 50, silent_for=20, no_shows=0.3, reach=0.85),
    *(Cause("all tabs in the background", capacity, background=1.0) for capacity in (10, 50)),
    Cause("3,000 who never come, behind others", 50, guests=400, ghosts=3000),
    Cause("3,000 who never come, and nobody else", 50, guests=0, ghosts=3000),
)


@dataclass
class Found:
    """What was measured of one of them."""

    cause: Cause
    told: int = 0
    """Looks of those let in at which a range was shown."""
    kept: int = 0
    outstanding: int | None = None
    """At the end of the silence."""
    overtaken: int | None = None
    """Most later numbers that entered before somebody who asked in time after the call, or after the silence."""
    overtaken_late: int = 0
    """And before somebody who came late, or is in the background."""
    passed_seconds: float | None = None
    """From the call of the first ghost to that of the last."""
    in_use: list[float] = field(default_factory=list)
    """The share of the places, each second while there is a line for all of them."""

    @property
    def share_told(self) -> float | None:
        """The share of the ranges that held the wait; None where none was shown."""
        return self.kept / self.told if self.told else None

    @property
    def share_in_use(self) -> float | None:
        """The mean; None where only ghosts wait."""
        return sum(self.in_use) / len(self.in_use) if self.in_use else None

    def is_reached(self) -> bool:
        """Tell whether it is as it has to be."""
        room = self.cause.room.settings
        return (
            (self.outstanding or 0) <= MOST_OUTSTANDING * self.cause.capacity
            and (self.overtaken or 0) <= 2 * room["window_size"] + 2 * room["capacity"]
            and (self.passed_seconds or 0) <= SLOWEST_GHOSTS
            and (self.share_told or 0) >= self.cause.reach
        )


class Visitor(eta.Waiting):
    """One whose requests may fail: its page then asks again as after a lost connection."""

    __slots__ = ("asked_at", "failures", "is_asleep", "was_cut_off")

    crowd: "Crowd"

    def __init__(self, crowd: eta.Crowd, ticket: Ticket, in_background: bool, closes_at: int | None) -> None:
        super().__init__(crowd, ticket, in_background, closes_at)
        self.asked_at: int | None = None
        self.failures = 0
        self.is_asleep = self.was_cut_off = False
        self.crowd.comes(self)

    def look(self) -> None:
        """Look at the line, if that gets through."""
        self._try(super().look, self.look)

    def ask(self) -> None:
        """Ask for the place, if that gets through."""
        self._try(self._ask, self.ask)

    def _ask(self) -> None:
        self.asked_at = self.asked_at or self.crowd.engine.now
        super().ask()

    def _try(self, request: Callable[[], None], again: Callable[[], None]) -> None:
        if not self.crowd.is_silent():
            self.failures = 0
            request()
            return
        self.failures += 1
        self.asked_at, self.was_cut_off = None, True  # it has to ask anew
        engine = self.crowd.engine
        longest = min(2.0**self.failures, self.crowd.settings.tempo.longest_poll)
        seconds = max(1.0, engine.chance.random() * longest)
        engine.after(BACKGROUND if self.in_background else seconds, again)

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        """A tab goes into the background at any moment: from then on it is let run once a minute."""
        if self.in_background and not self.is_asleep:
            self.is_asleep = True
            self.crowd.engine.after(self.crowd.engine.chance.random() * BACKGROUND, then)
        else:
            super()._wait(seconds, then)


class Crowd(eta.Crowd):
    """A line that is served to its end, with what is measured of it."""

    visitor = Visitor
    _ghosts = range(0)
    _coming = 0

    def __init__(self, engine: Engine, server: Server, settings: Settings, cause: Cause) -> None:
        super().__init__(engine, server, cause.room, settings, cause.arrivals(), cause.no_shows)
        self.background = cause.background
        self.found = Found(cause)
        self._cause = cause
        self._server = server
        self._inside = 0
        self._numbers: list[int] = []
        self._ghosts_from: float | None = None
        if cause.silent_for:
            engine.after(cause.measured_from, self._count_outstanding)
        if cause.ghosts:
            engine.after(COMING, self._haunt)
        engine.after(cause.measured_from, self._count_in_use)

    def comes(self, visitor: Visitor) -> None:
        """Note that somebody has taken a number, who may mean to come in."""
        self._coming += visitor.closes_at is None

    def is_silent(self) -> bool:
        """Tell whether nothing gets through just now."""
        return self._cause.silent_from <= self.engine.seconds < self._cause.measured_from

    def is_over(self) -> bool:
        """Tell whether all numbers were called, and all who mean to come in are."""
        is_begun = self.engine.seconds > max(COMING, self._cause.measured_from)
        window = self.some_process().window
        return (
            is_begun
            and window.waiting == 0
            and (self._coming <= len(self._numbers) or window.floor == window.issued)
        )

    def stay(self) -> float:
        """Draw how long somebody stays, in seconds."""
        return self.engine.chance.uniform(*STAYS)

    def left(self) -> None:
        """Note that somebody has left the site."""
        self._inside -= 1

    def hear(self, window: arithmetic.Window) -> None:
        """Note who was called."""
        super().hear(window)
        if not self._ghosts or window.called < self._ghosts[0]:
            return
        if self._ghosts_from is None:
            self._ghosts_from = self.engine.seconds
        if window.called >= self._ghosts[-1] and self.found.passed_seconds is None:
            self.found.passed_seconds = self.engine.seconds - self._ghosts_from

    def entered(self, visitor: Visitor, claimed: Claimed) -> None:  # type: ignore[override]
        """Hold what was told, and who came later, against the entry."""
        self._inside += 1
        measured_from = BEGIN + round(self._cause.measured_from * SECOND)
        visitor.told = [told for told in visitor.told if told[0] >= measured_from]
        super().entered(visitor, claimed)
        self.found.told, self.found.kept = self.figures.told, self.figures.kept
        number = visitor.ticket.number
        later = len(self._numbers) - bisect.bisect(self._numbers, number)
        bisect.insort(self._numbers, number)
        if visitor.in_background or self._is_late(visitor):
            self.found.overtaken_late = max(self.found.overtaken_late, later)
        else:
            self.found.overtaken = max(self.found.overtaken or 0, later)

    def _is_late(self, visitor: Visitor) -> bool:
        called_at = self._called_at.get(visitor.ticket.number, self.engine.now)
        silent_until = BEGIN + round(self._cause.measured_from * SECOND) if self._cause.silent_for else 0
        could_ask_at = max(called_at, silent_until if visitor.was_cut_off else 0)
        return (visitor.asked_at or 0) - could_ask_at > LATE

    def _haunt(self) -> None:
        tickets = self.some_process().join([f"ghost{i}" for i in range(self._cause.ghosts)])
        self._ghosts = range(tickets[0].number, tickets[-1].number + 1)

    def _count_outstanding(self) -> None:
        recently = str(self.engine.now - RECENT)
        self.found.outstanding = self._server.evaluate(
            COUNT_RECENT, ["waitroom:{simulated}:promised"], recently
        )

    def _count_in_use(self) -> None:
        if self.some_process().window.waiting >= self.settings.capacity and not self._cause.ghosts:
            self.found.in_use.append(self._inside / self.settings.capacity)
        self.engine.after(1, self._count_in_use)


def simulate(server: Server, cause: Cause, seed: int) -> Found:
    """Run one of them until its line is at its end: the same seed and the same code make the same run."""
    server.empty()
    engine = Engine(seed)
    settings = settings_of(server.url, cause.room.settings, session_seconds=30)
    crowd = Crowd(engine, server, settings, cause)
    crowd.arrive()
    while not crowd.is_over() and engine.seconds < MOST_SECONDS:
        engine.run(1)
    return crowd.found


def main(words: Sequence[str] | None = None) -> int:
    """Run all of them; 1 where a figure was not reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate.silence", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="those whose name begins so (all)")
    parser.add_argument("--write", type=Path, help="a page to write the table into, between its marks")
    asked = parser.parse_args(words)
    found: list[Found] = []
    with tempfile.TemporaryDirectory(prefix="waitroom-simulate-") as folder:
        store = share_store(Path(folder))
        server = Server(store.url)
        for cause in CAUSES:
            if cause.name.startswith(asked.only):
                found.append(simulate(server, cause, asked.seed))
                print(line_of(found[-1]), flush=True)
        server.close()
        store.close()
    if asked.write:
        put(asked.write, [(*SHARED, shared(asked.seed, found))])
    return int(not all(one.is_reached() for one in found))


def line_of(found: Found) -> str:
    """Tell what was found, in one line."""
    name, *cells = shared_row(found)
    return (
        f"{name:38}"
        + "".join(f"{cell:>10}" for cell in cells)
        + ("" if found.is_reached() else "  not reached")
    )


if __name__ == "__main__":
    sys.exit(main())
