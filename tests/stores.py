"""Real stores for the tests: the embedded Valkey and the Redis that the system has."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from waitroom.embedded import share

DEADLINE_SECONDS = 20


def in_ci() -> bool:
    return os.environ.get("CI") == "true"


def missing(what: str) -> None:
    """Skip, in one clear line; where the tests are to be complete, fail."""
    if in_ci():
        pytest.fail(f"{what} is needed where CI=true")
    pytest.skip(f"{what} is not on this machine")


@contextmanager
def valkey(folder: Path) -> Iterator[str]:
    server = share(folder)
    try:
        yield server.url
    finally:
        server.close()


@contextmanager
def redis_server(folder: Path, *arguments: str) -> Iterator[str]:
    """Start the system's Redis on a socket in `folder`."""
    binary = shutil.which("redis-server")
    if binary is None:
        missing("redis-server")
    socket = folder / "redis.sock"
    command = [
        str(binary),
        "--port",
        "0",
        "--unixsocket",
        str(socket),
        "--save",
        "",
        "--dir",
        str(folder),
        *arguments,
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        await_server(f"unix://{socket}")
        yield f"unix://{socket}"
    finally:
        process.terminate()
        process.wait()


def await_server(url: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
                return
            except redis.AuthenticationError:
                return
            except redis.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
