"""A model of the sessions: who is inside, what the store counts, and what it counts after it forgot some.

Time goes in ticks, of which a full lease has `lease`. Guests are alike, and so are processes: they are kept sorted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.models.search import put

UNKNOWN = -1  # no process has said how many were inside: as many as ever may be


class Store(NamedTuple):
    """What a room's keys say, but for the leases, which stand with the guests."""

    new: bool = False  # the room began empty, and nobody has told of an earlier epoch
    differs: bool = False  # it took over from another, and nobody has called since
    settling: bool = False
    highest: int = 0  # inside when it was lost, as far as processes told; or UNKNOWN
    accounted: int = 0  # of these, how many the store had, or has again
    ghosts_for: int = 0  # ticks for which the others count as inside


class Guest(NamedTuple):
    """One session: ticks until each of these ends."""

    pass_: int
    lease: int
    backup: int  # the lease as the store's backup has it


class Process(NamedTuple):
    """One that remembers; None is one that does not."""

    late: bool  # it has not spoken to the store since a loss was found
    ahead: bool  # the store told it of a later time than the backup knows
    inside: int  # as it saw it last


class State(NamedTuple):
    store: Store | None  # None: empty
    backup: Store | None  # an older state of the store: a replica that is behind
    guests: tuple[Guest, ...]
    processes: tuple[Process | None, ...]
    entries: int
    faults: int


Step = tuple[str, State, str]


@dataclass(frozen=True)
class Sessions:
    capacity: int = 2
    lease: int = 3
    grace: int = 0  # the store keeps a lease this much longer than its pass
    entries: int = 4
    faults: int = 2
    processes: int = 2
    # What the design does.
    counts_ghosts: bool = True
    shows_ghosts: bool = True  # what processes see as `inside` has the ghosts in it
    prolongs: bool = True  # at a loss the leases that are left are made full
    history: bool = True  # the store's history id can be read
    clock_proves: bool = True  # who was told of a later time than the room's has found a loss
    fears_all: bool = (
        True  # where nobody remembers how many were inside, it counts as if all places were taken
    )
    # What is assumed.
    restarts: bool = True  # all processes may forget at once, unless one has not told yet what it knows
    dies: bool = False  # one that saw more than the others may die
    new_rooms: bool = (
        False  # the first to call an empty store may be a stranger by way of a process without memory
    )
    settles_for_all: bool = True  # every process that remembers speaks before the room has settled
    tells_first: bool = False  # at a takeover one that was told of more than the store knows speaks first

    def start(self) -> State:
        return State(None, None, (), (None,) * self.processes, 0, 0)

    def steps(self, state: State) -> Iterator[Step]:
        yield from self._time(state)
        if state.faults < self.faults:
            yield from self._faults(state)
        for index, process in enumerate(state.processes):
            if (not index or process != state.processes[index - 1]) and self._may_speak(state, process):
                yield from self._calls(state, index)

    def _time(self, state: State) -> Iterator[Step]:
        store, backup = state.store, state.backup
        guests = tuple(Guest(*(max(0, each - 1) for each in guest)) for guest in state.guests)
        yield (
            "time passes",
            _tidy(state._replace(store=_tick(store), backup=_tick(backup), guests=guests)),
            "",
        )
        if not store:
            return
        if store.settling and not (self.settles_for_all and any(e and e.late for e in state.processes)):
            yield "the room has settled", _tidy(state._replace(store=store._replace(settling=False))), ""
        if not store.differs:
            guests = tuple(guest._replace(backup=guest.lease) for guest in state.guests)
            same = tuple(each and each._replace(ahead=False) for each in state.processes)
            after = state._replace(backup=store, guests=guests, processes=same)
            yield "a replica has all of this; what follows it misses", _tidy(after), ""

    def _faults(self, state: State) -> Iterator[Step]:
        state = state._replace(faults=state.faults + 1)
        if state.store:
            guests = tuple(guest._replace(lease=0) for guest in state.guests)
            yield "THE STORE IS EMPTIED", _tidy(state._replace(store=None, guests=guests)), ""
        if state.backup:
            guests = tuple(guest._replace(lease=guest.backup) for guest in state.guests)
            store = state.backup._replace(differs=True)
            yield "THE REPLICA TAKES OVER", _tidy(state._replace(store=store, guests=guests)), ""
        if self.restarts and any(state.processes) and not any(each and each.late for each in state.processes):
            yield "ALL PROCESSES RESTART", _tidy(state._replace(processes=(None,) * self.processes)), ""
        for index, process in enumerate(state.processes):
            if self.dies and process:
                after = state._replace(processes=put(state.processes, index, None))
                yield f"THE {_named(process)} DIES", _tidy(after), ""

    def _calls(self, state: State, index: int) -> Iterator[Step]:
        who = "the " + _named(state.processes[index])
        healed, found = self._heal(state, index, told=False)
        if healed:
            yield f"{who} looks{found}", self._told(healed, index), ""
            yield from self._enter(f"{who} lets somebody in{found}", healed, index)
        for place, guest in enumerate(state.guests):
            if guest.pass_ and guest not in state.guests[:place]:
                yield from self._guest(who, state, place, index)

    def _enter(self, words: str, state: State, index: int) -> Iterator[Step]:
        store = state.store
        assert store
        if store.settling or state.entries == self.entries or self._inside(state) >= self.capacity:
            return
        guests = (*state.guests, Guest(self.lease, self.lease + self.grace, 0))
        really = sum(1 for guest in guests if guest.pass_)
        after = self._told(state._replace(guests=guests, entries=state.entries + 1), index)
        yield words, after, f"{really} hold a pass, {self.capacity} may" if really > self.capacity else ""

    def _guest(self, who: str, state: State, place: int, index: int) -> Iterator[Step]:
        healed, found = self._heal(state, index, told=not state.guests[place].lease)
        assert healed
        assert healed.store
        guest = healed.guests[place]
        unknown = "" if guest.lease else " (unknown to the store)"
        if not guest.lease:
            accounted = healed.store.accounted + bool(healed.store.ghosts_for)
            healed = healed._replace(store=healed.store._replace(accounted=accounted))
        renewed = guest._replace(pass_=self.lease, lease=self.lease + self.grace)
        after = healed._replace(guests=put(healed.guests, place, renewed))
        words = f"{who} renews a pass{unknown} with {guest.pass_} of {self.lease} left{found}"
        yield words, self._told(after, index), ""
        gone = guest._replace(pass_=0, lease=0)
        after = healed._replace(guests=put(healed.guests, place, gone))
        yield f"{who} lets one leave{unknown}{found}", self._told(after, index), ""

    # -- what every script does first

    def _heal(self, state: State, index: int, told: bool) -> tuple[State | None, str]:
        """Find out whether something was lost; `told`: a pass comes that the store knows nothing of."""
        store, caller = state.store, state.processes[index]
        remembers = told or caller is not None
        if not store and not remembers:
            if not self.new_rooms and (any(state.processes) or any(guest.pass_ for guest in state.guests)):
                return None, ""
            late = tuple(each and each._replace(late=True) for each in state.processes)
            return state._replace(store=Store(new=True, ghosts_for=self.lease), processes=late), ""
        if not store or (store.differs and self._proves(caller)):
            return self._lost(state, caller), " (a loss is found)"
        store = store._replace(differs=False)
        if store.new and (told or (caller and caller.late)):
            store = store._replace(new=False, settling=True, highest=UNKNOWN)
        if caller and caller.late:
            store = store._replace(highest=max(store.highest, caller.inside))
        return state._replace(store=store), ""

    def _proves(self, caller: Process | None) -> bool:
        return self.history or bool(self.clock_proves and caller and caller.ahead)

    def _may_speak(self, state: State, caller: Process | None) -> bool:
        if not (self.tells_first and state.store and state.store.differs):
            return True
        return bool(caller and caller.ahead)

    def _lost(self, state: State, caller: Process | None) -> State:
        there = self._inside(state) if state.store else 0
        guests = state.guests
        if self.prolongs:
            guests = tuple(
                each._replace(lease=self.lease + self.grace if each.lease else 0) for each in guests
            )
        late = tuple(each and each._replace(late=True) for each in state.processes)
        feared = UNKNOWN if self.fears_all or not state.store else there
        store = Store(
            settling=True,
            highest=max(caller.inside, there) if caller else feared,
            accounted=sum(1 for each in guests if each.lease),
            ghosts_for=self.lease,
        )
        return state._replace(store=store, guests=guests, processes=late)

    def _inside(self, state: State) -> int:
        return sum(1 for guest in state.guests if guest.lease) + self._ghosts(state.store)

    def _ghosts(self, store: Store | None) -> int:
        if not store or not store.ghosts_for or not self.counts_ghosts:
            return 0
        highest = self.capacity if store.highest == UNKNOWN else store.highest
        return max(0, highest - store.accounted)

    def _told(self, state: State, index: int) -> State:
        seen = self._inside(state) - (0 if self.shows_ghosts else self._ghosts(state.store))
        now = Process(late=False, ahead=not self.history and state.backup is not None, inside=seen)
        return _tidy(state._replace(processes=put(state.processes, index, now)))


def _named(process: Process | None) -> str:
    return f"process that saw {process.inside} inside" if process else "process without memory"


def _tick(store: Store | None) -> Store | None:
    if not store or not store.ghosts_for:
        return store
    if store.ghosts_for == 1:
        return store._replace(highest=0, accounted=0, ghosts_for=0)
    return store._replace(ghosts_for=store.ghosts_for - 1)


def _tidy(state: State) -> State:
    guests = tuple(sorted(guest for guest in state.guests if any(guest)))
    processes = tuple(sorted(state.processes, key=lambda each: (each is not None, each or ())))
    return state._replace(guests=guests, processes=processes)
