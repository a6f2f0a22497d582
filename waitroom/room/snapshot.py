"""What one process knows of its room, read from the store by one task whatever the traffic."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from waitroom.errors import StoreError
from waitroom.line.window import Window
from waitroom.room.grace import Grace
from waitroom.store.batching import is_alive
from waitroom.store.deadlines import LATE, is_done_in_time
from waitroom.store.transitions import Store, Synced

IDLE_SECONDS = 10.0
"""How long after the last request the snapshot is still kept up to date."""
AWAY_SECONDS = 1.0
"""How often a store that is away is asked at least, however rare the syncs."""
MOST_READS = 4
"""Reads that may be under way at a time where they hang: each has a connection until it is given up."""
STEADY_SECONDS = 5.0
"""How long the store has to stay once it is back, before the log says so."""
CONTACT_SECONDS = 5.0
"""How long a process waits at its start for the store's first answer."""
PRUNE_SECONDS = 10.0
"""How often those are forgotten whose passes have run out since they ended: there may be thousands to look at."""
GRACE_MS = 30_000
"""How much longer than its pass the store keeps a lease, and would have renewed it; the scripts' GRACE_US."""

log: logging.Logger = logging.getLogger("waitroom")


class Snapshot:
    """The room's window, the store's clock and the sessions that ended early, as of the last sync.

    `away_since` tells since when the store has not answered, `error` why; None while it does.
    """

    def __init__(
        self,
        store: Store,
        sync_seconds: float,
        each_sync: Callable[[], bool],
        before_return: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.window: Window | None = None
        self.away_since: datetime | None = None
        self.error: StoreError | None = None
        self.ended: dict[str, int] = {}
        self.grace: Grace = Grace()
        # By how many seconds this process's loop was late the last time: it has more to do than it can.
        self._late_by = 0.0
        self._store = store
        self._sync_seconds = sync_seconds
        # Called after each sync; tells whether open requests need the next one.
        self._each_sync = each_sync
        # Awaited when the store is there again, before anything else is asked of it; may raise StoreError.
        self._before_return = before_return
        self._read_at = self._used_at = float("-inf")
        self._offset_ms: float | None = None
        self._ended_version = -1
        self._pruned_at = float("-inf")
        # When the store went away, and when it was seen last before; 0: it never was.
        self._lost_at = self._seen_at = 0
        self._outage: tuple[int, int] | None = None
        self._task: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        # The newest one, and those that hang.
        self._readings: set[asyncio.Task[None]] = set()
        self._asked_at = self._back_at = float("-inf")
        # Since when the log says that the store is away.
        self._told_since: datetime | None = None
        # The newest epoch of which the log says that something was lost before it.
        self._told_epoch = ""

    def now(self) -> int:
        """The store's clock in ms; before the first contact this machine's, as there is no better."""
        if self._offset_ms is None:
            return int(time.time() * 1000)
        return int(self._offset_ms + time.monotonic() * 1000)

    def read_at(self) -> int:
        """When the window was read, by the store's clock in ms."""
        return self.window.at if self.window else self.now()

    def learn(self, window: Window) -> None:
        """Take over a window that a script answered with, unless a later one is known."""
        if self.window is None or window.at >= self.window.at:
            self.window = window
        if window.settling and window.newest.name > self._told_epoch:
            self._told_epoch = window.newest.name
            log.warning(
                "the store has lost something that was known of the line, or may have: nobody is called for some "
                "seconds, until those who have a place have reported; no place is lost"
            )

    def end(self, session: str, until: int) -> None:
        """Refuse a session's copies from now on, without waiting for the next sync."""
        self.ended[session] = until

    def lose(self, error: StoreError) -> None:
        """Note that the store did not answer."""
        self.error = error
        if self.away_since is None:
            self.away_since = datetime.now(UTC)
            self.grace.lost(time.monotonic())
            # One that comes and goes is away until it stays.
            if time.monotonic() - self._back_at >= STEADY_SECONDS:
                self._lost_at, self._seen_at = self.now(), self.window.at if self.window else 0
            if self._told_since is None:
                self._told_since = self.away_since
                log.warning("%s; those inside go on", error)

    def ran_out_while_away(self, expires_at: int) -> bool:
        """Tell whether a pass ran out while the store could not be asked about it: now, or the last time."""
        # Not by the window: answers that come too late for anything else go on to move that.
        if self.away_since is not None and expires_at > self._seen_at - GRACE_MS:
            return True
        return self._outage is not None and self._outage[0] - GRACE_MS < expires_at <= self._outage[1]

    def returned_at(self) -> int | None:
        """When the store came back from its last absence, by its own clock in ms; None where it was never away."""
        return self._outage[1] if self._outage else None

    async def contact(self) -> None:
        """Reach the store for the first time, with more patience: names are looked up, TLS is agreed upon."""
        await self._read(CONTACT_SECONDS)
        await self.fresh()

    def is_fresh(self) -> bool:
        """Tell whether the snapshot can be used as it is; where it can't, `fresh` sees to it."""
        now = self._used_at = time.monotonic()
        # A task left over from another loop reads no more: what it read gets old.
        is_kept = self._task is not None and not self._task.done()
        return is_kept and now - self._read_at <= 2 * self._sync_seconds

    def steady_now(self) -> float | None:
        """Tell the store's clock in ms, where the snapshot is fresh and the store there; None: look closer."""
        if not self.is_fresh() or self.away_since is not None or self._offset_ms is None:
            return None
        return self._offset_ms + self._used_at * 1000

    def is_late(self, seconds: float) -> bool:
        """Tell whether this process's loop was late by more, as the task has just seen; where none looks it is not."""
        if self._late_by <= seconds:
            return False
        self._used_at = time.monotonic()  # somebody is turned away for it: the task has to go on looking
        return is_alive(self._task)

    async def fresh(self, inside: bool = False) -> None:
        """See to it that the snapshot is no older than twice `sync_seconds`, if the store answers in time.

        Nobody waits for a store that is known to be away while the task asks it, and who is `inside` never does; nor
        for a read that the task has under way.
        """
        if self.is_fresh():
            return
        is_kept = is_alive(self._task)
        if not is_kept:
            self._task = asyncio.get_running_loop().create_task(self._keep())
        if self._used_at - self._read_at <= 2 * self._sync_seconds:
            return
        is_away = self.away_since is not None
        if (is_kept and (inside or is_away)) or (inside and is_away):
            return  # the task will tell
        await self._read()

    async def reread(self) -> None:
        """Read at once, unless the store is away."""
        if self.away_since is None:
            await self._read()

    async def close(self) -> None:
        """Stop reading."""
        tasks = [task for task in (self._task, *self._readings) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = self._reading = None

    async def _keep(self) -> None:
        needed = True
        while needed or time.monotonic() - self._used_at < IDLE_SECONDS:
            await self._read()
            needed = self._each_sync()
            await self._rest()

    async def _rest(self) -> None:
        """Wait for the time of the next sync, which comes sooner where a call has lost the store meanwhile."""
        left = self._sync_seconds
        while left > 0:
            due = time.monotonic() + min(left, AWAY_SECONDS)
            await asyncio.sleep(min(left, AWAY_SECONDS))
            self._late_by = time.monotonic() - due
            left = 0 if self.away_since is not None else left - AWAY_SECONDS

    async def _read(self, timeout_seconds: float | None = None) -> None:
        """Read once, together with whoever else is reading; does not raise when the store is away."""
        reading = self._reading
        if reading is None or not is_alive(reading) or self._hangs():
            self._asked_at = time.monotonic()
            reading = self._reading = asyncio.get_running_loop().create_task(self._sync())
            self._readings = {reading, *filter(is_alive, self._readings)}
            # Whoever asked may have gone when it fails; the next to ask hears of it.
            reading.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            # An answer that comes late is still taken, so the call itself goes on.
            if not await is_done_in_time(reading, timeout_seconds or self._store.timeout_seconds):
                raise StoreError(LATE)
            reading.result()
        except StoreError as error:
            self.lose(error)

    def _hangs(self) -> bool:
        """Tell whether to ask once more though the store has not answered: the next answer may come before that one."""
        is_time = time.monotonic() - self._asked_at >= AWAY_SECONDS
        under_way = sum(map(is_alive, self._readings))
        return self.away_since is not None and is_time and under_way < MOST_READS

    async def _sync(self) -> None:
        sent_at = time.monotonic()
        window, synced = await self._store.sync(self._ended_version)
        answered_at = self._read_at = time.monotonic()
        in_time = answered_at - sent_at <= self._store.timeout_seconds
        if in_time or self._offset_ms is None:  # by the middle of a long way the time is not to be told
            self._offset_ms = window.at - (sent_at + answered_at) / 2 * 1000
        self.learn(window)
        await self._take_over(window, synced)
        # A store that answers late is as good as away: the next calls would be late as well.
        if self.away_since is not None and in_time:
            await self._store.check()  # the sync may be all that it does not refuse
            if self._before_return:
                await self._before_return()
            self._back_at = time.monotonic()
            self.grace.returned(self._back_at)
            self._outage = self._lost_at, window.at
            self.away_since = self.error = None
        elif self._told_since is not None and answered_at - self._back_at >= STEADY_SECONDS:
            log.warning(
                "the store is back; it was away since %s", self._told_since.isoformat(timespec="seconds")
            )
            self._told_since = None

    async def _take_over(self, window: Window, synced: Synced) -> None:
        """Refuse what has ended; a session that has ended stays so, also where the store has lost the list."""
        while synced.ended is not None:
            self.ended |= synced.ended
            self._ended_version = synced.version
            if synced.version >= window.ended_version:
                break
            window, synced = await self._store.sync(synced.version)
        if time.monotonic() - self._pruned_at >= PRUNE_SECONDS:
            self._pruned_at, now = time.monotonic(), self.now()
            self.ended = {id: until for id, until in self.ended.items() if until > now}
