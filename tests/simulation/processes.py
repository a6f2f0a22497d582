"""A process of the gate: the real store's client and memory, and around them what room, sessions and snapshot do.

Everything that comes after the store's answer is one step here, as nothing in this world takes time. What a visitor
may be told is judged by the oracle where the store itself is asked.
"""

from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from tests.simulation.parts import Parts
from tests.simulation.world import SECOND, World
from waitroom.config.settings import Settings
from waitroom.errors import StoreError
from waitroom.line.positions import Positions, status_of
from waitroom.line.tickets import UNCONFIRMED, Pass, Ticket, pass_of, ticket_of
from waitroom.line.window import Window, rank
from waitroom.room.sessions import SKEW_MS
from waitroom.store.transitions import Claimed, Joined, Store

if TYPE_CHECKING:
    from tests.simulation.oracle import Oracle

Answer = TypeVar("Answer")


def run(call: Coroutine[Any, Any, Answer]) -> Answer:
    """Run a call to its end, which never has to wait."""
    try:
        call.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("it waits for something")


class Process:
    """One of several that serve the room; `settings` are its own."""

    def __init__(self, name: str, world: World, oracle: "Oracle", settings: Settings, parts: Parts) -> None:
        self.name = name
        self.world = world
        self.oracle = oracle
        self.settings = settings
        self.parts = parts
        self.is_cut = False
        self.next_fault: str | None = None
        """What befalls the next call: "lost", its answer does not arrive, or "twice", it is sent again."""
        self.places = Positions(settings.tempo, world.chance)
        self.restart()

    def restart(self) -> None:
        """Begin without any memory, as after kill -9."""
        self.booted_at = self.world.true - self.world.chance.randrange(10**6) * SECOND
        self.store = _store(self)
        self.window: Window | None = None
        self.ended: dict[str, int] = {}
        self.renewed: dict[str, Pass] = {}
        self.ended_first: list[tuple[str, str]] = []
        self._read_at: int | None = None
        self._ended_version = -1
        self._offset = 0
        self.is_away = False
        self._lost_at = 0
        self._outage: tuple[int, int] | None = None
        self.oracle.restarted(self)

    def elapsed(self) -> float:
        """Seconds since this machine was booted, by a clock that nobody sets."""
        return (self.world.true - self.booted_at) / 1e6

    def now(self) -> int:
        """The room's clock in ms, as of the last sync."""
        return (self.world.true + self._offset) // 1000

    # -- the snapshot ---------------------------------------------------------------------------

    def fresh(self) -> None:
        age = None if self._read_at is None else self.world.true - self._read_at
        if self.is_away or age is None or age > 2 * self.settings.sync_seconds * SECOND:
            self.sync()

    def sync(self) -> None:
        try:
            window, synced = run(self.store.sync(self._ended_version))
        except StoreError:
            return self._lose()
        self._offset = window.at * 1000 - self.world.true
        self._read_at = self.world.true
        self._learn(window)
        if synced.ended is not None:
            known = self.ended | synced.ended
            self.ended = {id: until for id, until in known.items() if until > self.now()}
            self._ended_version = synced.version
        if self.is_away:
            self.is_away = False
            self._outage = self._lost_at, window.at
        return None

    def _learn(self, window: Window) -> None:
        if self.window is None or window.at >= self.window.at:
            self.window = window

    def _lose(self) -> None:
        if not self.is_away:
            self._lost_at = self.now()
        self.is_away = True

    def _ask(self, call: Coroutine[Any, Any, tuple[Window, Answer]]) -> Answer | None:
        """Call the store; None where it does not answer."""
        try:
            window, answers = run(call)
        except StoreError:
            self._lose()
            return None
        self._learn(window)
        return answers

    # -- what visitors ask for --------------------------------------------------------------------

    def join(self, visitors: Sequence[tuple[str, str]]) -> tuple[Window, list[Joined]] | None:
        ended, self.ended_first = self.ended_first, []
        try:
            window, joined = run(self.store.join([*ended, *visitors]))
        except StoreError:
            self._lose()
            return None
        self._learn(window)
        return window, joined

    def see(self, ticket: Ticket) -> None:
        """Have a window no older than the ticket; what the store does not know even then, it is told."""
        self.fresh()
        for _ in range(2):
            window = self.window
            if window is None or (window.covers(ticket) and ticket.generation <= window.generation):
                return
            self.store.evidence.hear(ticket)
            if not self.is_away:
                self.sync()

    def claim(self, tickets: Sequence[Ticket]) -> list[Claimed] | None:
        return self._ask(self.store.claim([(ticket, True) for ticket in tickets]))

    def leave(self, credential: Ticket | Pass) -> bool:
        """Tell whether it is done."""
        if isinstance(credential, Ticket):
            self.see(credential)
        else:
            self.fresh()
        if self.is_away:
            return False
        until = self._ask(self.store.leave([credential]))
        if until is None:
            return False
        if until[0]:
            self.ended[credential.id] = until[0]
        return True

    def status(self, ticket: Ticket) -> str:
        assert self.window is not None
        return status_of(ticket, self.window)

    def lent(self, ticket: Ticket) -> Pass | None:
        """While the store is away: let a called visitor in for whom there was a place."""
        window, now = self.window, self.now()
        if window is None or window.sure is None or window.settling:
            return None
        if not window.sure[0] <= rank(ticket) <= window.sure[1]:
            return None
        if now >= window.at + self.settings.claim_seconds * 500 or self.status(ticket) != "active":
            return None
        longest = self.settings.max_session_seconds or self.settings.session_seconds
        lease_ms = round(min(self.settings.session_seconds, longest) * 1000)
        given = replace(pass_of(ticket, now, now + lease_ms, lease_ms), confirmed=UNCONFIRMED)
        self.oracle.lent(given)
        return given

    def claimed(self, ticket: Ticket, claimed: Claimed) -> Pass:
        lease_ms = round(self.settings.session_seconds * 1000)
        given = pass_of(ticket, claimed.entered_at, claimed.pass_ends, lease_ms)
        assert self.window is not None
        newest = self.window.newest.name
        return given if newest == given.epoch else replace(given, confirmed=newest)

    # -- sessions ---------------------------------------------------------------------------------

    def admit(self, presented: Pass) -> Pass | None:
        """Answer with the pass that goes on the response; None: the visitor is inside no more."""
        self.fresh()
        latest = self._latest(presented)
        if self._is_valid(latest) and (not latest.first or self.is_away):
            if self.window and not self.window.covers(latest, called=True):
                self.store.evidence.hear(latest)
            if not self.is_away and (self._is_due(latest) or self._is_unknown(latest)):
                self._renew(latest)
            return latest
        if self.is_away or latest.id in self.ended:
            return None
        expired = latest
        if self._outage and self._outage[0] <= latest.expires_at <= self._outage[1]:
            ends = latest.expires_at + round(self.settings.session_seconds * 1000)
            expired = replace(latest, expires_at=ends, confirmed=UNCONFIRMED)
        elif self._is_too_long(latest):
            expired = replace(latest, confirmed=self._newest())
        renewed = self._renew(expired)
        if renewed is None and self._has_lost_store():
            return latest if self._is_valid(latest) else None
        if renewed is None and latest.first:
            return self._enter_again(ticket_of(latest))
        return renewed

    def _has_lost_store(self) -> bool:
        return self.is_away

    def _enter_again(self, ticket: Ticket) -> Pass | None:
        claimed = self.claim([ticket])
        return self.claimed(ticket, claimed[0]) if claimed and claimed[0].outcome == "active" else None

    def is_refused(self, presented: Pass) -> bool:
        """Tell whether the list of those that have ended early names it."""
        return presented.id in self.ended

    def _latest(self, presented: Pass) -> Pass:
        renewed = self.renewed.get(presented.id)
        return renewed if renewed and renewed.expires_at > presented.expires_at else presented

    def _is_valid(self, latest: Pass) -> bool:
        if latest.id in self.ended:
            return False
        left = latest.expires_at - self.now()
        if self.is_away:
            return left > -self.settings.session_seconds * 1000
        return left > 0 and not self._is_too_long(latest)

    def _is_too_long(self, used: Pass) -> bool:
        return used.expires_at - self.now() > used.lease_ms + SKEW_MS

    def _newest(self) -> str:
        return self.window.newest.name if self.window else UNCONFIRMED

    def _is_due(self, used: Pass) -> bool:
        longest = self.settings.max_session_seconds * 1000
        if longest and used.expires_at >= used.entered_at + longest:
            return False
        return used.expires_at - self.now() < used.lease_ms / 2

    def _is_unknown(self, used: Pass) -> bool:
        return self.window is not None and used.known_in != self.window.newest.name

    def _renew(self, used: Pass) -> Pass | None:
        self.oracle.presented = used
        answer = self._ask(self.store.renew([(used, True)]))
        if answer is None or not answer[0]:
            return None
        assert self.window is not None
        newest = self.window.newest.name
        renewed = replace(
            used,
            expires_at=answer[0],
            lease_ms=round(self.settings.session_seconds * 1000),
            first=False,
            confirmed=newest if newest != used.epoch else "",
        )
        self.renewed[used.id] = renewed
        return renewed


def _store(process: Process) -> Store:
    """Make the real client, but that its calls go to the store of this world and are seen by the oracle."""
    world, parts = process.world, process.parts

    class Client(parts.store):  # type: ignore[name-defined,misc]
        async def _evaluate(self, name: str, rules: str, items: str, memory: str) -> Any:
            if process.is_cut:
                raise ConnectionError("cut off")
            fault, process.next_fault = process.next_fault, None
            process.oracle.was_sent_twice |= fault == "twice"
            for _ in range(2 if fault == "twice" else 1):
                reply = world.server.evaluate(parts.scripts[name], self._keys, rules, items, memory)
                process.oracle.saw(process, name, items, memory, reply)
            if fault == "lost":
                raise ConnectionError("the answer was lost")
            process.oracle.heard(process, name, items, reply)
            return reply

    store: Any = Client(
        process.settings.redis_url, process.settings, world.store_time, world.history, process.elapsed
    )
    store.evidence = parts.memory(process.elapsed)
    store._rules["tag"] = f"{world.chance.randrange(16**6):06x}"
    store._checked = True
    return store  # type: ignore[no-any-return]
