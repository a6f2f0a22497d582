"""Whole requests made by chance against a real gate on a real server: no error, no wrong accept, no secret told."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import SECRET
from tests.fuzzing.credentials import changed
from tests.fuzzing.wire import Answer, answers
from tests.gates import API, DEADLINE_SECONDS, Server, join, take_place, uvicorn
from waitroom.line.tickets import LONGEST_TOKEN, Pass, Proof, Ticket, Tokens, new_id

ROOM = "fuzzed"
EPOCH = "0000000000000001-abcdef"
LONG_SECONDS = 86_400
CANARY = "no-log-has-this"

OURS = Tokens([SECRET], ROOM)
STRANGE = [
    OURS.sign(Ticket(0, EPOCH, 1, new_id(), 1, 0)),
    OURS.sign(Ticket(0, EPOCH, 10**9, new_id(), 1, 0)),
    OURS.sign(Proof(new_id(), 1)),
    OURS.sign(Pass(0, EPOCH, 1, new_id(), 1, 2, 1, 0)),
    Tokens([SECRET], "elsewhere").sign(Pass(1, EPOCH, 1, new_id(), 1, 2**50, 2**40, 0)),
    Tokens([SECRET[::-1]], ROOM).sign(Pass(1, EPOCH, 1, new_id(), 1, 2**50, 2**40, 0)),
]


@pytest.fixture(scope="module")
def full(store_url: str) -> Iterator[Server]:
    """A site whose one place is taken, with one in line."""
    given: dict[str, Any] = {"redis_url": store_url, "secret": SECRET, "room": ROOM, "capacity": 1}
    given |= {"session_seconds": LONG_SECONDS, "first_lease_seconds": LONG_SECONDS}
    given |= {"paths": "/shop/*", "cors_origins": "https://a.example"}
    with uvicorn("tests.sites:starlette_site", **given) as server:
        server.environment["pass"] = take_place(server)
        with httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS) as client:
            server.environment["ticket"] = join(client).json()["ticket"]
        yield server
        told = httpx.get(f"{server.url}{API}/window", timeout=DEADLINE_SECONDS).json()
        assert told["inside"] == 1, "nobody has come in, and nobody was thrown out"
    assert "Traceback" not in server.said
    assert "Exception" not in server.said
    for secret in (CANARY, server.environment["pass"], server.environment["ticket"], *STRANGE):
        assert secret not in server.said, "no cookie is in the log"


def sent(server: Server, *requests: bytes) -> list[Answer]:
    return list(answers(int(server.url.rpartition(":")[2]), requests))


def is_from_site(answer: Answer) -> bool:
    return b'"site":"inside"' in answer.body


def check(answer: Answer) -> None:
    """The gate's own 503 is the only error of a server's that there may be."""
    assert answer.status < 500 or (answer.status == 503 and b"x-robots-tag" in answer.headers), answer


visible = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30).map(str.encode)
values = st.binary(max_size=60).map(lambda value: value.translate(None, b"\r\n\0"))
names = st.sampled_from(
    b"Accept Origin Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-Purpose Purpose X-Requested-With Referer"
    b" Access-Control-Request-Method X-Forwarded-For X-Forwarded-Proto Forwarded Authorization Waitroom-Pass"
    b" If-None-Match Range Accept-Encoding X-Original-URL X-Rewrite-URL X-HTTP-Method-Override Cookie".split()
)
words = st.sampled_from(
    b"text/html application/json;q=0.9 */* document image empty navigate cors cross-site same-origin prefetch https"
    b" https://a.example null POST XMLHttpRequest 127.0.0.1 Bearer=x nan q=1e999 gzip bytes=0-1".split()
)
headers = st.lists(st.tuples(names, words | values), max_size=6)
routes = st.sampled_from(
    ["join", "status", "ticket", "window", "livez", "readyz", "", "metrics", "../status", "join/"]
)
queries = st.sampled_from(
    [b"", b"?room=" + ROOM.encode(), b"?room=%ff&room", b"?room[]=1", b"?"]
) | visible.map(lambda text: b"?" + text.replace(b"#", b""))
targets = st.builds(lambda route, query: f"{API}/{route}".encode() + query, routes, queries) | st.builds(
    lambda path, query: path + query,
    st.sampled_from([b"/shop", b"/shop/7", b"/shop/a%20b", b"/shop/%ff"]),
    queries,
)
methods = st.sampled_from(b"GET HEAD POST PUT PATCH DELETE OPTIONS TRACE PROPFIND get G".split())
bodies = (
    st.sampled_from([b"", b"{", b"null", b"[" * 2000])
    | st.binary(max_size=80)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
        max_leaves=6,
    ).map(lambda value: json.dumps(value).encode())
)


@settings(max_examples=1_000)
@given(
    method=methods,
    target=targets,
    headers=headers,
    edits=st.lists(st.binary(max_size=10), max_size=4),
    carrier=st.sampled_from(
        [b"Cookie: a=1; waitroom-fuzzed=%s", b"Waitroom-Pass: %s", b"Authorization: Bearer %s"]
    ),
    body=bodies,
)
def test_p8_no_request_breaks_the_gate_or_gets_by(
    full: Server,
    method: bytes,
    target: bytes,
    headers: list[tuple[bytes, bytes]],
    edits: list[bytes],
    carrier: bytes,
    body: bytes,
) -> None:
    # Who has the pass may leave with it, and then there would be a free place.
    known = (
        STRANGE if b"/ticket" in target else [full.environment["pass"], full.environment["ticket"], *STRANGE]
    )
    tokens = [changed(edit, known) for edit in edits]
    carried = [carrier % token.encode("latin-1") for token in tokens if not set(token) & set("\r\n\0")]
    lines = [
        method + b" " + target + b" HTTP/1.1",
        b"Host: shop",
        *(b": ".join(pair) for pair in headers),
        *carried,
    ]
    lines += [b"Cookie: secret=" + CANARY.encode(), b"Content-Length: %d" % len(body)]
    if method == b"HEAD":
        lines.append(b"Connection: close")  # its answer has a length, and no body
    (answer,) = sent(full, b"\r\n".join([*lines, b"", body]))
    check(answer)
    if target.startswith(b"/shop") and not any(_may_be_the_pass(full, token) for token in tokens):
        assert not is_from_site(answer), answer


def _may_be_the_pass(server: Server, token: str) -> bool:
    """Another spelling of its signature is still the signature: what was signed is what counts."""
    return token.strip(' "').startswith(server.environment["pass"].rpartition(".")[0] + ".")


@settings(max_examples=300)
@given(
    st.binary(max_size=200)
    | st.builds(
        lambda start, noise, end: start + noise + end,
        st.sampled_from(
            [b"GET /shop/7 HTTP/1.1\r\n", b"GET /shop/7", b"POST /_waitroom/join HTTP/1.1\r\nHost: x\r\n"]
        ),
        st.binary(max_size=100),
        st.sampled_from(
            [b"", b"\r\n\r\n", b" HTTP/1.1\r\nHost: shop\r\n\r\n", b"Cookie: waitroom-fuzzed=\xff\r\n\r\n"]
        ),
    )
)
def test_p8_no_bytes_at_all_break_the_gate(full: Server, data: bytes) -> None:
    """What is no request is refused by the server, and what is one meets the gate; a half one is let go of."""
    # What may be half a request is made a whole or a broken one, so that there is an end to wait for.
    (answer,) = sent(full, data + b"\r\n\r\n\0\r\n\r\n")
    check(answer)
    assert not is_from_site(answer) or b"/shop/7" not in data


def test_the_one_inside_is_let_in_and_one_of_another_spelling_is_nobody_else(full: Server) -> None:
    token = full.environment["pass"]
    assert len(token) < LONGEST_TOKEN - 4
    ask = b"GET /shop/7 HTTP/1.1\r\nHost: shop\r\nCookie: waitroom-fuzzed=%s\r\n\r\n"
    first, padded, none = sent(full, *(ask % text for text in (token.encode(), token.encode() + b"==", b"")))
    assert is_from_site(first)
    assert not is_from_site(none)
    assert not is_from_site(padded), "base64 has other texts for the same bytes; none of them was signed"
