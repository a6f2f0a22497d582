"""The gate's own responses: never kept by a cache, never indexed, nothing of other hosts in them."""

import json
from collections.abc import Iterable
from typing import Any

from starlette.types import Receive, Scope, Send

from waitroom.line.positions import AWAY_POLL
from waitroom.page.policy import STRICTEST

Extra = list[tuple[bytes, bytes]]

PROBLEM = b"application/problem+json"
JSON = b"application/json"

BUSY_SECONDS = range(4, 12)
"""After how long whoever was turned away asks again: not all at the same time."""


def private_headers(csp: bytes = STRICTEST.encode()) -> Extra:
    """Write the headers that all answers to one visitor have, for `answer`."""
    return [(b"cache-control", b"no-store"), (b"vary", b"Cookie, Accept"), *_guarded(csp)]


def public_headers(seconds: int) -> Extra:
    """Write those of an answer that is the same for everyone, and may be kept for so long."""
    return [(b"cache-control", b"public, max-age=%d" % seconds), *_guarded(STRICTEST.encode())]


def _guarded(csp: bytes) -> Extra:
    # Each header costs the server something in every answer: none is here that a browser has no use for.
    return [
        (b"x-robots-tag", b"noindex"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", csp),
    ]


PRIVATE = private_headers()


class Answer:
    """A whole response, which may be sent any number of times. HEAD gets no body: over HTTP/2 not every server sees to
    that."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Extra, body: bytes = b"") -> None:
        self.status: int = status
        self.headers: Extra = headers
        self.body: bytes = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, as an ASGI app does."""
        # A list of its own: what stands around the gate may add to it, and this answer is sent to others as well.
        await send({"type": "http.response.start", "status": self.status, "headers": [*self.headers]})
        body = b"" if scope["method"] == "HEAD" else self.body
        await send({"type": "http.response.body", "body": body})

    def with_headers(self, extra: Extra) -> "Answer":
        """The same with further headers."""
        return Answer(self.status, [*self.headers, *extra], self.body)


def answer(
    status: int,
    body: bytes,
    media_type: bytes,
    extra: Iterable[tuple[bytes, bytes]] = (),
    common: Extra = PRIVATE,
) -> Answer:
    """Build an answer with the headers in `common` and those of its own, `extra`."""
    length = (b"content-length", b"%d" % len(body))
    return Answer(status, [length, (b"content-type", media_type), *common, *extra], body)


def no_content(extra: Extra) -> Answer:
    """Answer that something was done, and nothing is to be told (RFC 9110, 15.3.5: without length or type)."""
    return Answer(204, [*PRIVATE, *extra])


def json_answer(status: int, fields: dict[str, Any], extra: Extra | None = None) -> Answer:
    """Answer a program."""
    return answer(status, json.dumps(fields).encode(), JSON, extra or ())


def text_answer(status: int, text: str) -> Answer:
    """Answer a probe."""
    return answer(status, f"{text}\n".encode(), b"text/plain; charset=utf-8")


def problem(
    status: int, kind: str, title: str, fields: dict[str, Any] | None = None, extra: Extra | None = None
) -> Answer:
    """Tell a program what was wrong (RFC 9457); `kind` makes the stable type."""
    told = {"type": f"urn:waitroom:{kind}", "title": title, "status": status, **(fields or {})}
    return answer(status, json.dumps(told).encode(), PROBLEM, extra or ())


def too_busy(seconds: int) -> Answer:
    """Tell a program that this process has more to do than it can."""
    retry = [(b"retry-after", b"%d" % seconds)]
    return problem(
        503, "busy", "Too many are asking just now; nothing was changed. Ask again later.", extra=retry
    )


def store_away(
    seconds: int = AWAY_POLL, fields: dict[str, Any] | None = None, extra: Iterable[tuple[bytes, bytes]] = ()
) -> Answer:
    """Tell a program that only the store could have answered, and in how many seconds to ask again."""
    retry = [(b"retry-after", b"%d" % seconds), *extra]
    title = "The store is away, or was until just now; nothing was changed. Ask again later."
    return problem(503, "store-away", title, fields, retry)
