"""Page libraries, which fetch with scripts what the visitor asked to see: what makes each load the whole page.

What they load is the page that was asked for, which the browser then gets as it gets any page; after something that
would change the site, which nobody sends twice by himself, it is a page of the gate's that says so.
"""

import html
from urllib.parse import quote, unquote, urlsplit

from waitroom.config.settings import Settings
from waitroom.paths.patterns import Paths, strip_root
from waitroom.web.answers.answer import Answer
from waitroom.web.answers.refresh import LONGEST, plain
from waitroom.web.answers.speaking import as_error_of_next, in_words_of
from waitroom.web.requests.cookies import Scope
from waitroom.web.requests.kinds import (
    Kind,
    Named,
    is_of_htmx,
    is_of_inertia,
    is_of_turbo,
    is_of_unpoly,
    is_safe,
)
from waitroom.web.requests.queries import values_of

LONGEST_URL = 8_192
"""Bytes of the longest path, query or URL of a request that is looked at as a whole: few servers take a longer one."""
HTML = b"text/html; charset=utf-8"
# Turbo shows this instead of the page, a frame's answer for the sake of the first line. Both it and Unpoly put it in
# by script, which is no hindrance to the second; a script of its own the site's policy might forbid.
ELSEWHERE = (
    '<!doctype html><html><head><meta name="turbo-visit-control" content="reload"></head>'
    '<body><meta http-equiv="refresh" content="0; url={}"></body></html>'
)
ANYWHERE = (b"x-up-target", b"body")
"""Unpoly puts the body there, whatever it was to replace, in whichever layer, and also after a failure."""


class Libraries:
    """Puts what one room has to say into words that the programs and page libraries understand which ask for it."""

    def __init__(self, settings: Settings) -> None:
        self._paths = Paths(settings.paths, settings.exclude)
        self._unsent = f"{settings.prefix}/unsent?room={settings.room}&to="

    def worded(self, scope: Scope, kind: Kind, named: Named, told: Answer) -> Answer:
        """Turn an answer of the gate's own into what its reader can make something of; headers such as cookies stay."""
        if kind is Kind.SCRIPT:
            told = in_words_of(scope, named, told)
        if kind is Kind.NAVIGATION:
            return told  # that of a browser: what a library asks for is never one
        if is_of_inertia(named):
            # Also ahead of a click: it keeps whatever it got until then, and acts on it.
            return Answer(
                409, [*told.headers, (b"x-inertia-location", _short(self._where(scope, named)))], told.body
            )
        if kind is not Kind.SCRIPT:
            return told  # fetched ahead: nobody has asked to see it
        if b"hx-history-restore-request" in named:
            # Of this answer htmx reads no headers, and shows nothing that comes with a status from 400 on.
            return _elsewhere(Answer(300, told.headers), self._where(scope, named))
        if is_of_htmx(named):
            return told.with_headers([self._of_htmx(scope, named)])
        if is_of_turbo(named):
            return _elsewhere(told, self._where(scope, named))
        if is_of_unpoly(named):
            return _elsewhere(told, self._where(scope, named)).with_headers([ANYWHERE])
        return as_error_of_next(told) if b"next-action" in named else told

    def _of_htmx(self, scope: Scope, named: Named) -> tuple[bytes, bytes]:
        """Write the header that makes htmx load a page, whatever the status is that comes with it."""
        here = _path_of(named.get(b"hx-current-url", b""))
        if not is_safe(scope) or b"hx-boosted" in named or not self._is_gated(scope, here):
            return b"hx-redirect", _short(self._where(scope, named))
        # A part of a page is no page: the whole one is what the visitor looks at. It has a line in front of it as
        # well; one that has none would ask for its part again, and so be loaded again and again.
        return b"hx-refresh", b"true"

    def _is_gated(self, scope: Scope, here: bytes) -> bool:
        path = unquote(here.partition(b"?")[0].decode("ascii"))
        return self._paths.gated(strip_root(path, scope.get("root_path", "")))

    def _where(self, scope: Scope, named: Named) -> bytes:
        if is_safe(scope):
            return _asked_for(scope)
        here = _path_of(named.get(b"hx-current-url") or named.get(b"referer", b""))
        root = scope.get("root_path", "").rstrip("/")
        return plain((root + self._unsent + quote(here, safe="")).encode())


def back_from(scope: Scope) -> str:
    """Return where the page leads that says that nothing was sent: a path of this site, whatever it was given."""
    wanted = values_of(scope.get("query_string", b""), "to") or [""]
    return _path_of(wanted[0].encode()).decode()


def _elsewhere(told: Answer, where: bytes) -> Answer:
    body = ELSEWHERE.format(html.escape(where.decode())).encode()
    kept = [pair for pair in told.headers if pair[0] not in (b"content-type", b"content-length")]
    return Answer(told.status, [(b"content-length", b"%d" % len(body)), (b"content-type", HTML), *kept], body)


def _asked_for(scope: Scope) -> bytes:
    """The path and query of a request, as they were sent where that is known; of very long ones the beginning."""
    path, root_path = scope["path"], scope.get("root_path", "").rstrip("/")
    sent = (scope.get("raw_path") or b"").partition(b"?")[0]
    if len(sent) > LONGEST_URL or len(path) > LONGEST_URL:
        sent, path = b"", path[:LONGEST]
    is_known = sent and unquote(sent.decode("latin-1")) == path
    where = sent if is_known else quote(path, errors="replace").encode()
    if root_path and strip_root(path, root_path) == path:
        where = quote(root_path).encode() + where
    query = scope.get("query_string", b"")
    return _here(b"%b?%b" % (where, query) if query and len(query) <= LONGEST_URL else where)


def _path_of(url: bytes) -> bytes:
    """The path and query of a URL; `/` where it has none, and of a very long one the path alone, or its beginning."""
    if len(url) > LONGEST:
        url = url[:LONGEST].partition(b"?")[0]
    try:
        parts = urlsplit(url.decode("latin-1"))
    except ValueError:
        return b"/"
    return _here((f"{parts.path}?{parts.query}" if parts.query else parts.path).encode("latin-1"))


def _here(where: bytes) -> bytes:
    """Write a path so that no browser finds another host in it."""
    where = b"/" + plain(where).removeprefix(b"/")
    return b"/." + where if where.startswith(b"//") else where


def _short(where: bytes) -> bytes:
    """Leave off of a very long one what a header has no room for."""
    return where if len(where) <= LONGEST else where.partition(b"?")[0][:LONGEST]
