"""WaitingRoom: store + tickets + snapshot -> Decision. Knows no HTTP."""

import asyncio
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from waitroom.config.environment import server_software
from waitroom.config.settings import Settings
from waitroom.errors import StoreError
from waitroom.line.counters import Counters
from waitroom.line.positions import Positions, status_of
from waitroom.line.predictions import judge
from waitroom.line.tickets import (
    PROOF_SECONDS,
    Credential,
    Pass,
    Proof,
    Ticket,
    Tokens,
    new_id,
    pass_of,
    ticket_of,
)
from waitroom.line.window import Rank, Window, rank
from waitroom.room.decisions import (
    Admitted,
    AwayError,
    Decision,
    Held,
    HinderedError,
    Standing,
    Uncounted,
    Visitor,
)
from waitroom.room.ended_visits import EndedVisits
from waitroom.room.guard import NOBODY, Asker, Guard, Hindrance
from waitroom.room.outage import Outage
from waitroom.room.overload import Overload
from waitroom.room.sessions import SKEW_MS, Sessions
from waitroom.room.snapshot import Snapshot
from waitroom.store.batching import Batching
from waitroom.store.embedded.server import EmbeddedServer, owner_pid, share
from waitroom.store.transitions import Claimed, Joined, Store

PROOF_MS = PROOF_SECONDS * 1000
LONGEST_HOLD = 1.0
"""Seconds for which a request of somebody at the door is held where a place is known to come free within them."""
LOOK_EVERY = 0.05
"""Seconds after which is asked again whether a first visit that runs has given way to the next."""
MOST_SEEKING = 200
"""First visits that wait at a time for one that runs."""
MOST_EXCHANGED = 10_000
"""Proofs of which a process remembers what it gave for them: the newest, some megabytes at most."""

Issued = tuple[Window, Joined]


class WaitingRoom:
    """One room as one process sees it.

    `start()` is to be awaited before anything else; after it its parts are there.
    """

    tokens: Tokens
    snapshot: Snapshot
    sessions: Sessions
    ended_visits: EndedVisits
    guard: Guard
    outage: Outage
    overload: Overload

    def __init__(self, settings: Settings, chance: random.Random | None = None) -> None:
        self.settings = settings
        self.counters: Counters = Counters()
        self._positions = Positions(settings.tempo, chance or random.Random())  # noqa: S311  # jitter, nothing secret
        self._embedded: EmbeddedServer | None = None
        self._starting: asyncio.Lock | None = None
        self.started: bool = False

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
            self._open(Store(url, settings, counters=self.counters), keys)
            self.started = True
        await self.snapshot.contact()

    def _open(self, store: Store, keys: Sequence[str]) -> None:
        settings = self.settings
        self._store = store
        self.snapshot = Snapshot(store, settings.sync_seconds, self._each_sync, self._before_return)
        self.sessions = Sessions(
            store,
            self.snapshot,
            round(settings.session_seconds * 1000),
            round(settings.max_session_seconds * 1000),
            round(settings.running_seconds * 1000),
        )
        self.guard = Guard(settings, keys, store, self.snapshot)
        self.outage = Outage(settings, self.snapshot, self._positions, self.counters, self.sessions.lend)
        self.ended_visits = EndedVisits(store, self.snapshot.learn, self.outage.is_on)
        self._joins = Batching(self._join_together, self.snapshot.learn, store.timeout_seconds)
        self.overload = Overload(self.snapshot, self._joins, self.counters)
        self._claims = Batching(store.claim, self.snapshot.learn, store.timeout_seconds)
        self._leaves = Batching(store.leave, self.snapshot.learn, store.timeout_seconds)
        self._joining: dict[str, asyncio.Future[Decision]] = {}
        self._exchanged: dict[str, Ticket | Pass] = {}
        self._seeking = 0
        self._uncounted = 0

    def _each_sync(self) -> bool:
        if self._embedded is not None and self.outage.is_on():
            self._embedded.revive()
        self.ended_visits.report_soon()
        return self.sessions.keep_open() or len(self.ended_visits) > 0

    async def _before_return(self) -> None:
        await self.sessions.report_lent()

    async def _join_together(self, visitors: Sequence[tuple[str, str]]) -> tuple[Window, list[Issued]]:
        """Join, and keep with each number the window that issued it: by now the snapshot may be of another epoch."""
        window, joined = await self.ended_visits.join(visitors)
        return window, [(window, one) for one in joined]

    async def close(self) -> None:
        """Stop the tasks, close the connections and give up the share in the embedded server."""
        if not self.started:
            return
        self.started = False
        # A call that outlived its connections would make new ones, which nobody closes.
        calls = (self._joins, self._claims, self._leaves)
        await asyncio.gather(self.sessions.close(), *(together.close() for together in calls))
        await self.ended_visits.close()
        await self.snapshot.close()
        await self._store.close()
        if self._embedded is not None:
            self._embedded.close()
            self._embedded = None

    def read(self, token: str) -> Credential | None:
        """Read one token; None, and counted, for what no key of the room has signed."""
        credential = self.tokens.read(token)
        self.counters.add("foreign_tokens", credential is None)
        return credential

    async def best(self, tokens: Iterable[str]) -> Credential | None:
        """Read the tokens and choose the one that serves its holder best: pass, lowest ticket, proof.

        Of several, one that is over is chosen only where all of them are: it must not hide a place.
        """
        found = map(self.read, tokens)
        read = sorted((credential for credential in found if credential), key=_preference)
        if len(read) > 1:
            await self.snapshot.fresh()
            for credential in read:
                if await self._is_held(credential):
                    return credential
        return read[0] if read else None

    # -- a request on a protected path ------------------------------------------------------------

    async def decide(self, credential: Credential | None, asker: Asker = NOBODY) -> Decision:
        """Decide about a request that may take a place; `asker` is whom a number would be given to."""
        if isinstance(credential, Proof) and (given := self._exchanged.get(credential.id)):
            # A second tab, or a visitor who did not wait for the answer: the place is theirs already.
            theirs = await self.decide(given, asker)
            return theirs._replace(new=True) if isinstance(theirs, Held) else theirs
        await self._see(credential)
        missed = False
        if isinstance(credential, Pass):
            admitted = await self._admit(credential)
            if admitted:
                return admitted
            if credential.first and not self.outage.is_on() and (held := await self._first_back(credential)):
                return held
        elif isinstance(credential, Ticket):
            decision = await self._decide_ticket(credential)
            if decision:
                return decision
            missed = True
        proof = credential if isinstance(credential, Proof) else None
        if self.outage.is_on():
            return self.outage.decide(credential)
        if not self.outage.goes_first(proof):
            return self.outage.hold_back(proof, missed)
        try:
            if proof is not None and self._is_fresh(proof):
                return await self._join_proven(proof, asker)
            return await self._newcomer(missed, asker)
        except StoreError as error:
            return self._lost(error, credential)

    async def decide_uncounted(self, credential: Credential | None) -> Decision | None:
        """Decide about a request that takes no place, such as an image's; None: it may not go on."""
        await self.snapshot.fresh(inside=isinstance(credential, Pass))
        if isinstance(credential, Pass) and (admitted := await self._admit(credential)):
            return admitted
        window = self.snapshot.window
        if self.outage.is_on() or window is None:
            return Uncounted() if self.outage.is_open() else None
        # They are no sessions, so that no more of them may run than there are slots for as many.
        room_for = window.free_first + len(self.ended_visits)
        return Uncounted() if not window.waiting and room_for > self._uncounted else None

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Have a request that takes no slot run."""
        self._uncounted += 1
        try:
            yield
        finally:
            self._uncounted -= 1

    async def admit(self, credential: Credential | None) -> Admitted | Uncounted | None:
        """Admit a valid pass, as for a WebSocket, which cannot wait; else only where the gate is open."""
        await self.snapshot.fresh(inside=isinstance(credential, Pass))
        admitted = await self._admit(credential) if isinstance(credential, Pass) else None
        if admitted is None and self.outage.is_open():
            return Uncounted()
        return admitted

    async def _admit(self, presented: Pass) -> Admitted | None:
        sessions = self.sessions
        latest = sessions.latest(presented)
        window = self.snapshot.window
        if window and latest.generation < window.generation:
            return None
        # Whether a first visit still has its slot only the store knows.
        if sessions.is_valid(latest) and (not latest.first or self.outage.is_on()):
            if window and not window.covers(latest, called=True):
                self._store.evidence.hear(latest)
            sessions.renew_soon(latest)
            return Admitted(latest, must_tell=False)
        if self.outage.is_on():
            return None
        try:
            revived = await sessions.revive(latest)
        except StoreError as error:
            self.snapshot.lose(error)
            return Admitted(latest, must_tell=False) if sessions.is_valid(latest) else None
        if revived is None and latest.first:
            return await self._enter_again(latest)
        return Admitted(revived, must_tell=True) if revived else None

    async def _enter_again(self, first: Pass) -> Admitted | None:
        """Admit who comes back to a slot that was given back, if there is one; their turn has come long ago."""
        if first.id in self.snapshot.ended:
            return None
        ticket = ticket_of(first)
        try:
            claimed = await self._ask(ticket, enters=True)
        except StoreError as error:
            self.snapshot.lose(error)
            return None
        return (
            Admitted(self._claimed(ticket, claimed), must_tell=True) if claimed.outcome == "active" else None
        )

    async def _first_back(self, first: Pass) -> Decision | None:
        """Decide about a first visit that came back to no slot: it stands at the door; None where its turn is over."""
        decision = await self._decide_ticket(ticket_of(first))
        return decision._replace(new=True) if isinstance(decision, Held) else decision

    async def _decide_ticket(self, ticket: Ticket) -> Decision | None:
        """Decide about a ticket; None when its turn has passed or it is void."""
        window = self.snapshot.window
        if self.outage.is_on() or window is None:
            return self.outage.decide(ticket)
        if place := self._positions.waiting(ticket, window):
            return Held("waiting", place, ticket, new=False)
        try:
            claimed = await self._ask(ticket, enters=True)
        except StoreError as error:
            return self._lost(error, ticket)
        if claimed.outcome == "active":
            return Admitted(self._claimed(ticket, claimed), must_tell=True)
        if claimed.outcome == "expired":
            return None
        return self._held(ticket, claimed)

    async def _join_proven(self, proof: Proof, asker: Asker, how: str = "enter") -> Decision:
        """Give a number to a visitor whose cookie came back; several requests at once get the same one."""
        joining = self._joining.get(proof.id)
        if joining is None:
            joining = self._joining[proof.id] = asyncio.ensure_future(self._number_for(proof, asker, how))
            joining.add_done_callback(lambda _: self._joining.pop(proof.id, None))
        return await asyncio.shield(joining)

    async def _number_for(self, proof: Proof, asker: Asker, how: str) -> Decision:
        hindrance = await self.guard.check(asker, proof)
        if hindrance:
            return self._hindered(hindrance, proof)
        # By its id the store knows the proof again, whichever process it is shown to.
        issued = await self._joins.ask((how, proof.id))
        ticket, pass_ends = self._ticket(issued, proof.id, proof.missed), issued[1].pass_ends
        entered = self._entered(ticket, pass_ends, first=False) if pass_ends else None
        self._exchanged[proof.id] = entered.latest if entered else ticket
        if len(self._exchanged) > MOST_EXCHANGED:
            del self._exchanged[next(iter(self._exchanged))]
        return entered or self._held(ticket, None)._replace(new=True)

    async def _newcomer(self, missed: bool, asker: Asker) -> Decision:
        window = self._window()
        hindrance = self.guard.expected()
        if (
            not window.waiting
            and (window.free_first > 0 or self._gives_way_soon())
            and not (hindrance := await self.guard.check(asker, None))
        ):
            id = new_id()
            issued = window, joined = await self._join_first(id)
            if joined.number:
                return self._entered(self._ticket(issued, id, missed), joined.pass_ends, first=True)
        if hindrance:
            return self._hindered(hindrance, None, missed)
        proof = Proof(new_id(), self.snapshot.now(), missed)
        return Held("first", self._positions.unnumbered(window), proof, new=True)

    def _gives_way_soon(self) -> bool:
        """Tell whether slots of first visits come free in a moment, as far as this process knows."""
        return bool(self.ended_visits) or self.ended_visits.is_reporting() or self.sessions.runs_first()

    async def _join_first(self, id: str) -> Issued:
        """Enter on a first lease. Where only requests that run just now stand in the way, wait a moment for one."""
        issued = await self._joins.ask(("first", id))
        if self._seeking >= MOST_SEEKING:
            return issued
        self._seeking += 1
        try:
            for _ in range(round(LONGEST_HOLD / LOOK_EVERY)):
                window, joined = issued
                if joined.number or window.waiting or not self._gives_way_soon():
                    break
                if not self.ended_visits:
                    await asyncio.sleep(LOOK_EVERY)
                issued = await self._joins.ask(("first", id))
        finally:
            self._seeking -= 1
        return issued

    def _hindered(self, hindrance: Hindrance, shown: Proof | None, missed: bool = False) -> Held:
        """Hold who gets no number yet; the proof that was shown goes on waiting, unless it was used."""
        place = self._positions.unnumbered(self._window())._replace(poll_after=hindrance.seconds)
        self.counters.add("withheld_numbers")
        if shown and not hindrance.is_used:
            return Held(hindrance.kind, place, shown, new=False)
        missed = shown.missed if shown else missed
        return Held(hindrance.kind, place, Proof(new_id(), self.snapshot.now(), missed), new=True)

    # -- the API ----------------------------------------------------------------------------------

    async def join(self, credential: Credential | None, asker: Asker = NOBODY) -> Standing:
        """Take a number at once; a valid credential gets itself back.

        Raises HinderedError and AwayError.
        """
        try:
            return await self._join(credential, asker)
        except StoreError as error:
            self.snapshot.lose(error)
            raise AwayError(self.outage.keep(credential)) from error

    async def _join(self, credential: Credential | None, asker: Asker) -> Standing:
        await self._see(credential)
        if isinstance(credential, Pass) and (admitted := await self._admit(credential)):
            return self._inside(admitted.latest, None)
        self._raise_if_away()
        if isinstance(credential, Ticket) and (found := await self._find(credential)).outcome != "expired":
            return Standing(self._held(credential, found).place, credential, None)
        proof = credential if isinstance(credential, Proof) and self._is_fresh(credential) else None
        if not self.outage.goes_first(proof):
            raise AwayError(self.outage.hold_back(proof, missed=False))
        if proof:
            return await self._stand_proven(proof, asker)
        hindrance = await self.guard.check(asker, None)
        if hindrance:
            raise HinderedError(self._hindered(hindrance, None))
        id = new_id()
        ticket = self._ticket(await self._joins.ask(("number", id)), id, missed=False)
        return Standing(self._positions.in_line(ticket, self._window()), ticket, None, new=True)

    async def _stand_proven(self, proof: Proof, asker: Asker) -> Standing:
        """Join with a proof: whatever else comes with it, a page's visit as well, gets the same number."""
        if given := self._exchanged.get(proof.id):
            return (await self.stand(given))._replace(new=True)
        decision = await self._join_proven(proof, asker, "number")
        if isinstance(decision, Admitted):
            return self._inside(decision.latest, None)._replace(new=True)
        assert isinstance(decision, Held)  # noqa: S101  # who takes a number is never let through without one
        if not isinstance(decision.credential, Ticket):
            raise HinderedError(decision)
        return Standing(decision.place, decision.credential, None, new=True)

    async def stand(self, credential: Ticket | Pass) -> Standing:
        """Tell where a credential stands; asking claims. Raises StoreError where only the store could tell."""
        await self._see(credential)
        if isinstance(credential, Pass):
            admitted = await self._admit(credential)
            if admitted:
                return self._inside(admitted.latest, None)
            self._raise_if_away()
            if not credential.first:
                return Standing(self._positions.expired(credential.number), None, None)
            credential = ticket_of(credential)
        window = self._window()
        if place := self._positions.waiting(credential, window):
            return Standing(place, credential, None)
        self._raise_if_away()
        claimed = await self._ask(credential, enters=True)
        if claimed.outcome == "active":
            return self._inside(self._claimed(credential, claimed), credential)
        if claimed.outcome == "expired":
            return Standing(self._positions.expired(credential.number), credential, None)
        return Standing(self._held(credential, claimed).place, credential, None)

    async def leave(self, credential: Ticket | Pass) -> None:
        """Leave the line or the site; raises StoreError. Of those who leave while they wait the lowest are noted."""
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
        if not self.snapshot.is_fresh():
            await self.snapshot.fresh(inside=isinstance(credential, Pass))
        # A read that is under way may have begun before the ticket was issued; the one after it has not.
        for _ in range(2):
            window = self.snapshot.window
            if not isinstance(credential, Ticket) or window is None:
                return
            if credential.generation < window.generation:
                return
            if credential.generation == window.generation and window.covers(credential):
                return
            # Where the store does not know of it even then, it has lost it.
            self._store.evidence.hear(credential)
            await self.snapshot.reread()

    def _raise_if_away(self) -> None:
        if self.outage.is_on() or self.snapshot.window is None:
            raise StoreError("the store is away")

    def _window(self) -> Window:
        window = self.snapshot.window
        if window is None:
            raise StoreError("the store has not been reached yet")
        return window

    def _is_fresh(self, proof: Proof) -> bool:
        return -SKEW_MS <= self.snapshot.now() - proof.issued_at <= PROOF_MS

    async def _is_held(self, credential: Credential) -> bool:
        """Tell whether a credential is worth something still; where only the store knows and is away, it is."""
        if isinstance(credential, Proof):
            return True
        if isinstance(credential, Pass):
            return await self._admit(credential) is not None
        if self.outage.is_on():
            return True
        try:
            return (await self._find(credential)).outcome != "expired"
        except StoreError as error:
            self.snapshot.lose(error)
            return True

    async def _find(self, ticket: Ticket) -> Claimed:
        """Tell what claiming a ticket would come to; of a called one only the store knows if it was used."""
        seen = status_of(ticket, self._window())
        return Claimed(seen, 0, 0) if seen == "waiting" else await self._ask(ticket, enters=False)

    async def _ask(self, ticket: Ticket, enters: bool) -> Claimed:
        # A floor that has passed is final: no call is needed for that.
        if status_of(ticket, self._window()) == "expired":
            return Claimed("expired", 0, 0)
        claimed = await self._claims.ask((ticket, enters))
        # A place that comes free before the visitor would ask again would stay empty until then.
        left = LONGEST_HOLD
        while 0 < claimed.free_in <= left:
            left -= claimed.free_in
            await asyncio.sleep(claimed.free_in)
            claimed = await self._claims.ask((ticket, enters))
        return claimed

    def _lost(self, error: StoreError, credential: Credential | None) -> Decision:
        self.snapshot.lose(error)
        return self.outage.decide(credential)

    def _ticket(self, issued: Issued, id: str, missed: bool) -> Ticket:
        window, joined = issued
        epoch = window.newest.name
        expected = self._positions.expected(Rank(epoch, joined.number), window)
        return Ticket(window.generation, epoch, joined.number, id, window.at, joined.start, missed, expected)

    def _entered(self, ticket: Ticket, pass_ends: int, first: bool) -> Admitted:
        """Let in at once a visitor who got a number and never had to wait."""
        lease_ms = pass_ends - ticket.issued_at
        return Admitted(pass_of(ticket, ticket.issued_at, pass_ends, lease_ms, first), must_tell=True)

    def _claimed(self, ticket: Ticket, claimed: Claimed) -> Pass:
        if ticket.expected and claimed.turn_at:
            for name in judge(ticket.expected, (claimed.turn_at - ticket.issued_at) / 1000):
                self.counters.add(name)
        lease_ms = round(self.settings.session_seconds * 1000)
        given = pass_of(ticket, claimed.entered_at, claimed.pass_ends, lease_ms)
        newest = self._window().newest.name
        return given if newest == given.epoch else replace(given, confirmed=newest)

    def _held(self, ticket: Ticket, found: Claimed | None) -> Held:
        """Hold a ticket that did not enter, as the store `found` it: it waits, or stands at the door."""
        if found is not None and found.outcome == "door":
            return Held("door", self._positions.at_door(ticket, found.before), ticket, new=False)
        return Held("waiting", self._positions.in_line(ticket, self._window()), ticket, new=False)

    def _inside(self, latest: Pass, ticket: Ticket | None) -> Standing:
        return Standing(self._positions.inside(latest), ticket, latest)


def _preference(credential: Credential) -> tuple[int, object]:
    if isinstance(credential, Pass):
        return 0, -credential.expires_at
    if isinstance(credential, Ticket):
        return 1, rank(credential)
    return 2, -credential.issued_at
