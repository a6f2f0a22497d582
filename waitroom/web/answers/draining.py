"""Reads a request to its end before the gate answers it by itself, and keeps nothing of it.

A proxy that is still sending a body when the answer and the close arrive sees a reset: nginx makes a 502 of it, counts
the server as failed, and with all servers failed answers 502 to everybody.
"""

import asyncio

from starlette.types import Receive, Scope, Send

from waitroom.web.answers.answer import Answer
from waitroom.web.requests.framing import body_length, has_body

USUAL_LIMIT = 64_000_000
"""Bytes of one body that are read at most, where no setting says otherwise."""
LONGEST_SECONDS = 60.0
"""For so long one body is read at most: what a proxy has buffered comes in a fraction of it."""
IDLE_SECONDS = 10.0
"""For so long nothing of a body may come: a proxy gives up no sooner."""
MOST_AT_ONCE = 1_000
"""Bodies of one room that a process reads at a time: each has a task and a connection, and keeps nothing."""

CLOSE = (b"connection", b"close")


class Draining:
    """Sends one room's answers, each after the body of its request, of which `limit` bytes are read at most."""

    def __init__(self, limit: int = USUAL_LIMIT) -> None:
        self._limit = limit
        self._under_way = 0

    async def answer(self, response: Answer, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; where it was not read to its end, say that the connection ends with the answer."""
        is_read = not has_body(scope) or await self._drain(scope, receive)
        # Beyond HTTP/1 one request is given up by itself, and the header is forbidden (RFC 9113, 8.2.2).
        if not is_read and scope.get("http_version", "1.1").startswith("1"):
            response = response.with_headers([CLOSE])
        await response(scope, receive, send)

    async def _drain(self, scope: Scope, receive: Receive) -> bool:
        """Read a request's body; return whether it came to its end, or its sender has gone."""
        if self._under_way >= MOST_AT_ONCE or _waits_for_leave(scope) or self._is_too_long(scope):
            return False
        self._under_way += 1
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                return await self._read(receive)
        except TimeoutError:
            return False
        finally:
            self._under_way -= 1

    def _is_too_long(self, scope: Scope) -> bool:
        length = body_length(scope["headers"])
        return length is not None and length > self._limit

    async def _read(self, receive: Receive) -> bool:
        left = self._limit
        while left >= 0:
            async with asyncio.timeout(IDLE_SECONDS):
                message = await receive()
            if message["type"] != "http.request" or not message.get("more_body", False):
                return True
            left -= len(message.get("body", b""))
        return False


def _waits_for_leave(scope: Scope) -> bool:
    """Return whether the sender waits to be told to go on (RFC 9110, 10.1.1): it gets the final answer at once."""
    return any(name == b"expect" for name, _ in scope["headers"])
