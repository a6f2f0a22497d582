"""Bytes that no browser would send: never a 500, never a protected handler without a pass, never another place."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.conftest import SECRET
from tests.gates import API, DEADLINE_SECONDS, Server, bearer, join, raw, take_place, uvicorn
from waitroom.line.tickets import HIGHEST_NUMBER, Pass, Proof, Ticket, Tokens, new_id

ROOM = "bad-input"
TOKENS = Tokens([SECRET], ROOM)
NAME = f"waitroom-{ROOM}"
EPOCH = "0000000000000001-abcdef"


@pytest.fixture(scope="module")
def full(store_url: str) -> Iterator[Server]:
    """A site whose one place is taken, with one in line, and a public folder beside the shop."""
    settings: dict[str, Any] = {
        "redis_url": store_url,
        "secret": SECRET,
        "room": ROOM,
        "capacity": 1,
        "paths": "/shop/*",
        "exclude": "/pub/*",
    }
    with uvicorn("tests.sites:starlette_site", **settings) as server:
        server.environment["pass"] = take_place(server)
        with httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS) as client:
            join(client).raise_for_status()
        yield server
    assert "Traceback" not in server.said
    assert "Exception" not in server.said


def window(server: Server) -> tuple[int, int, int]:
    told = httpx.get(f"{server.url}{API}/window", timeout=DEADLINE_SECONDS).json()
    return told["issued"], told["called"], told["inside"]


def asked(server: Server, target: bytes, *headers: bytes, method: bytes = b"GET") -> tuple[int, bytes]:
    """Send one request line as it is; the status and the whole answer."""
    lines = [method + b" " + target + b" HTTP/1.1", b"Host: shop", b"Connection: close", *headers]
    answer = raw(server, b"\r\n".join([*lines, b"", b""]))
    return int(answer.split(b" ", 2)[1]) if answer else 0, answer


def is_site(answer: bytes) -> bool:
    return b'"site":"inside"' in answer


SPELLINGS = [
    b"/shop",
    b"/shop/",
    b"/shop/7",
    b"//shop/7",
    b"/shop//7",
    b"/./shop/7",
    b"/shop/./7",
    b"/%2e/shop/7",
    b"/x/../shop/7",
    b"/x/%2e%2e/shop/7",
    b"/x/%2E%2e/shop/7",
    b"/x/.%2e/shop/7",
    b"/x/..%2fshop/7",
    b"/%2Fshop/7",
    b"/shop%2F7",
    b"/%73hop/7",
    b"/%2573hop/7",
    b"/SHOP/7",
    b"/Shop/7",
    b"/%53hop/7",
    b"/shop/7;v=1",
    b"/shop;v=1/7",
    b"/\\shop/7",
    b"/%5Cshop/7",
    b"/shop%00/7",
    b"/shop/%ff",
    b"/%ffshop/7",
    b"/shop/%c3%28",
    b"/%e2%80%8bshop/7",
    b"/shop./7",
    b"/shop%20/7",
    b"/pub/../shop/7",
    b"/pub/%2e%2e/shop/7",
    b"/pub/..%2fshop/7",
    b"/pub/x/../../shop/7",
    b"/pub%2fx/../shop/7",
    b"/pub\\x/../shop/7",
    b"//h/shop/7",
    b"/pub/..;/shop/7",
    b"/pub/%252e%252e/shop/7",
    b"/pub//../shop/7",
    b"/PUB/../SHOP/7",
    b"/shop/7?x=%ff&room=%00",
    b"/shop/7?" + b"x" * 20_000,
    b"/shop/" + b"x" * 20_000,
    b"/shop/" + b"%2e" * 5_000,
    b"/shop/" + b"/" * 20_000,
    b"/" + b"../" * 5_000 + b"shop/7",
]


@pytest.mark.parametrize("target", SPELLINGS, ids=lambda target: target[:40].decode())
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_no_spelling_of_a_protected_path_gets_by(full: Server, target: bytes, method: bytes) -> None:
    """P8: the answer is the gate's or, at worst, the server's own refusal."""
    before = window(full)
    status, answer = asked(full, target, b"Accept: text/html", method=method)
    assert status in (503, 400, 404, 414), answer[:300]
    assert not is_site(answer)
    if status != 503:
        assert b"x-robots-tag" not in answer.lower(), "the gate has no other answer"
    assert window(full) == before


def test_what_is_public_stays_public(full: Server) -> None:
    for target in (b"/pub/7", b"/pub/", b"/", b"/pub/a%20b", b"/about?shop=/shop/7"):
        status, answer = asked(full, target)
        assert (status, is_site(answer)) == (200, True), target


@pytest.mark.parametrize(
    "host",
    [b"h/pub?", b"h/pub/", b"shop/pub/..", b"h#", b"[", b"@", b"", b"h\xff", b"h:port", b"x" * 10_000],
)
def test_the_host_header_moves_no_path(full: Server, host: bytes) -> None:
    for target in (b"/shop/7", b"http://h/pub/../shop/7", b"http://h/pub?/shop/7"):
        lines = [b"GET " + target + b" HTTP/1.1", b"Host: " + host, b"Connection: close", b"", b""]
        answer = raw(full, b"\r\n".join(lines))
        assert not is_site(answer) or target.endswith(b"?/shop/7")
        assert not answer.startswith(b"HTTP/1.1 500")


def forged() -> dict[str, bytes]:
    ticket = Ticket(1, EPOCH, 1, new_id(), 1, 0)
    token = TOKENS.sign(ticket)
    kind, rest = token.split(".", 1)
    payload, _, signature = token.rpartition(".")
    unsigned = payload.replace(f".{EPOCH}.1.", f".{EPOCH}.0.")
    return {
        "empty": b"",
        "noise": b"\x01\x02\xff\xfe",
        "broken UTF-8": b"ti.\xc3\x28.\xff",
        "70 KB": b"ti." + b"1" * 70_000,
        "70 KB of dots": b"ti" + b"." * 70_000,
        "truncated": token[:-4].encode(),
        "half": token[: len(token) // 2].encode(),
        "unsigned": payload.encode(),
        "another number": f"{unsigned}.{signature}".encode(),
        "another kind": f"pa.{rest}".encode(),
        "unknown kind": f"xx.{rest}".encode(),
        "no kind": kind.encode(),
        "another room": Tokens([SECRET], "elsewhere").sign(ticket).encode(),
        "another key": Tokens([SECRET[::-1]], ROOM).sign(ticket).encode(),
        "base64 of JSON": base64.b64encode(json.dumps({"alg": "none", "number": 0}).encode()),
        "quoted": b'"' + token[:-1].encode() + b'"',
    }


@pytest.mark.parametrize("kind", forged())
@pytest.mark.parametrize("header", ["cookie", "waitroom-pass", "authorization"])
def test_p8_no_forged_credential_opens_or_changes_anything(full: Server, kind: str, header: str) -> None:
    before = window(full)
    token = forged()[kind]
    line = {
        "cookie": b"Cookie: " + NAME.encode() + b"=" + token,
        "waitroom-pass": b"Waitroom-Pass: " + token,
        "authorization": b"Authorization: Bearer " + token,
    }[header]
    for target, method, statuses in (
        (b"/shop/7", b"GET", (503, 400, 431)),
        (b"/_waitroom/status", b"GET", (401, 400, 431)),
        (b"/_waitroom/ticket", b"DELETE", (204, 400, 431)),
    ):
        status, answer = asked(full, target, line, method=method)
        assert status in statuses, answer[:300]
        assert not is_site(answer)
        if header == "cookie" and b"\x01" not in token:
            assert status == statuses[0]
    assert window(full) == before


SIGNED: dict[str, Ticket | Pass | Proof] = {
    "a number beyond what there can be": Ticket(1, EPOCH, HIGHEST_NUMBER + 1, "id", 1, 0),
    "number 0": Ticket(1, EPOCH, 0, "id", 1, 0),
    "a negative number": Ticket(1, EPOCH, -5, "id", 1, 0),
    "an earlier generation": Ticket(0, EPOCH, 1, "id", 1, 0),
    "a proof of another time": Proof("id", 2**52),
    "a pass that never ends": Pass(1, EPOCH, 1, new_id(), 1, 2**60, 1_000, 0),
    "a pass of no session": Pass(1, EPOCH, 1, new_id(), 1, 2, 2**60, 0),
    "a pass beyond all numbers": Pass(1, EPOCH, HIGHEST_NUMBER + 1, "id", 1, 2**60, 2**60, 0),
}


@pytest.mark.parametrize("kind", SIGNED)
def test_what_was_signed_and_cannot_be_opens_nothing(full: Server, kind: str) -> None:
    before = window(full)
    token = TOKENS.sign(SIGNED[kind])
    response = httpx.get(
        f"{full.url}/shop/7", headers={"Cookie": f"{NAME}={token}"}, timeout=DEADLINE_SECONDS
    )
    assert response.status_code == 503
    assert httpx.get(
        f"{full.url}{API}/status", headers=bearer(token), timeout=DEADLINE_SECONDS
    ).status_code in (200, 401)
    assert window(full) == before


def test_of_many_cookies_the_best_valid_one_counts(full: Server) -> None:
    good = full.environment["pass"]
    noise = [f"{NAME}=ti.{number}.x.y.z" for number in range(7)]
    junk = [f"{NAME}=junk{number}" for number in range(500)]
    for pairs, status in (
        ([*noise, f"{NAME}={good}"], 200),
        ([f"{NAME}={good}", *noise], 200),
        ([f"{NAME}={'x' * 9_000}"] * 6 + [f"{NAME}={good}"], 200),
        ([*junk, *noise, f"{NAME}={good}"], 200),
        ([*noise, f"{NAME}=ti.one.more.x.y", f"{NAME}={good}"], 503),
    ):
        response = httpx.get(
            f"{full.url}/shop/7", headers={"Cookie": "; ".join(pairs)}, timeout=DEADLINE_SECONDS
        )
        assert response.status_code == status
    signed = TOKENS.sign(Ticket(1, EPOCH, 9, new_id(), 1, 0))
    mixed = f"{NAME}={signed}; {NAME}={good}"
    assert (
        httpx.get(f"{full.url}/shop/7", headers={"Cookie": mixed}, timeout=DEADLINE_SECONDS).json()["number"]
        == 1
    )


def test_the_api_is_spelled_in_one_way(full: Server) -> None:
    before = window(full)
    for target in (
        b"/_waitroom/../status",
        b"/_waitroom//status",
        b"/_waitroom/status/",
        b"/_waitroom/%ff",
        b"/_waitroom/status%00",
        b"/_waitroom/" + b"x" * 10_000,
    ):
        status, _ = asked(full, target)
        assert status == 404, target
    for query, refusal in ((b"%ff", 404), (b"x" * 200, 404), (b"x" * 10_000, 414)):
        target = b"/_waitroom/join?room=" + query
        assert asked(full, target, b"Content-Length: 0", method=b"POST")[0] == refusal
    assert asked(full, b"/_waitroom/join?" + b"a=b&" * 5_000 + b"room=x", method=b"POST")[0] == 414
    assert window(full) == before


def test_a_websocket_knocks_on_the_same_door(full: Server) -> None:
    host = full.url.removeprefix("http://")
    for path in ("/shop/socket", "/pub/../shop/socket", "//shop/socket", "/SHOP/socket"):
        with pytest.raises(InvalidStatus) as denied:
            connect(f"ws://{host}{path}")
        assert denied.value.response.status_code == 503
