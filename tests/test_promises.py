"""The promises, held by the real scripts through random schedules (P1, P2, P3, P5, P8, P9).

Each step is sent to a real store under a clock that only this test moves, and to the model, which knows the
whole history. After each step both must agree, and the history must keep what was promised.
A longer run: `make fuzz`.
"""

import asyncio
import itertools
import json
import os
import random
import sys
import time
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

import pytest
import redis
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.conftest import DEEP, SECRET
from tests.model import Model, Visitor
from tests.rooms import Clock
from waitroom.config.settings import load
from waitroom.line.tickets import Pass, Ticket, new_id
from waitroom.line.window import Window
from waitroom.store.transitions import Store

Answer = TypeVar("Answer")

SCHEDULES = hypothesis_settings(
    max_examples=5000,
    stateful_step_count=80 if DEEP else 40,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

_rooms = itertools.count(1)

endings = st.lists(st.tuples(st.sampled_from(["done", "gone"]), st.integers(0, 10_000)), max_size=3)
hows = st.sampled_from(["number", "number", "enter", "first"])
picks = st.integers(0, 10_000)
processes = st.sampled_from([0, 1, 2])

# The share of first leases is at least ten, so that only larger rooms show it.
sizes = st.sampled_from([1, 2, 3, 5, 44])
rooms = st.fixed_dictionaries(
    {
        "window_size": sizes,
        "capacity": sizes,
        "window_interval": st.sampled_from([0.1, 5, 12.5]),
        "active_window_count": st.sampled_from([2, 6]),
        "claim_seconds": st.sampled_from([0.2, 7, 10]),
        "session_seconds": st.sampled_from([3, 20, 60]),
        "first_lease_seconds": st.sampled_from([1, 2, 3]),
        "max_session_seconds": st.sampled_from([0, 0, 30]),
    }
).map(lambda room: room | {"claim_seconds": min(room["claim_seconds"], active_seconds(room))})


def active_seconds(room: dict[str, Any]) -> float:
    return float(room["window_interval"] * room["active_window_count"])


class Schedule(RuleBasedStateMachine):
    """Joins, claims, renewals, leaving and the passing of time, in any order, from several processes."""

    url: ClassVar[str]
    runner: ClassVar[asyncio.Runner]

    model: Model
    stores: list[Store]

    @initialize(room=rooms, window_size=sizes, capacity=sizes, mixed=st.booleans())
    def open(self, room: dict[str, Any], window_size: int, capacity: int, mixed: bool) -> None:
        name = f"promises{next(_rooms)}-{os.getpid()}"
        first = load(redis_url=self.url, secret=SECRET, room=name, **room)
        # A third process may be of another deploy, with a room of another size.
        other = first.model_copy(update={"window_size": window_size, "capacity": capacity})
        self.clock = Clock()
        self.settings = [first, first, other if mixed else first]
        self.stores = [Store(self.url, settings, self.clock) for settings in self.settings]
        self.model = Model(first, self.clock.now)
        self.touched: list[Visitor] = []
        self.inside_before: set[str] = set()
        self.seen = self.run(self.stores[0].sync(-1))[0]

    def teardown(self) -> None:
        if not hasattr(self, "stores"):
            return
        try:
            if sys.exc_info()[0] is None:
                self.let_everybody_in()
        finally:
            for store in self.stores:
                self.run(store.close())

    # -- what may happen --------------------------------------------------------------------------

    @rule(modes=st.lists(hows, min_size=1, max_size=4), ended=endings, process=processes)
    def join(self, modes: list[str], process: int, ended: Sequence[tuple[str, int]] = ()) -> None:
        store = self.begin(process)
        ids = [new_id() for _ in modes]
        over = list(self.model.sessions)
        visits = [(how, over[which % len(over)]) for how, which in ended if over]
        window, answers = self.run(store.join([*visits, *zip(modes, ids, strict=True)]))
        for how, id in visits:
            self.model.end_visit(how, id)
        self.model.look(min(window.called, self.model.issued))
        self.model.displaced(self.inside_ids(store))
        for how, id, (number, start, ends) in zip(modes, ids, answers, strict=True):
            called, expected = self.model.called, self.model.issued + 1
            ticket = Ticket(window.generation, window.epoch, expected, id, self.clock.ms(), called)
            told = self.model.join(how, ticket, window.called)
            assert (number, start, ends) == ((0, 0, 0) if told is None else (expected, called, told // 1000))
        self.agree(window)

    @rule(count=st.integers(8, 16), process=processes)
    def join_on_first_leases(self, count: int, process: int) -> None:
        self.join(["first"] * count, process)

    @precondition(lambda self: self.model.visitors)
    @rule(
        which=st.lists(picks, min_size=1, max_size=4), enters=st.booleans() | st.just(True), process=processes
    )
    def claim(self, which: list[int], enters: bool, process: int) -> None:
        everybody = self.model.visitors
        self.claim_by([everybody[each % len(everybody)] for each in which], enters, process)

    @precondition(lambda self: self.model.called > self.model.floor)
    @rule(which=st.lists(picks, min_size=1, max_size=4), process=processes)
    def claim_called(self, which: list[int], process: int) -> None:
        active = self.model.visitors[self.model.floor : self.model.called]
        self.claim_by([active[each % len(active)] for each in which], True, process)

    @precondition(lambda self: self.touched)
    @rule(which=st.lists(picks, min_size=1, max_size=2), process=processes)
    def claim_once_more(self, which: list[int], process: int) -> None:
        """P5: repeat what was just done, be it from another process."""
        recent = self.touched[-3:]
        self.claim_by([recent[each % len(recent)] for each in which], True, process)

    @precondition(lambda self: self.model.sessions)
    @rule(which=st.lists(picks, min_size=1, max_size=3), confirms=st.booleans(), process=processes)
    def renew(self, which: list[int], confirms: bool, process: int) -> None:
        store = self.begin(process)
        ids = list(self.model.sessions)
        chosen = [ids[each % len(ids)] for each in which if ids]
        window, answers = self.run(store.renew([(self.pass_of(id), confirms) for id in chosen]))
        self.model.look(window.called)
        assert answers == [self.model.renew(id, confirms) // 1000 for id in chosen]
        self.agree(window)

    @precondition(lambda self: self.model.visitors)
    @rule(
        which=st.lists(picks, min_size=1, max_size=3),
        recent=st.booleans(),
        by_pass=st.booleans(),
        process=processes,
    )
    def leave(self, which: list[int], recent: bool, by_pass: bool, process: int) -> None:
        store = self.begin(process)
        choice = (self.touched[-3:] if recent else []) or self.model.visitors
        leaving = [choice[each % len(choice)] for each in which]
        self.touched += leaving
        window, answers = self.run(store.leave([self.credential(visitor, by_pass) for visitor in leaving]))
        assert answers == [self.model.leave(visitor) // 1000 for visitor in leaving]
        self.model.look(window.called)
        self.agree(window)

    @rule(process=processes)
    def sync(self, process: int) -> None:
        store = self.begin(process)
        window, synced = self.run(store.sync(-1))
        self.model.look(window.called)
        assert synced.ended == self.model.ended()
        self.agree(window)

    @rule(seconds=st.sampled_from([0.000_001, 0.001, 0.1, 1.0, 5.0, 30.0, 1000.0]) | st.floats(0, 20))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(which=picks, before=st.booleans())
    def wait_for_an_edge(self, which: int, before: bool) -> None:
        """Go to the very microsecond at which something changes, or to the one before."""
        edges = sorted({edge for edge in self.model.edges() if edge - before > self.clock.now})
        if edges:
            # The next ones are where most happens.
            self.clock.now = edges[min(which % 4, len(edges) - 1)] - before

    @rule(
        number=st.integers(1, 20) | st.just(2**53 - 1),
        wrong=st.sampled_from(["number", "generation", "epoch"]),
        process=processes,
    )
    def forge(self, number: int, wrong: str, process: int) -> None:
        """P8: tickets that nobody was given change nobody's place."""
        window = self.seen
        forged = Ticket(window.generation, window.epoch, number, new_id(), 0, 0)
        if wrong == "number":
            forged = replace(forged, number=min(self.model.issued + number, 2**53 - 1))
        elif wrong == "generation":
            forged = replace(forged, generation=window.generation + 1)
        else:
            forged = replace(forged, epoch="9999999999999999-ffffff")
        store = self.begin(process)
        _, (claimed,) = self.run(store.claim([(forged, True)]))
        window, (left,) = self.run(store.leave([forged]))
        self.model.look(window.called)
        assert claimed[:4] == ("expired" if wrong == "generation" else "waiting", 0, 0, 0)
        assert left == 0
        self.agree(window)

    # -- what must hold ---------------------------------------------------------------------------

    @invariant()
    def p1_no_entry_exceeds_the_capacity(self) -> None:
        if self.entered_now():
            assert len(self.model.inside()) <= self.model.settings.capacity

    @invariant()
    def p2_no_interval_has_more_entries_than_the_window(self) -> None:
        if self.entered_now():
            assert len(self.model.entered_lately()) <= self.model.settings.window_size

    @invariant()
    def p3_ranks_are_called_in_order(self) -> None:
        called = self.model.visitors[: self.model.called]
        times = [visitor.called_at for visitor in called if not visitor.gave_up]
        assert None not in times
        assert times == sorted(at for at in times if at is not None)

    @invariant()
    def p5_one_ticket_is_one_session(self) -> None:
        numbers = [session.visitor.number for session in self.model.sessions.values()]
        assert len(numbers) == len(set(numbers))

    # -- how ---------------------------------------------------------------------------------------

    def run(self, call: Coroutine[Any, Any, Answer]) -> Answer:
        return self.runner.run(call)

    def begin(self, process: int) -> Store:
        """Start a step: the model follows the clock and the settings of the process that calls."""
        self.model.settings = self.settings[process]
        self.model.tell_time(self.clock.now)
        self.inside_before = set(self.model.sessions)
        return self.stores[process]

    def inside_ids(self, store: Store) -> set[str]:
        with redis.Redis.from_url(self.url, decode_responses=True) as client:
            return set(client.zrange(f"waitroom:{{{self.settings[0].room}}}:inside", 0, -1))

    def entered_now(self) -> set[str]:
        return set(self.model.sessions) - self.inside_before

    def claim_by(self, claiming: list[Visitor], enters: bool, process: int) -> list[str]:
        store = self.begin(process)
        # Who is on a first lease has a pass and no ticket: that comes back to be renewed.
        held = {id for id, session in self.model.sessions.items() if session.first and not session.over}
        claiming = [visitor for visitor in claiming if visitor.ticket.id not in held]
        self.touched += claiming
        window, answers = self.run(store.claim([(visitor.ticket, enters) for visitor in claiming]))
        self.model.look(window.called)
        for visitor, answer in zip(claiming, answers, strict=True):
            outcome, ends, entered_at = self.model.claim(visitor, enters)
            free_in = self.model.free_in(visitor) / 1e6 if enters and outcome == "door" else 0
            assert answer[:4] == (outcome, ends // 1000, entered_at // 1000, free_in), visitor
        self.agree(window)
        return [answer.outcome for answer in answers]

    def pass_of(self, id: str) -> Pass:
        session = self.model.sessions[id]
        ticket, entered_at = session.visitor.ticket, session.entered_at // 1000
        return Pass(ticket.generation, ticket.epoch, ticket.number, id, entered_at, 0, 0, 0)

    def credential(self, visitor: Visitor, by_pass: bool) -> Ticket | Pass:
        id = visitor.ticket.id
        return self.pass_of(id) if by_pass and id in self.model.sessions else visitor.ticket

    def agree(self, window: Window) -> None:
        """The store and the model see one room; it never moves backwards, and no place is withheld."""
        model, before = self.model, self.seen
        self.seen = window
        told = (window.issued, window.called, window.floor, window.inside)
        assert told == (model.issued, model.called, model.floor, len(model.inside()))
        least, most = model.free_first(window.free)
        assert least <= window.free_first <= most
        assert model.least_free() <= window.free <= model.most_free()
        assert window.ended_version == model.ended_version
        assert (window.epoch, window.generation) == (before.epoch, before.generation)
        assert window.issued >= before.issued
        assert window.called >= before.called
        assert window.floor >= before.floor
        assert 0 <= window.floor <= window.called <= window.issued
        assert not (window.free and window.waiting), "a place is withheld while somebody waits"

    def let_everybody_in(self) -> None:
        """When all who hold a place keep asking, all of them get in."""
        holding = self.run_out()
        chance = random.Random(len(holding))
        patience = 100 + 2 * len(holding)
        while holding and patience:
            chance.shuffle(holding)
            outcomes = self.claim_by(holding, True, 0)
            self.p1_no_entry_exceeds_the_capacity()
            self.p2_no_interval_has_more_entries_than_the_window()
            assert set(outcomes) <= {"active", "waiting", "door"}
            entered = [who for who, outcome in zip(holding, outcomes, strict=True) if outcome == "active"]
            holding = [who for who in holding if who not in entered]
            self.begin(0)
            window, _ = self.run(self.stores[0].leave([who.ticket for who in entered]))
            for visitor in entered:
                self.model.leave(visitor)
            self.model.look(window.called)
            self.agree(window)
            self.clock.advance(min(9, self.settings[0].window_interval))
            patience -= 1
        assert not holding, "somebody who kept asking was never let in"

    def run_out(self) -> list[Visitor]:
        """Wait until all who are inside have gone; answers who is in line then."""
        self.begin(0)
        left = [session.lease_ends for session in self.model.inside()]
        self.clock.now = max(left, default=self.clock.now)
        self.sync(0)
        return [
            who
            for who in self.model.visitors[self.model.floor :]
            if not (who.entered_at or who.left or who.gave_up)
        ]


@pytest.mark.parametrize(
    # The same schedules begin on both, and the scripts are the same.
    ("any_store_url", "examples"),
    [("valkey", 400), ("redis", 100)],
    indirect=["any_store_url"],
)
def test_p1_p2_p3_p5_p8_hold_whatever_happens_in_whatever_order(any_store_url: str, examples: int) -> None:
    schedules = SCHEDULES if DEEP else hypothesis_settings(SCHEDULES, max_examples=examples)
    with asyncio.Runner() as runner:

        class OnThisStore(Schedule):
            url = any_store_url

        OnThisStore.runner = runner
        run_state_machine_as_test(OnThisStore, settings=schedules)


@pytest.mark.parametrize("hours_off", [-3, 3])
async def test_p9_a_process_whose_clock_is_wrong_changes_nothing(
    any_store_url: str, room: str, hours_off: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(redis_url=any_store_url, secret=SECRET, room=room, window_size=2, capacity=2)
    wrong, right = Store(any_store_url, settings), Store(any_store_url, settings)
    true_time = time.time
    with redis.Redis.from_url(any_store_url) as client:
        before = client.time()[0] * 1000
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", lambda: true_time() + 3600 * hours_off)
            _, entered = await wrong.join([("enter", id) for id in ("a", "b", "c")])
            window, _ = await wrong.sync(-1)
        _, (late,) = await right.join([("enter", "d")])
        after = (client.time()[0] + 1) * 1000
    await wrong.close()
    await right.close()
    assert before <= window.at <= after
    lease_ms = settings.session_seconds * 1000
    assert [bool(joined.pass_ends) for joined in entered] == [True, True, False]
    assert before + lease_ms <= entered[0].pass_ends <= after + lease_ms
    assert (late.number, late.pass_ends) == (4, 0)
    # Its share of the line is as long as everybody's: neither the rate nor the leases saw its clock.
    assert (window.called, window.inside, window.waiting) == (2, 2, 1)


async def test_p9_nothing_of_a_processs_clock_is_sent(
    any_store_url: str, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the time that has passed on its machine since the store told its own."""
    monkeypatch.setattr(time, "time", lambda: 987_654_321.0)
    store = Store(any_store_url, load(redis_url=any_store_url, secret=SECRET, room=room))
    await store.sync(0)
    with redis.Redis.from_url(any_store_url) as client, client.monitor() as monitor:
        told = client.time()[0]
        await store.sync(0)
        await store.close()
        command = sent(monitor)
    assert "now_us" not in command
    assert "987654321" not in command
    memory = json.loads(command[command.rindex('{"generation"') :])
    assert abs(memory["expected"] / 1e6 - told) < 5


def sent(monitor: redis.client.Monitor) -> str:
    """The next script call that the store saw, whole."""
    while True:
        command = str(monitor.next_command()["command"])  # type: ignore[no-untyped-call]
        if command.startswith("EVALSHA"):
            return command
