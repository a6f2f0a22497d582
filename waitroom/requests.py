"""What kind of request this is, by its method and headers: what its sender can make of an answer."""

from enum import Enum, auto
from urllib.parse import urlsplit

from waitroom.cookies import Scope

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
DOCUMENTS = frozenset({b"document", b"iframe", b"frame", b"embed", b"object", b"fencedframe"})


class Kind(Enum):
    """Who asks."""

    NAVIGATION = auto()
    """A person who will look at a page."""
    SCRIPT = auto()
    """A program that reads JSON."""
    SUBRESOURCE = auto()
    """A part of a page, or a page fetched ahead of its time: nobody would see a waiting page."""
    PREFLIGHT = auto()
    """A browser that asks whether it may ask."""


def kind_of(scope: Scope) -> Kind:
    """Tell the kind of an HTTP request, from fetch metadata where the browser sends it, else from `Accept`."""
    headers = dict(reversed(scope["headers"]))  # of several of a name the first

    def told(name: bytes) -> bytes:
        value: bytes = headers.get(name, b"")
        return value.strip().lower()

    if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
        return Kind.PREFLIGHT
    reads = scope["method"] in ("GET", "HEAD")
    if reads and b"prefetch" in told(b"sec-purpose") + told(b"purpose"):
        return Kind.SUBRESOURCE
    if told(b"x-requested-with") == b"xmlhttprequest":
        return Kind.SCRIPT
    destination = told(b"sec-fetch-dest")
    if destination in DOCUMENTS or told(b"sec-fetch-mode") == b"navigate":
        return Kind.NAVIGATION
    if destination == b"empty":
        return Kind.SCRIPT
    if b"sec-fetch-dest" in headers:
        # Parts of a page are only ever read: what writes is a program, whatever it calls itself.
        return Kind.SUBRESOURCE if reads else Kind.SCRIPT
    return Kind.SCRIPT if _prefers_json(told(b"accept")) else Kind.NAVIGATION


def is_safe(scope: Scope) -> bool:
    """Tell whether a request asks without changing anything (RFC 9110, 9.2.1)."""
    return scope["method"] in SAFE


def is_cross_site(scope: Scope) -> bool:
    """Tell whether another site had a part in sending this request, where the browser says so.

    Browsers say it to https; to plain http they, and old ones to all, tell only the origin of what writes.
    """
    site = _first(scope, b"sec-fetch-site")
    if site:
        return site == b"cross-site"
    origin = _first(scope, b"origin")
    return bool(origin) and not _are_related(_host(origin), _host(b"//" + _first(scope, b"host")))


def _are_related(one: str, other: str) -> bool:
    """Tell whether of two hosts one is the other or lies below it; what is no host is related to none."""
    return bool(one and other) and (f".{one}".endswith(f".{other}") or f".{other}".endswith(f".{one}"))


def _host(url: bytes) -> str:
    try:
        return urlsplit(url.decode("latin-1")).hostname or ""
    except ValueError:
        return ""


def hides_cookies(scope: Scope, samesite: str) -> bool:
    """Tell whether the browser keeps cookies of this `SameSite` back from a request that another site had a part in.

    From the answer to a form or a link it takes new ones all the same: they would replace what was not seen.
    """
    if samesite == "none" or not is_cross_site(scope):
        return False
    # Lax cookies come along where a whole tab goes to a page, by a link or after a redirect; never in a frame.
    goes_to_page = is_safe(scope) and _first(scope, b"sec-fetch-dest") == b"document"
    return samesite == "strict" or not goes_to_page


def _first(scope: Scope, wanted: bytes) -> bytes:
    for name, value in scope["headers"]:
        if name == wanted:
            found: bytes = value
            return found
    return b""


def _prefers_json(accept: bytes) -> bool:
    """Compare the weights of JSON and HTML in `Accept`; where they are equal, HTML it is."""
    if b"json" not in accept:
        return False
    json, html = 0.0, 0.0
    for entry in accept.split(b","):
        media, *parameters = (part.strip() for part in entry.split(b";"))
        weight = _weight(parameters)
        if media == b"application/json" or (media.startswith(b"application/") and media.endswith(b"+json")):
            json = max(json, weight)
        elif media in (b"text/html", b"application/xhtml+xml"):
            html = max(html, weight)
    return json > html


def _weight(parameters: list[bytes]) -> float:
    for parameter in parameters:
        if parameter.startswith(b"q="):
            try:
                return min(1.0, max(0.0, float(parameter[2:])))
            except ValueError:
                return 0.0
    return 1.0
