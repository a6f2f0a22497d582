"""`waitroom proxy`: a real gate in front of a site that it reaches over HTTP."""

import asyncio
import gzip
import json
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
import httpx
import pytest
import trustme
from click.testing import CliRunner
from starlette.types import Message
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.conftest import SECRET
from tests.gates import DEADLINE_SECONDS, Server, client_of, free_port, gated, raw, started, take_place
from tests.upstream import PIECE, BadManners, bad_manners
from tests.waiting import until
from waitroom.cli import commands as cli
from waitroom.config.settings import Settings
from waitroom.proxy import proxy as proxying
from waitroom.proxy.forwarding import request_headers, target_of
from waitroom.proxy.proxy import Proxy
from waitroom.proxy.sockets import Line, talk
from waitroom.web.requests.framing import has_body

TIMEOUT = 5
"""The proxy's patience with the site of bad manners, seconds."""
MIB = 1024 * 1024
# What the libraries would be warned of fails the start.
STRICT = [sys.executable, "-W", "error", "-m", "waitroom", "proxy"]


@contextmanager
def site() -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.upstream:site", "--port", str(port)]
    with started([*command, "--log-level", "warning"], {}, port) as server:
        yield server.url


@contextmanager
def proxied(upstream: str, *arguments: str, **variables: str) -> Iterator[Server]:
    port = free_port()
    with started([*STRICT, upstream, "--port", str(port), *arguments], variables, port) as server:
        yield server


def let_in(server: Server) -> Server:
    """Take the only place, for a guest whose pass is in the server's environment."""
    server.environment["pass"] = take_place(server)
    return server


@pytest.fixture(scope="module")
def server(store_url: str) -> Iterator[Server]:
    """A gate with room for one, before a site of good manners."""
    settings = {"redis_url": store_url, "secret": SECRET, "room": "proxy", "capacity": "1"}
    flags = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
    with site() as upstream, proxied(upstream, *flags) as running:
        yield let_in(running)
    assert "Traceback" not in running.said
    assert "failed" not in running.said


@pytest.fixture(scope="module")
def rude() -> Iterator[BadManners]:
    with bad_manners() as running:
        yield running


@pytest.fixture(scope="module")
def before_rude(store_url: str, rude: BadManners) -> Iterator[Server]:
    """A gate that holds nobody, before a site of bad manners."""
    variables = {"REDIS_URL": store_url, "SECRET": SECRET, "ROOM": "rude", "EXCLUDE": "/*"}
    environment = {f"WAITROOM_{name}": value for name, value in variables.items()}
    arguments = ("--upstream-timeout", str(TIMEOUT))
    with proxied(f"http://127.0.0.1:{rude.port}", *arguments, **environment) as running:
        yield running
    assert "Traceback" not in running.said


def guest(server: Server, **keywords: Any) -> httpx.Client:
    headers = {"Waitroom-Pass": server.environment["pass"]}
    return httpx.Client(base_url=server.url, headers=headers, timeout=DEADLINE_SECONDS, **keywords)


def headers_seen(answer: httpx.Response) -> list[tuple[str, str]]:
    return [(name, value) for name, value in answer.json()["headers"]]


# -- the gate stands before the site ------------------------------------------------------------------


def test_who_has_no_place_waits_and_the_site_hears_nothing(server: Server) -> None:
    page = httpx.get(server.url, headers={"Accept": "text/html"}, timeout=DEADLINE_SECONDS)
    assert page.status_code == 503
    assert "x-robots-tag" in page.headers
    with pytest.raises(InvalidStatus) as denied:
        connect(server.url.replace("http", "ws") + "/socket")
    assert denied.value.response.status_code == 503


def test_the_pass_comes_in_by_cookie_and_the_site_does_not_see_it(server: Server) -> None:
    token = server.environment["pass"]
    cookie = f"mine=1; waitroom-proxy={token}; yours=2"
    seen = headers_seen(httpx.get(f"{server.url}/shop", headers={"Cookie": cookie}, timeout=DEADLINE_SECONDS))
    assert [value for name, value in seen if name == "cookie"] == ["mine=1; yours=2"]
    with guest(server) as client:
        assert token not in client.get("/shop").text


def test_the_site_learns_who_is_inside_and_nobody_can_pretend(server: Server) -> None:
    forged = {
        "Waitroom-Number": "99",
        "Waitroom_Session": "forged",
        "waitroom.waited.seconds": "99",
        "Waitroom-Anything": "forged",
        "Waitroom-Passed": "forged",
    }
    with guest(server, trust_env=False) as client:
        seen = headers_seen(client.get("/shop", headers=forged))
    ours = {name: value for name, value in seen if name.startswith("waitroom")}
    assert ours.pop("waitroom-session") not in ("", "forged")
    assert float(ours.pop("waitroom-waited-seconds")) < 99
    assert ours.pop("waitroom-passed")
    assert ours == {"waitroom-room": "proxy", "waitroom-number": "1"}
    assert len([name for name, _ in seen if name.startswith("waitroom")]) == 5
    assert "forged" not in str(seen)


def test_addresses_are_vouched_for_and_the_host_is_kept(server: Server) -> None:
    lies = {
        "Host": "shop.example:81",
        "X_Forwarded_For": "6.6.6.6",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Port": "666",
        "Forwarded": "for=6.6.6.6",
        "X-Real-IP": "6.6.6.6",
        "CF-Connecting-IP": "6.6.6.6",
    }
    with guest(server) as client:
        seen = headers_seen(client.get("/shop", headers=lies))
        # The server believes 127.0.0.1, as uvicorn does unless it is told otherwise.
        trusted = {"X-Forwarded-For": "203.0.113.7, 127.0.0.1", "X-Forwarded-Proto": "https"}
        token = {"Authorization": f"Bearer {server.environment['pass']}"}
        behind = headers_seen(client.get("/shop", headers={**trusted, **token}))
    assert "6.6.6.6" not in str(seen)
    assert [pair for pair in seen if "host" in pair[0] or pair[0].startswith("x-")] == [
        ("host", "shop.example:81"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "shop.example:81"),
        ("x-forwarded-for", "127.0.0.1"),
    ]
    assert ("x-forwarded-for", "203.0.113.7") in behind
    assert ("x-forwarded-proto", "https") in behind


def test_the_site_can_release_a_visitor(store_url: str) -> None:
    settings = {"REDIS_URL": store_url, "SECRET": SECRET, "ROOM": "released", "CAPACITY": "1"}
    variables = {f"WAITROOM_{name}": value for name, value in settings.items()}
    with site() as upstream, proxied(upstream, "--root-path", "/shop", **variables) as server:
        with httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS) as first:
            until(lambda: first.get("/a%2Fb").status_code == 200)
            seen = first.get("/a%2Fb").json()
            assert seen["path"] == "/a%2Fb", "the root path has been taken off in front"
            assert ["x-forwarded-prefix", "/shop"] in seen["headers"]
            assert httpx.get(server.url, timeout=DEADLINE_SECONDS).status_code == 503
            goodbye = first.get("/release")
        assert goodbye.text == "goodbye"
        assert "waitroom-command" not in goodbye.headers
        until(lambda: httpx.get(server.url, timeout=DEADLINE_SECONDS).status_code == 200)


# -- what is asked for --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example/x",
        "/@evil.example",
        "/a/../b/./c",
        "/%2e%2e/%2F%5c",
        "/\\evil.example",
        "/%zz;a=1,[]|^`{}\"<>'",
        "/a?b=%zz&c=d+e&&f#",
        "/?http://evil.example/",
        "/:80/",
    ],
)
def test_the_target_arrives_as_it_was_sent(server: Server, target: str) -> None:
    pass_ = f"Waitroom-Pass: {server.environment['pass']}"
    sent = f"GET {target} HTTP/1.1\r\nHost: shop\r\n{pass_}\r\nConnection: close\r\n\r\n"
    head, _, body = raw(server, sent.encode()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    seen = json.loads(body.partition(b"\r\n")[2].rpartition(b"\r\n0\r\n")[0] if b"chunked" in head else body)
    path, _, query = target.partition("?")
    assert (seen["path"], seen["query"]) == (path, query.removesuffix("#"))
    assert ["host", "shop"] in seen["headers"]


def test_an_absolute_address_leads_nowhere_else(server: Server) -> None:
    lines = ("GET http://evil.example/x HTTP/1.1", "Host: evil.example", "Connection: close")
    pass_ = f"Waitroom-Pass: {server.environment['pass']}"
    told = raw(server, "\r\n".join([*lines, pass_, "", ""]).encode())
    assert b'"site":"inside"' in told
    assert b'"path":"/x"' in told
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
    key = "Sec-WebSocket-Key: d2FpdHJvb213YWl0cm9vbQ=="
    told = raw(server, "\r\n".join([*lines[:2], *upgrade, key, pass_, "", ""]).encode())
    assert told.startswith(b"HTTP/1.1 400")


def test_what_is_no_path_is_refused() -> None:
    scope = {"raw_path": b"http://evil.example/", "query_string": b"", "root_path": ""}
    assert target_of(scope) is None
    assert target_of({**scope, "raw_path": b"*"}) is None
    assert (
        target_of({**scope, "raw_path": b"/\xe9#\r\n", "query_string": b"\xff #"})
        == "/%E9%23%0D%0A?%FF%20%23"
    )
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    proxy = Proxy("http://127.0.0.1:1", 1)
    asyncio.run(proxy({**scope, "type": "http", "method": "GET", "headers": []}, receive, send))
    assert sent[0]["status"] == 400


def test_of_two_framings_one_is_sent() -> None:
    headers = [(b"content-length", b"5"), (b"transfer-encoding", b"chunked"), (b"x-latin", b"\xe9")]
    scope = {"type": "http", "headers": headers, "scheme": "http", "client": None}
    assert request_headers(scope) == [
        ("host", ""),
        ("x-latin", "\ufffd"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", ""),
    ]
    assert has_body(scope)
    assert not has_body({"headers": [(b"content-length", b"0")]})


def test_a_requests_headers_arrive_and_those_of_the_connection_do_not(
    before_rude: Server, rude: BadManners
) -> None:
    sent = [
        "POST /until-closed?sent HTTP/1.1",
        "Host: shop",
        "Connection: close, X-Named, X-Forwarded-For",
        "X-Named: 1",
        "Keep-Alive: 5",
        "TE: trailers",
        "Proxy-Authorization: x",
        "Upgrade: h2c",
        "Expect: 100-continue",
        "Twice: 1",
        "Twice: 2",
        "Transfer-Encoding: chunked",
    ]
    answer = raw(before_rude, "\r\n".join([*sent, "", "5\r\nhello\r\n0\r\n\r\n"]).encode())
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert b"inside" in answer
    (head,) = rude.came("/until-closed?sent")
    assert head.lower().split("\r\n")[1:-1] == [
        "host: shop",
        "twice: 1",
        "twice: 2",
        "x-forwarded-proto: http",
        "x-forwarded-host: shop",
        "x-forwarded-for: 127.0.0.1",
        "transfer-encoding: chunked",
    ]


# -- what is answered ---------------------------------------------------------------------------------


def test_answers_come_back_untouched(server: Server) -> None:
    with guest(server) as client:
        with client.stream("GET", "/gzip") as packed:
            assert packed.headers["content-encoding"] == "gzip"
            assert gzip.decompress(b"".join(packed.iter_raw())) == b"inside"
        cookies = client.get("/cookies").headers.get_list("set-cookie")
        assert [cookie.split(";")[0] for cookie in cookies] == ["first=1", "second=2"]
        moved = client.get("/moved")
        assert (moved.status_code, moved.headers["location"]) == (302, "https://elsewhere.example/a?b")
        for status in (204, 304, 404, 500):
            answer = client.get(f"/status/{status}")
            assert (answer.status_code, answer.headers["etag"], answer.content) == (status, '"one"', b"")
        head = client.head("/gzip")
        assert (head.headers["content-length"], head.content) == ("26", b"")
        assert head.headers.get_list("server") == ["uvicorn"]
        assert len(head.headers.get_list("date")) == 1


def test_one_visitors_cookies_never_go_out_with_another(server: Server) -> None:
    with guest(server) as client:
        assert "first" in client.get("/cookies").cookies
    with guest(server) as other:
        assert "cookie" not in dict(headers_seen(other.get("/shop")))


def test_answers_without_a_body_and_headers_of_the_connection(before_rude: Server) -> None:
    with httpx.Client(base_url=before_rude.url, timeout=DEADLINE_SECONDS) as client:
        not_modified = client.get("/304")
        assert (not_modified.status_code, not_modified.headers["etag"]) == (304, "x")
        assert client.get("/204").headers["x-kept"] == "yes"
        head = client.head("/head")
        assert (head.headers["content-length"], head.content) == ("5", b"")
        hops = client.get("/hops")
        assert hops.text == "inside"
        names = {name for name, _ in hops.headers.multi_items()}
        assert names == {"x-kept", "date", "server", "content-length"}
        assert (b"x-kept", b"\xe9") in hops.headers.raw
        assert hops.headers["server"] == "rude"
        assert hops.headers["date"] != "then"
        assert len(client.get("/large-header").headers["x-large"]) == 30_000
        assert client.get("/until-closed").text == "inside"


# -- streams ------------------------------------------------------------------------------------------


def test_both_ways_step_by_step(server: Server) -> None:
    """The site answers each piece of an upload before the next is sent."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), DEADLINE_SECONDS) as line:
        pass_ = f"Waitroom-Pass: {server.environment['pass']}"
        head = ("POST /duplex HTTP/1.1", "Host: shop", "Transfer-Encoding: chunked", pass_, "", "")
        line.sendall("\r\n".join(head).encode())
        heard = b""
        for piece in (b"one", b"two", b"six"):
            line.sendall(b"3\r\n%b\r\n" % piece)
            while not heard.endswith(b"heard %b\r\n" % piece):
                heard += line.recv(65536)
        line.sendall(b"0\r\n\r\n")
        while not heard.endswith(b"\r\n0\r\n\r\n"):
            heard += line.recv(65536)


def most_memory(server: Server) -> int:
    """The most that the process has ever held, bytes."""
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def test_what_is_large_is_not_kept_in_memory(server: Server) -> None:
    with guest(server) as client, guest(server) as other:
        assert client.post("/upload", content=(b"x" * PIECE for _ in range(10))).text.startswith("inside")
        before = most_memory(server)
        pieces = (b"x" * PIECE for _ in range(50 * MIB // PIECE))
        length = {"Content-Length": str(50 * MIB)}
        assert client.post("/upload", content=pieces, headers=length).text == f"inside, {50 * MIB} bytes"
        with client.stream("GET", f"/big?size={50 * MIB}") as download:
            assert download.status_code == 200
            # The visitor reads nothing; look on until the site makes nothing any more.
            made = [-1, other.get("/how-much").json()]
            while made[-1] != made[-2]:
                time.sleep(0.1)
                made.append(other.get("/how-much").json())
            assert made[-1] < 50 * MIB
            assert sum(map(len, download.iter_raw())) == 50 * MIB
        assert most_memory(server) - before < 16 * MIB


def test_a_stream_may_be_silent_for_longer_than_an_answer_may_take(
    before_rude: Server, rude: BadManners
) -> None:
    rude.go_on.clear()
    with (
        httpx.Client(base_url=before_rude.url, timeout=DEADLINE_SECONDS) as client,
        client.stream("GET", "/open?events") as events,
    ):
        pieces = events.iter_raw()
        assert next(pieces) == b"data: inside\n\n"
        late = client.post("/silent?late", content=b"x")
        assert late.status_code == 504
        assert late.json()["type"] == "urn:waitroom:site-too-slow"
        rude.go_on.set()
        assert next(pieces) == b"data: more\n\n"


def gives_up(server: Server, rude: BadManners, request: str, first: bytes = b"") -> str:
    """Send a request, hang up once the site has got it, and answer what the site saw of its end."""
    path = request.split()[1]
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), DEADLINE_SECONDS) as line:
        line.sendall(request.encode())
        until(lambda: rude.came(path))
        while first:
            first = b"" if first in line.recv(65536) else first
    until(lambda: path in rude.ended)
    return rude.ended[path]


def test_who_hangs_up_is_not_worked_for(before_rude: Server, rude: BadManners) -> None:
    waits = "GET /silent?waits HTTP/1.1\r\nHost: shop\r\n\r\n"
    assert gives_up(before_rude, rude, waits) == ""
    rude.go_on.set()
    listens = "GET /open?listens HTTP/1.1\r\nHost: shop\r\n\r\n"
    assert gives_up(before_rude, rude, listens, b"data: more") == ""
    for framing, body in (("Content-Length: 1000", "half"), ("Transfer-Encoding: chunked", "4\r\nhalf\r\n")):
        path = f"/silent?{framing[:1]}"
        uploads = f"POST {path} HTTP/1.1\r\nHost: shop\r\n{framing}\r\n\r\n{body}"
        # What the site gets must not look like all of it.
        assert gives_up(before_rude, rude, uploads) in ("", body)
    # What the gate has to tell comes in order: once it has told of this, it has told of those before.
    assert httpx.get(f"{before_rude.url}/nonsense", timeout=DEADLINE_SECONDS).status_code == 502

    def told() -> str:
        return before_rude.printed().rpartition("?listens")[2]

    until(lambda: "/nonsense" in told() and "failed" in told())
    assert told().count("failed") == 1


async def test_an_answer_that_comes_too_late_does_not_bring_the_visitor_back() -> None:
    async def hangs_up() -> Message:
        return {"type": "http.disconnect"}

    visit = proxying._Visit(hangs_up, DEADLINE_SECONDS)

    async def goes_on() -> None:
        async with visit.limit:
            await visit.watch(uploads=False)
            visit.has_answer()
            await asyncio.sleep(DEADLINE_SECONDS)
            raise AssertionError("it was not given up")

    with pytest.raises(TimeoutError):
        await goes_on()
    assert visit.gone


def test_the_site_may_answer_before_the_upload_is_over(before_rude: Server) -> None:
    host, port = before_rude.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), DEADLINE_SECONDS) as line:
        line.sendall(b"POST /early HTTP/1.1\r\nHost: shop\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 1000)
        answer = b""
        while not answer.endswith(b"inside"):
            answer += line.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413")


# -- a site that fails --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/half-chunked", "/half-counted"])
def test_half_an_answer_does_not_look_like_a_whole(before_rude: Server, path: str) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{before_rude.url}{path}", timeout=DEADLINE_SECONDS)


@pytest.mark.parametrize("path", ["/nonsense", "/status-700", "/status-101", "/control", "/odd-name"])
def test_what_is_no_answer_is_told_in_one_line(before_rude: Server, path: str) -> None:
    answer = httpx.get(f"{before_rude.url}{path}", timeout=DEADLINE_SECONDS)
    assert answer.status_code == 502
    assert answer.json()["type"] == "urn:waitroom:site-away"


def test_what_can_be_asked_again_is_asked_once_more(before_rude: Server, rude: BadManners) -> None:
    with httpx.Client(base_url=before_rude.url, timeout=DEADLINE_SECONDS) as client:
        assert client.get("/nothing?get").status_code == 502
        assert client.post("/nothing?post").status_code == 502
        assert client.put("/nothing?put", content=b"x").status_code == 502
        # The second request finds the connection that the first has left, and the site hangs up on it.
        assert [client.get("/ask-again").text for _ in range(2)] == ["inside"] * 2
    assert len(rude.came("/nothing?get")) == 2
    assert len(rude.came("/nothing?post")) == 1
    assert len(rude.came("/nothing?put")) == 1


def test_a_site_that_is_not_there_yet() -> None:
    """Both start together: the gate first, in this case."""
    with bad_manners() as one:
        port = one.port
    variables = {"WAITROOM_ROOM": "early", "WAITROOM_EXCLUDE": "/*"}
    with proxied(f"http://127.0.0.1:{port}/", **variables) as server:
        away = httpx.get(f"{server.url}/until-closed", timeout=DEADLINE_SECONDS)
        with pytest.raises(InvalidStatus) as denied:
            connect(server.url.replace("http", "ws") + "/socket")
        said = [line for line in server.printed().splitlines() if "failed" in line]
    assert away.status_code == 502
    assert denied.value.response.status_code == 502
    assert len(said) == 2
    assert f"the site at http://127.0.0.1:{port} failed: Cannot connect to host" in said[0]
    assert "Traceback" not in server.said


async def test_a_site_that_takes_no_connection(
    monkeypatch: pytest.MonkeyPatch, settings: Callable[..., Settings]
) -> None:
    monkeypatch.setattr(proxying, "CONNECT_SECONDS", 0.2)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        # What is not accepted fills the queue; then the kernel lets connections wait.
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        proxy = Proxy(f"http://127.0.0.1:{address[1]}", DEADLINE_SECONDS)
        async with gated(proxy, settings=settings(exclude=("/*",))) as gate, client_of(gate) as client:
            assert (await client.get("/")).status_code == 504
        for one in waiting:
            one.close()


@pytest.mark.parametrize("path", ["/", "/free", "//"])
async def test_an_upload_that_a_site_which_is_away_does_not_take_is_read_within_its_rooms_bound(
    settings: Callable[..., Settings], room: str, path: str
) -> None:
    plain = settings(paths=("/",), exclude=("/free",), body_limit=20)
    sale = settings(room=f"{room}-sale", paths=("/sale",), body_limit=10)
    proxy = Proxy(f"http://127.0.0.1:{free_port()}", DEADLINE_SECONDS)
    async with gated(proxy, settings=[plain, sale]) as gate, client_of(gate) as client:
        for at, beyond in ((path, 21), ("/sale", 11)):
            within = await client.post(at, content=b"x" * (beyond - 1))
            assert (within.status_code, "connection" in within.headers) == (502, False)
            too_long = await client.post(at, content=b"x" * beyond)
            assert (too_long.status_code, too_long.headers["connection"]) == (502, "close")


def test_a_site_that_speaks_tls(tmp_path: Path) -> None:
    """Its certificate is checked against the machine's authorities, in each worker."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    with bad_manners(tls) as one:
        upstream = f"https://localhost:{one.port}"
        variables = {"WAITROOM_EXCLUDE": "/*", "SSL_CERT_FILE": str(tmp_path / "ca.pem")}
        with proxied(upstream, "--workers", "2", **variables) as server:
            answers = [httpx.get(f"{server.url}/hops", timeout=DEADLINE_SECONDS) for _ in range(4)]
        with proxied(upstream, WAITROOM_EXCLUDE="/*") as suspicious:
            refused = httpx.get(f"{suspicious.url}/hops", timeout=DEADLINE_SECONDS)
    assert [answer.text for answer in answers] == ["inside"] * 4
    assert refused.status_code == 502
    assert "CERTIFICATE_VERIFY_FAILED" in suspicious.said


# -- WebSockets ---------------------------------------------------------------------------------------


def dial(
    server: Server, path: str = "/socket", subprotocols: list[Subprotocol] | None = None
) -> ClientConnection:
    headers = {"Waitroom-Pass": server.environment["pass"], "Waitroom-Number": "99", "Cookie": "mine=1"}
    url = server.url.replace("http", "ws") + path
    return connect(url, additional_headers=headers, subprotocols=subprotocols)


def test_a_websocket_says_everything_both_ways(server: Server) -> None:
    with dial(server, subprotocols=[Subprotocol("first"), Subprotocol("second")]) as line:
        assert line.subprotocol == "second"
        assert line.response is not None
        assert line.response.headers["x-seen"] == "1"
        for said in ("hello", "", "ünïcödé", b"", b"\x00\xff" * 300_000):
            line.send(said)
            assert line.recv(DEADLINE_SECONDS) == said
        line.send(["in ", "pieces"])
        assert line.recv(DEADLINE_SECONDS) == "in pieces"
        line.send("headers")
        seen = json.loads(line.recv(DEADLINE_SECONDS))
    assert (seen["waitroom-number"], seen["cookie"], seen["x-forwarded-proto"]) == ("1", "mine=1", "http")
    assert seen["host"] == server.url.removeprefix("http://")
    assert "waitroom-pass" not in seen


def test_a_websocket_without_a_subprotocol(server: Server) -> None:
    with dial(server) as line:
        assert line.subprotocol is None


def test_the_sites_close_code_reaches_the_visitor(server: Server) -> None:
    with dial(server) as line:
        line.send("close 4001 enough")
        with pytest.raises(ConnectionClosed) as closed:
            line.recv(DEADLINE_SECONDS)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "enough")


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (lambda line: line.close(4002, "done"), [4002, "done"]),
        (lambda line: line.close(1000), [1000, ""]),
        (lambda line: line.socket.shutdown(socket.SHUT_RDWR), [1000, ""]),
    ],
    ids=["code", "normal", "vanished"],
)
def test_the_visitors_close_code_reaches_the_site(
    server: Server, end: Callable[[ClientConnection], None], told: list[object]
) -> None:
    with guest(server) as client:
        before = len(client.get("/how-it-ended").json())
        with dial(server) as line:
            line.send("hello")
            line.recv(DEADLINE_SECONDS)
            end(line)
        until(lambda: len(client.get("/how-it-ended").json()) > before)
        code, reason = client.get("/how-it-ended").json()[before]
    assert [code, reason or ""] == told


def test_a_visitor_who_vanishes_from_a_flood(server: Server) -> None:
    with guest(server) as client:
        before = len(client.get("/how-it-ended").json())
        with dial(server) as line:
            line.send("flood")
            line.recv(DEADLINE_SECONDS)
            line.socket.shutdown(socket.SHUT_RDWR)
        until(lambda: len(client.get("/how-it-ended").json()) > before)


@pytest.mark.parametrize("refusal", [OSError("gone"), RuntimeError("closed already")])
async def test_a_visitor_whose_server_takes_no_more_messages(rude: BadManners, refusal: Exception) -> None:
    """What a server raises differs, and whether it does depends on who is first to notice that they left."""
    gone = asyncio.Event()
    sent: list[str] = []

    async def receive() -> Message:
        await gone.wait()
        return {"type": "websocket.disconnect", "code": 1006}

    async def send(message: Message) -> None:
        sent.append(message["type"])
        if message["type"] == "websocket.send":
            gone.set()
            raise refusal

    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        aiohttp.ClientSession(ws_response_class=Line) as session,
    ):
        line = await session.ws_connect(f"http://127.0.0.1:{rude.port}/socket")
        await talk(cast("Line", line), receive, send)
    assert sent == ["websocket.accept", "websocket.send"]
    assert line.closed


def test_a_site_that_vanishes_is_told(before_rude: Server) -> None:
    with connect(before_rude.url.replace("http", "ws") + "/socket") as line:
        assert line.recv(DEADLINE_SECONDS) == "hi"
        with pytest.raises(ConnectionClosed) as closed:
            line.recv(DEADLINE_SECONDS)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1011


def test_the_sites_refusal_reaches_the_visitor(server: Server) -> None:
    with pytest.raises(InvalidStatus) as denied:
        dial(server, "/no-socket")
    assert denied.value.response.status_code == 401
    assert denied.value.response.headers["www-authenticate"] == "Basic"


def test_a_false_acceptance_is_none(before_rude: Server) -> None:
    for path in ("/status-101", "/nothing"):
        with pytest.raises(InvalidStatus) as denied:
            connect(before_rude.url.replace("http", "ws") + path)
        assert denied.value.response.status_code == 502


# -- the command --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "upstream",
    [
        "127.0.0.1:8080",
        "ftp://shop",
        "http://",
        "http://shop:0",
        "http://shop:port",
        "http://shop:99999",
        "http://shop/path",
        "http://shop/?query",
        "http://shop?",
        "http://shop#",
        "http://user:pass@shop",
        "http://shop\\evil",
        "http://[::1",
        "http://sh op",
        "http://shöp",
    ],
)
def test_what_is_no_address_of_a_site_ends_with_one_line_and_status_2(upstream: str) -> None:
    done = CliRunner().invoke(cli.main, ["proxy", upstream])
    assert done.exit_code == 2
    assert done.stderr.startswith("waitroom: the site's address ")
    assert done.stderr.count("\n") == 1
    assert "pass@" not in done.stderr


def test_a_missing_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == "aiohttp" else object())
    done = CliRunner().invoke(cli.main, ["proxy", "http://[::1]:8080/"])
    assert (done.exit_code, done.stderr) == (
        3,
        'waitroom: the proxy needs aiohttp and websockets: pip install "waitroom[proxy]"\n',
    )


def test_the_flags_are_those_of_run() -> None:
    shown = CliRunner().invoke(cli.main, ["proxy", "--help"]).output
    assert all(flag in shown for flag in ("--workers", "--root-path", "--capacity", "--upstream-timeout"))
