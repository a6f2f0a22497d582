"""Which other origins' scripts may read the gate's own answers (Fetch standard, CORS protocol).

What the site answers itself is the site's own affair.
"""

from collections.abc import Sequence

from waitroom.web.answers.answer import Answer, Extra, no_content
from waitroom.web.requests.cookies import Scope

METHODS = b"GET, POST, DELETE"
REQUEST_HEADERS = b"Authorization, Content-Type, Waitroom-Pass, Waitroom-Solution"
RESPONSE_HEADERS = b"Retry-After, Waitroom-Pass"
PREFLIGHT_SECONDS = b"600"


class Cors:
    """Answers for the origins that the operator named; none by default."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)

    def allow(self, scope: Scope, response: Answer) -> Answer:
        """Let the request's origin read a response, if it may; caches keep the origins' answers apart."""
        if self._origins:
            return response.with_headers([(b"vary", b"Origin"), *self._headers(scope)])
        return response

    def allows(self, scope: Scope) -> bool:
        """Return whether the operator named the origin of a request."""
        return bool(self._headers(scope))

    def preflight(self, scope: Scope) -> Answer | None:
        """Answer a browser that asks whether it may call one of the gate's routes; None for other origins."""
        if scope["method"] != "OPTIONS" or not self._headers(scope):
            return None
        allowed: Extra = [
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", REQUEST_HEADERS),
            (b"access-control-max-age", PREFLIGHT_SECONDS),
        ]
        return no_content(allowed)

    def _headers(self, scope: Scope) -> Extra:
        origin = next((value for name, value in scope["headers"] if name == b"origin"), None)
        if origin is None or origin not in self._origins:
            return []
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", RESPONSE_HEADERS),
        ]
