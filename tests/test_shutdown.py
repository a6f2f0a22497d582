"""Stopping a server: what is still open doesn't keep it from ending, where a time is given."""

import signal
import sys

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.gates import DEADLINE_SECONDS, free_port, started

ENDS_AT_ONCE = ("--timeout-graceful-shutdown", "0")


def test_open_streams_and_sockets_end_with_the_server() -> None:
    port = free_port()
    command = [sys.executable, "-m", "waitroom", "run", "tests.sites:site", *ENDS_AT_ONCE]
    # uvicorn's variable stands in for its flag.
    with (
        started(command, {"UVICORN_PORT": str(port)}, port) as server,
        httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS) as client,
    ):
        assert "inside" in client.get("/").text
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        socket = connect(server.url.replace("http", "ws") + "/socket", additional_headers={"Cookie": cookies})
        with socket, client.stream("GET", "/stepwise") as stream:
            pieces = stream.iter_lines()  # kept, as the stream is closed with the last reference to it
            assert next(pieces) == "inside, piece 0"
            server.process.send_signal(signal.SIGTERM)
            # Nobody asks for the stream's next piece: it would stay open for ever.
            server.process.wait(DEADLINE_SECONDS)
            with pytest.raises(ConnectionClosed):
                socket.recv(DEADLINE_SECONDS)
    assert "Application shutdown complete" in server.said, "the gate and the site stopped in order"
