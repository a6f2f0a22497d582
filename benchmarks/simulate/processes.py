"""A process of the gate: the real client and the real scripts on a real store, under virtual time.

It keeps a snapshot as `waitroom.snapshot` does, read every `sync_seconds`; who looks sees what it saw last. What a
visitor asks of it takes no time: networks are not simulated, but that a snapshot may be half a second old is.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import redis

from benchmarks.simulate.engine import Engine
from waitroom.settings import Settings
from waitroom.store import Claimed, Joined, Store, read_script
from waitroom.tickets import Pass, Ticket
from waitroom.window import Window

Answer = TypeVar("Answer")


def run(call: Coroutine[Any, Any, Answer]) -> Answer:
    """Run a call to its end, which never has to wait."""
    try:
        call.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("it waits for something")


class Server:
    """One connection to the real store, whose calls answer at once; it counts them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.calls = 0
        self._client = redis.Redis.from_url(url, decode_responses=True, protocol=2)
        self._connection: Any = self._client.connection_pool.get_connection()
        self._shas: dict[str, str] = {}

    def evaluate(self, name: str, keys: Sequence[str], *arguments: str) -> Any:
        """Run one of the scripts."""
        sha = self._shas.get(name)
        if sha is None:
            sha = self._shas[name] = str(self._client.script_load(read_script(name)))
        self.calls += 1
        self._connection.send_command("EVALSHA", sha, len(keys), *keys, *arguments)
        return self._connection.read_response()

    def empty(self) -> None:
        """Forget every room."""
        self._client.flushall()

    def microseconds_per_call(self) -> float:
        """What a script has cost the store on average."""
        told: Any = self._client.info("commandstats")
        return float(told["cmdstat_evalsha"]["usec_per_call"])

    def close(self) -> None:
        """Give the connection back."""
        self._client.connection_pool.release(self._connection)
        self._client.close()


class _Client(Store):
    """The real client, but that its calls go over a connection that needs no event loop."""

    def __init__(self, server: Server, settings: Settings, engine: Engine) -> None:
        super().__init__(
            server.url, settings, lambda: engine.now, lambda: "history", lambda: engine.now / 1e6
        )
        self._server = server
        self._checked = True

    async def _evaluate(self, name: str, *arguments: str) -> Any:
        return self._server.evaluate(name, self._keys, *arguments)


class Process:
    """One of several that serve the room; `each_window` hears of every answer of the store."""

    def __init__(
        self, server: Server, settings: Settings, engine: Engine, each_window: Callable[[Window], None]
    ) -> None:
        self.settings = settings
        self._engine = engine
        self._each_window = each_window
        self._store = _Client(server, settings, engine)
        self._ended_version = -1
        self.window: Window = self._learn(run(self._store.sync(-1))[0])
        engine.after(engine.chance.random() * settings.sync_seconds, self._sync)

    def _sync(self) -> None:
        self._engine.after(self.settings.sync_seconds, self._sync)
        self._learn(run(self._store.sync(self._ended_version))[0])
        self._ended_version = self.window.ended_version

    def _learn(self, window: Window) -> Window:
        self.window = window
        self._each_window(window)
        return window

    def join(self, ids: Sequence[str]) -> list[Ticket]:
        """Take numbers, as the API does."""
        window, answers = run(self._store.join([("number", id) for id in ids]))
        self._learn(window)
        return [self._ticket(window, joined, id) for id, joined in zip(ids, answers, strict=True)]

    def _ticket(self, window: Window, joined: Joined, id: str) -> Ticket:
        return Ticket(window.generation, window.newest.name, joined.number, id, window.at, joined.start)

    def claim(self, ticket: Ticket) -> Claimed:
        """Ask to come in."""
        window, (claimed,) = run(self._store.claim([(ticket, True)]))
        self._learn(window)
        return claimed

    def renew(self, used: Pass) -> int:
        """Prolong a session; answers when its pass ends, in ms."""
        window, (ends,) = run(self._store.renew([(used, True)]))
        self._learn(window)
        return ends

    def leave(self, leaving: Pass) -> None:
        """End a session."""
        window, _ = run(self._store.leave([leaving]))
        self._learn(window)
