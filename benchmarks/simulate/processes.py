"""A process of the gate: the real client and the real scripts on a real store, under virtual time.

It keeps a snapshot as `waitroom.room.snapshot` does, read every `sync_seconds`; who looks sees what it saw last. What a
visitor asks of it takes no time: networks are not simulated, but that a snapshot may be half a second old is.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.simulate.engine import Engine
from tests.simulation import world
from tests.simulation.processes import run
from waitroom.config.settings import Settings, load
from waitroom.line.tickets import Pass, Ticket
from waitroom.line.window import Window
from waitroom.store.transitions import Claimed, Joined, Store, read_script


def settings_of(url: str, room: Mapping[str, Any], session_seconds: int = 120) -> Settings:
    """The settings of a simulated room."""
    secret = "a-secret-of-no-worth-for-simulations"  # noqa: S105
    return load(redis_url=url, secret=secret, room="simulated", session_seconds=session_seconds, **room)


class Server(world.Server):
    """One connection to the real store, which counts its calls."""

    calls = 0

    def evaluate(self, script: str, keys: list[str], *arguments: str) -> Any:
        """Run a script."""
        self.calls += 1
        return super().evaluate(script, keys, *arguments)

    def empty(self) -> None:
        """Forget every room."""
        self._client.flushall()

    def microseconds_per_call(self) -> float:
        """What a script has cost the store on average."""
        told: Any = self._client.info("commandstats")
        return float(told["cmdstat_evalsha"]["usec_per_call"])


class _Client(Store):
    """The real client, but that its calls go over a connection that needs no event loop."""

    def __init__(self, server: Server, settings: Settings, engine: Engine) -> None:
        super().__init__(
            server.url, settings, lambda: engine.now, lambda: "history", lambda: engine.now / 1e6
        )
        self._server = server
        self._checked = True

    async def _evaluate(self, name: str, *arguments: str) -> Any:
        return self._server.evaluate(read_script(name), self._keys, *arguments)


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
