"""The gate under a real server: sockets, streams, uploads, and methods whose answers have no body."""

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.conftest import SECRET
from tests.gates import API, DEADLINE_SECONDS, Server, bearer, raw, uvicorn


@pytest.fixture(scope="module", params=["httptools", "h11"])
def server(store_url: str, request: pytest.FixtureRequest) -> Iterator[Server]:
    settings: dict[str, Any] = {
        "redis_url": store_url,
        "secret": SECRET,
        "room": f"uvicorn-{request.param}",
        "capacity": 1,
    }
    with uvicorn("tests.sites:starlette_site", arguments=("--http", request.param), **settings) as running:
        ticket = httpx.post(f"{running.url}{API}/join").json()["ticket"]
        token = httpx.get(f"{running.url}{API}/status", headers=bearer(ticket)).json()["pass"]
        running.environment["pass"] = token
        yield running
    assert "Traceback" not in running.said


def guest(server: Server) -> httpx.Client:
    headers = {"Waitroom-Pass": server.environment["pass"]}
    return httpx.Client(base_url=server.url, headers=headers, timeout=DEADLINE_SECONDS)


def test_a_websocket_with_a_pass_talks_to_the_site(server: Server) -> None:
    url = server.url.replace("http", "ws") + "/socket"
    with connect(url, additional_headers={"Waitroom-Pass": server.environment["pass"]}) as line:
        line.send("hello")
        assert line.recv(DEADLINE_SECONDS) == "heard hello"


def test_a_websocket_without_a_pass_hears_503(server: Server) -> None:
    with pytest.raises(InvalidStatus) as denied:
        connect(server.url.replace("http", "ws") + "/socket")
    assert denied.value.response.status_code == 503
    assert denied.value.response.headers["Retry-After"] == "5"


def test_a_stream_arrives_piece_by_piece(server: Server) -> None:
    """The site writes the next piece only once this client has read the one before."""
    with guest(server) as client, guest(server) as other, client.stream("GET", "/stepwise") as response:
        pieces = response.iter_lines()
        for number in range(3):
            assert next(pieces) == f"inside, piece {number}"
            assert other.get("/step").text == "inside, stepped"
        assert list(pieces) == []


def test_an_upload_goes_through_in_pieces(server: Server) -> None:
    with guest(server) as client:
        response = client.post("/upload", content=(b"x" * 100_000 for _ in range(50)))
        assert response.text == "inside, 5000000 bytes"


def test_an_upload_without_a_pass_is_answered_without_being_read(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), DEADLINE_SECONDS) as connection:
        lines = (b"POST /upload HTTP/1.1", b"Host: shop", b"Content-Length: 100000000", b"", b"x" * 1000)
        connection.sendall(b"\r\n".join(lines))
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 503")


def test_answers_to_head_have_no_body(server: Server) -> None:
    for path, status in (("/", 503), (f"{API}/window", 200), (f"{API}/livez", 200), (f"{API}/nothing", 404)):
        request = f"HEAD {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n".encode()
        head, _, body = raw(server, request).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d" % status)
        assert b"content-length: 0" not in head.lower()
        assert body == b""


def test_leaving_and_letting_the_site_release_are_answered_in_order(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS) as client:
        for _ in range(2):
            left = client.delete(f"{API}/ticket")
            assert (left.status_code, left.content) == (204, b"")
            assert client.get(f"{API}/livez").text == "alive\n", "the connection is in order"
