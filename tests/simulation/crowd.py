"""The crowd: what visitors do unasked, and what when it is time for their next request."""

import random

from tests.simulation import rooms
from tests.simulation.oracle import Oracle
from tests.simulation.overtaking import Overtaking
from tests.simulation.parts import Parts
from tests.simulation.processes import Process
from tests.simulation.visitors import Visitor
from tests.simulation.world import SECOND, Server, World
from waitroom.line.positions import AWAY_POLL
from waitroom.line.tickets import Pass, Ticket, pass_of, ticket_of
from waitroom.store.transitions import KEYS, Claimed

TOGETHER = SECOND
"""Visitors who are due within this time ask at once."""
DOOR_SECONDS = 10
ROOM_KEYS = [f"waitroom:{{simulated}}:{key}" for key in KEYS]


class Crowd(Overtaking):
    """A room, its processes, and its visitors with all that they do."""

    def __init__(self, server: Server, seed: int, parts: Parts) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.world = World(server, self.chance, ROOM_KEYS, tells_history=self.chance.random() < 0.7)
        self.oracle = Oracle(self.world)
        settings = rooms.draw(server.url, self.chance)
        self.processes = [
            Process(name, self.world, self.oracle, own, parts)
            for name, own in zip(("one", "two", "three"), settings, strict=True)
        ]
        self.visitors: list[Visitor] = []
        self.copies: list[Pass] = []
        """Passes of sessions that have ended, kept by somebody."""
        self.slots: list[int] = []
        self.is_over = self.is_silent = False
        self._ids = 0
        self.oracle.note("settings", *map(rooms.told, settings[::2]))

    # -- what visitors do unasked --------------------------------------------------------------------

    def _act(self) -> None:
        what = self.chance.choices(
            ("come", "copy", "leave", "repeat", "reload", "nothing"),
            (6, 1, 2, 2, 2, 2 if self.visitors else 0),
        )[0]
        getattr(self, f"_{what}")()

    def _nothing(self) -> None:
        pass

    def _come(self) -> None:
        now = self.world.true
        for _ in range(self.chance.choice([1, 1, 2, 3])):
            self.visitors.append(
                Visitor(
                    id=f"v{len(self.visitors)}",
                    stage=self.chance.choice(["page", "page", "api"]),
                    due=now,
                    stays=self.chance.choice([1, 2, 5, 12]),
                    keeps_asking=self.chance.random() < 0.85,
                )
            )

    def _leave(self) -> None:
        staying = [visitor for visitor in self.visitors if visitor.credential]
        if staying:
            visitor = self.chance.choice(staying)
            self._go(visitor, by_ticket=self.chance.random() < 0.3)

    def _go(self, visitor: Visitor, *, by_ticket: bool = False) -> None:
        """Leave by the button; who cannot stays."""
        credential = visitor.ticket if by_ticket and visitor.ticket else visitor.credential
        if credential and self._any().leave(credential):
            if visitor.presented:
                self.copies.append(visitor.presented)
            visitor.stage, visitor.presented, visitor.ticket = "gone", None, None

    def _copy(self) -> None:
        """Somebody uses a copy of a pass whose session has ended."""
        if self.copies:
            copied = self.chance.choice(self.copies)
            self._any().admit(copied)

    def _repeat(self) -> None:
        """P5: claim tickets once more, also used ones, by any process, in any order, some of them twice."""
        tickets = [visitor.ticket for visitor in self.visitors if visitor.ticket]
        if tickets:
            chosen = self.chance.choices(tickets, k=self.chance.choice([1, 2, 3]))
            process = self._any()
            for ticket in chosen:
                process.see(ticket)
            if not process.is_away:
                process.claim(chosen)

    def _reload(self) -> None:
        for visitor in self.visitors:
            if visitor.stage != "gone" and self.chance.random() < 0.3:
                visitor.due = self.world.true

    # -- time, and what visitors do when it is time -----------------------------------------------------

    def _any(self) -> Process:
        return self.chance.choice(self.processes)

    def _pass_time(self, seconds: float) -> None:
        until = self.world.true + round(seconds * SECOND)
        while True:
            due = min(
                (visitor.due for visitor in self.visitors if visitor.stage != "gone"), default=until + 1
            )
            if due > until:
                break
            self.world.true = max(self.world.true, due)
            now = self.world.true + TOGETHER
            asking = [visitor for visitor in self.visitors if visitor.stage != "gone" and visitor.due <= now]
            self.chance.shuffle(asking)
            half = len(asking) // 2 if self.chance.random() < 0.3 else 0
            for part in (asking[:half], asking[half:]):
                if part:
                    self._poll(part, self._any())
        self.world.true = max(self.world.true, until)

    def _poll(self, asking: list[Visitor], process: Process) -> None:
        """Visitors ask one process, all at the same moment; what they want of the store travels together."""
        if self.is_silent:
            self._keep_unheard([visitor for visitor in asking if visitor.stage != "inside"])
            asking = [visitor for visitor in asking if visitor.stage == "inside"]
        for visitor in asking:
            visitor.due = self.world.true + AWAY_POLL * SECOND
            if (
                not visitor.keeps_asking
                and visitor.ticket
                and not self.is_over
                and self.chance.random() < 0.4
            ):
                visitor.stage = "gone"
        self._serve_new([v for v in asking if v.stage in ("page", "api", "proof")], process)
        self._serve_tickets([v for v in asking if v.stage == "ticket" and v.due > self.world.true], process)
        for visitor in asking:
            if visitor.stage == "inside" and visitor.due > self.world.true:
                self._serve_inside(visitor, process)

    def _keep_unheard(self, asking: list[Visitor]) -> None:
        for visitor in asking:
            visitor.due = visitor.unheard_until = self.world.true + self.chance.choice([1, 2]) * SECOND

    def _serve_new(self, asking: list[Visitor], process: Process) -> None:
        process.fresh()
        window = process.window
        if process.is_away or window is None or not asking:
            return
        joining: list[tuple[Visitor, str]] = []
        for visitor in asking:
            if visitor.stage == "page" and (window.waiting or window.free_first < 1):
                visitor.stage, visitor.due = "proof", self.world.true + SECOND
            else:
                joining.append((visitor, {"page": "first", "api": "number", "proof": "enter"}[visitor.stage]))
        answer = (
            process.join([(how, self._new_id(visitor, how)) for visitor, how in joining]) if joining else None
        )
        if answer is None:
            return
        seen, numbers = answer
        for (visitor, how), joined in zip(joining, numbers, strict=True):
            if not joined.number:
                visitor.stage, visitor.due = "proof", self.world.true + SECOND
                continue
            epoch = seen.newest.name
            ticket = Ticket(seen.generation, epoch, joined.number, visitor.id, seen.at, joined.start)
            visitor.ticket, visitor.stage, visitor.reached_at = ticket, "ticket", seen.at
            visitor.due = self.world.true + SECOND
            if joined.pass_ends:
                lease_ms = joined.pass_ends - seen.at
                self._enter(visitor, pass_of(ticket, seen.at, joined.pass_ends, lease_ms, how == "first"))
                if (
                    how == "first" and self.chance.random() < 0.7
                ):  # else its request goes on, or its process dies
                    process.ended_first.append((self.chance.choice(["done", "done", "gone"]), visitor.id))

    def _new_id(self, visitor: Visitor, how: str) -> str:
        """An id to join with: after an answer that was lost, the same proof's, or that of another proof."""
        if how == "enter" and visitor.has_proof and self.chance.random() < 0.5:
            return visitor.id
        visitor.has_proof = how == "enter"
        self._ids += 1
        visitor.id = f"{visitor.id.split('.')[0]}.{self._ids}"
        return visitor.id

    def _enter(self, visitor: Visitor, given: Pass) -> None:
        visitor.stage, visitor.presented, visitor.is_at_door = "inside", given, False
        visitor.due = self.world.true + self.chance.choice([1, 4, 8]) * SECOND

    def _serve_tickets(self, asking: list[Visitor], process: Process) -> None:
        claiming: list[tuple[Visitor, Ticket]] = []
        for visitor in asking:
            ticket = visitor.ticket
            assert ticket is not None
            process.see(ticket)
            if process.is_away or process.window is None:
                lent = process.lent(ticket)
                if lent:
                    self._enter(visitor, lent)
                continue
            place = process.status(ticket)
            if place == "active":
                claiming.append((visitor, ticket))
            else:
                self._tell(visitor, place, process)
        claimed = process.claim([ticket for _, ticket in claiming]) if claiming else None
        for (visitor, ticket), answer in zip(claiming, claimed or (), strict=False):
            self._tell_claimed(visitor, ticket, answer, process)

    def _tell_claimed(self, visitor: Visitor, ticket: Ticket, answer: Claimed, process: Process) -> None:
        self.asks(visitor, ticket)
        if answer.outcome == "active":
            self.enters(visitor, ticket, [own.settings for own in self.processes])
            self._enter(visitor, process.claimed(ticket, answer))
        else:
            self._tell(visitor, answer.outcome, process)

    def _tell(self, visitor: Visitor, status: str, process: Process) -> None:
        ticket, window = visitor.ticket, process.window
        assert ticket is not None
        assert window is not None
        limit = DOOR_SECONDS if visitor.is_at_door else process.settings.active_seconds / 2
        is_late = (
            visitor.is_passed or visitor.reached_at is None or window.at - visitor.reached_at >= limit * 1000
        )
        if status == "expired":
            self.oracle.expired(visitor, window.at, is_late)
            visitor.stage, visitor.ticket = "gone", None
            return
        visitor.reached_at, visitor.is_at_door = window.at, status == "door"
        visitor.is_passed = self.oracle.has_passed(ticket)
        places = process.places
        place = places.at_door(ticket, 0) if status == "door" else places.in_line(ticket, window)
        visitor.due = self.world.true + place.poll_after * SECOND

    def _serve_inside(self, visitor: Visitor, process: Process) -> None:
        presented = visitor.presented
        assert presented is not None
        latest = process.admit(presented)
        if latest is None and presented.first and presented.id not in process.ended:
            # To a slot that was given back: it stands at the door, or its turn is over.
            visitor.stage, visitor.presented, visitor.ticket = "ticket", None, ticket_of(presented)
            visitor.is_passed, visitor.reached_at = True, None
            visitor.due = self.world.true + SECOND
            return
        if latest is None:
            self.oracle.refused(presented, process)
            visitor.stage, visitor.presented, visitor.ticket = "gone", None, None
            return
        visitor.presented = latest
        visitor.stays -= 1
        visitor.due = self.world.true + self.chance.choice([2, 4, 8, 14]) * SECOND
        if visitor.stays <= 0 and (self.is_over or self.chance.random() < 0.5):
            self._go(visitor)
        elif visitor.stays <= 0:
            visitor.stage = "gone"  # without a word: the ticket and the pass may turn up again
            self.copies.append(latest)
