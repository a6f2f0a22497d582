"""WaitingRoom: store + tickets + snapshot -> Decision. Knows no HTTP."""

import asyncio
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from waitroom.embedded import EmbeddedServer, owner_pid, share
from waitroom.errors import StoreError
from waitroom.sessions import SKEW_MS, Sessions
from waitroom.settings import Settings, server_software
from waitroom.snapshot import Snapshot
from waitroom.store import Claimed, Joined, Store
from waitroom.tickets import Credential, Pass, Proof, Ticket, Tokens, new_id
from waitroom.together import Together
from waitroom.window import (
    SHORTEST_POLL,
    Eta,
    Place,
    Status,
    Window,
    ahead,
    eta,
    poll_seconds,
    rank,
    spread,
    status,
)

PROOF_MS = 600_000
"""How long a proof may take to come back."""
MOST_EXCHANGED = 10_000
"""Proofs of which a process remembers what it gave for them: the newest, some megabytes at most."""
AWAY_POLL = 5
"""Seconds between two looks while the store is away."""

Kind = Literal["waiting", "door", "first", "away"]


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is inside, as the site sees it in `scope["state"]["waitroom"]`."""

    room: str
    number: int
    session: str
    waited_seconds: float


@dataclass(frozen=True, slots=True)
class Admitted:
    """The visitor may go on; `must_tell`: the pass has to reach the visitor with this very response."""

    latest: Pass
    must_tell: bool


@dataclass(frozen=True, slots=True)
class Uncounted:
    """The request may go on without a place: nobody waits, or the operator opens the gate without a store."""


@dataclass(frozen=True, slots=True)
class Held:
    """The visitor waits; `new` tells that the credential is another than the one that came."""

    kind: Kind
    place: Place
    credential: Ticket | Proof | None
    new: bool


Decision = Admitted | Uncounted | Held


@dataclass(frozen=True, slots=True)
class Standing:
    """What the API tells about a credential; `latest` is there while the visitor is inside."""

    place: Place
    ticket: Ticket | None
    latest: Pass | None
    new: bool = False


class WaitingRoom:
    """One room as one process sees it.

    `start()` is to be awaited before anything else; after it `tokens`, `snapshot` and `sessions` are there.
    """

    tokens: Tokens
    snapshot: Snapshot
    sessions: Sessions

    def __init__(self, settings: Settings, chance: random.Random | None = None) -> None:
        self.settings = settings
        self._chance = chance or random.Random()  # noqa: S311  # jitter, nothing secret
        self._embedded: EmbeddedServer | None = None
        self._starting: asyncio.Lock | None = None
        self.started = False

    async def start(self) -> None:
        """Find the store, starting the embedded one where it is asked for; raises EmbeddedError.

        Does not fail when a real store is away: its first contact may come later.
        """
        self._starting = self._starting or asyncio.Lock()
        async with self._starting:
            if self.started:
                return
            settings, url, keys = self.settings, self.settings.redis_url, self.settings.secret
            if url.startswith("embedded://"):
                shared = await asyncio.to_thread(share, owner=owner_pid(server_software()))
                self._embedded = shared
                url, keys = shared.url, keys or (shared.secret,)
            self.tokens = Tokens(keys, settings.room)
            self._open(Store(url, settings))
            self.started = True
        await self.snapshot.fresh()

    def _open(self, store: Store) -> None:
        settings = self.settings
        self._store = store
        self.snapshot = Snapshot(store, settings.sync_seconds, lambda: self.sessions.keep_open())
        self.sessions = Sessions(
            store,
            self.snapshot,
            round(settings.session_seconds * 1000),
            round(settings.max_session_seconds * 1000),
        )
        self._joins = Together(store.join, self.snapshot.learn)
        self._claims = Together(store.claim, self.snapshot.learn)
        self._leaves = Together(store.leave, self.snapshot.learn)
        self._joining: dict[str, asyncio.Future[Decision]] = {}
        self._exchanged: dict[str, Ticket | Pass] = {}

    async def close(self) -> None:
        """Stop the tasks, close the connections and give up the share in the embedded server."""
        if not self.started:
            return
        self.started = False
        await self.sessions.close()
        await self.snapshot.close()
        await self._store.close()
        if self._embedded is not None:
            self._embedded.close()
            self._embedded = None

    async def best(self, tokens: Iterable[str]) -> Credential | None:
        """Read the tokens and choose the one that serves its holder best: pass, lowest ticket, proof.

        Of several, one that is over is chosen only where all of them are: it must not hide a place.
        """
        found = (self.tokens.read(token) for token in tokens)
        read = sorted((credential for credential in found if credential), key=_preference)
        if len(read) > 1:
            await self.snapshot.fresh()
            for credential in read:
                if await self._is_held(credential):
                    return credential
        return read[0] if read else None

    # -- a request on a protected path ------------------------------------------------------------

    async def decide(self, credential: Credential | None) -> Decision:
        """Decide about a request that may take a place."""
        if isinstance(credential, Proof) and (given := self._exchanged.get(credential.id)):
            # A second tab, or a visitor who did not wait for the answer: the place is theirs already.
            theirs = await self.decide(given)
            return replace(theirs, new=True) if isinstance(theirs, Held) else theirs
        await self._see(credential)
        missed = False
        if isinstance(credential, Pass):
            admitted = await self._admit(credential)
            if admitted:
                return admitted
        elif isinstance(credential, Ticket):
            decision = await self._decide_ticket(credential)
            if decision:
                return decision
            missed = True
        if self._is_away():
            return self._without_store(None)
        try:
            if isinstance(credential, Proof) and -SKEW_MS <= self._age(credential) <= PROOF_MS:
                return await self._join_proven(credential)
            return await self._newcomer(missed)
        except StoreError as error:
            return self._lost(error, None)

    async def decide_uncounted(self, credential: Credential | None) -> Decision | None:
        """Decide about a request that takes no place, such as an image's; None: it may not go on."""
        await self.snapshot.fresh()
        if isinstance(credential, Pass) and (admitted := await self._admit(credential)):
            return admitted
        window = self.snapshot.window
        if self._is_away() or window is None:
            return Uncounted() if self._is_open_without_store() else None
        return None if window.waiting else Uncounted()

    async def admit(self, credential: Credential | None) -> Admitted | None:
        """Admit a valid pass and nothing else, as for a WebSocket."""
        await self.snapshot.fresh()
        return await self._admit(credential) if isinstance(credential, Pass) else None

    async def _admit(self, presented: Pass) -> Admitted | None:
        sessions = self.sessions
        latest = sessions.latest(presented)
        if self.snapshot.window and latest.generation != self.snapshot.window.generation:
            return None
        if sessions.is_valid(latest):
            sessions.renew_soon(latest)
            return Admitted(latest, must_tell=False)
        if self._is_away():
            return None
        try:
            revived = await sessions.revive(latest)
        except StoreError as error:
            self.snapshot.lose(error)
            return Admitted(latest, must_tell=False) if sessions.is_valid(latest) else None
        return Admitted(revived, must_tell=True) if revived else None

    async def _decide_ticket(self, ticket: Ticket) -> Decision | None:
        """Decide about a ticket; None when its turn has passed or it is void."""
        window = self.snapshot.window
        if self._is_away() or window is None:
            return self._without_store(ticket)
        if self._status(ticket, window) == "waiting":
            return Held("waiting", self._place(ticket, window), ticket, new=False)
        try:
            claimed = await self._ask(ticket, enters=True)
        except StoreError as error:
            return self._lost(error, ticket)
        if claimed.outcome == "active":
            return Admitted(self._pass_of(ticket, claimed), must_tell=True)
        if claimed.outcome == "expired":
            return None
        return self._held(ticket, claimed.outcome == "door", new=False)

    async def _join_proven(self, proof: Proof) -> Decision:
        """Give a number to a visitor whose cookie came back; several requests at once get the same one."""
        joining = self._joining.get(proof.id)
        if joining is None:
            joining = self._joining[proof.id] = asyncio.ensure_future(self._number_for(proof))
            joining.add_done_callback(lambda _: self._joining.pop(proof.id, None))
        return await asyncio.shield(joining)

    async def _number_for(self, proof: Proof) -> Decision:
        id = new_id()
        joined = await self._joins.ask(("enter", id))
        ticket = self._ticket(joined, id, proof.missed)
        entered = self._entered(ticket, joined.pass_ends, first=False) if joined.pass_ends else None
        self._exchanged[proof.id] = entered.latest if entered else ticket
        if len(self._exchanged) > MOST_EXCHANGED:
            del self._exchanged[next(iter(self._exchanged))]
        return entered or self._held(ticket, at_door=False, new=True)

    async def _newcomer(self, missed: bool) -> Decision:
        window = self._window()
        if not missed and not window.waiting and window.free_first > 0:
            id = new_id()
            joined = await self._joins.ask(("first", id))
            if joined.number:
                return self._entered(self._ticket(joined, id, missed), joined.pass_ends, first=True)
            window = self._window()
        proof = Proof(new_id(), self.snapshot.now(), missed)
        place = Place("waiting", None, window.waiting, self._eta(window.waiting), 1)
        return Held("first", place, proof, new=True)

    # -- the API ----------------------------------------------------------------------------------

    async def join(self, credential: Credential | None) -> Standing:
        """Take a number at once; a valid credential gets itself back. Raises StoreError."""
        await self._see(credential)
        if isinstance(credential, Pass) and (admitted := await self._admit(credential)):
            return self._inside(admitted.latest, None)
        self._raise_if_away()
        if isinstance(credential, Ticket) and await self._is_good(credential):
            return Standing(self._place(credential, self._window()), credential, None)
        id = new_id()
        ticket = self._ticket(await self._joins.ask(("number", id)), id, missed=False)
        return Standing(self._place(ticket, self._window()), ticket, None, new=True)

    async def stand(self, credential: Ticket | Pass) -> Standing:
        """Tell where a credential stands; asking claims. Raises StoreError where only the store could tell."""
        await self._see(credential)
        if isinstance(credential, Pass):
            admitted = await self._admit(credential)
            if admitted:
                return self._inside(admitted.latest, None)
            self._raise_if_away()
            return Standing(_expired(credential.number), None, None)
        window = self.snapshot.window
        if window is None:
            raise StoreError("the store has not been reached yet")
        if self._status(credential, window) == "waiting":
            return Standing(self._place(credential, window), credential, None)
        self._raise_if_away()
        claimed = await self._ask(credential, enters=True)
        if claimed.outcome == "active":
            return self._inside(self._pass_of(credential, claimed), credential)
        if claimed.outcome == "expired":
            return Standing(_expired(credential.number), credential, None)
        return Standing(self._held(credential, claimed.outcome == "door", new=False).place, credential, None)

    async def leave(self, credential: Ticket | Pass) -> None:
        """Leave the line or the site; raises StoreError. Leaving while waiting stores nothing."""
        await self._see(credential)
        self._raise_if_away()
        # A ticket that waits as far as this process knows may be in use already: only the store can tell.
        until = await self._leaves.ask(credential)
        if until:
            self.snapshot.end(credential.id, until)

    def visitor(self, admitted: Pass) -> Visitor:
        """Describe a session for the site."""
        return Visitor(self.settings.room, admitted.number, admitted.id, admitted.waited_ms / 1000)

    # -- what they share --------------------------------------------------------------------------

    async def _see(self, credential: Credential | None) -> None:
        """Have a snapshot that is fresh, and no older than the ticket: another process may have issued it."""
        await self.snapshot.fresh()
        window = self.snapshot.window
        if isinstance(credential, Ticket) and window and rank(credential) > (window.epoch, window.issued):
            await self.snapshot.reread()

    def _is_away(self) -> bool:
        return self.snapshot.away_since is not None

    def _is_open_without_store(self) -> bool:
        return self.settings.on_store_failure == "open"

    def _raise_if_away(self) -> None:
        if self._is_away() or self.snapshot.window is None:
            raise StoreError("the store is away")

    def _window(self) -> Window:
        window = self.snapshot.window
        if window is None:
            raise StoreError("the store has not been reached yet")
        return window

    def _age(self, proof: Proof) -> int:
        return self.snapshot.now() - proof.issued_at

    def _status(self, ticket: Ticket, window: Window) -> Status:
        return status(rank(ticket), window) if ticket.generation == window.generation else "expired"

    async def _is_held(self, credential: Credential) -> bool:
        """Tell whether a credential is worth something still; where only the store knows and is away, it is."""
        if isinstance(credential, Proof):
            return True
        if isinstance(credential, Pass):
            return await self._admit(credential) is not None
        if self._is_away():
            return True
        try:
            return await self._is_good(credential)
        except StoreError as error:
            self.snapshot.lose(error)
            return True

    async def _is_good(self, ticket: Ticket) -> bool:
        """Tell whether a ticket still holds a place; of a called one only the store knows if it was used."""
        seen = self._status(ticket, self._window())
        return seen == "waiting" or (await self._ask(ticket, enters=False)).outcome != "expired"

    async def _ask(self, ticket: Ticket, enters: bool) -> Claimed:
        # A floor that has passed is final: no call is needed for that.
        if self._status(ticket, self._window()) == "expired":
            return Claimed("expired", 0, 0)
        return await self._claims.ask((ticket, enters))

    def _lost(self, error: StoreError, ticket: Ticket | None) -> Decision:
        self.snapshot.lose(error)
        return self._without_store(ticket)

    def _without_store(self, ticket: Ticket | None) -> Decision:
        if self._is_open_without_store():
            return Uncounted()
        window = self.snapshot.window
        in_front = 0
        if window is not None:
            in_front = ahead(rank(ticket), window) if ticket else window.waiting
        place = Place("waiting", ticket.number if ticket else None, in_front, None, self._spread(AWAY_POLL))
        return Held("away", place, ticket, new=False)

    def _ticket(self, joined: Joined, id: str, missed: bool) -> Ticket:
        window = self._window()
        return Ticket(
            window.generation, window.epoch, joined.number, id, self.snapshot.now(), joined.start, missed
        )

    def _entered(self, ticket: Ticket, pass_ends: int, first: bool) -> Admitted:
        now = self.snapshot.now()
        entered = Pass(
            ticket.generation,
            ticket.epoch,
            ticket.number,
            ticket.id,
            now,
            pass_ends,
            pass_ends - now,
            0,
            first,
        )
        return Admitted(entered, must_tell=True)

    def _pass_of(self, ticket: Ticket, claimed: Claimed) -> Pass:
        return Pass(
            generation=ticket.generation,
            epoch=ticket.epoch,
            number=ticket.number,
            id=ticket.id,
            entered_at=claimed.entered_at,
            expires_at=claimed.pass_ends,
            lease_ms=round(self.settings.session_seconds * 1000),
            waited_ms=max(0, claimed.entered_at - ticket.issued_at),
        )

    def _held(self, ticket: Ticket, at_door: bool, new: bool) -> Held:
        """Hold a ticket that did not enter: it waits, or it is the first in line for the next place."""
        if at_door:
            place = Place("waiting", ticket.number, 0, None, self._spread(SHORTEST_POLL))
            return Held("door", place, ticket, new)
        return Held("waiting", self._place(ticket, self._window()), ticket, new)

    def _inside(self, latest: Pass, ticket: Ticket | None) -> Standing:
        place = Place("active", latest.number, 0, None, self._spread(self.settings.tempo.longest_poll))
        return Standing(place, ticket, latest)

    def _place(self, ticket: Ticket, window: Window) -> Place:
        place = rank(ticket)
        in_front = ahead(place, window)
        told = self._eta(in_front) if (now := status(place, window)) == "waiting" else None
        seconds = poll_seconds(in_front, self.settings.tempo)
        return Place(now, ticket.number, in_front, told, self._spread(seconds))

    def _eta(self, in_front: int) -> Eta | None:
        return eta(in_front, self._window(), self.settings.tempo)

    def _spread(self, seconds: float) -> int:
        return spread(seconds, self._chance.random())


def _preference(credential: Credential) -> tuple[int, object]:
    if isinstance(credential, Pass):
        return 0, -credential.expires_at
    if isinstance(credential, Ticket):
        return 1, rank(credential)
    return 2, -credential.issued_at


def _expired(number: int) -> Place:
    return Place("expired", number, 0, None, 1)
