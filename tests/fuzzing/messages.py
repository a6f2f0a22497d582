"""Requests' headers and queries from bytes, as the gate reads them and as its proxy passes them on."""

import re
from urllib.parse import quote, unquote_to_bytes

from yarl import URL

from tests.conftest import SECRET
from tests.fuzzing.credentials import COOKIE_SEEDS, headers_of
from waitroom.config.settings import load
from waitroom.proxy.forwarding import (
    HOP_BY_HOP,
    are_sound,
    request_headers,
    response_headers,
    target_of,
)
from waitroom.room.decisions import Visitor
from waitroom.room.room import WaitingRoom
from waitroom.web.answers.answer import Answer, text_answer
from waitroom.web.answers.cors import Cors
from waitroom.web.answers.libraries import back_from
from waitroom.web.requests.cookies import Cookies, Scope
from waitroom.web.requests.framing import has_body
from waitroom.web.requests.kinds import Kind, by_name, hides_cookies, is_cross_site, is_safe, kind_of
from waitroom.web.routes.api import Api
from waitroom.web.routes.table import Routes

METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PROPFIND", "get", "TRACE")
ORIGINS = ("https://a.example", "http://b.example:81")
CORS = Cors(ORIGINS)

_TOKEN = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~-]+")
_BASE = "http://127.0.0.1:8080"


def requests(data: bytes) -> None:
    """What kind of request it is."""
    method = METHODS[data[0] % len(METHODS)] if data else "GET"
    scope: Scope = {"method": method, "scheme": "https", "headers": headers_of(data[1:])}
    named = by_name(scope)
    kind = kind_of(scope, named)
    assert (kind is Kind.PREFLIGHT) <= (method == "OPTIONS")
    assert (kind is Kind.SUBRESOURCE) <= (method in ("GET", "HEAD")), "what writes is never a part of a page"
    if not scope["headers"]:
        assert kind is Kind.NAVIGATION
    is_safe(scope)
    hidden = [hides_cookies(scope, named, samesite) for samesite in ("none", "lax", "strict")]
    assert hidden == sorted(hidden), "the stricter, the more is hidden"
    assert hidden[2] == is_cross_site(named)
    origins = [value for name, value in scope["headers"] if name == b"origin"]
    response = CORS.allow(scope, Answer(200, []))
    allowed = [value for name, value in response.headers if name == b"access-control-allow-origin"]
    assert allowed in ([], origins[:1])
    assert set(allowed) <= {origin.encode() for origin in ORIGINS}
    assert (CORS.preflight(scope) is not None) == (bool(allowed) and method == "OPTIONS")


def _shown(back: str) -> Answer:
    return text_answer(200, back)


def _routes() -> Routes:
    settings = [load(room=name, redis_url="redis://127.0.0.1:1", secret=SECRET) for name in ("shop", "sale")]
    return Routes([Api(WaitingRoom(each), Cookies(each), CORS, _shown) for each in settings])


ROUTES = _routes()


def queries(data: bytes) -> None:
    """Which room a query asks for: never a guess."""
    asked = ROUTES._asked({"query_string": data})
    back = back_from({"query_string": data})
    assert back.startswith("/"), "a link back stays on the site"
    assert back.isascii()
    assert back.isprintable()
    assert not back.startswith(("//", "/\\"))
    if b"room" not in unquote_to_bytes(data.replace(b"+", b" ")):
        assert asked is ROUTES._first
    if asked is None:
        pairs = [pair.partition(b"=")[::2] for pair in data.split(b"&")]
        named = [value for name, value in pairs if unquote_to_bytes(name) == b"room"]
        assert len(named) != 1 or unquote_to_bytes(named[0]) not in (b"shop", b"sale"), data
    spelt = quote(data.decode("latin-1"), safe="").encode()
    for name in ("shop", "sale"):
        for query in (b"room=" + name.encode(), b"x=" + spelt + b"&room=" + quote(name).encode()):
            found = ROUTES._asked({"query_string": query})
            assert found is not None
            assert found.room.settings.room == name, query
    assert ROUTES._asked({"query_string": b"room=shop&room=sale"}) is None


def forwarding(data: bytes) -> None:
    """What the proxy hands on: the target as it was, on the site's host; a stranger's word vouches for nothing."""
    line, _, rest = data.partition(b"\n")
    path, _, query = line.partition(b"?")
    # Servers let through names that are tokens, and values without control characters but the tab.
    headers = [
        (name, re.sub(rb"[\x00-\x08\x0a-\x1f\x7f]", b"", value))
        for name, value in headers_of(rest)
        if _TOKEN.fullmatch(name)
    ]
    scope: Scope = {
        "type": "http",
        "scheme": "http",
        "client": ("203.0.113.7", 1),
        "root_path": "/app" * (path[:4] == b"/app"),
        "raw_path": path,
        "query_string": query,
        "headers": headers,
        "state": {"waitroom": Visitor("shop", 7, "session", 1.0)},
    }
    _check_target(scope)
    has_body(scope)
    _check_passed_on(request_headers(scope))
    back = response_headers(200 + len(data) % 105, headers)
    assert are_sound(back)
    assert not {name for name, _ in back} & (HOP_BY_HOP | {b"date"})
    are_sound(response_headers(200, headers_of(data)))


def _check_target(scope: Scope) -> None:
    target = target_of(scope)
    path = scope["raw_path"].removeprefix(scope["root_path"].encode())
    if target is None:
        assert not path.startswith(b"/")
        return
    assert re.fullmatch(r"/[!-~]*", target), target
    assert "#" not in target
    url = URL(_BASE + target, encoded=True)
    assert (url.scheme, url.host, url.port, url.user) == ("http", "127.0.0.1", 8080, None), target
    query = scope["query_string"]
    assert unquote_to_bytes(target) == unquote_to_bytes(path + b"?" + query if query else path)


def _check_passed_on(sent: list[tuple[str, str]]) -> None:
    vouched: dict[str, list[str]] = {}
    for name, value in sent:
        plain = re.sub(r"[^a-z0-9]", "-", name.lower())
        assert plain.encode() not in HOP_BY_HOP - {b"host"}, name
        vouched.setdefault(plain, []).append(value)
    assert len(vouched["host"]) == 1
    assert vouched["x-forwarded-for"] == ["203.0.113.7"]
    assert vouched["x-forwarded-proto"] == ["http"]
    assert vouched["x-forwarded-host"] == vouched["host"]
    assert [vouched[f"waitroom-{word}"] for word in ("room", "number", "session", "waited-seconds")] == [
        ["shop"],
        ["7"],
        ["session"],
        ["1.0"],
    ]
    ours = [name for name in vouched if name.startswith(("waitroom-", "x-forwarded-", "sec-websocket-"))]
    assert len(ours) == 7 + ("x-forwarded-prefix" in vouched)
    assert not {"forwarded", "x-real-ip"} & set(vouched)


REQUEST_SEEDS = [
    *(b"\x00" + seed for seed in COOKIE_SEEDS),
    b"\x00accept: application/json;q=0.9, text/html;q=nan, */*",
    b"\x03access-control-request-method: POST\norigin: https://a.example",
    b"\x00sec-fetch-dest: image\nsec-fetch-mode: no-cors\nsec-fetch-site: cross-site",
    b"\x01sec-purpose: prefetch;anonymous-client-ip\npurpose: prefetch",
    b"\x02x-requested-with: XMLHttpRequest\nsec-fetch-dest: document\norigin: null",
    b"\x00sec-fetch-site: cross-site\nsec-fetch-dest: document",
]
QUERY_SEEDS = [
    b"room=shop",
    b"room=sale&x=1",
    b"ro%6fm=s%68op&room=",
    b"room=%ff&room=%00",
    b"a;room=shop",
    b"&&==&room",
    b"ROOM=shop&room[]=sale+",
]
FORWARDING_SEEDS = [
    b"/shop/a%2Fb?x=1&y=%zz\nhost: shop.example\nx-forwarded-for: 6.6.6.6\ncookie: a=1",
    b"/app//evil.example/x\nconnection: close, x-mine, te\nx-mine: 1\nte: trailers",
    b"//evil.example/\\@x:80/..?//\ncontent_length: 5\ncontent-length: 5\ntransfer-encoding: chunked",
    b"http://evil.example/x?#\nx_forwarded_for: 1\nwaitroom_session: forged\nforwarded: for=1\nx-real-ip: 1",
    b"*\nhost: a\nhost: b\nupgrade: websocket\nsec-websocket-key: x\nwaitroom.number: 9",
]
