"""wrk: what drives the servers, and what it counts."""

import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from math import ceil
from pathlib import Path

from benchmarks.machine import pin

SCRIPT = Path(__file__).with_name("wrk") / "visit.lua"
MISSING = "wrk is not on this machine: install it (Debian, Ubuntu: apt-get install wrk)"
NO_COOKIES = ("",)

_runs = count(1)


class BenchmarkError(Exception):
    """A measurement that means nothing; the message says why."""


@dataclass(frozen=True)
class Load:
    """What is sent: by how many connections, each at once again or after a pause of some seconds."""

    path: str
    cookies: Sequence[str] = NO_COOKIES
    method: str = "GET"
    connections: int = 64
    pause: float = 0.0
    headers: tuple[str, ...] = ()
    """Besides `Host` and `Cookie`, as `Name: value`."""


@dataclass(frozen=True)
class Counted:
    """What came of it; `refused` are answers of 400 and above, latencies are in microseconds."""

    requests: int
    bytes: int
    microseconds: int
    refused: int
    broken: int
    p50: int
    p99: int


def is_here() -> bool:
    """Tell whether wrk is installed."""
    return shutil.which("wrk") is not None


class Run:
    """One wrk at work, on one core; its requests' cookies are in a file in `folder`."""

    def __init__(self, url: str, load: Load, seconds: float, core: int, folder: Path) -> None:
        self._load = load
        self._seconds = seconds
        self._cookies = folder / f"cookies-{next(_runs)}"
        self._cookies.write_text("\n".join(load.cookies) + "\n")
        words = ["wrk", "-t1", f"-c{load.connections}", f"-d{ceil(seconds)}s", "--timeout", "10s"]
        words += [word for header in load.headers for word in ("-H", header)]
        words += ["-s", str(SCRIPT), url + load.path, "--", load.method, str(self._cookies)]
        words += [f"{load.pause:g}", str(load.connections)]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        pin(self._process.pid, core)

    def counted(self) -> Counted:
        """Wait for its end. Raises BenchmarkError."""
        if self._seconds % 1:
            self._end_after(self._seconds)
        try:
            said, _ = self._process.communicate(timeout=self._seconds + 60)
            self._cookies.unlink(missing_ok=True)
        except subprocess.TimeoutExpired:
            self.stop()
            raise BenchmarkError(f"wrk did not end: {self._load.method} {self._load.path}") from None
        line = next((line for line in said.splitlines() if line.startswith("result ")), None)
        if line is None or self._process.returncode:
            raise BenchmarkError(f"wrk failed: {said.strip()}")
        values = dict(pair.split("=") for pair in line.split()[1:])
        return Counted(**{name: int(value) for name, value in values.items()})

    def _end_after(self, seconds: float) -> None:
        """Let it tell what it has counted so far: it knows whole seconds only."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGINT)

    def stop(self) -> None:
        """End it before its time."""
        self._process.kill()
        self._process.communicate()
        self._cookies.unlink(missing_ok=True)
