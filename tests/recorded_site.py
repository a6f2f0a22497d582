"""A site that writes down who comes in: what promises are kept is judged by this, and not by what the gate says."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from starlette.types import Receive, Scope, Send

from waitroom.web.middleware import WaitingRoomMiddleware

VARIABLE = "RECORDED_IN"


class Entry(NamedTuple):
    """One request that reached the site; `at` in seconds of this machine's clock."""

    at: float
    session: str


async def site(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    visitor = scope["state"].get("waitroom")
    if visitor is not None:
        # One short line in one piece: several processes write to the same file.
        line = json.dumps([time.time(), visitor.session]) + "\n"
        file = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, line.encode())
        os.close(file)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"inside"})


def gated() -> WaitingRoomMiddleware:
    """For `uvicorn --factory`."""
    return WaitingRoomMiddleware(site)


def read(path: Path) -> Iterator[Entry]:
    """Read what was written so far, oldest first."""
    if path.exists():
        for line in path.read_text().splitlines():
            yield Entry(*json.loads(line))
