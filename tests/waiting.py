"""Waiting for what has to come about: until it holds, or a generous deadline has passed."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

DEADLINE_SECONDS = 30


def until(holds: Callable[[], object], what: str = "it", seconds: float = DEADLINE_SECONDS) -> None:
    """Look again and again until it is so."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come about in {seconds:g} s"
        time.sleep(0.02)


def end(process: "subprocess.Popen[bytes]", seconds: float = DEADLINE_SECONDS) -> None:
    """Ask a process to end; one that does not is killed, and the test that left it fails."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def end_group(leader: int) -> None:
    """Kill what a process has left in its group: the workers of a supervisor that a test has killed go on serving."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
