"""The gate's own responses: never kept by a cache, never indexed, nothing of other hosts in them."""

import json
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from waitroom.places import AWAY_POLL

Extra = list[tuple[bytes, bytes]]

HEADERS: Extra = [
    (b"cache-control", b"no-store"),
    (b"vary", b"Cookie, Accept"),
    (b"x-robots-tag", b"noindex"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
]

STRICTEST = b"default-src 'none'; frame-ancestors 'none'"


class _Answer(Response):
    """A response that sends no body to HEAD: over HTTP/2 not every server takes it off."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") == "HEAD":
            self.body = b""
        await super().__call__(scope, receive, send)


def answer(status: int, body: bytes, media_type: bytes, extra: Extra | None = None) -> Response:
    """Build a response with the headers that all of the gate's own have."""
    response = _Answer(body, status)
    length = [] if status == 204 else [(b"content-length", b"%d" % len(body)), (b"content-type", media_type)]
    given = extra or []
    names = {name for name, _ in given}
    csp = [] if b"content-security-policy" in names else [(b"content-security-policy", STRICTEST)]
    response.raw_headers = [*length, *(pair for pair in HEADERS if pair[0] not in names), *csp, *given]
    return response


def json_answer(status: int, fields: dict[str, Any], extra: Extra | None = None) -> Response:
    """Answer a program."""
    return answer(status, json.dumps(fields).encode(), b"application/json", extra)


def text_answer(status: int, text: str) -> Response:
    """Answer a probe."""
    return answer(status, f"{text}\n".encode(), b"text/plain; charset=utf-8")


def problem(
    status: int, kind: str, title: str, fields: dict[str, Any] | None = None, extra: Extra | None = None
) -> Response:
    """Tell a program what was wrong (RFC 9457); `kind` makes the stable type.

    `fields` may have a `status` of their own, the place's: RFC 9457 tells readers to pass over a member
    of another type than theirs.
    """
    told = {"type": f"urn:waitroom:{kind}", "title": title, "status": status, **(fields or {})}
    return answer(status, json.dumps(told).encode(), b"application/problem+json", extra)


def store_away() -> Response:
    """Tell a program that only the store could have answered."""
    retry = [(b"retry-after", b"%d" % AWAY_POLL)]
    return problem(503, "store-away", "The store is away; nothing was changed. Ask again later.", extra=retry)
