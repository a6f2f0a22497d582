"""A model of the line: numbers, epochs, and what a store's losses do to them.

A join is executed by the store at one moment and answered at a later one, or never. Visitors tell their tickets,
processes tell what they remember. A "turn" is an active time: whoever is called when it begins has had it then.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from tests.models.search import put

WAITS, CALLED, INSIDE = range(3)

Id = tuple[int, int]  # an epoch's stamp and tag


class Epoch(NamedTuple):
    id: Id
    issued: int
    called: int
    floor: int


class View(NamedTuple):
    """What a store answers, and a process remembers."""

    over: Id
    epochs: tuple[Epoch, ...]
    clock: int  # the room's clock as last seen


class Store(NamedTuple):
    view: View
    differs: bool = False  # it took over from another, and nobody has called since
    settling: bool = False
    settled: bool = False  # it has found a loss since its newest epoch began, or began with one


class Ticket(NamedTuple):
    epoch: Id
    number: int
    start: int  # `called` when it was issued
    told: int  # WAITS, CALLED (and no place was free) or INSIDE (it has become a pass)


class Process(NamedTuple):
    memory: View | None
    pending: (
        tuple[Ticket, View, bool] | None
    )  # a join that the store has executed and nobody has heard of yet
    ahead: bool = False  # the store told it of a later time than the backup knows


class State(NamedTuple):
    store: Store | None
    backup: Store | None
    processes: tuple[Process, ...]
    tickets: tuple[Ticket, ...]  # those in visitors' hands
    answered: tuple[Id, int]  # the highest rank that any visitor was ever given
    clock: int  # the server's
    joins: int
    faults: int
    backs: int  # how often the server's clock went back


Step = tuple[str, State, str]
NEVER: Id = (-1, 0)


@dataclass(frozen=True)
class Line:
    joins: int = 4
    faults: int = 2
    processes: int = 2
    # What the design does.
    on_loss: str = "epoch"  # or "nothing", "maximum", "gap"
    stamp: str = "clock"  # or "next" (newest known + 1 and a tag), "stored" (the same without a tag)
    gap: int = 2
    settles: bool = True
    history: bool = True  # the store's history id can be read
    clock_proves: bool = True  # who was told of a later time than the room's has found a loss
    old_epochs_open: bool = False  # news of an epoch that is not the newest opens another one
    # What is assumed.
    clock_backs: int = 0
    prompt: bool = True  # visitors and processes speak within the settle time and the time of a turn
    tells_first: bool = False  # at a takeover one that was told of more than the store knows speaks first
    new_rooms: bool = False  # who first calls an empty store may remember nothing though somebody does
    remembered: bool = True  # only what some living process saw of a call has to last

    def start(self) -> State:
        nobody = (Process(None, None),) * self.processes
        return State(None, None, nobody, (), (NEVER, 0), 0, 0, 0, 0)

    def steps(self, state: State) -> Iterator[Step]:
        for words, after, wrong in self._all(state):
            yield words, _tidy(after), wrong or _lost(after)

    def _all(self, state: State) -> Iterator[Step]:
        yield from self._time(state)
        yield from self._faults(state)
        for index, process in enumerate(state.processes):
            if index and process == state.processes[index - 1]:
                continue
            yield from self._answer(state, index)
            if not self._may_speak(state, process):
                continue
            for found, healed in self._heal(state, index, None):
                words = _who(process) + found
                yield f"{words} looks", self._told(healed, index), _back(state, healed, index)
                yield from self._join(words, state, healed, index)
                yield from self._call(words, healed, index)
            for place in range(len(state.tickets)):
                yield from self._ask(state, index, place)

    # -- time and faults

    def _time(self, state: State) -> Iterator[Step]:
        store = state.store
        if not store or store.differs:
            return
        if store != state.backup and state.faults < self.faults:
            same = tuple(_even(each) for each in state.processes)
            after = state._replace(backup=store, processes=same)
            yield "a replica has all of this; what follows it misses", after, ""
        covered = not self.prompt or self._covered(state)
        if store.settling:
            if covered:
                yield "the room has settled", state._replace(store=store._replace(settling=False)), ""
            return
        if any(process.pending for process in state.processes):
            return
        epochs = tuple(each._replace(floor=each.called) for each in store.view.epochs)
        if epochs != store.view.epochs:
            over = _with(store, store.view._replace(epochs=epochs))
            called = {each.id: each.called for each in epochs}
            left = tuple(each for each in state.tickets if each.number > called.get(each.epoch, 0))
            yield "a turn passes, for all who are called", state._replace(store=over, tickets=left), ""
        if len(epochs) > 1 and store.view.epochs[0].floor >= store.view.epochs[0].issued and covered:
            view = store.view._replace(over=epochs[0].id, epochs=store.view.epochs[1:])
            yield f"epoch {_name(epochs[0].id)} is over", state._replace(store=_with(store, view)), ""

    def _faults(self, state: State) -> Iterator[Step]:
        if state.backs < self.clock_backs and state.clock:
            yield "THE STORE'S CLOCK JUMPS BACK", state._replace(clock=0, backs=state.backs + 1), ""
        if state.faults == self.faults:
            return
        backup, state = state.backup, state._replace(faults=state.faults + 1)
        if state.faults == self.faults:
            state = state._replace(backup=None)  # nothing will ask for it any more
        if state.store:
            yield "THE STORE IS EMPTIED", state._replace(store=None), ""
        if backup:
            back = backup._replace(differs=True)
            yield "THE REPLICA TAKES OVER", state._replace(store=back), ""
        for index, process in enumerate(state.processes):
            if process.memory or process.pending:
                fewer = put(state.processes, index, Process(None, None))
                yield f"{_who(process)} DIES", state._replace(processes=fewer), ""

    # -- what processes do

    def _answer(self, state: State, index: int) -> Iterator[Step]:
        process = state.processes[index]
        if not process.pending:
            return
        ticket, view, ahead = process.pending
        memory = merged(process.memory, view)
        heard = state._replace(
            processes=put(state.processes, index, Process(memory, None, ahead or process.ahead)),
            tickets=(*state.tickets, ticket),
            answered=max(state.answered, (ticket.epoch, ticket.number)),
        )
        yield f"{_who(process)} answers: a visitor has {_rank(ticket)}", heard, ""
        lost = put(state.processes, index, process._replace(pending=None))
        yield f"the answer with {_rank(ticket)} is lost", state._replace(processes=lost), ""

    def _join(self, words: str, before: State, state: State, index: int) -> Iterator[Step]:
        process, store = state.processes[index], state.store
        assert store
        if state.joins == self.joins or process.pending:
            return
        *older, newest = store.view.epochs
        number = newest.issued + 1
        ticket = Ticket(newest.id, number, newest.called, WAITS)
        view = store.view._replace(epochs=(*older, newest._replace(issued=number)))
        waiting = put(state.processes, index, process._replace(pending=(ticket, view, self._is_ahead(state))))
        after = state._replace(store=_with(store, view), joins=state.joins + 1, processes=waiting)
        yield f"{words} asks for a number: {_rank(ticket)}", after, _misplaced(before, ticket)

    def _call(self, words: str, state: State, index: int) -> Iterator[Step]:
        store = state.store
        assert store
        waiting = [n for n, each in enumerate(store.view.epochs) if each.issued > each.called]
        if store.settling or not waiting:
            return
        epoch = store.view.epochs[waiting[0]]
        epoch = epoch._replace(called=epoch.called + 1)
        rank = (epoch.id, epoch.called)
        view = store.view._replace(epochs=put(store.view.epochs, waiting[0], epoch))
        before = [each for each in state.tickets if (each.epoch, each.number) < rank and each.told != INSIDE]
        passed = [each for each in before if _waits(view, each)]
        wrong = f"{_rank(passed[0])} still waits" if passed else ""
        after = self._told(state._replace(store=_with(store, view)), index)
        yield f"{words} looks: {_name(epoch.id)}:{epoch.called} is called", after, wrong

    def _ask(self, state: State, index: int, place: int) -> Iterator[Step]:
        ticket, process = state.tickets[place], state.processes[index]
        for found, healed in self._heal(state, index, ticket):
            assert healed.store
            words = f"the visitor with {_rank(ticket)} asks {_who(process)}{found}"
            if healed.store.settling or ticket.told == INSIDE:
                yield words, self._told(healed, index), ""
                continue
            if _waits(healed.store.view, ticket):
                known = not self.remembered or any(
                    each.memory and not _waits(each.memory, ticket, False) for each in healed.processes
                )
                wrong = "it had been called" if ticket.told == CALLED and known else ""
                yield f"{words}: waiting", self._told(healed, index), wrong
                continue
            for told, how in ((CALLED, "called, no place is free"), (INSIDE, "comes in")):
                after = self._told(
                    healed._replace(tickets=put(healed.tickets, place, ticket._replace(told=told))), index
                )
                yield f"{words}: {how}", after, ""

    # -- what every script does first

    def _heal(self, state: State, index: int, ticket: Ticket | None) -> Iterator[tuple[str, State]]:
        known = state.processes[index].memory
        told = _tells(ticket) if ticket else None
        store = state.store
        if self.on_loss == "nothing":
            yield "", state._replace(store=store._replace(differs=False) if store else _first(state.clock))
            return
        news = merged(known, told)
        learnt = news and news._replace(over=NEVER)  # which epochs are over is not taken from others
        if not store and not news:
            somebody = state.tickets or any(each.memory or each.pending for each in state.processes)
            if somebody and not self.new_rooms:
                return
            yield from self._open(state, Store(View(NEVER, (), 0)), lost=False)
            return
        here = store or Store(View(NEVER, (), 0))
        there = here.view
        ahead, raised = _compare(there, news)
        view = merged(there, learnt) or there
        healed = here._replace(view=view, differs=False)
        proven = self.history or (self.clock_proves and state.processes[index].ahead)
        lost = not store or (store.differs and proven) or ahead or (raised and self.old_epochs_open)
        if lost:
            yield from self._open(state, healed, lost=True)
        elif raised and not here.settled and self.settles:
            settling = healed._replace(view=view, settling=True, settled=True)
            yield " (an earlier epoch is told of)", state._replace(store=settling)
        else:
            yield "", state._replace(store=healed._replace(view=view))

    def _open(self, state: State, store: Store, lost: bool) -> Iterator[tuple[str, State]]:
        view = store.view
        clock = state.clock + 1
        now = max(clock, view.clock + 1)
        highest = max((each.issued for each in view.epochs), default=0)
        newest = view.epochs[-1].id[0] if view.epochs else view.over[0]
        words = " (a loss is found)" if lost else ""
        if self.on_loss in ("maximum", "gap"):
            ids: list[Id] = [(0, 0)]
            highest += self.gap if self.on_loss == "gap" and lost else 0
        elif self.stamp == "stored":
            ids = [(newest + 1, 0)]
        else:
            stamp = max(now, newest + 1) if self.stamp == "clock" else newest + 1
            tags = [tag for there, tag in _epochs(state) if there == stamp]
            ids = [(stamp, min(tags) - 1), (stamp, max(tags) + 1)] if tags else [(stamp, 0)]
        for id in ids:
            if self.on_loss in ("maximum", "gap"):
                old = view.epochs[0] if view.epochs else Epoch(id, 0, 0, 0)
                epochs: tuple[Epoch, ...] = (old._replace(issued=highest),)
            else:
                epochs = (*view.epochs, Epoch(id, highest, highest, highest))
            settling = lost and self.settles
            opened = Store(View(view.over, epochs, now), False, settling, lost)
            yield words, state._replace(store=opened, clock=clock)

    def _told(self, state: State, index: int) -> State:
        assert state.store
        process = state.processes[index]
        memory = merged(process.memory, state.store.view)
        told = process._replace(memory=memory, ahead=self._is_ahead(state))
        return state._replace(processes=put(state.processes, index, told))

    def _is_ahead(self, state: State) -> bool:
        return not self.history and state.backup is not None

    # -- what is assumed

    def _covered(self, state: State) -> bool:
        """Whether all who live and remember have told the store what they know."""
        assert state.store
        told = [_tells(each) for each in (*state.tickets, *_in_flight(state))]
        known = [each.memory for each in state.processes if each.memory]
        return not any(any(_compare(state.store.view, each)) for each in (*told, *known))

    def _may_speak(self, state: State, process: Process) -> bool:
        """Whether the caller can tell that something was lost, or nothing was that anybody heard of."""
        if not self.tells_first or not state.store or not state.store.differs:
            return True
        newest = state.store.view.epochs[-1]
        if self._covered(state) and state.answered <= (newest.id, newest.issued):
            return True
        return self.history or process.ahead


@cache
def merged(one: View | None, other: View | None) -> View | None:
    if not one or not other:
        return one or other
    over = max(one.over, other.over)
    epochs: dict[Id, Epoch] = {each.id: each for each in one.epochs}
    for each in other.epochs:
        mine = epochs.get(each.id, each)
        numbers = (max(mine.issued, each.issued), max(mine.called, each.called), max(mine.floor, each.floor))
        epochs[each.id] = Epoch(each.id, *numbers)
    left = tuple(sorted(each for id, each in epochs.items() if id > over))
    return View(over, left, max(one.clock, other.clock))


@cache
def _compare(view: View, news: View | None) -> tuple[bool, bool]:
    """Whether news are ahead of the newest epoch, and whether they are of an older one."""
    if not news:
        return False, False
    here = {each.id: each for each in view.epochs}
    newest = view.epochs[-1].id if view.epochs else NEVER
    ahead = raised = False
    for each in news.epochs:
        mine = here.get(each.id)
        if each.id <= view.over or (mine and all(a >= b for a, b in zip(mine[1:], each[1:], strict=True))):
            continue
        if each.id >= newest:
            ahead = True
        else:
            raised = True
    return ahead or news.over >= newest, raised


@cache
def _tells(ticket: Ticket) -> View:
    called = ticket.number if ticket.told == INSIDE else ticket.start
    return View(NEVER, (Epoch(ticket.epoch, ticket.number, called, 0),), 0)


def _first(clock: int) -> Store:
    return Store(View(NEVER, (Epoch((0, 0), 0, 0, 0),), clock))


def _with(store: Store, view: View) -> Store:
    return store._replace(view=view)


def _waits(view: View, ticket: Ticket, unknown: bool = True) -> bool:
    for each in view.epochs:
        if each.id == ticket.epoch:
            return ticket.number > each.called
    return unknown and ticket.epoch > view.over


def _lost(state: State) -> str:
    """P4: whose turn has passed is not in the state any more, so nobody who is may have expired."""
    if not state.store:
        return ""
    floors = {each.id: each.floor for each in state.store.view.epochs}
    for each in state.tickets:
        if each.told != INSIDE and (
            each.epoch <= state.store.view.over or each.number <= floors.get(each.epoch, 0)
        ):
            return f"{_rank(each)} has expired and never had its turn"
    return ""


def _misplaced(state: State, ticket: Ticket) -> str:
    held = [*state.tickets, *_in_flight(state)]
    rank = (ticket.epoch, ticket.number)
    if any((each.epoch, each.number) == rank for each in held):
        return f"{_rank(ticket)} is somebody else's already"
    if rank <= state.answered:
        before = f"{_name(state.answered[0])}:{state.answered[1]}"
        return f"{before} had been answered before, and is not in front of {_rank(ticket)}"
    return ""


def _back(before: State, after: State, index: int) -> str:
    """Whether the line went back behind what this caller had been told, or behind what it was."""
    assert after.store
    now = {each.id: each.called for each in after.store.view.epochs}
    seen = [before.processes[index].memory, before.store.view if before.store else None]
    for view in seen:
        for each in view.epochs if view else ():
            if each.id > after.store.view.over and now.get(each.id, 0) < each.called:
                return f"{_name(each.id)} had been called up to {each.called}"
    return ""


def _epochs(state: State) -> set[Id]:
    views = [each.view for each in (state.store, state.backup) if each]
    views += [each.memory for each in state.processes if each.memory]
    views += [each.pending[1] for each in state.processes if each.pending]
    found = {epoch.id for view in views for epoch in view.epochs}
    return found | {each.epoch for each in state.tickets} | {state.answered[0]}


def _even(process: Process) -> Process:
    pending = process.pending and (*process.pending[:2], False)
    return process._replace(pending=pending, ahead=False)


def _in_flight(state: State) -> list[Ticket]:
    return [each.pending[0] for each in state.processes if each.pending]


def _name(id: Id) -> str:
    return f"E{id[0]}" + {-1: "a", 0: "", 1: "b"}.get(id[1], str(id[1]))


def _rank(ticket: Ticket) -> str:
    return f"{_name(ticket.epoch)}:{ticket.number}"


def _who(process: Process) -> str:
    if not process.memory:
        return "a process without memory"
    newest = process.memory.epochs[-1]
    return f"a process that remembers {_name(newest.id)}:{newest.issued}"


def _tidy(state: State) -> State:
    """Visitors are alike, and so are processes: their order says nothing."""
    processes = state.processes
    if not state.backup and not (state.store and state.store.differs):
        processes = tuple(_even(each) for each in processes)  # nothing can tell the difference any more
    processes = tuple(sorted(processes, key=lambda each: (each[0] or (), each[1] or (), each[2])))
    return state._replace(processes=processes, tickets=tuple(sorted(state.tickets)))
