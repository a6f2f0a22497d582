"""An endless line in front of a room, of whom only those near the front are simulated one by one.

Numbers are taken in bulk, so that always some thousands wait. A visitor's page is simulated from the moment the number
comes within `NEAR` of the front. Before that it looks at times that nothing but its own chance decides, so that
its next look, as seen from that moment, is uniform within its interval there: nothing is lost by not having drawn the
looks before. What is neglected is that the interval shrank a little within that time, by at most the share of the
distance that the line moved in it. No-shows close their tabs before they are near, and then are nothing but a number.
"""

from benchmarks.simulate.engine import Engine
from benchmarks.simulate.measures import Measures
from benchmarks.simulate.processes import Process, Server
from benchmarks.simulate.scenarios import Scenario
from benchmarks.simulate.visitors import Guest, Visitor
from waitroom.config.settings import Settings
from waitroom.line.tickets import Ticket
from waitroom.line.window import Window
from waitroom.store.transitions import Claimed

NEAR = 500
WAITING = 3000
"""So many wait at least."""
BULK = 500


class Crowd:
    """The visitors of one room, and what serves them."""

    def __init__(self, engine: Engine, server: Server, settings: Settings, scenario: Scenario) -> None:
        self.engine = engine
        self.settings = settings
        self.scenario = scenario
        self.measures = Measures(engine, settings)
        self._tickets: dict[int, Ticket] = {}
        self._near = self._called = 0
        self._learning = False
        self._processes: list[Process] = []
        for _ in range(scenario.processes):
            self._processes.append(Process(server, settings, engine, self.hear))

    def some_process(self) -> Process:
        """Choose one, as a balancer does."""
        return self.engine.chance.choice(self._processes)

    def fill(self) -> None:
        """Have so many in line that it never ends."""
        self._take_numbers()
        self.engine.after(1, self.fill)

    def _take_numbers(self) -> None:
        process = self._processes[0]
        while (window := process.window).waiting < WAITING:
            for ticket in process.join([f"visitor{window.issued + i}" for i in range(BULK)]):
                self._tickets[ticket.number] = ticket
        self._bring_near()

    def hear(self, window: Window) -> None:
        """Note who was called, and bring the next ones near."""
        self.measures.called(window.called)
        self._called = max(self._called, window.called)
        self._bring_near()

    def _bring_near(self) -> None:
        called_before = self._near - NEAR
        while self._near < self._called + NEAR and self._near + 1 in self._tickets:
            self._near += 1
            ticket = self._tickets.pop(self._near)
            if self.engine.chance.random() >= self.scenario.no_shows(self.engine.seconds):
                in_background = self.engine.chance.random() < self.scenario.background
                in_front = max(0, self._near - max(0, called_before) - 1)
                Visitor(self, ticket, in_background).join_in(in_front)

    def asked(self, claimed: Claimed) -> None:
        """Note what a visitor was answered who asked for a place."""
        self.measures.asked(claimed)

    def left(self) -> None:
        """Note that somebody has left the site."""
        self.measures.left()

    def entered(self, visitor: Visitor, claimed: Claimed) -> None:
        """Let a visitor in, who will leave some time."""
        self.measures.entered(visitor.ticket.number, visitor.asked_at, visitor.was_away)
        stay = self.engine.chance.expovariate(1 / self.scenario.stay)
        Guest(self, visitor.ticket, claimed, stay)
