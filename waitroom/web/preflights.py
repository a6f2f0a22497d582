"""CORS preflights: a browser asks the site whether a page of another origin may send it a request (Fetch standard).

A preflight comes without credentials, so nobody can be asked for a pass, and only the site knows which origins it
allows. Anybody can send one: so the site gets nothing but the question, and only what a browser reads of the answer
goes back.
"""

import asyncio

from starlette.types import ASGIApp, Message, Scope, Send

from waitroom.config.settings import Settings
from waitroom.line.counters import Counters
from waitroom.web.answers.answer import Extra

LEAST_AT_ONCE = 10
"""Preflights of a room that may run at a time in a process, however small the room is: a page sends some at once."""
LONGEST_SECONDS = 10.0
"""For so long the site may take over one."""

_NOT_ASKED = frozenset(
    {
        b"cookie",
        b"authorization",
        b"proxy-authorization",
        b"x-http-method-override",
        b"x-http-method",
        b"x-method-override",
    }
)
"""No browser sends them with a preflight; a site may act on them."""
_TOLD = frozenset({b"vary", b"allow"})
_TOLD_BEGINNING = b"access-control-"
_WITHOUT_LENGTH = frozenset({204, 304})


class Preflights:
    """Those of one room, in one process: at most a tenth of its capacity run at a time, or LEAST_AT_ONCE."""

    def __init__(self, settings: Settings, counters: Counters) -> None:
        self._most = max(LEAST_AT_ONCE, settings.capacity // 10) if settings.preflights == "pass" else 0
        self._counters = counters
        self._running = 0

    async def pass_on(self, scope: Scope, send: Send, site: ASGIApp) -> bool:
        """Have the site answer a preflight; return False where it may not be asked, or did not answer in time."""
        if self._running >= self._most:
            self._counters.add("refused_preflights")
            return False
        self._counters.add("preflights")
        question = _Question(send)
        given = scope["headers"]
        scope["headers"] = [pair for pair in given if pair[0] not in _NOT_ASKED]
        self._running += 1
        try:
            async with asyncio.timeout(LONGEST_SECONDS) as limit:
                await site(scope, question.receive, question.send)
        except TimeoutError:
            if not limit.expired():
                raise
        finally:
            self._running -= 1
            scope["headers"] = given
        return question.is_answered


class _Question:
    """One preflight on its way to the site, and what goes back of the answer."""

    def __init__(self, send: Send) -> None:
        self.is_answered = False
        self._send = send
        self._is_read = False
        self._is_over = asyncio.Event()

    async def receive(self) -> Message:
        """Receive an empty body, whatever its sender has to say; and then, once there is an answer, that they left."""
        if not self._is_read:
            self._is_read = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._is_over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Send the answer's status and what it says about origins; all else is dropped."""
        if message["type"] == "http.response.start" and not self.is_answered:
            self.is_answered = True
            status = message["status"]
            await self._send({**message, "headers": _told(status, message.get("headers", ()))})
            await self._send({"type": "http.response.body", "body": b""})
        elif self.is_answered:
            self._is_over.set()


def _told(status: int, headers: Extra) -> Extra:
    kept = [pair for pair in headers if _is_told(pair[0].lower())]
    return kept if status in _WITHOUT_LENGTH else [*kept, (b"content-length", b"0")]


def _is_told(name: bytes) -> bool:
    return name in _TOLD or name.startswith(_TOLD_BEGINNING)
