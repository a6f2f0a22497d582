"""A request on its way to the site, and the response on its way back, until its last piece has been sent."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waitroom.web.answers.answer import Extra
from waitroom.web.answers.release import is_release
from waitroom.web.requests.kinds import by_name, releases_nobody

VISITOR = "waitroom"
"""In the scope's state: who is inside, for the site."""

Taken = tuple[Extra, dict[str, Any], object]
"""A request's headers, its state, and who was in there."""


WayBack = tuple[Send, Callable[[], Awaitable[None] | None]]
"""What the site sends its response by, and what is called once it has returned or raised."""

Asked = tuple[str, str, Extra]
"""A request's method, scheme and headers as they came: the site may change what the scope says."""


def asked_of(scope: Scope) -> Asked:
    """Note how a request came."""
    return scope["method"], scope.get("scheme", "http"), scope["headers"]


def releases(asked: Asked, headers: Extra) -> bool:
    """Return whether a response with these headers, to a request that came so, releases its visitor."""
    return is_release(headers, releases_nobody(asked[0], by_name(seen_as(asked))))


def seen_as(asked: Asked) -> Scope:
    """The part of a request's scope that says how it came."""
    method, scheme, headers = asked
    return {"type": "http", "method": method, "scheme": scheme, "headers": headers}


def relay(
    send: Send, begin: Callable[[Message], Awaitable[None]], end: Callable[[], Awaitable[None] | None]
) -> WayBack:
    """Make a response's way back.

    `begin` sends the response's start. `end` is called once: with the last piece of the response, or when the site is
    done without that. What it returns is awaited when that piece has been sent. A site may go on for long afterwards:
    Starlette runs background tasks then.
    """
    is_over = has_trailers = False

    def send_on(message: Message) -> Awaitable[None]:
        nonlocal has_trailers, is_over
        kind = message["type"]
        if kind == "http.response.start":
            if "trailers" in message:
                has_trailers = message["trailers"]
            return begin(message)
        if is_over or not _is_last(kind, message, has_trailers):
            return send(message)
        is_over = True
        if kind == "http.response.pathsend":
            return _send_then(send, message, end)  # a whole file, which takes its time
        waits = end()
        return send(message) if waits is None else _send_then(send, message, lambda: waits)

    def done() -> Awaitable[None] | None:
        return None if is_over else end()

    return send_on, done


async def _send_then(send: Send, message: Message, end: Callable[[], Awaitable[None] | None]) -> None:
    try:
        await send(message)
    finally:
        waits = end()
        if waits is not None:
            await waits


def _is_last(kind: str, message: Message, has_trailers: bool) -> bool:
    """Tell whether nothing follows a message of a response that has begun."""
    if has_trailers:
        return kind == "http.response.trailers" and not message.get("more_trailers", False)
    if kind == "http.response.body" or kind == "http.response.zerocopysend":
        return not message.get("more_body", False)
    return kind == "http.response.pathsend"


async def relay_socket(
    site: ASGIApp, scope: Scope, receive: Receive, send: Send, end: Callable[[], None]
) -> None:
    """Have the site serve a WebSocket; `end` is called once, when either side has closed it or the site is done."""
    is_over = False

    def over() -> None:
        nonlocal is_over
        if not is_over:
            is_over = True
            end()

    async def receive_on() -> Message:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            over()
        return message

    async def send_last(message: Message) -> None:
        try:
            await send(message)
        finally:
            over()

    def send_on(message: Message) -> Awaitable[None]:
        kind = message["type"]
        # A denial's body may come in pieces.
        is_denied = kind == "websocket.http.response.body" and not message.get("more_body", False)
        return send_last(message) if is_denied or kind == "websocket.close" else send(message)

    try:
        await site(scope, receive_on, send_on)
    finally:
        over()


def lend(scope: Scope, headers: Extra, visitor: object) -> Taken:
    """Show the site these `headers`, and in its state the `visitor` who is inside.

    It gets the very scope, not a copy: what it adds there, such as the route or the user, is for whatever stands
    outside the gate, too. Returns what `take_back` needs to put back once the site has returned.
    """
    given = scope["headers"]
    scope["headers"] = headers
    state = scope.get("state")
    if state is None:
        state = scope["state"] = {}
    before = state.get(VISITOR)
    state[VISITOR] = visitor
    return given, state, before


def take_back(scope: Scope, taken: Taken) -> None:
    """Put back what `lend` has changed."""
    scope["headers"], state, before = taken
    if before is None:
        state.pop(VISITOR, None)
    else:
        state[VISITOR] = before
