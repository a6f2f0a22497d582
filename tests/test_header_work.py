"""What is done with a request's headers and query has a bound, however long they are: work is counted, not time."""

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import SECRET
from tests.gates import API, client_of
from tests.test_middleware import full_house
from tests.work import calls_of
from waitroom.config.settings import Settings
from waitroom.proxy.forwarding import MOST_NAMED, MOST_NAMES, has_too_many_names, request_headers
from waitroom.web.answers.answer import problem
from waitroom.web.answers.libraries import LONGEST_URL, Libraries, back_from
from waitroom.web.answers.speaking import in_words_of
from waitroom.web.requests.accepting import (
    LONGEST_READ,
    MOST_ENTRIES,
    MOST_PARAMETERS,
    Wish,
    accepted,
    wish_of,
)
from waitroom.web.requests.clients import MOST_FORWARDED, PEER, TOLD, Clients, peer_of
from waitroom.web.requests.cookies import Cookies, Stripper
from waitroom.web.requests.framing import body_length
from waitroom.web.requests.kinds import LONGEST_ORIGIN, Kind, by_name, is_cross_site, kind_of
from waitroom.web.requests.queries import LONGEST_QUERY, MOST_FIELDS, values_of

MOST_CALLS = 1000
"""Functions that are called for a header of any length."""
LENGTHS = (500, 60_000)
Make = Callable[..., Settings]
SETTINGS = Settings(secret=SECRET, redis_url="redis://localhost:6379")
GET = {"type": "http", "method": "GET"}
PAGE = b"text/html"


def repeated(piece: bytes, length: int) -> bytes:
    """Return a header's value of that many bytes."""
    return (piece * (length // len(piece) + 1))[:length]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("piece", [b",", b";", b"a/b,", b"a/b;q=1,", b"a/b;q=", b"q=x;", b" ,;", b"\xff, "])
def test_of_a_long_accept_no_more_is_read_than_a_bound(piece: bytes, length: int) -> None:
    for accept in (repeated(piece, length), b"text/plain;" + repeated(piece, length)):
        assert calls_of(partial(wish_of, accept)) <= MOST_CALLS
        named = {b"accept": accept}
        assert calls_of(partial(kind_of, GET, named)) <= MOST_CALLS
        assert calls_of(partial(in_words_of, GET, named, problem(503, "busy", "Full."))) <= MOST_CALLS


def test_what_an_accept_says_within_the_bound_counts_and_what_is_cut_off_does_not() -> None:
    assert wish_of(PAGE + b",a/b;q=0.1" * 60_000) is Wish.PAGE
    assert wish_of(b"a" * LONGEST_READ + b"," + PAGE) is Wish.ANY
    assert wish_of(b"," * MOST_ENTRIES + PAGE) is Wish.ANY
    assert wish_of(b"," * (MOST_ENTRIES - 1) + PAGE) is Wish.PAGE
    assert [media for media, _ in accepted(b"a/b," * 200)] == [b"a/b"] * MOST_ENTRIES
    # A weight that is cut off would be another.
    assert list(accepted(b"a/b,".ljust(LONGEST_READ - 9) + b"c/d;q=0.01")) == [(b"a/b", 1.0)]
    assert list(accepted(b"a/b" + b";x=1" * (MOST_PARAMETERS - 1) + b";q=0")) == [(b"a/b", 0.0)]
    assert list(accepted(b"a/b" + b";x=1" * MOST_PARAMETERS + b";q=0")) == [(b"a/b", 1.0)]


def test_of_many_lengths_no_more_are_read_than_a_bound() -> None:
    many = [(b"content-length", repeated(b"5,", 59_999))]
    assert calls_of(partial(body_length, many)) <= 50
    assert body_length(many) is None, "not clear"
    assert body_length([(b"content-length", b"5, 5,5")]) == 5


def forwarded(peer: str, *values: bytes) -> dict[str, Any]:
    return {"headers": [(b"x-forwarded-for", value) for value in values], "client": (peer, 1), PEER: peer}


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(
    "piece", [b"a,", b"1,", b"::,", b"[,", b",", b"1.1.1.1,", b"2001:db8::1, ", b":", b"1.", b"%", b" "]
)
def test_of_many_forwarded_addresses_no_more_are_read_than_a_bound(piece: bytes, length: int) -> None:
    value = repeated(piece, length)
    clients = Clients(["127.0.0.0/8"])
    for scope in (
        *(forwarded("192.0.2.1", value), forwarded("127.0.0.1", value), forwarded("::1", value)),
        *(forwarded("127.0.0.1", value + b",127.0.0.2"), forwarded("127.0.0.1", value, value)),
    ):
        assert calls_of(partial(peer_of, scope, None)) <= 10 * MOST_CALLS
        assert calls_of(partial(clients.asker, scope)) <= 10 * MOST_CALLS
        assert calls_of(partial(clients.asker, {**scope, PEER: TOLD})) <= 10 * MOST_CALLS


def test_what_proxies_have_added_counts_whatever_stands_in_front() -> None:
    clients = Clients(["10.0.0.0/8"])
    for value in (b"a," * 30_000, b"1.1.1.1," * 10_000, b"," * 60_000, b"1" * 60_000 + b","):
        scope = forwarded("10.0.0.1", value + b"198.51.100.7, 10.0.0.2")
        assert clients.asker(scope).client == "198.51.100.7"
        # A server takes the first, or one from the right; also where it writes it in other words.
        assert peer_of(forwarded("198.51.100.7", value + b" 198.51.100.7"), None) == TOLD
        assert peer_of(forwarded("2001:db8::7", value + b"[2001:DB8::7]:443"), None) == TOLD
        assert peer_of(forwarded("2001:db8::7", b"2001:DB8::7," + value), None) == TOLD
        assert peer_of(forwarded("198.51.100.7", value + b"198.51.100.7," + value), None) == TOLD
        assert peer_of(forwarded("198.51.100.7", value + b"198.51.100.77"), None) == "198.51.100.7"
    assert clients.asker(forwarded("10.0.0.1", b"198.51.100.7" + b",10.0.0.2" * 60)).client == "10.0.0.2"
    assert MOST_FORWARDED < 60


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("piece", [b"a&", b"&", b"%2e", b"%2e&", b"room=&", b"to=%2f&", b"=", b"+", b"\xff"])
def test_of_a_long_query_no_more_is_read_than_a_bound(piece: bytes, length: int) -> None:
    for query in (repeated(piece, length), b"to=" + repeated(piece, length)):
        assert calls_of(partial(values_of, query, "room")) <= 2 * LONGEST_QUERY
        assert calls_of(partial(values_of, query, "to")) <= 2 * LONGEST_QUERY
        assert calls_of(partial(back_from, {"query_string": query})) <= 3 * LONGEST_QUERY


def test_a_query_is_read_as_forms_write_it() -> None:
    assert values_of(b"a=1&r%6fom=sh+op%2f&room&room=%ff&=", "room") == ["sh op/", "", "\ufffd"]
    assert values_of(b"to=/", "room") == values_of(b"", "room") == []
    assert values_of(b"a&" * (MOST_FIELDS - 1) + b"to=1", "to") == ["1"]
    assert values_of(b"a&" * MOST_FIELDS + b"to=1", "to") == []
    assert values_of(b"to=1&".ljust(LONGEST_QUERY, b"x"), "to") == ["1"]
    assert values_of(b"to=1&".ljust(LONGEST_QUERY + 1, b"x"), "to") == []


async def test_a_query_that_is_too_long_is_answered_so_and_no_probe_fails_for_it(settings: Make) -> None:
    async with full_house(settings(capacity=1), line=1) as (gate, _, _), client_of(gate) as client:
        for query in ("a&" * 30_000, "room=" + "%2e" * 20_000):
            for route in ("window", "unsent", "status"):
                answer = await client.get(f"{API}/{route}?{query}")
                assert (answer.status_code, answer.json()["type"]) == (414, "urn:waitroom:query-too-long")
            assert (await client.get(f"{API}/livez?{query}")).status_code == 200
            assert (await client.get(f"{API}/readyz?{query}")).status_code == 200
            assert (await client.get(f"{API}/no?{query}")).status_code == 404


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("piece", [b"%2e/", b"/", b"a", b"%", b"\xff", b'"', b"?", b"[", b"//"])
def test_of_a_long_url_no_more_is_looked_at_than_a_bound(piece: bytes, length: int) -> None:
    libraries = Libraries(SETTINGS)
    long = repeated(piece, length)
    path = (b"/" + long).decode("latin-1")
    for library in (
        b"hx-request",
        b"x-inertia",
        b"turbo-frame",
        b"x-up-version",
        b"hx-history-restore-request",
    ):
        for method, place in (("GET", b"hx-current-url"), ("POST", b"referer"), ("POST", b"hx-current-url")):
            headers = [(library, b"1"), (place, b"http://a/" + long)]
            for asked in (
                {"path": path, "raw_path": b"/" + long},
                {"path": path},
                {"path": "/", "query_string": long},
            ):
                scope = {**GET, "method": method, "headers": headers, **asked}
                answer = problem(503, "waiting", "Wait.")
                worded = partial(libraries.worded, scope, Kind.SCRIPT, by_name(scope), answer)
                assert calls_of(worded) <= 2 * LONGEST_URL, (library, method, place)


async def test_what_is_too_long_of_a_url_is_left_off(settings: Make) -> None:
    page = f"http://shop.test/page?{'x' * 60_000}"
    async with full_house(settings(capacity=1), line=1) as (gate, _, _), client_of(gate) as client:
        part = await client.get("/part", headers={"HX-Request": "true", "HX-Current-URL": page})
        assert part.headers["hx-refresh"] == "true", "that page has a line in front of it as well"
        sent = await client.post("/part", headers={"HX-Request": "true", "HX-Current-URL": page})
        assert sent.headers["hx-redirect"].endswith("&to=%2Fpage")
        turbo = {"Turbo-Frame": "x"}
        assert 'url=/page"' in (await client.get("/page?" + "x" * 60_000, headers=turbo)).text
        assert f'url=/{"y" * 1999}"' in (await client.get("/" + "y" * 9000, headers=turbo)).text


def test_of_headers_of_many_names_no_more_are_looked_at_than_a_bound() -> None:
    host = (b"host", b"shop")
    many = [host, *((b"x-%d" % number, b"1") for number in range(MOST_NAMES - 2))]
    crumbs = [(b"cookie", b"a=1")] * 1000  # HTTP/2 has a header for each cookie
    assert not has_too_many_names({"headers": many + crumbs})
    assert has_too_many_names({"headers": [*many, (b"x-y", b"1"), (b"x-z", b"1")]})
    words = [host, (b"connection", repeated(b"x,", 60_000))]
    asked = {**GET, "headers": words, "scheme": "http"}
    assert calls_of(partial(request_headers, asked)) <= 300
    named = b",".join(b"x-%d" % number for number in range(MOST_NAMED))
    asked["headers"] = [host, (b"connection", named), (b"x-0", b""), (b"x-%d" % (MOST_NAMED - 1), b"")]
    assert not [name for name, _ in request_headers(asked) if name.startswith("x-") and name[2:].isdigit()]


@pytest.mark.parametrize("piece", [b";", b"a=1;", b"; ", b" ", b"=", b"waitroom-x=;"])
def test_of_many_cookies_those_of_the_site_cost_nothing(piece: bytes) -> None:
    """Whatever has a name of the gate's in it is looked at as a whole."""
    cookies = Cookies(SETTINGS)
    ours = b"waitroom-default=ti.1.2.3.x"
    cookie = ours + b";" + repeated(piece, 60_000) + b";" + ours
    headers = [(b"cookie", cookie)]
    assert calls_of(partial(cookies.tokens, {"headers": headers})) <= 100
    assert cookies.tokens({"headers": headers}) == ["ti.1.2.3.x"]
    stripper = Stripper([cookies])
    assert calls_of(partial(stripper.strip, headers)) <= 50
    ((_, kept),) = stripper.strip([(b"cookie", b"b=2;" + cookie + b"; c=3")])
    assert ours not in kept
    assert (kept[:4], kept[-5:]) == (b"b=2;", b"; c=3")


@pytest.mark.parametrize("piece", [b"a", b"\xb2", b".", b"[", b"@"])
def test_of_an_origin_or_a_host_that_can_be_none_nothing_is_read_or_kept(piece: bytes) -> None:
    long = b"http://shop.test" + repeated(piece, 60_000)
    kept = urlsplit.cache_info  # type: ignore[attr-defined]  # not known to mypy
    before = kept().misses
    assert is_cross_site({b"origin": long, b"host": long.removeprefix(b"http://")}), "related to nothing"
    assert kept().misses == before
    longest = b"shop.test".rjust(LONGEST_ORIGIN - len(b"http://"), b"a")
    assert not is_cross_site({b"origin": b"http://" + longest, b"host": longest})
