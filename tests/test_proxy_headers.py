"""What the proxy makes of a visitor's headers, on each server: words of a proxy, and values that are odd but valid."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.conftest import SECRET
from tests.gates import DEADLINE_SECONDS, Server, raw, serving, uvicorn
from tests.header_names import GENUINE, HEARSAY, IDENTITY
from tests.test_servers import SERVERS
from waitroom.proxy.forwarding import MOST_NAMES, request_headers
from waitroom.proxy.hearsay import LONGEST_NAME, is_hearsay
from waitroom.web.requests.framing import body_length, has_body


@contextmanager
def before(upstream: str, line: str, store_url: str) -> Iterator[Server]:
    settings: dict[str, Any] = {"redis_url": store_url, "secret": SECRET, "room": "headers", "exclude": "/*"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "UPSTREAM", upstream)
        if line.startswith("uvicorn"):
            line += " --forwarded-allow-ips 192.0.2.1"  # else it believes this machine
        with serving(f"{line} tests.proxy_site:app", **settings) as running:
            yield running
    assert "Traceback" not in running.said, running.said
    assert "ValueError" not in running.said, running.said


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with uvicorn_site() as running:
        yield running.url


@contextmanager
def uvicorn_site() -> Iterator[Server]:
    # It has no gate whose probe would say that it is ready, and answers every path.
    with uvicorn("tests.upstream:site", arguments=("--log-level", "warning")) as running:
        yield running


@pytest.fixture(scope="module", params=SERVERS)
def server(site: str, store_url: str, request: pytest.FixtureRequest) -> Iterator[Server]:
    with before(site, SERVERS[request.param], store_url) as running:
        yield running


def spellings(name: str) -> list[str]:
    return [name, name.replace("-", "_"), name.upper().replace("-", ".")]


def seen(answer: bytes) -> dict[str, Any]:
    """What the site says that it has got."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), answer[:300]
    if b"chunked" in head.lower():
        body = b"".join(body.split(b"\r\n")[1::2])
    found: dict[str, Any] = json.loads(body)
    return found


# -- the words of a proxy -----------------------------------------------------------------------------


def test_nothing_of_what_a_visitor_says_in_the_words_of_a_proxy_is_sent_on(server: Server) -> None:
    for part in range(0, len(HEARSAY), 20):  # a server takes only so many headers
        lies = [f"{spelt}: hearsay" for name in HEARSAY[part : part + 20] for spelt in spellings(name)]
        request = "\r\n".join(["GET /shop HTTP/1.1", "Host: shop", "Connection: close", *lies, "", ""])
        headers = dict(seen(raw(server, request.encode()))["headers"])
        assert "hearsay" not in headers.values(), headers
        assert headers["host"] == headers["x-forwarded-host"] == "shop"


def test_nor_is_it_on_a_websocket(server: Server) -> None:
    names = [name for name in HEARSAY if name not in ("Forwarded", "X-Forwarded-For", "X-Forwarded-Proto")]
    url = server.url.replace("http", "ws") + "/socket"
    lies = dict.fromkeys(names[::3], "hearsay")
    with connect(url, additional_headers={**lies, "X-Request-ID": "mine"}) as line:
        line.send("headers")
        headers = json.loads(line.recv(DEADLINE_SECONDS))
    assert "hearsay" not in headers.values()
    assert headers["x-request-id"] == "mine"


def test_what_is_the_browsers_own_or_the_sites_arrives(server: Server) -> None:
    sent = {name: f"own {name}" for name in (*GENUINE, *IDENTITY)}
    lines = [f"{name}: {value}" for name, value in sent.items()]
    request = "\r\n".join(["GET /shop HTTP/1.1", "Host: shop", "Connection: close", *lines, "", ""])
    headers = dict(seen(raw(server, request.encode()))["headers"])
    assert {name: headers.get(name.lower()) for name in sent} == sent


def test_more_names_of_headers_than_are_looked_at_are_refused(site: str, store_url: str) -> None:
    many = {f"x-{number}": "1" for number in range(MOST_NAMES + 1)}
    with before(site, SERVERS["hypercorn"], store_url) as server:
        answer = httpx.get(f"{server.url}/shop", headers=many)
        assert (answer.status_code, answer.json()["type"]) == (431, "urn:waitroom:too-many-headers")
        with pytest.raises(InvalidStatus) as refused:
            connect(server.url.replace("http", "ws") + "/socket", additional_headers=many)
        assert refused.value.response.status_code == 431


def test_a_name_beyond_all_that_are_known_costs_nothing() -> None:
    assert is_hearsay(b"x-real-ip")
    assert not is_hearsay(b"x-" * LONGEST_NAME + b"real-ip")


# -- values that are odd and valid --------------------------------------------------------------------

LENGTHS = [
    "Content-Length: 3 ",
    "Content-Length: 3\t",
    "Content-Length:3",
    "Content-Length: \t 3 \t ",
    "Content-Length: 0003",
    f"Content-Length: {'0' * 5000}3",
    "Content-Length: 3, 3",
    "Content-Length: 3,3 ",
    "Content-Length: 3\r\nContent-Length: 3",
    "Content-Length: 3 \r\ncontent-length:3",
]
CHUNKED = [
    "Transfer-Encoding: chunked ",
    "Transfer-Encoding:\tchunked\t",
    "Transfer-Encoding: Chunked",
    "transfer-encoding: chunked \r\nContent-Length: 3 ",
]


def _posted(server: Server, framing: str, body: str) -> bytes:
    lines = ("POST /shop HTTP/1.1", "Host: shop", "Connection: close", framing, "", body)
    return raw(server, "\r\n".join(lines).encode("latin-1"))


@pytest.mark.parametrize("framing", [*LENGTHS, *CHUNKED])
def test_whatever_length_the_server_takes_the_site_gets_the_body(server: Server, framing: str) -> None:
    body = "3\r\nabc\r\n0\r\n\r\n" if "chunked" in framing.lower() else "abc"
    answer = _posted(server, framing, body)
    if answer.startswith(b"HTTP/1.1 200"):
        found = seen(answer)
        assert found["body"] == "abc"
        lengths = [value for name, value in found["headers"] if name == "content-length"]
        coding = [value for name, value in found["headers"] if name == "transfer-encoding"]
        assert (lengths, coding) in ((["3"], []), ([], ["chunked"]))
    else:  # the server itself is strict
        assert not answer or answer.startswith(b"HTTP/1.1 4"), answer[:300]
    if framing in LENGTHS[:4] + CHUNKED[:1]:
        assert answer.startswith(b"HTTP/1.1 200"), "valid by RFC 9110 and 9112"


VALUES = [
    b"",
    b" ",
    b"\t",
    b" x ",
    b"\tx\t",
    b"a\tb",
    b"\xe9",
    b"\xff\xfe",
    b"\xc3\xa9",
    b" \x80 ",
    b'"',
    b"x" * 8000,
]
NAMES = [
    "X-Any",
    "Accept",
    "Accept-Encoding",
    "Authorization",
    "Cache-Control",
    "Content-Encoding",
    "Content-Type",
    "Cookie",
    "Date",
    "Expect",
    "Host",
    "If-None-Match",
    "Keep-Alive",
    "Origin",
    "Range",
    "Referer",
    "TE",
    "Trailer",
    "Upgrade",
    "User-Agent",
    "Via",
]


@pytest.mark.parametrize("name", NAMES)
def test_no_value_of_a_header_makes_the_proxy_fail(server: Server, name: str) -> None:
    for value in VALUES:
        host = [] if name == "Host" else [b"Host: shop"]
        lines = [b"GET /shop HTTP/1.1", *host, b"Connection: close", name.encode() + b": " + value, b"", b""]
        answer = raw(server, b"\r\n".join(lines))
        assert not answer or answer[:10] in (b"HTTP/1.1 2", b"HTTP/1.1 4"), (value[:10], answer[:300])


def test_no_control_that_a_server_lets_through_makes_it_fail(server: Server) -> None:
    for code in (*range(0x20), 0x7F):
        if chr(code) in "\r\n":
            continue
        lines = (b"GET /shop HTTP/1.1", b"Host: shop", b"Connection: close", b"X-Any: a%cb" % code, b"", b"")
        answer = raw(server, b"\r\n".join(lines))
        if answer.startswith(b"HTTP/1.1 200"):
            assert dict(seen(answer)["headers"])["x-any"] in ("a b", "a\tb")
        else:
            assert not answer or answer.startswith(b"HTTP/1.1 400"), (code, answer[:300])


@pytest.mark.parametrize("offered", [b"", b" a ,\tb ", b"a,,b", b'"', b"a" * 8000])
def test_no_subprotocol_makes_it_fail(server: Server, offered: bytes) -> None:
    lines = (
        b"GET /socket HTTP/1.1",
        b"Host: shop",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: d2FpdHJvb213YWl0cm9vbQ==",
        b"Content-Length: 0 ",
        b"Sec-WebSocket-Protocol: " + offered,
        b"",
        b"",
    )
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), DEADLINE_SECONDS) as connection:
        connection.sendall(b"\r\n".join(lines))
        answer = connection.recv(100)
    assert not answer.startswith(b"HTTP/1.1 5"), answer


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ([], None),
        ([(b"content-length", b"0")], 0),
        ([(b"content-length", b" 00\t")], 0),
        ([(b"content-length", b"7"), (b"content-length", b"007, 7")], 7),
        ([(b"content-length", b"7"), (b"content-length", b"8")], None),
        ([(b"content-length", b"+7")], None),
        ([(b"content-length", b"")], None),
        ([(b"content-length", b"9" * 5000)], None),
        ([(b"content-length", b"0"), (b"transfer-encoding", b"chunked")], None),
    ],
)
def test_a_length_is_one_number_or_none(headers: list[tuple[bytes, bytes]], length: int | None) -> None:
    assert body_length(headers) == length
    scope = {"type": "http", "method": "GET", "headers": headers, "scheme": "http", "client": None}
    assert has_body(scope) == (bool(headers) and length != 0)
    sent = [value for name, value in request_headers(scope) if name == "content-length"]
    assert sent == ([] if length is None else [str(length)])


def test_a_site_that_is_down_is_told_of_as_ever(store_url: str) -> None:
    with before("http://127.0.0.1:1", SERVERS["httptools"], store_url) as running:
        answer = httpx.post(f"{running.url}/", content=b"x", timeout=DEADLINE_SECONDS)
    assert answer.status_code == 502
