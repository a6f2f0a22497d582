"""A room's transitions: the scripts, their arguments and their answers.

One store, one truth: every transition of a room is one of the Lua scripts beside this file.
"""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from waitroom.config.settings import Settings
from waitroom.config.store_url import shown_url
from waitroom.errors import StoreError
from waitroom.line.counters import EVENTS, NAMES, Counters
from waitroom.line.tickets import Pass, Ticket
from waitroom.line.window import Epoch, Rank, Window
from waitroom.store.connections import FAILURES
from waitroom.store.contact import StoreContact, plain_script
from waitroom.store.errors import denied, explained
from waitroom.store.evidence import Elapsed, Evidence

KEYS = (
    "state",
    "inside",
    "first",
    "entries",
    "calls",
    "promised",
    "door",
    "asked",
    "used",
    "ended",
    "counters",
    "joined",
    "left",
    "endings",
)
PREAMBLE = ("state", "heal", "ahead", "pace", "slide", "ended")
"""Put in front of every script, in this order."""
SCRIPTS = ("join", "claim", "renew", "leave", "sync", "look")

Clock = Callable[[], int]
"""Tests bring the time, in microseconds; everywhere else the store's own clock decides."""
History = Callable[[], str | None]
"""Tests bring the id of the server's history, None where it does not tell; everywhere else the scripts ask for it."""

log: logging.Logger = logging.getLogger("waitroom")


class Joined(NamedTuple):
    """The answer to a join; `number` 0: none was taken, `pass_ends` 0: did not enter (times in ms)."""

    number: int
    start: int
    pass_ends: int


class Claimed(NamedTuple):
    """The answer to a claim; `outcome` is active, called, waiting, door or expired (times in ms)."""

    outcome: str
    pass_ends: int
    entered_at: int
    free_in: float = 0.0
    """At the door: in so many seconds there is a place for it; 0 where that is not known."""
    turn_at: int = 0
    """When the wait was over, for the claim that has just entered; 0 for others, and who came too late to tell."""
    before: int = 0
    """At the door: how many stand there before it."""


class Synced(NamedTuple):
    """The sessions that ended early since the last time, with until when (ms) they are refused; None: nothing new.

    `version` is up to where the list was read: there is more where it is less than the window's `ended_version`.
    """

    ended: dict[str, int] | None
    version: int


@cache
def read_script(name: str) -> str:
    """Read a script as it is sent, with what all of them begin with in front."""
    folder = files("waitroom.store") / "scripts"
    return "\n".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in (*PREAMBLE, name))


def _milliseconds(microseconds: str) -> int:
    return int(microseconds) // 1000


@cache
def _warn_of_blindness(url: str) -> None:
    """Once in each process, however many rooms it has there."""
    log.warning(
        "the store at %s doesn't let scripts ask for INFO: that a failover has lost the last writes shows only by "
        "what processes and tickets remember, so a number may be given twice where none of them is there; "
        "allow +info",
        shown_url(url),
    )


class Store(StoreContact):
    """One room's part of the store.

    Every method answers with the room's window after the call, and with what was asked. They raise
    StoreError where the store does not answer and StoreUnusableError where it refuses.
    """

    def __init__(
        self,
        url: str,
        settings: Settings,
        clock: Clock | None = None,
        history: History | None = None,
        elapsed: Elapsed | None = None,
        counters: Counters | None = None,
    ) -> None:
        super().__init__(url, settings.room)
        self.counters: Counters = counters or Counters()
        self.timeout_seconds: float = settings.store_timeout_seconds
        """How long a visitor waits for an answer, in seconds."""
        self.evidence: Evidence = Evidence(time.monotonic if clock is None else elapsed)
        self._clock = clock
        self._history = history
        self._rules = _rules(settings)
        self._rules_text = json.dumps(self._rules)
        self._keys = [f"waitroom:{{{settings.room}}}:{key}" for key in KEYS]
        self._scripts = {name: read_script(name) for name in SCRIPTS}
        self._checked = False
        # A store that has lost its count begins it again.
        self._listed_in = ""

    async def join(self, visitors: Sequence[tuple[str, str]]) -> tuple[Window, list[Joined]]:
        """Hand out numbers for (how, id) pairs, in their order; `how` is number, enter or first.

        Before that end first visits: those of `how` done or gone, which get no answer.
        """
        window, answers = await self._run("join", visitors)
        return window, [Joined(int(n), int(start), _milliseconds(ends)) for n, start, ends in answers]

    async def claim(self, tickets: Sequence[tuple[Ticket, bool]]) -> tuple[Window, list[Claimed]]:
        """Exchange called tickets for sessions; with each goes whether it enters or only asks."""
        items = [(*_identity(ticket), enters) for ticket, enters in tickets]
        window, answers = await self._run("claim", items)
        return window, [_claimed(*answer) for answer in answers]

    async def renew(self, renewals: Sequence[tuple[Pass, bool]]) -> tuple[Window, list[int]]:
        """Renew sessions; answers when each pass ends now (ms), 0 where the session is over.

        With each pass goes whether it confirms a first lease: whether its cookie has come back. A session that
        the store has lost comes back with a pass that still holds.
        """
        items = [(*_session(used), used.first, confirms) for used, confirms in renewals]
        window, answers = await self._run("renew", items)
        return window, [_milliseconds(end) for end in answers]

    async def leave(self, leaving: Sequence[Ticket | Pass]) -> tuple[Window, list[int]]:
        """Give up tickets and sessions; answers until when (ms) copies of each pass are to be refused."""
        # Of a first visit the store knows all: where it has lost the lease, the slot may have been given back before.
        items = [
            _session(each) if isinstance(each, Pass) and not each.first else _identity(each)
            for each in leaving
        ]
        window, answers = await self._run("leave", items)
        return window, [_milliseconds(end) for end in answers]

    async def sync(self, ended_version: int) -> tuple[Window, Synced]:
        """Read the room; of the list of ended sessions what was added after `ended_version`.

        What was counted goes along. Where the answer is lost on its way it may be told twice.
        """
        counts = self.counters.take()
        try:
            window, read = await self._run("sync", [ended_version, self._listed_in, counts])
        except BaseException:  # also where whoever reads is cancelled
            self.counters.put_back(counts)
            raise
        events = ", ".join(f"{counts[name]} {name}" for name in sorted(EVENTS) if name in counts)
        if events:
            log.info("counted since the last time: %s", events)
        if read is None:
            return window, Synced(None, ended_version)
        self._listed_in = window.newest.name
        version, *ended = read
        listed = {id: _milliseconds(end) for id, end in zip(ended[::2], ended[1::2], strict=True)}
        return window, Synced(listed, version)

    async def look(self) -> dict[str, Any]:
        """Read the room without touching it, whatever this process's settings; empty: there is no such room."""
        pairs = await self._call("look", NAMES)
        told = dict(zip(pairs[::2], pairs[1::2], strict=True))
        if told:
            told["counters"] = {name: int(n or 0) for name, n in zip(NAMES, told["counters"], strict=True)}
        return told

    async def spend(self, pad: str, slot: int, seconds: int) -> float | None:
        """Use up a slot (0 to 255) of a pad, for so many seconds at least.

        Answers None; where it was used before, how many seconds ago, by the last use of the pad.
        """
        keys = [f"waitroom:{{{self._room}}}:{kind}" for kind in ("spent", "spent-ends")]
        told = (len(keys), *keys, pad, slot, seconds * 1_000_000, self._clock() if self._clock else "")
        with self._explaining():
            ago = int(await self._send(plain_script("spend"), *told))
        return None if ago < 0 else ago / 1_000_000

    async def check(self) -> None:
        """Raise for a store that will not do, or that refuses now what some of the scripts need."""
        await self.facts()
        missing = await self.missing_rights()
        if missing:
            raise denied(missing, self.url)
        self._checked = True

    async def _run(self, name: str, items: Sequence[Any]) -> tuple[Window, Any]:
        sent_at = time.monotonic()
        try:
            view, answers = await self._call(name, items)
        except StoreError:
            self.counters.add("store_failures")
            raise
        except asyncio.CancelledError:  # given up
            self.counters.add("store_late")
            raise
        self.counters.add("store_late", time.monotonic() - sent_at > self.timeout_seconds)
        return self._window(view), answers

    async def _call(self, name: str, items: Sequence[Any]) -> Any:
        rules = self._rules_text
        if self._clock is not None:
            rules = json.dumps(self._rules | {"now_us": self._clock()} | self._told_history())
        if not self._checked:
            await self.check()  # at the first call, as it would else turn up in the midst of a sale
        try:
            answer = await self._evaluate(name, rules, json.dumps(items), self.evidence.text())
            self.evidence.failed = False
            return answer
        except FAILURES as error:
            self.evidence.failed = True
            raise explained(error, self.url, self._scripts[name]) from error

    def _told_history(self) -> dict[str, Any]:
        return {} if self._history is None else {"history": self._history() or False}

    def _window(self, view: Sequence[Any]) -> Window:
        at, generation, over, epochs, calling, inside, free, free_first, rate, *rest = view
        ended_version, entered, settling, sure, blind, slower, door, left, lowest_left, backlog = rest
        self.evidence.learn(int(at), generation, over, epochs, inside, entered)
        if blind:
            _warn_of_blindness(self.url)
        return Window(
            generation=generation,
            over=over,
            epochs=tuple(Epoch(name, *map(int, numbers)) for name, *numbers in epochs),
            epoch=calling,
            inside=inside,
            free=free,
            free_first=free_first,
            rate_per_minute=None if rate is None else int(rate) / 1000,
            at=_milliseconds(at),
            ended_version=ended_version,
            settling=bool(settling),
            door=door,
            left=left,
            lowest_left=tuple(map(_rank, lowest_left)),
            sure=None if sure is None else (_rank(sure[0]), _rank(sure[1])),
            slower=bool(slower),
            backlog=int(backlog),
        )

    async def _evaluate(self, name: str, *arguments: str) -> Any:
        return await self._send(self._scripts[name], len(self._keys), *self._keys, *arguments)


def _identity(credential: Ticket | Pass) -> tuple[int, str, int, str]:
    return credential.generation, credential.epoch, credential.number, credential.id


def _session(used: Pass) -> tuple[int, str, int, str, int, str, int]:
    return *_identity(used), used.expires_at * 1000, used.known_in, used.entered_at * 1000


def _claimed(
    outcome: str, pass_ends: str, entered_at: str, free_in: str = "0", turn_at: str = "0", before: str = "0"
) -> Claimed:
    ends, at = _milliseconds(pass_ends), _milliseconds(entered_at)
    return Claimed(outcome, ends, at, int(free_in) / 1e6, _milliseconds(turn_at), int(before))


def _rank(written: str) -> Rank:
    epoch, _, number = written.rpartition(":")
    return Rank(epoch, int(number))


def _rules(settings: Settings) -> dict[str, Any]:
    return {
        # Makes two epochs that begin in the same microsecond two.
        "tag": secrets.token_hex(3),
        "window_size": settings.window_size,
        "interval_us": round(settings.window_interval * 1e6),
        "active_us": round(settings.active_seconds * 1e6),
        "claim_us": round(settings.claim_seconds * 1e6),
        "capacity": settings.capacity,
        "lease_us": round(settings.session_seconds * 1e6),
        "first_lease_us": round(settings.first_lease_seconds * 1e6),
        "running_us": round(settings.running_seconds * 1e6),
        "max_session_us": round(settings.max_session_seconds * 1e6),
        "settle_us": round(settings.settle_seconds * 1e6),
        "longest_poll_us": round(settings.tempo.longest_poll * 1e6),
    }
