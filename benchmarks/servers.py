"""Real servers and stores, each pinned to its core."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Any

import redis

from benchmarks.machine import ROOT, Cores, cpu_seconds, peak_memory, pin
from tests.gates import free_port, started
from tests.stores import valkey
from waitroom.config.settings import Settings

SECRET = "a-secret-for-benchmarks-that-is-long-enough"  # noqa: S105  # of rooms that last some minutes
UVICORN = "-m uvicorn --http httptools --no-access-log --log-level warning --timeout-keep-alive 75 --loop"
"""Connections are kept longer than those who poll pause between two requests."""
SERVERS = {
    "uvicorn, uvloop": f"{UVICORN} uvloop",
    "uvicorn, asyncio": f"{UVICORN} asyncio",
    "granian": "-m granian --interface asgi --http 1 --workers 1 --no-ws --log-level warning"
    # It leaves connections beyond its backlog unanswered, by default 1,024.
    " --backlog 8192 --backpressure 8192",
}
"""How each server is started, with one process that serves."""


def installed() -> list[str]:
    """The servers of this environment."""
    return [name for name, line in SERVERS.items() if all(map(find_spec, _needs(line)))]


def _needs(line: str) -> list[str]:
    words = line.split()
    return [words[1], "uvloop"] if words[-1] == "uvloop" else [words[1]]


@dataclass(frozen=True)
class Store:
    """A running store."""

    url: str
    pid: int

    def cpu_seconds(self) -> float:
        """CPU time it has taken."""
        return cpu_seconds(self.pid)

    def script_calls(self) -> int:
        """Scripts that were run."""
        stats = self._info("commandstats")
        return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("eval", "evalsha"))

    def used_memory(self) -> int:
        """Bytes that it says it uses in all."""
        return int(self._info("memory")["used_memory"])

    def bytes_of(self, pattern: str) -> int:
        """Bytes of all keys of a pattern, each with all its members."""
        with redis.Redis.from_url(self.url) as client:
            return sum(
                int(client.memory_usage(key, samples=0) or 0) for key in client.scan_iter(pattern, count=1000)
            )

    def _info(self, section: str) -> dict[str, Any]:
        with redis.Redis.from_url(self.url) as client:
            found: dict[str, Any] = client.info(section)
            return found


@contextmanager
def store(folder: Path, cores: Cores) -> Iterator[Store]:
    """Start the embedded store, in a folder of its own."""
    folder.mkdir(mode=0o700)
    with valkey(folder) as url:
        with redis.Redis.from_url(url) as client:
            running = Store(url, int(client.info("server")["process_id"]))
        pin(running.pid, cores.others)
        yield running


@dataclass(frozen=True)
class Server:
    """A running server and the store behind it, if there is one."""

    url: str
    pid: int
    store: Store | None
    sync_seconds: float

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def cpu_seconds(self) -> float:
        """CPU time that its processes have taken."""
        return cpu_seconds(self.pid)

    def peak_memory(self) -> int:
        """Most bytes that its processes have had in memory so far."""
        return peak_memory(self.pid)

    def most_syncs(self, seconds: float) -> int:
        """How often its gate may have read the store's state in that time, whatever was asked of it."""
        return ceil(seconds / self.sync_seconds) + 1


@contextmanager
def server(
    kind: str,
    app: Callable[..., object],
    cores: Cores,
    behind: Store | None = None,
    flags: str = "",
    **settings: Any,
) -> Iterator[Server]:
    """Start one of SERVERS with one of the sites, and with flags of its own; keywords are the gate's settings."""
    port = free_port()
    factory = [] if app.__name__ == "bare" else ["--factory"]
    command = [sys.executable, *SERVERS[kind].split(), *flags.split(), *factory]
    command += [f"benchmarks.sites:{app.__name__}", "--port", str(port)]
    if behind is not None:
        settings |= {"redis_url": behind.url, "secret": SECRET}
    environment = {f"WAITROOM_{name.upper()}": str(value) for name, value in settings.items()}
    with started(command, environment, port, ROOT) as running:
        pin(running.process.pid, cores.server)
        sync_seconds = Settings.model_fields["sync_seconds"].default
        yield Server(running.url, running.process.pid, behind, sync_seconds)
