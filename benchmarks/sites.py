"""The sites that are measured: a bare app, the same behind the gate, and the same behind two yardsticks."""

import hmac

from starlette.middleware.sessions import SessionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from waitroom.web.middleware import WaitingRoomMiddleware

KEY = b"a key of the yardsticks, which guard nothing"
YARDSTICK = b"yardstick"
"""The cookie of the smallest gate."""

BODY = b"inside"
HEADERS = [(b"content-length", b"%d" % len(BODY)), (b"content-type", b"text/plain")]


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """As little a site as can be: what is measured beyond it is the gate."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": BODY})
    else:
        await _lifespan(receive, send)


async def _lifespan(receive: Receive, send: Send) -> None:
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


def gated() -> ASGIApp:
    """The bare app behind the gate, set up by the environment."""
    return WaitingRoomMiddleware(bare)


async def _logs_in(scope: Scope, receive: Receive, send: Send) -> None:
    if scope.get("path") == "/login":
        scope["session"]["user"] = 1
    await bare(scope, receive, send)


def with_sessions() -> ASGIApp:
    """The bare app behind Starlette's sessions in signed cookies; `/login` begins one."""
    return SessionMiddleware(_logs_in, secret_key=KEY.decode())


def sign(payload: bytes) -> bytes:
    """Write the smallest gate's token."""
    return payload + b"." + hmac.digest(KEY, payload, "sha256").hex().encode()


def smallest_gate() -> ASGIApp:
    """The bare app behind the least that a gate can do: find the cookie and check one HMAC."""
    mark = YARDSTICK + b"="

    async def gate(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_let_in(scope, mark) and not scope["path"].endswith("/readyz"):
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await bare(scope, receive, send)

    return gate


def _is_let_in(scope: Scope, mark: bytes) -> bool:
    for name, value in scope["headers"]:
        if name == b"cookie":
            token = value.partition(mark)[2].partition(b";")[0]
            return hmac.compare_digest(token, sign(token.partition(b".")[0]))
    return False
