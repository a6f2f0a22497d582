"""What is done with a request's headers and query has a bound, however long they are: work is counted, not time."""

from functools import partial
from typing import Any

import pytest

from tests.work import calls_of
from waitroom.web.answers.answer import problem
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
from waitroom.web.requests.framing import body_length
from waitroom.web.requests.kinds import kind_of

MOST_CALLS = 1000
"""Functions that are called for a header of any length."""
LENGTHS = (500, 60_000)
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
