"""One room's way to its store: its connections, how scripts are sent, and what a store is asked beside transitions."""

import asyncio
import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from redis import exceptions

from waitroom.config.settings import ROOM_NAME
from waitroom.store.connections import FAILURES, Link
from waitroom.store.errors import explained
from waitroom.store.first_contact import StoreFacts, check_facts, diagnosed, read_facts

TRIAL = "redis.call('HSET', KEYS[1], 'field', 1) return redis.call('HDEL', KEYS[1], 'field')"
ROOM_KEYS = "waitroom:{*}:state"


class Clocked(NamedTuple):
    """How long the store takes to answer, and how far its clock is ahead of this machine's (both in seconds)."""

    round_trip: float
    ahead: float


@cache
def plain_script(name: str) -> str:
    """Read a script that stands alone."""
    return (files("waitroom.store") / "scripts" / f"{name}.lua").read_text(encoding="utf-8")


@cache
def _sha(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


class StoreContact:
    """Reaches the store of one room; each event loop has connections of its own.

    Its methods raise StoreError where the store does not answer and StoreUnusableError where it refuses.
    """

    def __init__(self, url: str, room: str) -> None:
        self.url = url
        self._room = room
        self._state = f"waitroom:{{{room}}}:state"
        # Connections belong to the event loop that they were made in.
        self._links: WeakKeyDictionary[asyncio.AbstractEventLoop, Link] = WeakKeyDictionary()

    async def facts(self) -> StoreFacts:
        """Ask the store what it is; raises where it would not do, as any first call does."""
        link = self._link()
        try:
            facts = await read_facts(link, self._state)
        except FAILURES as error:
            raise await diagnosed(error, self.url, link) from error
        check_facts(facts, self.url)
        return facts

    async def clock(self) -> Clocked:
        """Ask the store for the time, and measure how long it takes."""
        sent_at, sent = time.time(), time.monotonic()
        with self._explaining():
            seconds, microseconds = await self._link().ask(self._state, "TIME")
        round_trip = time.monotonic() - sent
        return Clocked(round_trip, seconds + microseconds / 1e6 - (sent_at + round_trip / 2))

    async def rooms(self) -> list[str]:
        """Find the names of all rooms in the store; none where this user may not look for keys."""
        keys: list[str] = []
        with self._explaining(), suppress(exceptions.NoPermissionError):
            keys = await self._link().find(ROOM_KEYS)
        names = (key.removeprefix("waitroom:{").removesuffix("}:state") for key in keys)
        return sorted(name for name in names if re.fullmatch(ROOM_NAME, name))

    async def is_lasting(self) -> bool | None:
        """Tell whether the line would outlive the server: it writes to disk as it goes, or has a replica.

        None where this user may not ask.
        """
        with self._explaining(), suppress(exceptions.NoPermissionError):
            kept = await self._link().ask(self._state, "INFO", "persistence")
            copied = await self._link().ask(self._state, "INFO", "replication")
            return bool(kept.get("aof_enabled") or copied.get("connected_slaves"))
        return None

    async def try_write(self) -> None:
        """Write something and take it away, as one transition; raises where the store takes no more."""
        with self._explaining():
            await self._link().call("EVAL", TRIAL, 1, f"waitroom:{{{self._room}}}:trial")

    async def missing_rights(self) -> list[str]:
        """Try what the scripts do, and tell which commands of theirs this user is denied; leaves nothing behind."""
        kinds = [f"waitroom:{{{self._room}}}:rights-{kind}" for kind in ("hash", "list", "zset")]
        with self._explaining():
            return [
                str(name)
                for name in await self._link().call("EVAL", plain_script("rights"), len(kinds), *kinds)
            ]

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            raise explained(error, self.url) from error

    async def close(self) -> None:
        """Close this event loop's connections."""
        link = self._links.pop(asyncio.get_running_loop(), None)
        if link is not None:
            await link.close()

    def _link(self) -> Link:
        loop = asyncio.get_running_loop()
        link = self._links.get(loop)
        if link is None:
            link = self._links[loop] = Link(self.url)
        return link

    async def _send(self, script: str, *arguments: Any) -> Any:
        link = self._link()
        try:
            return await link.call("EVALSHA", _sha(script), *arguments)
        except exceptions.NoScriptError:
            # New to the script: restarted, promoted, or the slot's new home. Sent whole, it is kept where it runs.
            return await link.call("EVAL", script, *arguments)
