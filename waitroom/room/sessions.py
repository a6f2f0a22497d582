"""The sessions this process serves: renewed in the background, kept alive while a request is open."""

import asyncio
import logging
from dataclasses import replace

from waitroom.errors import StoreError
from waitroom.line.tickets import UNCONFIRMED, Pass
from waitroom.room.snapshot import Snapshot
from waitroom.store.batching import Batching
from waitroom.store.transitions import Store

SKEW_MS = 5_000
"""How much longer than its lease a pass may seem to live before it is not believed."""

log: logging.Logger = logging.getLogger("waitroom")


class Sessions:
    """Judges passes and renews them, so that no request of a visitor inside waits for the store."""

    def __init__(
        self, store: Store, snapshot: Snapshot, session_ms: int, max_session_ms: int, running_ms: int
    ) -> None:
        self._snapshot = snapshot
        self._counters = store.counters
        self._session_ms = session_ms
        self._max_session_ms = max_session_ms
        self._running_ms = running_ms
        self._running_first = 0
        self._renewals = Batching(store.renew, snapshot.learn, store.timeout_seconds)
        self._renewing: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        # A name for each request, a stream or a socket among them, that is open just now.
        self._open: dict[object, Pass] = {}
        # Begun while the store was away, which has not heard of them yet.
        self._lent: dict[str, Pass] = {}
        # Passes not yet seen back, oldest first: as leases are of one length, the front expires first.
        self._renewed: dict[str, Pass] = {}

    def latest(self, presented: Pass) -> Pass:
        """The newest pass of the session that this process knows."""
        renewed = self._renewed.get(presented.id)
        if renewed is None or renewed is presented:
            return presented  # the very one from here was not sent out yet, or has not been seen back
        if renewed.expires_at <= presented.expires_at and renewed.first == presented.first:
            del self._renewed[presented.id]
            return presented
        return renewed

    def is_valid(self, latest: Pass) -> bool:
        """Tell from the pass and the snapshot alone whether the session goes on.

        A pass that has run out since the store went away is honoured for one `session_seconds`, while it is.
        """
        if latest.id in self._snapshot.ended:
            return False
        left = latest.expires_at - self._snapshot.now()
        if self._snapshot.away_since is not None:
            is_honoured = -self._session_ms < left <= 0 and self._snapshot.ran_out_while_away(
                latest.expires_at
            )
            self._counters.add("honoured_passes", is_honoured)
            return left > 0 or is_honoured
        return left > 0 and not self._is_too_long(latest)

    def _is_too_long(self, used: Pass) -> bool:
        """Tell whether a pass has longer to live than it was ever given."""
        return used.expires_at - self._snapshot.now() > used.lease_ms + SKEW_MS

    def is_settled(self, presented: Pass) -> bool:
        """Tell, at little cost, that a pass is valid, the newest of its session, and nothing is to be done about it.

        Where it says no, `latest`, `is_valid`, `renew_soon` and `revive` look closer.
        """
        snapshot = self._snapshot
        now, window = snapshot.steady_now(), snapshot.window
        if now is None or window is None or presented.first:
            return False
        newest = window.epochs[-1]
        left = presented.expires_at - now
        return (
            presented.lease_ms / 2 <= left <= presented.lease_ms + SKEW_MS
            and presented.id not in snapshot.ended
            and presented.id not in self._renewed
            and presented.generation == window.generation
            and presented.epoch == newest.name
            and presented.number <= newest.called
            and not presented.confirmed
        )

    async def revive(self, expired: Pass) -> Pass | None:
        """Ask the store about a pass that seems to have run out; None when its session is over.

        One that was honoured while the store was away goes on to be.
        """
        if expired.id in self._snapshot.ended:
            return None
        if self._snapshot.ran_out_while_away(expired.expires_at):
            ends = expired.expires_at + self._session_ms
            expired = replace(expired, expires_at=ends, confirmed=UNCONFIRMED)
        elif self._is_too_long(expired):
            # Not believed that the store has lost it.
            expired = replace(expired, confirmed=self._newest())
        return await self._renew(expired, confirms=True)

    def renew_soon(self, used: Pass) -> None:
        """Renew in the background when it is time: from half the life on.

        A store that has begun another epoch may have lost the session: it is told at once.
        """
        if self._is_due(used) or self._is_unknown(used):
            self._renew_later(used, confirms=True)

    def lend(self, lent: Pass) -> None:
        """Begin a session while the store is away."""
        self._lent[lent.id] = lent

    async def report_lent(self) -> None:
        """Tell the store of the sessions that were begun without it; raises StoreError.

        To be done before anybody else is given a place: theirs is taken.
        """
        await asyncio.gather(*(self._renew(lent, confirms=True) for lent in self._lent.values()))

    def begin(self, admitted: Pass) -> object:
        """Keep the session's lease alive from now on, until `end` is told what this answers."""
        request = object()
        self._open[request] = admitted
        self._running_first += admitted.first
        return request

    def end(self, request: object) -> None:
        """Forget a request that is over."""
        self._running_first -= self._open.pop(request).first

    def runs_first(self) -> bool:
        """Tell whether first visits are served just now."""
        return self._running_first > 0

    def keep_open(self) -> bool:
        """Renew the sessions with open requests that need it; tells whether there are any open."""
        newest = {each.id: each for each in sorted(self._open.values(), key=lambda each: each.expires_at)}
        for admitted in newest.values():
            latest = self._renewed.get(admitted.id, admitted)
            if (self._is_due(latest) or self._is_unknown(latest)) and latest.id not in self._snapshot.ended:
                self._renew_later(latest, confirms=False)
        self._forget()
        return bool(self._open)

    async def close(self) -> None:
        """Stop renewing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._renewals.close()

    def _is_due(self, used: Pass) -> bool:
        if self._max_session_ms and used.expires_at >= used.entered_at + self._max_session_ms:
            return False  # it cannot be made longer
        left = used.expires_at - self._snapshot.now()
        if used.first:  # its request has to be known to run, not only its lease to live
            return left < used.lease_ms - self._running_ms / 2
        return left < used.lease_ms / 2

    def _newest(self) -> str:
        window = self._snapshot.window
        return window.newest.name if window else UNCONFIRMED

    def _is_unknown(self, used: Pass) -> bool:
        return self._snapshot.window is not None and used.known_in != self._newest()

    def _renew_later(self, used: Pass, confirms: bool) -> None:
        if used.id in self._renewing or self._snapshot.away_since is not None:
            return
        self._renewing.add(used.id)
        task = asyncio.get_running_loop().create_task(self._renew_quietly(used, confirms))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _renew_quietly(self, used: Pass, confirms: bool) -> None:
        try:
            await self._renew(used, confirms)
        except StoreError as error:
            log.info("a renewal failed and will be tried again: %s", error)
        finally:
            self._renewing.discard(used.id)

    async def _renew(self, used: Pass, confirms: bool) -> Pass | None:
        ends = await self._renewals.ask((used, confirms))
        self._lent.pop(used.id, None)
        if not ends:
            return None
        first = used.first and not confirms
        lease_ms = used.lease_ms if first else self._session_ms
        newest = self._newest()  # as the answer has left it
        confirmed = "" if newest == used.epoch else newest
        renewed = replace(used, expires_at=ends, lease_ms=lease_ms, first=first, confirmed=confirmed)
        # Taken out first, so that the dictionary stays in order of expiry.
        self._renewed.pop(used.id, None)
        self._renewed[used.id] = renewed
        return renewed

    def _forget(self) -> None:
        now = self._snapshot.now()
        while self._renewed:
            session = next(iter(self._renewed))
            if self._renewed[session].expires_at > now:
                return
            del self._renewed[session]
