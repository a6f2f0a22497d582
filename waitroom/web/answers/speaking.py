"""What a program that waits is told, in what it can read: not each of them reads problem+json."""

import json

from waitroom.web.answers.answer import Answer, Extra
from waitroom.web.requests.accepting import accepted
from waitroom.web.requests.cookies import Scope
from waitroom.web.requests.kinds import Named

UNAVAILABLE = b"14"
"""gRPC's status: ask again later."""
RANGES = frozenset({b"range", b"if-range"})


def is_for_a_range(named: Named) -> bool:
    """Tell whether a part of something is asked for: who gets a 200 may append it to what is there."""
    return not RANGES.isdisjoint(named)


def in_words_of(scope: Scope, named: Named, told: Answer) -> Answer:
    """Turn what a program is told in problem+json into what it can read; headers such as cookies stay."""
    content_type = named.get(b"content-type", b"").lower()
    if content_type.startswith(b"application/grpc"):
        return _grpc(content_type, told)
    accept = named.get(b"accept", b"").lower()
    if b"json" in accept or not (b"text/plain" in accept or b"text/event-stream" in accept):
        return told
    # Of several that are wanted as much, the first; what is not wanted at all does not count.
    media, weight = max(accepted(accept), key=lambda entry: entry[1], default=(b"", 0.0))
    if weight and media == b"text/event-stream" and scope["method"] == "GET" and not is_for_a_range(named):
        return _events(told)
    return _text(told) if weight and media == b"text/plain" else told


def _events(told: Answer) -> Answer:
    """Answer an EventSource, which after any other status than 200 never asks again."""
    retry = next((int(value) for name, value in told.headers if name == b"retry-after"), 5)
    body = b"retry: %d\nevent: waitroom\ndata: %b\n\n" % (retry * 1000, told.body)
    return _instead(told, 200, b"text/event-stream", body)


def _text(told: Answer) -> Answer:
    return _instead(told, told.status, b"text/plain; charset=utf-8", f"{_title(told)}\n".encode())


def as_error_of_next(told: Answer) -> Answer:
    """Answer a server action of Next.js, which shows an error's text only where its type is no more than this."""
    return _instead(told, told.status, b"text/plain", _title(told).encode())


def _grpc(content_type: bytes, told: Answer) -> Answer:
    """Answer a call of gRPC as one that fails before it gives anything (Trailers-Only)."""
    media = b"application/grpc"
    for other in (b"application/grpc-web-text", b"application/grpc-web"):
        if content_type.startswith(other):
            media = other
            break
    status: Extra = [(b"grpc-status", UNAVAILABLE), (b"grpc-message", _title(told).encode())]
    return _instead(told, 200, media, b"").with_headers(status)


def _title(told: Answer) -> str:
    title: str = json.loads(told.body)["title"] if told.body else "This site is full."
    return title


def _instead(told: Answer, status: int, media_type: bytes, body: bytes) -> Answer:
    kept = [pair for pair in told.headers if pair[0] not in (b"content-type", b"content-length")]
    return Answer(
        status, [(b"content-length", b"%d" % len(body)), (b"content-type", media_type), *kept], body
    )
