"""Connects to the store, loads the scripts, speaks their arguments and answers.

One store, one truth: every transition of a room is one of the Lua scripts beside this file.
"""

import asyncio
import json
import secrets
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from waitroom.errors import StoreError, StoreUnusableError
from waitroom.settings import Settings
from waitroom.tickets import Pass, Ticket
from waitroom.window import Window

OLDEST_VERSION = 7
DENIED = ("ACL failure in script", "The user executing the script can't")
CONNECTIONS = 8
"""Most connections of one process: calls that arrive together share one, so few are ever in use."""
SOCKET_SECONDS = 5.0
"""When a call is given up for good; callers give up waiting for it much sooner."""

KEYS = ("state", "inside", "first", "entries", "calls", "promised", "door", "asked", "used", "ended")
ROOM_KEYS = "waitroom:{*}:state"
SCRIPTS = ("join", "claim", "renew", "leave", "sync", "look")

Clock = Callable[[], int]
"""Tests bring the time, in microseconds; everywhere else the store's own clock decides."""


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


class Synced(NamedTuple):
    """The sessions that ended early, with until when (ms) they are refused; None: as before."""

    ended: dict[str, int] | None


def read_script(name: str) -> str:
    """Read a script as it is sent: `slide` in front, as all of them begin with sliding the window."""
    folder = files("waitroom") / "scripts"
    return "\n".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in ("slide", name))


def shown_url(url: str) -> str:
    """Write a store's URL as a log may show it: without its user, password and options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _milliseconds(microseconds: str) -> int:
    return int(microseconds) // 1000


def _window(view: Sequence[Any]) -> Window:
    at, generation, epoch, issued, called, floor, inside, free, free_first, rate, ended_version = view
    return Window(
        generation=generation,
        epoch=epoch,
        issued=int(issued),
        called=int(called),
        floor=int(floor),
        inside=inside,
        free=free,
        free_first=free_first,
        rate_per_minute=None if rate is None else int(rate) / 1000,
        at=_milliseconds(at),
        ended_version=ended_version,
    )


class Store:
    """One room's part of the store.

    Every method answers with the room's window after the call, and with what was asked. They raise
    StoreError where the store does not answer and StoreUnusableError where it refuses.
    """

    def __init__(self, url: str, settings: Settings, clock: Clock | None = None) -> None:
        self.url = url
        self._clock = clock
        self._rules = _rules(settings)
        self._rules_text = json.dumps(self._rules)
        self._keys = [f"waitroom:{{{settings.room}}}:{key}" for key in KEYS]
        self._scripts = {name: read_script(name) for name in SCRIPTS}
        self._shas: dict[str, str] = {}
        # A client belongs to the event loop that it was made in.
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Redis] = WeakKeyDictionary()
        self._checked = False

    async def join(self, visitors: Sequence[tuple[str, str]]) -> tuple[Window, list[Joined]]:
        """Hand out numbers for (how, id) pairs, in their order; `how` is number, enter or first."""
        window, answers = await self._run("join", visitors)
        return window, [Joined(int(n), int(start), _milliseconds(ends)) for n, start, ends in answers]

    async def claim(self, tickets: Sequence[tuple[Ticket, bool]]) -> tuple[Window, list[Claimed]]:
        """Exchange called tickets for sessions; with each goes whether it enters or only asks."""
        items = [(*_identity(ticket), enters) for ticket, enters in tickets]
        window, answers = await self._run("claim", items)
        return window, [Claimed(out, _milliseconds(end), _milliseconds(at)) for out, end, at in answers]

    async def renew(self, renewals: Sequence[tuple[Pass, bool]]) -> tuple[Window, list[int]]:
        """Renew sessions; answers when each pass ends now (ms), 0 where the session is over.

        With each pass goes whether it confirms a first lease: whether its cookie has come back.
        """
        items = [(renewed.id, renewed.entered_at * 1000, confirms) for renewed, confirms in renewals]
        window, answers = await self._run("renew", items)
        return window, [_milliseconds(end) for end in answers]

    async def leave(self, leaving: Sequence[Ticket | Pass]) -> tuple[Window, list[int]]:
        """Give up tickets and sessions; answers until when (ms) copies of each pass are to be refused."""
        window, answers = await self._run("leave", [_identity(credential) for credential in leaving])
        return window, [_milliseconds(end) for end in answers]

    async def sync(self, ended_version: int) -> tuple[Window, Synced]:
        """Read the room; the list of ended sessions only where it is another than `ended_version`."""
        window, ended = await self._run("sync", [ended_version])
        if ended is None:
            return window, Synced(None)
        return window, Synced(
            {id: _milliseconds(end) for id, end in zip(ended[::2], ended[1::2], strict=True)}
        )

    async def look(self) -> dict[str, Any]:
        """Read the room without touching it, whatever this process's settings; empty: there is no such room."""
        pairs = await self._call("look", [])
        return dict(zip(pairs[::2], pairs[1::2], strict=True))

    async def rooms(self) -> list[str]:
        """Find the names of all rooms in the store; none where this user may not look for keys."""
        try:
            keys = [key async for key in self._client().scan_iter(ROOM_KEYS, count=1000)]
        except exceptions.NoPermissionError:
            return []
        except (exceptions.RedisError, OSError) as error:
            raise self._explained(error) from error
        return sorted(key.removeprefix("waitroom:{").removesuffix("}:state") for key in keys)

    async def close(self) -> None:
        """Close this event loop's connections."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def _client(self) -> Redis:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            pool = BlockingConnectionPool.from_url(
                self.url,
                max_connections=CONNECTIONS,
                timeout=SOCKET_SECONDS,
                socket_timeout=SOCKET_SECONDS,
                socket_connect_timeout=SOCKET_SECONDS,
                decode_responses=True,
                # RESP2 needs no right but those to the commands themselves, and any server speaks it.
                protocol=2,
                # A connection that died while idle is made anew, once.
                retry=Retry(NoBackoff(), 1),
            )
            client = self._clients[loop] = Redis.from_pool(pool)
        return client

    async def _run(self, name: str, items: Sequence[Any]) -> tuple[Window, Any]:
        view, answers = await self._call(name, items)
        return _window(view), answers

    async def _call(self, name: str, items: Sequence[Any]) -> Any:
        rules = self._rules_text
        if self._clock is not None:
            rules = json.dumps(self._rules | {"now_us": self._clock()})
        try:
            client = self._client()
            if not self._checked:
                await self._check(client)
            return await self._evaluate(client, name, rules, json.dumps(items))
        except (exceptions.RedisError, OSError) as error:
            raise self._explained(error) from error

    async def _evaluate(self, client: Redis, name: str, rules: str, items: str) -> Any:
        count = len(self._keys)
        if sha := self._shas.get(name):
            try:
                return await client.evalsha(sha, count, *self._keys, rules, items)
            except exceptions.NoScriptError:
                pass  # a restarted server has forgotten the scripts
        sha = self._shas[name] = await client.script_load(self._scripts[name])
        return await client.evalsha(sha, count, *self._keys, rules, items)

    async def _check(self, client: Redis) -> None:
        """Refuse a server that is too old; one that does not tell its version is taken as it is."""
        try:
            version = str((await client.info("server")).get("redis_version", ""))
        except exceptions.NoPermissionError:
            version = ""
        major = version.partition(".")[0]
        if major.isdigit() and int(major) < OLDEST_VERSION:
            raise StoreUnusableError(
                f"the store at {shown_url(self.url)} is version {version}; "
                f"Redis {OLDEST_VERSION} or Valkey {OLDEST_VERSION} and newer will do"
            )
        self._checked = True

    def _explained(self, error: exceptions.RedisError | OSError) -> StoreError:
        where = f"the store at {shown_url(self.url)}"
        said = str(error).partition("\n")[0]
        # A refused login in the middle of connecting arrives wrapped as a lost connection.
        if isinstance(error, exceptions.AuthenticationError) or isinstance(
            error.__cause__, exceptions.AuthenticationError
        ):
            return StoreUnusableError(f"{where} refused the user or password of WAITROOM_REDIS_URL: {said}")
        if isinstance(error, exceptions.NoPermissionError | exceptions.AuthorizationError) or said.startswith(
            DENIED
        ):
            return StoreUnusableError(f"{where} doesn't let this user do what it must: {said}")
        if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError | OSError):
            return StoreError(f"{where} can't be reached: {said}")
        return StoreError(f"{where} answered with an error: {said}")


def _identity(credential: Ticket | Pass) -> tuple[int, str, int, str]:
    return credential.generation, credential.epoch, credential.number, credential.id


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
        "max_session_us": round(settings.max_session_seconds * 1e6),
    }
