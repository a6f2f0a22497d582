"""What one process knows of its room, read from the store by one task whatever the traffic."""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from waitroom.errors import StoreError
from waitroom.store import Store
from waitroom.together import BUDGET_SECONDS, LATE, is_alive, is_done_in_time
from waitroom.window import Window

IDLE_SECONDS = 10.0
"""How long after the last request the snapshot is still kept up to date."""
AWAY_SECONDS = 1.0
"""How often a store that is away is asked at least, however rare the syncs."""
CONTACT_SECONDS = 5.0
"""How long a process waits at its start for the store's first answer."""

log: logging.Logger = logging.getLogger("waitroom")


class Snapshot:
    """The room's window, the store's clock and the sessions that ended early, as of the last sync.

    `away_since` tells since when the store has not answered, `error` why; None while it does.
    """

    def __init__(self, store: Store, sync_seconds: float, each_sync: Callable[[], bool]) -> None:
        self.window: Window | None = None
        self.away_since: datetime | None = None
        self.error: StoreError | None = None
        self.ended: dict[str, int] = {}
        self._store = store
        self._sync_seconds = sync_seconds
        # Called after each sync; tells whether open requests need the next one.
        self._each_sync = each_sync
        self._read_at = self._used_at = float("-inf")
        self._offset_ms: float | None = None
        self._ended_version = -1
        self._lost_at = 0
        self._outage: tuple[int, int] | None = None
        self._task: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None

    def now(self) -> int:
        """The store's clock in ms; before the first contact this machine's, as there is no better."""
        if self._offset_ms is None:
            return int(time.time() * 1000)
        return int(self._offset_ms + time.monotonic() * 1000)

    def read_at(self) -> datetime:
        """When the window was read, by the store's clock."""
        at = self.window.at if self.window else self.now()
        return datetime.fromtimestamp(at / 1000, UTC)

    def learn(self, window: Window) -> None:
        """Take over a window that a script answered with, unless a later one is known."""
        if self.window is None or window.at >= self.window.at:
            self.window = window

    def end(self, session: str, until: int) -> None:
        """Refuse a session's copies from now on, without waiting for the next sync."""
        self.ended[session] = until

    def lose(self, error: StoreError) -> None:
        """Note that the store did not answer."""
        self.error = error
        if self.away_since is None:
            self._lost_at = self.now()
            self.away_since = datetime.now(UTC)
            log.warning("%s; those inside go on", error)

    def ran_out_while_away(self, expires_at: int) -> bool:
        """Tell whether a pass ran out during the last time that the store was away."""
        return self._outage is not None and self._outage[0] <= expires_at <= self._outage[1]

    def returned_at(self) -> int | None:
        """When the store came back from its last absence, by its own clock in ms; None where it was never away."""
        return self._outage[1] if self._outage else None

    async def contact(self) -> None:
        """Reach the store for the first time, with more patience: names are looked up, TLS is agreed upon."""
        await self._read(CONTACT_SECONDS)
        await self.fresh()

    async def fresh(self) -> None:
        """See to it that the snapshot is no older than twice `sync_seconds`, if the store answers in time."""
        now = self._used_at = time.monotonic()
        is_kept = is_alive(self._task)
        if not is_kept:
            self._task = asyncio.get_running_loop().create_task(self._keep())
        if now - self._read_at <= 2 * self._sync_seconds:
            return
        if self.away_since is not None and is_kept:
            return  # nobody waits for a store that is known to be away; the task will tell when it is back
        await self._read()

    async def reread(self) -> None:
        """Read at once, unless the store is away."""
        if self.away_since is None:
            await self._read()

    async def close(self) -> None:
        """Stop reading."""
        tasks = [task for task in (self._task, self._reading) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = self._reading = None

    async def _keep(self) -> None:
        needed = True
        while needed or time.monotonic() - self._used_at < IDLE_SECONDS:
            await self._read()
            needed = self._each_sync()
            away = self.away_since is not None
            await asyncio.sleep(min(self._sync_seconds, AWAY_SECONDS) if away else self._sync_seconds)

    async def _read(self, patience: float | None = None) -> None:
        """Read once, together with whoever else is reading; does not raise when the store is away."""
        reading = self._reading
        if reading is None or not is_alive(reading):
            reading = self._reading = asyncio.get_running_loop().create_task(self._sync())
            # Whoever asked may have gone when it fails; the next to ask hears of it.
            reading.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            # An answer that comes late is still taken, so the call itself goes on.
            if not await is_done_in_time(reading, patience):
                raise StoreError(LATE)
            reading.result()
        except StoreError as error:
            self.lose(error)

    async def _sync(self) -> None:
        sent_at = time.monotonic()
        window, synced = await self._store.sync(self._ended_version)
        answered_at = self._read_at = time.monotonic()
        self._offset_ms = window.at - (sent_at + answered_at) / 2 * 1000
        self.learn(window)
        if synced.ended is not None:
            self._take_over(synced.ended)
            self._ended_version = window.ended_version
        # A store that answers late is as good as away: the next calls would be late as well.
        if self.away_since is not None and answered_at - sent_at <= BUDGET_SECONDS:
            log.warning(
                "the store is back; it was away since %s", self.away_since.isoformat(timespec="seconds")
            )
            self.away_since = self.error = None
            self._outage = self._lost_at, window.at

    def _take_over(self, ended: dict[str, int]) -> None:
        """A session that has ended stays so, also where the store has lost the list."""
        now = self.now()
        self.ended = {id: until for id, until in (self.ended | ended).items() if until > now}
