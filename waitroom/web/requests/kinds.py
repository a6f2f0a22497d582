"""What kind of request this is, by its method and headers: what its sender can make of an answer."""

from collections.abc import Mapping
from enum import Enum, auto
from functools import lru_cache
from urllib.parse import urlsplit

from waitroom.web.requests.accepting import Wish, is_body_of_a_program, wish_of
from waitroom.web.requests.cookies import Scope
from waitroom.web.requests.framing import has_body

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
READS = frozenset({"GET", "HEAD"})
DOCUMENTS = frozenset({b"document", b"iframe", b"frame", b"embed", b"object", b"fencedframe"})
PURPOSES = (b"sec-purpose", b"purpose", b"x-purpose", b"x-moz", b"x-sec-purpose")
"""Where browsers say why they ask: Chromium and Firefox now, older ones, and Turbo, which may not use their name."""
BROWSERS = (b"Mozilla/", b"Safari/", b"MobileSafari/", b"com.apple.WebKit.")
"""What the `User-Agent` of a browser begins with: after the first, what fetches icons for Safari."""
PROBES = (
    b"kube-probe",
    b"elb-healthchecker",
    b"googlehc",
    b"googlestackdriver",
    b"amazon-route53-health-check",
    b"azure traffic manager",
    b"cloudflare-traffic-manager",
    b"consul health check",
    b"blackbox",
    b"pingdom",
    b"uptimerobot",
    b"better uptime",
    b"statuscake",
    b"site24x7",
    b"datadog",
    b"newrelicpinger",
)
"""Words in the `User-Agent`, in lower case, of what asks again and again whether the site is there."""
LONGEST_ORIGIN = 300
"""Bytes of an `Origin` or a `Host` that can be one: the longest name has 253."""
LONGEST_AGENT = 256
"""Bytes of a `User-Agent` that are looked at."""
MOST_AGENTS = 1024
"""Values of it of which is remembered what they are."""
AHEAD_WORDS = (b"prefetch", b"preview", b"prerender")
AHEAD = frozenset({b"hx-preloaded", b"next-router-prefetch", b"x-middleware-prefetch"})
"""Headers that htmx's preloading and Next.js's router send with what they fetch ahead."""
TURBO = frozenset({b"x-turbo-request-id", b"turbo-frame"})
"""Headers of Turbo's."""
LIBRARIES = TURBO | {
    *(b"hx-request", b"hx-history-restore-request", b"x-inertia", b"x-up-version"),
    *(b"rsc", b"next-action"),  # Next.js loads the whole page where it gets none of its own parts
}
"""Headers of htmx's, Inertia's, Unpoly's and Next.js's besides."""
OF_SCRIPTS = LIBRARIES | AHEAD | {*PURPOSES, b"x-requested-with"}
"""Headers by which a script says that it asks, or that nobody has asked yet."""
TURBO_READS = b"text/html, application/xhtml+xml"
"""What older Turbo says instead, and Turbolinks: no browser says it."""


Named = Mapping[bytes, bytes]
"""A request's headers by their names; of several of a name the first."""


class Kind(Enum):
    """Who asks."""

    NAVIGATION = auto()
    """A person who will look at a page."""
    SCRIPT = auto()
    """A program that reads JSON."""
    SUBRESOURCE = auto()
    """A part of a page: nobody would see a waiting page."""
    AHEAD = auto()
    """Something that is fetched ahead of its time: a browser would show it later without asking again."""
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
    if method == "OPTIONS" and b"access-control-request-method" in named and b"origin" in named:
        return Kind.PREFLIGHT if _is_a_browsers_question(scope, named) else Kind.SCRIPT
    if not OF_SCRIPTS.isdisjoint(named):
        if is_fetched_ahead(method, named):
            return Kind.AHEAD
        if _told(named, b"x-requested-with") == b"xmlhttprequest":
            return Kind.SCRIPT
        # Whatever else a library's request says of itself: the page would be shown inside of another.
        if not LIBRARIES.isdisjoint(named):
            return Kind.SCRIPT
    if is_of_turbo(named):
        return Kind.SCRIPT
    reads = method in READS
    destination = _told(named, b"sec-fetch-dest")
    if destination in DOCUMENTS or _told(named, b"sec-fetch-mode") == b"navigate":
        return Kind.NAVIGATION
    if destination == b"empty":
        return Kind.SCRIPT
    if b"sec-fetch-dest" in named:
        # Parts of a page are only ever read: what writes is a program, whatever it calls itself.
        return Kind.SUBRESOURCE if reads else Kind.SCRIPT
    return _kind_without_metadata(scope, named)


def _is_a_browsers_question(scope: Scope, named: Named) -> bool:
    """Return whether a preflight is what browsers send: an origin, a method, and no body."""
    return bool(named[b"origin"] and named[b"access-control-request-method"]) and not has_body(scope)


def _kind_without_metadata(scope: Scope, named: Named) -> Kind:
    """Tell the kind of a request by what its sender can read, and by what it sends."""
    wish = wish_of(_told(named, b"accept"))
    if not is_safe(scope) and is_body_of_a_program(_told(named, b"content-type")):
        return Kind.SCRIPT
    if wish is Wish.PART:
        return Kind.SUBRESOURCE if scope["method"] in READS else Kind.SCRIPT
    if wish is Wish.ANY and scope["method"] in READS and b"accept" in named and _is_browser(named):
        return Kind.SUBRESOURCE  # a browser names HTML where it wants a page
    if wish is Wish.ANY:
        # Browsers name HTML where they send a form, and a program that only asks may say what it sends, always.
        return Kind.NAVIGATION if is_safe(scope) and b"content-type" not in named else Kind.SCRIPT
    return Kind.NAVIGATION if wish is Wish.PAGE else Kind.SCRIPT


def _is_browser(named: Named) -> bool:
    return named.get(b"user-agent", b"").startswith(BROWSERS)


def is_probe(scope: Scope, named: Named) -> bool:
    """Tell who looks whether the site is there, and never comes back with a cookie."""
    if scope["method"] != "GET":
        return bool(scope["method"] == "HEAD")  # what writes is a program, whatever it calls itself
    return bool(_is_of_a_probe(named.get(b"user-agent", b"")[:LONGEST_AGENT]))


@lru_cache(MOST_AGENTS)  # most visitors have one of few browsers
def _is_of_a_probe(agent: bytes) -> bool:
    agent = agent.lower()
    return any(word in agent for word in PROBES)


def is_same_site(named: Named) -> bool:
    """Tell a request that a page of the site sends, where the browser says so."""
    return _told(named, b"sec-fetch-site") in (b"same-origin", b"same-site") or b"x-requested-with" in named


def is_fetched_ahead(method: str, named: Named) -> bool:
    """Tell whether somebody fetches what nobody has asked to see yet: browsers and page libraries say so."""
    if method not in READS:
        return False
    return not AHEAD.isdisjoint(named) or any(
        word in _told(named, name) for name in PURPOSES if name in named for word in AHEAD_WORDS
    )


def releases_nobody(method: str, named: Named) -> bool:
    """Return whether nobody has gone to what is read: the site's word that the visit is over is not meant for them.

    Such is what is fetched ahead, `HEAD`, and what a page of another origin shows a part of itself, or has fetched
    without being able to read it. Pages of sibling hosts are the same site, so that the cookies come along.
    """
    if method not in READS:
        return False
    if method == "HEAD" or is_fetched_ahead(method, named):
        return True
    if _told(named, b"sec-fetch-site") not in (b"same-site", b"cross-site"):
        return False
    destination = _told(named, b"sec-fetch-dest")
    # Scripts that read answers of other origins are the site's own affair: it has to let them.
    reads = destination == b"empty" and _told(named, b"sec-fetch-mode") == b"cors"
    return destination != b"document" and not reads


def is_of_htmx(named: Named) -> bool:
    """Tell whether htmx sends a request."""
    return b"hx-request" in named


def is_of_inertia(named: Named) -> bool:
    """Tell whether Inertia does."""
    return b"x-inertia" in named


def is_of_turbo(named: Named) -> bool:
    """Tell whether Turbo does, for a page, a frame or a form."""
    reads = named.get(b"accept", b"")
    return not TURBO.isdisjoint(named) or reads == TURBO_READS or b"vnd.turbo-stream" in reads


def is_of_unpoly(named: Named) -> bool:
    """Tell whether Unpoly does."""
    return b"x-up-version" in named


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
    if len(url) > LONGEST_ORIGIN:
        return ""  # Python would remember it, and the next ones
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
    return samesite == "strict" or not _goes_to_page(scope, named)


def is_of_another_site(scope: Scope, named: Named) -> bool:
    """Return whether a page of another site sends a request by itself, rather than a person who follows its link."""
    return is_cross_site(named) and not _goes_to_page(scope, named)


def _goes_to_page(scope: Scope, named: Named) -> bool:
    return is_safe(scope) and named.get(b"sec-fetch-dest") == b"document"
