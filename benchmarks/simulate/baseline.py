"""What stands beside it: a line in a sorted set that admits only its head.

Each look is one transaction: it notes that the visitor was there, takes out everybody who has not looked for the
queue's TTL, and admits whoever looks if that is the head and there is a free place. It knows no calls: the head is
whoever is first among those who are left, and a head that does not look is waited for. Visitors, stays, no-shows and
polls are those of the simulation. The closed tabs were closed at any distance from the front, so that most of them are
gone from the set when their turn comes: the line stalls only for those closed, or not looking, just then.
"""

import heapq
import time
from collections import deque

from benchmarks.simulate.crowd import NEAR
from benchmarks.simulate.engine import SECOND, Engine
from benchmarks.simulate.measures import BIN
from benchmarks.simulate.processes import settings_of
from benchmarks.simulate.runs import BaselineOutcome
from benchmarks.simulate.scenarios import Scenario
from benchmarks.simulate.visitors import BACKGROUND, interval

TTL = 60.0
"""Seconds for which who does not look is kept."""


class _Queue:
    """The sorted set, and the places behind it."""

    def __init__(self, engine: Engine, scenario: Scenario, url: str) -> None:
        self.engine = engine
        self.scenario = scenario
        self.settings = settings_of(url, scenario.room)
        self.inside = self.entries = 0
        self.inside_seconds = 0.0
        self._since = engine.now
        self._lately: deque[int] = deque()
        self._seen: dict[int, int] = {}
        self._stale: list[tuple[int, int]] = []
        self._next = 0

    def fill(self) -> None:
        """Have the line go on for ever."""
        while len(self._seen) < NEAR:
            self._join()

    def _join(self) -> None:
        chance, number = self.engine.chance, self._next
        self._next += 1
        in_front = len(self._seen)
        closes_at = None
        if chance.random() < self.scenario.no_shows(self.engine.seconds):
            closes_at = chance.randrange(NEAR)
        in_background = chance.random() < self.scenario.background
        usual = BACKGROUND if in_background else interval(in_front, self.settings.tempo)
        self._see(number)
        if closes_at is None or in_front > closes_at:
            self.engine.after(chance.random() * usual, lambda: self._look(number, in_background, closes_at))

    def _see(self, number: int) -> None:
        self._seen[number] = self.engine.now
        heapq.heappush(self._stale, (self.engine.now + round(TTL * SECOND), number))

    def _sweep(self) -> None:
        now = self.engine.now
        while self._stale and self._stale[0][0] < now:
            at, number = heapq.heappop(self._stale)
            if self._seen.get(number) == at - round(TTL * SECOND):
                del self._seen[number]

    def _look(self, number: int, in_background: bool, closes_at: int | None) -> None:
        self._sweep()
        rank = sum(1 for other in self._seen if other < number) if number in self._seen else len(self._seen)
        if closes_at is not None and rank <= closes_at:
            return
        if number in self._seen and rank == 0 and self._is_free():
            del self._seen[number]
            self._enter()
        else:
            self._see(number)
            usual = interval(rank, self.settings.tempo) * (0.9 + 0.3 * self.engine.chance.random())
            wait = BACKGROUND if in_background else usual
            self.engine.after(wait, lambda: self._look(number, in_background, closes_at))
        self.fill()

    def _is_free(self) -> bool:
        while self._lately and self._lately[0] <= self.engine.now - self.settings.window_interval * SECOND:
            self._lately.popleft()
        return self.inside < self.settings.capacity and len(self._lately) < self.settings.window_size

    def pass_time(self) -> None:
        """Count how long how many are inside."""
        self.inside_seconds += self.inside * (self.engine.now - self._since) / SECOND
        self._since = self.engine.now

    def _enter(self) -> None:
        self.pass_time()
        self.inside += 1
        self.entries += 1
        self._lately.append(self.engine.now)
        self.engine.after(self.engine.chance.expovariate(1 / self.scenario.stay), self._leave)

    def _leave(self) -> None:
        self.pass_time()
        self.inside -= 1


def simulate_baseline(scenario: Scenario, url: str, seed: int) -> BaselineOutcome:
    """Run a scenario's visitors through the sorted set."""
    began = time.perf_counter()
    engine = Engine(seed)
    queue = _Queue(engine, scenario, url)
    queue.fill()
    engine.run(scenario.warm_up)
    queue.pass_time()
    first = queue.inside_seconds, queue.entries
    shares = []
    before = first
    for _ in range(round(scenario.length / BIN)):
        engine.run(BIN)
        queue.pass_time()
        shares.append((engine.seconds, _share(queue, before, BIN)))
        before = queue.inside_seconds, queue.entries
    return BaselineOutcome(_share(queue, first, scenario.length), shares, time.perf_counter() - began)


def _share(queue: _Queue, before: tuple[float, int], seconds: float) -> float:
    settings = queue.settings
    of_capacity = (queue.inside_seconds - before[0]) / seconds / settings.capacity
    of_rate = (queue.entries - before[1]) / seconds * settings.window_interval / settings.window_size
    return max(of_capacity, of_rate)
