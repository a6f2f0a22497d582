"""The gate under real servers: sockets, streams, uploads, and methods whose answers have no body."""

import asyncio
import re
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import repeat
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis
from playwright.async_api import Browser
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.conftest import SECRET
from tests.gates import (
    API,
    DEADLINE_SECONDS,
    ONE_EACH,
    Server,
    join,
    numbers_of,
    raw,
    serving,
    status,
    take_place,
)
from tests.tls import certificate
from tests.visits import comes_in, cookies, ended_well, is_denied, socket_url, talks, visitor, waits
from tests.waiting import until
from waitroom.store.embedded.folders import names

SHOPS = Path(__file__).parent / "frameworks"
GATED = "app.add_middleware(WaitingRoomMiddleware)"
WRAPPED = "app = WaitingRoomMiddleware(app)"

SERVERS = {
    "httptools": "uvicorn --http httptools",
    "h11": "uvicorn --http h11",
    "granian": "granian --interface asgi",
    "hypercorn": "hypercorn",
}
GUNICORN = "gunicorn --worker-class asgi"


@pytest.fixture
def gate(store_url: str, room: str) -> dict[str, Any]:
    """A room with one place."""
    return {"redis_url": store_url, "secret": SECRET, "room": room, "capacity": 1}


def lay_out(folder: Path, shop: str, line: str) -> None:
    """Make a folder with one of the sites, and `gated:app` in front of it."""
    shutil.copy(SHOPS / f"{shop}.py", folder / "shop.py")
    imports = "from shop import app\nfrom waitroom import WaitingRoomMiddleware\n\n"
    (folder / "gated.py").write_text(f"{imports}{line}\n")


@pytest.fixture(scope="module", params=SERVERS)
def server(store_url: str, request: pytest.FixtureRequest) -> Iterator[Server]:
    settings: dict[str, Any] = {
        "redis_url": store_url,
        "secret": SECRET,
        "room": f"servers-{request.param}",
        "capacity": 1,
    }
    with serving(f"{SERVERS[request.param]} tests.sites:starlette_site", **settings) as running:
        running.environment["pass"] = take_place(running)
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
    for path, code in (("/", 503), (f"{API}/window", 200), (f"{API}/livez", 200), (f"{API}/nothing", 404)):
        request = f"HEAD {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n".encode()
        head, _, body = raw(server, request).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d" % code)
        assert b"content-length: 0" not in head.lower()
        assert body == b""


def test_leaving_and_letting_the_site_release_are_answered_in_order(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS) as client:
        for _ in range(2):
            left = client.delete(f"{API}/ticket")
            assert (left.status_code, left.content) == (204, b"")
            assert client.get(f"{API}/livez").text == "alive\n", "the connection is in order"


# -- HTTP/2 over TLS ---------------------------------------------------------------------------------

HTTP2 = {
    "granian": "granian --interface asgi --ssl-certificate {file} --ssl-keyfile {key}",
    "hypercorn": "hypercorn --certfile {file} --keyfile {key}",
}


@pytest.mark.parametrize("name", HTTP2)
def test_http_2(gate: dict[str, Any], tmp_path: Path, name: str) -> None:
    """A whole visit over HTTP/2: cookies, bodies, refusals, streams beside requests; and sockets beside it."""
    issued = certificate(tmp_path)
    line = HTTP2[name].format(file=issued.file, key=issued.key)
    lay_out(tmp_path, "starlette_shop", GATED)
    with (
        serving(f"{line} gated:app", tmp_path, trust=issued.trust, **gate) as http2,
        visitor(http2, http2=True) as inside,
        visitor(http2, http2=True) as outside,
    ):
        first = inside.get("/")
        assert first.http_version == "HTTP/2"
        cookie = first.headers["Set-Cookie"]
        assert re.match(r"__Host-waitroom-.+; Path=/; .*; Secure$", cookie), cookie
        comes_in(inside, goods=7)
        waits(outside)
        assert (outside.head("/").status_code, outside.head(f"{API}/window").status_code) == (503, 200)
        assert inside.post("/", content=b"x" * 1_000_000).json()["body"] == "x" * 1_000_000
        assert "inside" in inside.get("/file").text
        with inside.stream("GET", "/events") as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("data:")
            comes_in(inside, goods=7)
        # HTTP/2 lets a client send each cookie in a field of its own (RFC 9113, 8.2.3).
        ours = [("Cookie", f"{name}={value}") for name, value in inside.cookies.items()]
        with visitor(http2, http2=True) as another:
            told = another.get("/", headers=[("Cookie", "a=1"), *ours, ("Cookie", "b=2")])
        assert told.json()["number"] == 1
        is_denied(http2, "/socket")
        talks(http2, "/socket", inside)
        assert inside.delete(f"{API}/ticket").status_code == 204
        assert inside.get(f"{API}/livez").text == "alive\n", "the connection is in order"
        until(lambda: outside.get("/").status_code == 200)
    ended_well(http2)


OPEN = """path => new Promise(resolve => {
  const line = new WebSocket(`wss://${location.host}${path}`);
  line.onmessage = message => resolve(message.data);
  line.onerror = () => resolve("refused");
})"""


@pytest.mark.asyncio(loop_scope="session")
async def test_a_websocket_within_http_2(gate: dict[str, Any], tmp_path: Path, browser: Browser) -> None:
    """Hypercorn takes sockets within an HTTP/2 connection (RFC 8441), and Chromium opens them so."""
    issued = certificate(tmp_path)
    line = HTTP2["hypercorn"].format(file=issued.file, key=issued.key)
    lay_out(tmp_path, "starlette_shop", GATED)
    with serving(f"{line} gated:app", tmp_path, trust=issued.trust, **gate) as server:
        told = []
        for route in ("/file", f"{API}/livez"):  # the first comes in, the second is not even in line
            context = await browser.new_context(ignore_https_errors=True, bypass_csp=True)
            page = await context.new_page()
            await page.goto(server.url + route)
            told.append(await asyncio.wait_for(page.evaluate(OPEN, "/version"), DEADLINE_SECONDS))
            await context.close()
    # Its log is not asked: hypercorn 0.18 stumbles over what a client sends on a stream that has ended.
    assert told == ["2", "refused"]


# -- start and stop ----------------------------------------------------------------------------------

LIFESPANS = [
    # Without a word it is "auto", as in all other tests.
    *(f"uvicorn --lifespan {mode}" for mode in ("on", "off")),
    "granian --interface asgi",
    "granian --interface asginl",
    "hypercorn",
]


@pytest.mark.parametrize("line", LIFESPANS)
@pytest.mark.parametrize("shop", ["starlette_shop", "plain_shop"])
def test_lifespan_on_off_and_auto(gate: dict[str, Any], tmp_path: Path, line: str, shop: str) -> None:
    """The gate works in each way, around a site that speaks lifespan and one that raises at it."""
    lay_out(tmp_path, shop, WRAPPED)
    told = shop == "starlette_shop" and not line.endswith(("off", "asginl"))
    with (
        serving(f"{line} gated:app", tmp_path, **gate) as server,
        visitor(server) as inside,
        visitor(server) as outside,
    ):
        comes_in(inside, goods=7 if told else None)
        waits(outside)
    ended_well(server)


WRONG = ["granian --interface asgi", "granian --interface asgi --workers 2", "hypercorn", GUNICORN]


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_setting_ends_the_server_and_is_told(line: str) -> None:
    with (
        pytest.raises(AssertionError, match="the server did not start") as ended,
        serving(f"{line} tests.sites:starlette_site", capacity="many"),
    ):
        pass
    assert "WAITROOM_CAPACITY='many' is not allowed; allowed: a whole number from 1" in str(ended.value)
    assert "During handling of" not in str(ended.value)


# -- workers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "workers"), [(SERVERS["httptools"], 1), *((line, 3) for line in (*SERVERS.values(), GUNICORN))]
)
def test_workers_share_one_embedded_store_which_ends_with_them(line: str, workers: int) -> None:
    """P4: numbers of one line, whichever worker is asked."""
    with serving(f"{line} --workers {workers} tests.sites:starlette_site", capacity=1) as server:
        home = names(server.process.pid)[0]
        parent = psutil.Process(server.process.pid)
        until(lambda: len(users(home, parent)) == workers)
        with visitor(server, limits=ONE_EACH) as crowd:
            numbers = numbers_of(crowd, 24)
    assert numbers == sorted(set(numbers))
    until(lambda: not home.exists())
    ended_well(server)


def users(home: Path, parent: psutil.Process) -> list[int]:
    """The server's processes that have the embedded store's folder open, as all do that use the store."""
    found = []
    for process in (parent, *parent.children(recursive=True)):
        with suppress(psutil.Error, OSError):
            opened = [file.resolve() for file in Path(f"/proc/{process.pid}/fd").iterdir()]
            found += [process.pid] if home in opened else []
    return found


# -- streams -----------------------------------------------------------------------------------------

SESSION_SECONDS = 2
GRACE_SECONDS = 30
"""How much longer than its pass the store keeps a lease."""


def test_open_streams_and_sockets_keep_their_lease(gate: dict[str, Any], tmp_path: Path) -> None:
    """P1 and P6: for several sessions' time, and no longer once they are closed; all servers at once."""
    gate |= {"capacity": 3, "session_seconds": SESSION_SECONDS, "sync_seconds": 0.2}
    lay_out(tmp_path, "starlette_shop", GATED)
    with ThreadPoolExecutor() as pool:
        lines = [*SERVERS.values(), GUNICORN]
        rooms = [gate | {"room": f"{gate['room']}-{number}"} for number, _ in enumerate(lines)]
        list(pool.map(keep_streams_open, lines, rooms, repeat(tmp_path)))


def keep_streams_open(line: str, gate: dict[str, Any], folder: Path) -> None:
    """Hold two streams, one of a newcomer's, and a socket open while somebody waits for a place."""
    with (
        serving(f"{line} gated:app", folder, **gate) as server,
        redis.Redis.from_url(gate["redis_url"]) as store,
        ExitStack() as visits,
    ):
        reader, talker, newcomer, waiting = (visits.enter_context(visitor(server)) for _ in range(4))
        for known in (reader, talker):
            until(lambda: known.get("/").status_code == 200)  # noqa: B023
            assert known.get("/").status_code == 200
        events = visits.enter_context(reader.stream("GET", "/events"))
        socket = visits.enter_context(
            connect(socket_url(server, "/socket"), additional_headers=cookies(talker))
        )
        first = visits.enter_context(newcomer.stream("GET", "/events"))
        # An iterator that is let go of would close its stream.
        streams = [stream.iter_lines() for stream in (events, first)]
        assert all(next(lines).startswith("data:") for lines in streams)

        end = time.monotonic() + 3.5 * SESSION_SECONDS
        assert join(waiting).json()["status"] == "waiting"
        while time.monotonic() < end:
            assert status(waiting).json()["status"] == "waiting", line
            assert waiting.get(f"{API}/window").json()["inside"] == 3, line
            time.sleep(0.2)
        for lines in streams:
            assert any(is_open_for(3 * SESSION_SECONDS, words) for words in lines), f"{line}: a stream ended"
        until(lambda: min(leases(store, gate["room"])) > 0)
        socket.send("hello")
        assert str(socket.recv(DEADLINE_SECONDS)).startswith("heard hello"), line
        assert talker.get("/").status_code == 200, f"{line}: the cookie from before is not good any more"

        first.close()
        until(lambda: len(leases(store, gate["room"])) == 2)
        assert min(leases(store, gate["room"])) > 0, f"{line}: the others are still there"
    ended_well(server)


def is_open_for(seconds: float, words: str) -> bool:
    """Whether a stream of `/events` says that it has been open for so long."""
    return words.startswith("data:") and float(words.removeprefix("data:")) >= seconds


def leases(store: redis.Redis, room: str) -> list[float]:
    """For how many seconds more the passes of those inside are good, the shortest first."""
    held: Any = store.zrange(f"waitroom:{{{room}}}:inside", 0, -1, withscores=True)
    first: Any = store.zrange(f"waitroom:{{{room}}}:first", 0, -1)
    seconds, microseconds = store.time()
    now = seconds + microseconds / 1e6
    return sorted(ends / 1e6 - (0 if id in first else GRACE_SECONDS) - now for id, ends in held)
