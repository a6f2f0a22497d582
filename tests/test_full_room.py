"""A full room in which nobody waits: whatever a request says of itself, the site does not hear of it without a pass."""

from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import SECRET
from tests.fuzzing.wire import Answer, answers
from tests.gates import API, DEADLINE_SECONDS, Server, bearer, serving, told_by_the_store

SERVERS = {
    "httptools": "uvicorn tests.sites:starlette_site --http httptools",
    "h11": "uvicorn tests.sites:starlette_site --http h11",
    "granian": "granian --interface asgi tests.sites:starlette_site",
    "hypercorn": "hypercorn tests.sites:starlette_site",
}
CAPACITY = 2
PARTS = [b"image", b"style", b"script", b"font", b"audio", b"manifest", b"worker", b"report", b"nonsense"]
DRESSES: dict[str, tuple[bytes, list[bytes]]] = {
    **{f"part {part.decode()}": (b"GET", [b"Sec-Fetch-Dest: " + part]) for part in PARTS},
    "image by Accept": (b"GET", [b"Accept: image/avif,*/*;q=0.8", b"User-Agent: Mozilla/5.0"]),
    "probe": (b"GET", [b"User-Agent: kube-probe/1.31"]),
    "prefetch": (b"GET", [b"Sec-Purpose: prefetch"]),
    "prerender": (b"GET", [b"Sec-Purpose: prefetch;prerender", b"Sec-Fetch-Dest: document"]),
    "old prefetch": (b"GET", [b"Purpose: prefetch"]),
    "preload of htmx": (b"GET", [b"HX-Preloaded: true"]),
    "another site": (b"GET", [b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Dest: empty"]),
    "another site's frame": (b"GET", [b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Dest: iframe"]),
    "another site's form": (b"POST", [b"Origin: https://evil.example", b"Content-Length: 0"]),
    "OPTIONS": (b"OPTIONS", []),
    "OPTIONS of an origin": (b"OPTIONS", [b"Origin: https://evil.example"]),
    "a question of no origin": (b"OPTIONS", [b"Access-Control-Request-Method: POST"]),
    "a preflight with a body": (
        b"OPTIONS",
        [b"Origin: https://evil.example", b"Access-Control-Request-Method: POST", b"Content-Length: 5"],
    ),
    "a part that is a preflight": (
        b"GET",
        [b"Origin: https://evil.example", b"Access-Control-Request-Method: POST", b"Sec-Fetch-Dest: image"],
    ),
}
PREFLIGHT = [b"Origin: https://evil.example", b"Access-Control-Request-Method: POST"]


@pytest.fixture(scope="module", params=SERVERS)
def full(request: pytest.FixtureRequest, store_url: str) -> Iterator[Server]:
    room = f"full-{request.param}"
    line = SERVERS[request.param]
    with serving(line, redis_url=store_url, secret=SECRET, room=room, capacity=CAPACITY) as server:
        for _ in range(CAPACITY):
            with httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS) as client:
                ticket = told_by_the_store(lambda: client.post(f"{API}/join")).json()[
                    "ticket"
                ]  # called at once
                client.cookies.clear()
                sent = bearer(ticket)
                assert "pass" in told_by_the_store(lambda: client.get(f"{API}/status", headers=sent)).json()  # noqa: B023
        yield server


def ask(server: Server, method: bytes, headers: list[bytes], path: bytes = b"/checkout") -> Answer:
    lines = [method + b" " + path + b" HTTP/1.1", b"Host: shop", *headers]
    body = b"buy=7" if b"Content-Length: 5" in headers else b""
    (answer,) = answers(int(server.url.rpartition(":")[2]), [b"\r\n".join([*lines, b"", body])])
    return answer


@pytest.mark.parametrize("dress", DRESSES)
def test_nothing_gets_by(full: Server, dress: str) -> None:
    for path in (b"/checkout", b"/checkout?x=1", b"/a.png"):
        answer = ask(full, *DRESSES[dress], path=path)
        assert answer.status == 503, answer
        assert b"inside" not in answer.body


def test_a_head_does_not_either(full: Server) -> None:
    for headers in ({}, {"Sec-Fetch-Dest": "style"}, {"Purpose": "prefetch"}):
        assert (
            httpx.head(f"{full.url}/checkout", headers=headers, timeout=DEADLINE_SECONDS).status_code == 503
        )


def test_of_a_preflights_answer_only_what_a_browser_reads_comes_back(full: Server) -> None:
    for _ in range(15):  # more in a second are refused
        answer = ask(full, b"OPTIONS", [*PREFLIGHT, b"Cookie: session=1"])
        assert (answer.status, answer.body) == (200, b""), answer
        assert not {b"content-type", b"set-cookie", b"location"} & answer.headers.keys()


def test_nobody_was_counted_for_all_that(full: Server) -> None:
    told = httpx.get(f"{full.url}{API}/window", timeout=DEADLINE_SECONDS).json()
    assert (told["inside"], told["issued"], told["waiting"]) == (CAPACITY, CAPACITY, 0)
