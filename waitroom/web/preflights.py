"""CORS preflights: a browser asks the site whether a page of another origin may send it a request (Fetch standard).

A preflight comes without credentials, so nobody can be asked for a pass, and only the site knows which origins it
allows. Anybody can send one: so the site gets nothing but the question, and only what a browser reads of the answer
goes back.
"""

import asyncio
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waitroom.config.settings import Settings
from waitroom.line.counters import Counters
from waitroom.web.answers.answer import Extra

LEAST_AT_ONCE = 10
"""Preflights of a room that may run at a time in a process, however small the room is: a page sends some at once."""
LEAST_A_SECOND = 20.0
"""And in a second; of a larger room twice its capacity, as each visitor inside may send some."""
LONGEST_SECONDS = 10.0
"""For so long the site may take over one."""

_ASKED = frozenset(
    {
        *(b"host", b"origin", b"user-agent", b"referer", b"connection", b"dnt", b"priority"),
        # What proxies in front say of the request: sites go by it, also where they redirect to https.
        *(b"forwarded", b"via", b"x-real-ip", b"x-request-id", b"traceparent", b"tracestate"),
    }
)
_ASKED_BEGINNINGS = (b"access-control-request-", b"accept", b"sec-", b"x-forwarded-")
"""What browsers send with a preflight, and proxies add. Of whatever else there is a site may make something."""
_TOLD = frozenset({b"vary", b"allow"})
_TOLD_BEGINNING = b"access-control-"
_WITHOUT_LENGTH = frozenset({204, 304})


class Preflights:
    """Those of one room, in one process: so many at a time and in a second, and all else is refused.

    At most a tenth of the room's capacity run at a time, or LEAST_AT_ONCE.
    """

    def __init__(
        self, settings: Settings, counters: Counters, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = max(LEAST_AT_ONCE, settings.capacity // 10) if settings.preflights == "pass" else 0
        self._a_second = max(LEAST_A_SECOND, 2.0 * settings.capacity)
        self._counters = counters
        self._clock = clock
        self._running = 0
        self._left, self._looked_at = self._a_second, clock()

    async def pass_on(self, scope: Scope, receive: Receive, send: Send, site: ASGIApp) -> bool:
        """Have the site answer a preflight; return False where it may not be asked, or did not answer in time."""
        if not self._may_run():
            self._counters.add("refused_preflights")
            return False
        self._counters.add("preflights")
        question = _Question(send)
        given = scope["headers"]
        scope["headers"] = [pair for pair in given if _is_asked(pair[0])]
        self._running += 1
        try:
            await _ask(scope, receive, question, site)
        finally:
            self._running -= 1
            scope["headers"] = given
        return question.is_answered

    def _may_run(self) -> bool:
        now = self._clock()
        self._left = min(self._a_second, self._left + (now - self._looked_at) * self._a_second)
        self._looked_at = now
        if self._running >= self._most or self._left < 1:
            return False
        self._left -= 1
        return True


async def _ask(scope: Scope, receive: Receive, question: "_Question", site: ASGIApp) -> None:
    """Run the site for one preflight, until it is done, its time is up or nobody is there any more."""
    asking = asyncio.ensure_future(site(scope, question.receive, question.send))
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({asking, leaving}, timeout=LONGEST_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if question.is_answered:  # nobody is left to be answered, and the site may have things to put away
            await asyncio.wait({asking}, timeout=LONGEST_SECONDS)
    finally:
        leaving.cancel()
        is_done = asking.done()
        asking.cancel()
        # Also one that takes its time over ending counts as one that runs.
        await asyncio.wait({asking})
    # What came of one that was stopped, or cut, is nobody's affair.
    failure = None if asking.cancelled() else asking.exception()
    if failure and is_done and not question.is_cut:
        raise failure


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass  # nothing of what else it sends is kept


class _Question:
    """One preflight on its way to the site, and what goes back of the answer."""

    def __init__(self, send: Send) -> None:
        self.is_answered = False
        self.is_cut = False
        """The site had more to say than anybody listens to."""
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
        """Send the answer's status and what it says about origins; all else is dropped.

        Raises OSError where a stream goes on, as servers do whose client has left (ASGI, "Disconnected Client").
        """
        kind = message["type"]
        if kind == "http.response.start" and not self.is_answered:
            self.is_answered = True
            status = message["status"]
            start = {"type": kind, "status": status, "headers": _told(status, message.get("headers", ()))}
            await self._send(start)
            await self._send({"type": "http.response.body", "body": b""})
            return
        # Else a site that never waits for anything could never be stopped.
        await asyncio.sleep(0)
        if self.is_answered:
            self._is_over.set()
            if message.get("more_body"):
                self.is_cut = True
                raise OSError("nobody reads more of the answer to a preflight")


def _told(status: int, headers: Extra) -> Extra:
    kept = [pair for pair in headers if _is_told(pair[0].lower())]
    return kept if status in _WITHOUT_LENGTH else [*kept, (b"content-length", b"0")]


def _is_told(name: bytes) -> bool:
    return name in _TOLD or name.startswith(_TOLD_BEGINNING)


def _is_asked(name: bytes) -> bool:
    return name in _ASKED or name.startswith(_ASKED_BEGINNINGS)
