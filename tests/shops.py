"""A recorded shop on real servers with a crowd before it, in a room that is quick about everything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.conftest import SECRET
from tests.gates import DEADLINE_SECONDS, Server, uvicorn
from tests.witnesses import Crowd, Visitor, crowd_at, recording

GATE: dict[str, Any] = {
    "secret": SECRET,
    "capacity": 1,
    "window_size": 30,
    "window_interval": 1,
    "active_window_count": 20,
    "session_seconds": 20,
    "settle_seconds": 0.6,
    "sync_seconds": 0.05,
    "store_timeout_seconds": 1,
}


def serving(workers: int = 1, **settings: Any) -> Any:
    return uvicorn("tests.recorded_site:gated", workers, ("--factory",), **GATE | settings)


@asynccontextmanager
async def shop(tmp_path: Path, *urls: str, **settings: Any) -> AsyncIterator[tuple[Crowd, list[Server]]]:
    """A server for each of the stores' urls, and the crowd before them."""
    record = recording(tmp_path)
    with ExitStack() as stack:
        starts = [partial(stack.enter_context, serving(redis_url=url, **settings)) for url in urls]
        servers = [await asyncio.to_thread(start) for start in starts]
        async with crowd_at((server.url for server in servers), record) as crowd:
            yield crowd, servers


@asynccontextmanager
async def staying(guest: Visitor) -> AsyncIterator[None]:
    """Have a visitor use the site all the while, and leave in the end."""
    enough = asyncio.Event()
    task = asyncio.create_task(guest.stays(enough))
    try:
        yield
    finally:
        enough.set()
        await task
    await guest.leaves()


async def all_live(*visitors: Visitor) -> None:
    """Everybody waits for a turn, comes in and leaves."""
    async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as group:
        for visitor in visitors:
            group.create_task(visitor.lives())
