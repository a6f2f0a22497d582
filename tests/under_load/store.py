"""A primary, a replica and three sentinels, and what happens to them."""

import signal
import subprocess
from pathlib import Path

import redis

from tests import stores


class Box:
    """The servers, wherever the primary is just now."""

    def __init__(self, them: stores.Watched, folder: Path) -> None:
        self._them = them
        self._folder = folder
        self._processes = {them.primary_port: them.primary}

    def primary(self) -> int:
        return self._them.named_primary()[0]

    def flush(self) -> None:
        """Empty the store, as somebody does who takes it for another."""
        with self._them.server(self.primary()) as client:
            client.flushall()

    def kill(self) -> None:
        """Kill the primary; it is back before a sentinel has noticed, and empty."""
        port = self.primary()
        self._end(port)
        self._start(port)
        self._await_replica(port)

    def fail_over(self) -> None:
        """Kill the primary: the replica takes over, without what had not reached it."""
        old = self.primary()
        self._end(old)
        stores.until(lambda: self._has_left(old), "the replica is promoted")
        self._start(old)
        self._await_replica(self.primary())

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()

    def _has_left(self, old: int) -> bool:
        ports = self._them.named_primary()
        return old not in ports and len(set(ports)) == 1

    def _end(self, port: int) -> None:
        process = self._processes.get(port)
        if process is not None:
            process.kill()
            process.wait()
            return
        with self._them.server(port) as client:
            pid = int(client.info("server")["process_id"])
        subprocess.run(["kill", f"-{signal.SIGKILL.value}", str(pid)], check=True)

    def _start(self, port: int) -> None:
        conf = self._folder / str(port) / "conf"
        self._processes[port] = subprocess.Popen(
            [stores.system_redis(), conf, "--save", ""],
            cwd=conf.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )

    def _await_replica(self, port: int) -> None:
        def is_in_step() -> bool:
            try:
                with self._them.server(port) as client:
                    return stores.replicates(client)
            except redis.RedisError:
                return False

        stores.until(is_in_step, "the replica is in step")
