"""A real server in a thread of this process, so that a test can reach into what it serves."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from tests.waiting import until


@contextmanager
def in_a_thread(app: ASGIApp, port: int = 0) -> Iterator[str]:
    """Serve an app until the block ends; yields the server's URL."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, ws="none", log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
