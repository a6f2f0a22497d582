"""Tokens and cookies from bytes: nothing raises, and what is accepted was signed, field by field.

The signature is made again here, with nothing but hashlib: what the library takes for a good one is compared with it.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterator

from waitroom.config.settings import load
from waitroom.line.tickets import (
    HIGHEST_NUMBER,
    LONGEST_TOKEN,
    Credential,
    Pass,
    Proof,
    Ticket,
    Tokens,
    looks_like_token,
)
from waitroom.web.requests.cookies import MOST_COOKIES, Cookies, Headers, Scope, Stripper
from waitroom.web.requests.kinds import by_name

KEYS = ("the newer key, 32 characters long", "the older key, 32 characters long")
ROOM = "shop"
EPOCH = "0001760000000000-0a1b2c"
TOKENS = Tokens(KEYS, ROOM)

CREDENTIALS: tuple[Credential, ...] = (
    Ticket(1, EPOCH, 42, "an-id_16-letters", 1_760_000_000_123, 7),
    Ticket(1, EPOCH, 43, "another-16letter", 1_760_000_000_456, 7, missed=True),
    Ticket(1, EPOCH, HIGHEST_NUMBER, "an-id_16-letters", 1_760_000_000_123, 0),
    Pass(1, EPOCH, 42, "an-id_16-letters", 1_760_000_000_123, 1_760_000_060_123, 60_000, 9_000),
    Pass(2, EPOCH, 42, "another-16letter", 1_760_000_000_123, 1_760_000_060_123, 60_000, 9_000, first=True),
    Proof("an-id_16-letters", 1_760_000_000_123),
    Proof("another-16letter", 1_760_000_000_456, missed=True),
)
GOOD = [Tokens(KEYS[at:], ROOM).sign(each) for each in CREDENTIALS for at in (0, 1)]
"""Signed by the newer key, and by the older."""
SIGNED = {TOKENS.sign(each).rpartition(".")[0]: each for each in CREDENTIALS}
FOREIGN = [
    *(Tokens(KEYS, "sale").sign(each) for each in CREDENTIALS),
    *(Tokens(["f" * 32], ROOM).sign(each) for each in CREDENTIALS),
]
"""Right in form, but of another room, or by a key of somebody else."""

_KINDS = {kind.KIND[:2]: kind.KIND for kind in (Ticket, Pass, Proof)}
COOKIES = Cookies(load(room=ROOM))
OTHERS = Cookies(load(room="sale", cookie_domain="shop.test"))
STRIPPER = Stripper([COOKIES, OTHERS])


def signatures(payload: str) -> Iterator[bytes]:
    """What each key's signature of a payload has to be."""
    salt = f"waitroom.{_KINDS[payload[:2]]}.{ROOM}".encode()
    for key in KEYS:
        derived = hmac.digest(key.encode(), salt, hashlib.sha256)
        yield hmac.digest(derived, payload.encode(), hashlib.sha256)


def changed(data: bytes, tokens: list[str]) -> str:
    """One of the tokens with some letters replaced, put in or taken out, as the bytes say: three for each change."""
    token = tokens[data[0] % len(tokens)] if data else tokens[0]
    for at, how, code in zip(data[1::3], data[2::3], data[3::3], strict=False):
        place = at % (len(token) + 1)
        if how == 255:  # the parts of two tokens put together
            other = tokens[code % len(tokens)]
            token = token[:place] + other[place:]
        else:
            token = token[:place] + chr(code) * (how % 3 > 0) + token[place + (how % 2) :]
    return token


def tokens(data: bytes) -> None:
    """P8: read one token."""
    mode, rest = data[:1], data[1:]
    if mode == b"r":
        token = rest.decode("latin-1")
    elif mode == b"u":
        token = rest.decode("utf-8", "surrogateescape")
    elif mode == b"s":
        _what_our_key_signed(rest)
        return
    else:
        token = changed(rest, GOOD + FOREIGN)
    check_read(token)


def check_read(token: str) -> Credential | None:
    """P8: what is accepted is a credential that was signed, by its own signature."""
    read = TOKENS.read(token)
    payload, _, signature = token.rpartition(".")
    if read is not None:
        assert read == SIGNED[payload], (token, read)
        # Base64 has other spellings of the same bytes; the bytes are what counts.
        decoded = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        assert decoded in signatures(payload), token
    elif payload in SIGNED:
        assert token not in GOOD, token
    return read


def _what_our_key_signed(data: bytes) -> None:
    """Any payload with a right signature, as a version to come might write it: read or void, and stable."""
    prefix = tuple(_KINDS)[data[0] % 3] if data else "ti"
    payload = f"{prefix}.{data[1:].decode('latin-1')}"
    signature = next(signatures(payload) if payload.isascii() else iter([b""]))
    token = f"{payload}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    read = TOKENS.read(token)
    if read is not None:
        assert len(token) <= LONGEST_TOKEN
        again = TOKENS.sign(read)  # longer, where fields were left out
        assert TOKENS.read(again) == (read if len(again) <= LONGEST_TOKEN else None)


def headers_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """Headers as a server hands them on: a line each, `\\xf0` to `\\xff` in it a right or a wrong token."""
    headers = []
    for line in data.split(b"\n"):
        name, _, value = line.partition(b":")
        pieces = [
            changed(bytes([code & 15]), GOOD).encode() if code >= 0xF0 else bytes([code]) for code in value
        ]
        headers.append((name.strip().lower(), b"".join(pieces).strip()))
    return headers


def pairs_of(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The cookies of a request, in the plainest way."""
    values = [value for header, value in headers if header == b"cookie"]
    pairs = [pair.partition(b"=") for value in values for pair in value.split(b";")]
    return [(name.strip(), value.strip()) for name, _, value in pairs if name.strip() or value.strip()]


def check_only(scope: Scope, found: list[str], stripped: Scope) -> None:
    """What is known at a glance is what a closer look finds, and leaves the site the same."""
    only = COOKIES.only(scope, by_name(scope))
    if only is None:
        return
    token, others = only
    assert ([token.decode("latin-1")] if COOKIES.is_likely(token) else []) == found
    if found and not STRIPPER.finds_in(others):
        kept = dict(stripped["headers"]).get(b"cookie", b"")
        assert [pair.strip() for pair in kept.split(b";")] == [pair.strip() for pair in others.split(b";")]


def cookies(data: bytes) -> None:
    """P8: find, read and take off what one request carries."""
    for scheme in ("http", "https"):
        scope: Scope = {"scheme": scheme, "headers": headers_of(data)}
        before = list(scope["headers"])
        found = COOKIES.tokens(scope)
        assert len(found) == len(set(found)) <= MOST_COOKIES
        for token in found:
            assert looks_like_token(token.encode("latin-1"))
            check_read(token)
        COOKIES.came_by_header(scope)
        stripped = {**scope, "headers": STRIPPER.strip(scope["headers"])}
        check_only(scope, found, stripped)
        assert scope["headers"] == before
        for room in (COOKIES, OTHERS):
            for again in ("http", "https"):
                assert room.tokens({**stripped, "scheme": again}) == []
        ours = {name for room in (COOKIES, OTHERS) for name in room.names}
        kept = [pair for pair in pairs_of(before) if pair[0] not in ours]
        assert pairs_of(stripped["headers"]) == kept, "the site's own cookies"
        assert STRIPPER.strip(stripped["headers"]) == stripped["headers"]


TOKEN_SEEDS = [
    *(b"c" + bytes([at]) for at in range(len(GOOD + FOREIGN))),
    *(b"c" + bytes([at, 130, 2, 65, 20, 255, at + 1]) for at in range(len(GOOD))),
    *(b"r" + token.encode() for token in GOOD + FOREIGN),
    *(b"u" + token.encode() for token in GOOD),
    *(b"s\x00" + payload.partition(".")[2].encode() for payload in SIGNED),
    b"s\x01" + b"1.e.1.id.1.2.3.4.0.more.of.it",
    b"r" + b"ti." + b"1" * 300,
    b"u\xff\xfe.\xed\xa0\x80",
]
COOKIE_SEEDS = [
    b"cookie: a=1; waitroom-shop=\xf0; __Host-waitroom-shop=\xf2;b=2",
    b'cookie:waitroom-shop="\xf1"; waitroom-shop = \xf3\ncookie: waitroom-sale=\xf4; c',
    b"waitroom-pass: \xf8\nauthorization: bEaReR  \xf9\nauthorization: Basic \xfa",
    b"cookie: " + b"waitroom-shop=\xf0.x;" * 9,
    b"authorization: Bearer the.sites.own\ncookie: =waitroom-shop=\xf0; ;;",
]
