"""What kind of request this is, by its method and headers: what its sender can make of an answer."""

from collections.abc import Mapping
from enum import Enum, auto
from urllib.parse import urlsplit

from waitroom.cookies import Scope

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
READS = frozenset({"GET", "HEAD"})
DOCUMENTS = frozenset({b"document", b"iframe", b"frame", b"embed", b"object", b"fencedframe"})


Named = Mapping[bytes, bytes]
"""A request's headers by their names; of several of a name the first."""


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


def by_name(scope: Scope) -> Named:
    """Look at a request's headers by their names."""
    headers = scope["headers"]
    named = dict(headers)
    return named if len(named) == len(headers) else dict(reversed(headers))


def kind_of(scope: Scope, named: Named) -> Kind:
    """Tell the kind of an HTTP request, from fetch metadata where the browser sends it, else from `Accept`."""
    method = scope["method"]
    if method == "OPTIONS" and b"access-control-request-method" in named:
        return Kind.PREFLIGHT
    reads = method in READS
    if reads and b"prefetch" in _told(named, b"sec-purpose") + _told(named, b"purpose"):
        return Kind.SUBRESOURCE
    if _told(named, b"x-requested-with") == b"xmlhttprequest":
        return Kind.SCRIPT
    destination = _told(named, b"sec-fetch-dest")
    if destination in DOCUMENTS or _told(named, b"sec-fetch-mode") == b"navigate":
        return Kind.NAVIGATION
    if destination == b"empty":
        return Kind.SCRIPT
    if b"sec-fetch-dest" in named:
        # Parts of a page are only ever read: what writes is a program, whatever it calls itself.
        return Kind.SUBRESOURCE if reads else Kind.SCRIPT
    return Kind.SCRIPT if _prefers_json(_told(named, b"accept")) else Kind.NAVIGATION


def _told(named: Named, name: bytes) -> bytes:
    value = named.get(name)
    return value.strip().lower() if value else b""


def is_safe(scope: Scope) -> bool:
    """Tell whether a request asks without changing anything (RFC 9110, 9.2.1)."""
    return scope["method"] in SAFE


def is_cross_site(named: Named) -> bool:
    """Tell whether another site had a part in sending this request, where the browser says so.

    Browsers say it to https; to plain http they, and old ones to all, tell only the origin of what writes.
    """
    if site := named.get(b"sec-fetch-site"):
        return site == b"cross-site"
    origin = named.get(b"origin", b"")
    return bool(origin) and not _are_related(_host(origin), _host(b"//" + named.get(b"host", b"")))


def _are_related(one: str, other: str) -> bool:
    """Tell whether of two hosts one is the other or lies below it; what is no host is related to none."""
    return bool(one and other) and (f".{one}".endswith(f".{other}") or f".{other}".endswith(f".{one}"))


def _host(url: bytes) -> str:
    try:
        return urlsplit(url.decode("latin-1")).hostname or ""
    except ValueError:
        return ""


def hides_cookies(scope: Scope, named: Named, samesite: str) -> bool:
    """Tell whether the browser keeps cookies of this `SameSite` back from a request that another site had a part in.

    From the answer to a form or a link it takes new ones all the same: they would replace what was not seen.
    """
    if samesite == "none" or not is_cross_site(named):
        return False
    # Lax cookies come along where a whole tab goes to a page, by a link or after a redirect; never in a frame.
    goes_to_page = is_safe(scope) and named.get(b"sec-fetch-dest") == b"document"
    return samesite == "strict" or not goes_to_page


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
