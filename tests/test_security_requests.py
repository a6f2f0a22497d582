"""Attacks by what a request says of itself: addresses, forged senders, texts for the page (P8)."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import SECRET
from tests.gates import (
    API,
    DEADLINE_SECONDS,
    Server,
    bearer,
    client_of,
    gated,
    join,
    page_data,
    raw,
    session,
    take_place,
    takes_number,
    uvicorn,
)
from tests.sites import site
from tests.waiting import until
from waitroom.config.settings import Settings

Make = Callable[..., Settings]

ROOM = "said"
HTML = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def full(store_url: str) -> Iterator[Server]:
    """A site on a real server that believes no proxy, its one place taken, one in line, `/pub` free."""
    settings: dict[str, Any] = {
        "redis_url": store_url,
        "secret": SECRET,
        "room": ROOM,
        "capacity": 1,
        "paths": "/shop/*",
        "exclude": "/pub/*",
    }
    arguments = ("--forwarded-allow-ips", "192.0.2.1")
    with uvicorn("tests.sites:starlette_site", arguments=arguments, **settings) as server:
        server.environment["pass"] = take_place(server)
        with httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS) as client:
            join(client).raise_for_status()
        yield server
    assert "Traceback" not in server.said


def asked(server: Server, target: bytes, *headers: bytes, method: bytes = b"GET") -> tuple[int, bytes]:
    """Send one request as it is; the status and the whole answer."""
    answer = raw(server, b"\r\n".join([method + b" " + target + b" HTTP/1.1", *headers, b"", b""]))
    return int(answer.split(b" ", 2)[1]) if answer else 0, answer


def window(server: Server) -> tuple[int, int, int]:
    told = httpx.get(f"{server.url}{API}/window", timeout=DEADLINE_SECONDS).json()
    return told["issued"], told["called"], told["inside"]


# -- addresses ------------------------------------------------------------------------------------

CLAIMS = [
    b"X-Forwarded-Host: localhost",
    b"X-Forwarded-Prefix: /pub",
    b"X-Forwarded-Path: /pub/7",
    b"X-Forwarded-Uri: /pub/7",
    b"X-Script-Name: /shop",
    b"X-Original-URL: /pub/7",
    b"X-Rewrite-URL: /pub/7",
    b"X-Forwarded-For: 127.0.0.1",
    b"X-Real-IP: 127.0.0.1",
    b"Forwarded: for=127.0.0.1;proto=https;host=localhost;path=/pub",
    b"X-HTTP-Method-Override: OPTIONS",
    b"Waitroom-Room: " + ROOM.encode(),
    b"Waitroom-Number: 1",
    b"Waitroom-Session: x",
    b"Waitroom-Command: release",
]
TARGETS = [
    b"/shop/7",
    b"http://localhost/shop/7",
    b"http://evil.example/shop/7",
    b"//evil.example/shop/7",
    b"HTTPS://evil.example:443/shop/7",
    b"http://evil.example/pub/../shop/7",
    b"http://user:word@evil.example/shop/7",
    b"http:///shop/7",
    b"/pub/http://localhost/../../../shop/7",
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("host", [b"shop", b"localhost", b"evil.example/pub", b"127.0.0.1:1"])
def test_nothing_that_a_request_says_of_its_address_gets_by(full: Server, target: bytes, host: bytes) -> None:
    before = window(full)
    status, answer = asked(full, target, b"Host: " + host, b"Connection: close", *CLAIMS)
    assert status in (400, 404, 503), answer[:200]
    assert b'"site":"inside"' not in answer
    assert b"Location:" not in answer.title()
    assert window(full) == before


def test_two_hosts_or_none_get_nobody_in(full: Server) -> None:
    for hosts in ([], [b"Host: shop", b"Host: localhost"], [b"Host: shop, localhost"]):
        status, answer = asked(full, b"/shop/7", *hosts, b"Connection: close")
        assert status in (400, 503), answer[:200]
        assert b'"site":"inside"' not in answer


def cookie_of(server: Server, claims: dict[str, str]) -> str:
    """The cookie that a newcomer gets, once the store does not seem away to a busy machine."""
    found = ""

    def is_given() -> bool:
        nonlocal found
        told = httpx.get(f"{server.url}/shop/7", headers=claims, timeout=DEADLINE_SECONDS)
        found = told.headers.get("set-cookie", "")
        return bool(found)

    until(is_given)
    return found


def test_only_a_proxy_that_is_believed_can_say_the_scheme(full: Server, store_url: str) -> None:
    """Else one could have a `__Host-` cookie set over http, or a Secure one taken for the other."""
    claims = {"X-Forwarded-Proto": "https", "X-Forwarded-Scheme": "https", "Forwarded": "proto=https"}
    cookie = cookie_of(full, claims)
    assert cookie.startswith(f"waitroom-{ROOM}=")
    assert "Secure" not in cookie
    believing: dict[str, Any] = {"redis_url": store_url, "secret": SECRET, "room": ROOM, "capacity": 1}
    with uvicorn("tests.sites:starlette_site", **believing) as server:  # it believes 127.0.0.1
        cookie = cookie_of(server, claims)
    assert cookie.startswith(f"__Host-waitroom-{ROOM}=")
    assert "Secure" in cookie


# -- what could end up in the page -------------------------------------------------------------------

MARK = "x7q\"'><svg onload=alert(1)>${7*7}{{7*7}}"
ENCODED = "x7q%22%27%3E%3Csvg%20onload=alert(1)%3E$%7B7*7%7D%7B%7B7*7%7D%7D"


def answers(server: Server, accept: bytes) -> Iterator[tuple[str, bytes]]:
    """All kinds of answers that the gate itself gives, to requests that are full of the mark."""
    mark, encoded = MARK.encode(), ENCODED.encode()
    headers = [
        b"Host: " + encoded + b".example",
        b"Connection: close",
        b"Accept: " + accept,
        b"User-Agent: " + mark,
        b"Referer: http://evil.example/" + encoded,
        b"Origin: http://" + encoded + b".example",
        b"Accept-Language: " + mark,
        b"X-Forwarded-Host: " + mark,
        b"Cookie: " + encoded + b"=" + encoded + b"; waitroom-said=ti." + encoded + b".1.2.3",
        b"Waitroom-Pass: pa." + encoded + b".1.2.3",
    ]
    for method, target in (
        (b"GET", b"/shop/" + encoded + b"?next=http://evil.example/" + encoded),
        (b"POST", b"/shop/" + encoded + b"?return_to=//evil.example&url=" + encoded),
        (b"GET", b"/_waitroom/" + encoded),
        (b"PUT", b"/_waitroom/status?next=" + encoded),
        (b"GET", b"/_waitroom/status?redirect=http://evil.example/" + encoded),
        (b"GET", b"/_waitroom/window?callback=" + encoded),
        (b"POST", b"/_waitroom/join?room=" + encoded),
        (b"DELETE", b"/_waitroom/ticket?redirect=//evil.example/" + encoded),
    ):
        _, answer = asked(server, target, *headers, method=method)
        yield f"{method.decode()} {target.decode()}", answer


@pytest.mark.parametrize("accept", [b"text/html", b"application/json"])
def test_nothing_of_a_request_is_in_an_answer_and_nothing_leads_elsewhere(
    full: Server, accept: bytes
) -> None:
    """Neither in a body nor in a header: what is not there needs no escaping. There is no redirect at all.

    Only the page that comes back by itself names where to: the URL it came from, seen from there.
    """
    for name, answer in answers(full, accept):
        answer, refreshes = re.subn(rb"\r\n[Rr]efresh: \d+; url=(?:\?|\./)[!-~]*", b"", answer)
        assert refreshes <= 1
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 ")
        assert not head.startswith((b"HTTP/1.1 3", b"HTTP/1.1 500")), name
        for part in (b"x7q", b"svg onload", b"alert(1)", b"7*7", b"evil.example"):
            assert part not in answer.replace(b"<svg id", b""), (name, part)
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        assert not {b"location", b"link", b"content-location"} & set(fields), name
        assert b"refresh" not in fields, name
        assert fields[b"x-content-type-options"] == b"nosniff"
        assert b"frame-ancestors" in fields[b"content-security-policy"]
        assert not re.search(rb"http-equiv|javascript:|\bhref=\"[^\"]", body), name


# -- requests that somebody else makes a browser send ---------------------------------------------------


@pytest.mark.usefixtures("patience")
async def test_no_simple_request_leaves_or_joins(settings: Make) -> None:
    """What a form, a link, an image or a method in disguise can send; the visitor's cookie comes with it."""
    async with gated(site, settings=settings(capacity=1)) as gate, client_of(gate) as guest:
        await session(guest)
        async with client_of(gate) as client:
            assert page_data(await takes_number(client))["number"] == 2
            for method in ("GET", "HEAD", "POST", "PUT"):
                for disguise in ({"X-HTTP-Method-Override": "DELETE"}, {"X-Method-Override": "DELETE"}, {}):
                    sent = await client.request(
                        method, f"{API}/ticket?_method=DELETE", headers=disguise, params={"_method": "DELETE"}
                    )
                    assert sent.status_code == 405
                    assert "set-cookie" not in sent.headers
            for method in ("GET", "HEAD", "OPTIONS"):
                assert (await client.request(method, f"{API}/join")).status_code == 405
            told = (await client.get(f"{API}/window")).json()
            assert (told["issued"], told["inside"]) == (2, 1)
            assert page_data(await client.get("/"))["number"] == 2


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize(
    "sent",
    [
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document", "Origin": "https://evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
    ids=["fetch metadata", "an origin", "no origin to tell"],
)
async def test_p4_another_site_takes_no_number_and_replaces_nobodys(
    settings: Make, sent: dict[str, str]
) -> None:
    """The browser keeps the visitor's cookie back, but would take the answer's; over plain http too."""
    async with gated(site, settings=settings(capacity=1)) as gate, client_of(gate) as guest:
        await session(guest)
        async with client_of(gate, headers=sent) as forged:
            refused = await forged.post(f"{API}/join")
            assert refused.status_code == 403
            assert "set-cookie" not in refused.headers
            assert (await guest.get(f"{API}/window")).json()["issued"] == 1
            held = await forged.post("/checkout", headers=HTML)
            assert held.status_code == 503
            assert "set-cookie" not in held.headers
            page = await forged.post("/checkout", headers=HTML)
            assert page_data(page)["kind"] == "returned"


@pytest.mark.usefixtures("patience")
async def test_a_preflight_of_a_stranger_is_not_granted(settings: Make) -> None:
    """So no script of another origin sends DELETE, or a header with a token, whatever cookies would come along."""
    asking = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "DELETE",
        "Access-Control-Request-Headers": "waitroom-pass",
    }
    mine = settings(cors_origins="https://app.example", cookie_samesite="none")
    async with gated(site, settings=mine) as gate, client_of(gate) as client:
        for route in ("ticket", "join", "status", "window"):
            told = await client.options(f"{API}/{route}", headers=asking)
            assert told.status_code == 405
            assert not [name for name in told.headers if name.startswith("access-control-")]


# -- a cookie that somebody else has set ------------------------------------------------------------------


def test_over_https_a_neighbours_cookies_are_not_even_looked_at(store_url: str) -> None:
    """Whoever owns a host beside the shop's, or its plain http, can set any cookie but one of `__Host-`."""
    settings: dict[str, Any] = {"redis_url": store_url, "secret": SECRET, "room": "tossed", "capacity": 1}
    with uvicorn("tests.sites:starlette_site", **settings) as server:
        mine = take_place(server)
        https = {"X-Forwarded-Proto": "https"}
        with httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS, headers=https) as client:
            theirs = join(client).json()["ticket"]
            client.cookies.clear()
            tossed = "; ".join(f"waitroom-tossed={theirs}" for _ in range(9))
            for cookie in (
                f"{tossed}; __Host-waitroom-tossed={mine}",
                f"__Host-waitroom-tossed={mine}; {tossed}",
                f"__host-waitroom-tossed={theirs}; __Host-waitroom-tossed={mine}",
            ):
                inside = client.get("/", headers={"Cookie": cookie})
                assert (inside.status_code, inside.json()["number"]) == (200, 1)
            assert client.get("/", headers={"Cookie": tossed}).status_code == 503
            assert client.get(f"{API}/status", headers={"Cookie": tossed}).status_code == 401
            assert client.get(f"{API}/status", headers=bearer(theirs)).json()["number"] == 2
