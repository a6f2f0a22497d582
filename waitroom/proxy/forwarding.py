"""What a site behind the proxy gets to see of a request, and the visitor of its answer: addresses and headers.

Headers are told apart by their letters and digits alone, as CGI and its heirs (PHP, WSGI) make one variable of
`X-Forwarded-For` and `X_Forwarded_For`: nothing that the proxy vouches for can be said in another spelling.
"""

import re
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

from waitroom.errors import SettingsError
from waitroom.proxy.hearsay import is_hearsay
from waitroom.room.decisions import Visitor
from waitroom.web.requests.cookies import Scope
from waitroom.web.requests.framing import OWS, body_length

Pairs = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer"
    b" transfer-encoding upgrade".split()
)
"""Meant for the next machine alone (RFC 9110, 7.6.1), as are those that `Connection` names."""

NOT_PASSED_ON = HOP_BY_HOP | {
    b"host",  # set anew, so that there is one
    b"expect",  # the server has answered it
    b"content-length",  # set anew, so that there is one
}
OURS = (b"x-forwarded-", b"waitroom-", b"sec-websocket-")
"""Beginnings of names that the proxy alone sets."""

NOT_PASSED_BACK = HOP_BY_HOP | {b"date"}
"""The server writes a `Date` of its own, as it does for the gate's answers."""

MOST_NAMES = 200
"""Names of headers in a request: servers mostly take 100, and each costs a look."""
MOST_NAMED = 32
"""Words of a `Connection` that are looked at; two are usual."""

VISIBLE = "".join(map(chr, range(0x21, 0x7F))).replace("#", "")

_NO_NAME = re.compile(rb"[^a-z0-9!#$%&'*+.^_`|~-]")
_NO_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NO_CONTROLS = bytes(ord(" ") if _NO_VALUE.match(bytes([i])) else i for i in range(256))

_PLAIN_NAME = bytes(ord("-") if not chr(i).isalnum() else i for i in range(128)) + b"-" * 128


def check_upstream(url: str) -> str:
    """Answer the base of the site's addresses, without a final slash; raises SettingsError, one line."""
    allowed = "http://host:port or https://host:port, without user, path and query"
    shown = "(not shown)" if "@" in url else repr(url)
    wrong = SettingsError(f"the site's address {shown} is not allowed; allowed: {allowed}")
    try:
        parts = urlsplit(url)
        hostname, port = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not hostname or port == 0:
        raise wrong
    base = f"{parts.scheme}://{parts.netloc}"
    # Whatever urlsplit has cut off, turned or overlooked is missed here.
    if url.lower() not in (base.lower(), f"{base.lower()}/") or not re.fullmatch(
        r"[A-Za-z0-9.\[\]:_/-]+", url
    ):
        raise wrong
    return base


def target_of(scope: Scope) -> str | None:
    """The request's path and query as they came, below the root path that a proxy in front has taken off.

    None where it is no path: an absolute address or `*`. What comes back begins with a slash and holds
    visible characters alone, so behind the site's base it can't be read as another host.
    """
    root = scope.get("root_path", "").encode()
    path: bytes = scope["raw_path"].removeprefix(root)
    if not path.startswith(b"/"):
        return None
    query: bytes = scope["query_string"]
    return quote(path + b"?" + query if query else path, safe=VISIBLE)


def has_too_many_names(scope: Scope) -> bool:
    """Return whether a request has headers of more names than are looked at."""
    headers = scope["headers"]
    return len(headers) > MOST_NAMES and len({name for name, _ in headers}) > MOST_NAMES


def request_headers(scope: Scope) -> list[tuple[str, str]]:
    """The headers that the site gets: the visitor's, and what the proxy vouches for.

    What a visitor says of address, URL and method in the words of a proxy is left out.
    """
    given: Pairs = [(_plain(name), value) for name, value in scope["headers"]]
    dropped = NOT_PASSED_ON | _named(given)
    kept = [
        (name, value)
        for (name, value), (plain, _) in zip(scope["headers"], given, strict=True)
        if not (plain in dropped or plain.startswith(OURS) or is_hearsay(plain) or _NO_NAME.search(name))
    ]
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    headers = [(b"host", host), *kept, *_framing(scope), *_vouched(scope, host)]
    return [(name.decode("ascii"), _sendable(value)) for name, value in headers]


def _framing(scope: Scope) -> Pairs:
    """The body's length, where it is known; else it goes on in chunks, or there is none."""
    length = body_length(scope["headers"]) if scope["type"] == "http" else None
    return [] if length is None else [(b"content-length", b"%d" % length)]


def _sendable(value: bytes) -> str:
    """What the client library sends of a value: it refuses controls, which some servers let through.

    It sends UTF-8; bytes that are something else can't be kept.
    """
    return value.translate(_NO_CONTROLS).strip(OWS).decode("utf-8", "replace")


def response_headers(status: int, raw: Iterable[tuple[bytes, bytes]]) -> Pairs:
    """The site's headers for the visitor, each as often and in the order as they came."""
    given = [(name.lower(), value) for name, value in raw]
    dropped = NOT_PASSED_BACK | _named(given)
    if status in (204, 304):
        # There is no body whose length this could be, and the server would wait for one.
        dropped |= {b"content-length"}
    return [(name, value) for name, value in given if name not in dropped]


def are_sound(headers: Pairs) -> bool:
    """Tell whether the server can write these headers: the client library reads more than that."""
    names, values = (b"".join(side) for side in zip(*headers, (b"", b""), strict=True))
    return not _NO_NAME.search(names) and not _NO_VALUE.search(values)


def _plain(name: bytes) -> bytes:
    return name.lower().translate(_PLAIN_NAME)


def _named(headers: Pairs) -> frozenset[bytes]:
    named = [value for name, value in headers if name == b"connection"]
    words = b",".join(named).split(b",", MOST_NAMED)[:MOST_NAMED]
    return frozenset(_plain(word.strip()) for word in words)


def _vouched(scope: Scope, host: bytes) -> Pairs:
    """Who asks, by what scheme and host, as the server saw it or a trusted proxy told; and who is inside."""
    secure = scope["scheme"] in ("https", "wss")
    headers = [(b"x-forwarded-proto", b"https" if secure else b"http"), (b"x-forwarded-host", host)]
    if scope.get("client"):
        headers.append((b"x-forwarded-for", scope["client"][0].encode()))
    if scope.get("root_path"):
        headers.append((b"x-forwarded-prefix", scope["root_path"].encode()))
    visitor: Visitor | None = scope.get("state", {}).get("waitroom")
    if visitor is not None:
        headers += [
            (b"waitroom-room", visitor.room.encode()),
            (b"waitroom-number", b"%d" % visitor.number),
            (b"waitroom-session", visitor.session.encode()),
            (b"waitroom-waited-seconds", b"%.1f" % visitor.waited_seconds),
        ]
    return headers
