"""A reverse proxy as an ASGI site, so that the gate can stand in front of a site of any language.

Why not a library: fastapi-proxy-lib 0.3 rebuilds the path and the query from their decoded forms, replaces `Host`,
makes one of several `Set-Cookie`, leaves out the bodies of GET and cuts no stream off that the site broke off;
asgi-proxy-lib reads uploads whole and knows no WebSockets; asgiproxy reads answers below 5 MB whole.

Why aiohttp: it sends the target as it is, reads the answer while the upload still goes on, asks once more where an
idle connection turns out closed, and speaks WebSocket. The pool of httpx and httpx2 goes through all its connections
for every request, sends the whole upload before it reads, and asks nothing twice.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import cast

import aiohttp
from starlette.types import Message, Receive, Scope, Send
from yarl import URL

from waitroom.proxy.forwarding import (
    MOST_NAMES,
    are_sound,
    has_too_many_names,
    request_headers,
    response_headers,
    target_of,
)
from waitroom.proxy.sockets import LARGEST_MESSAGE, Line, talk
from waitroom.web.again import draining_of, vouchers
from waitroom.web.answers.answer import Answer, problem
from waitroom.web.answers.draining import Draining
from waitroom.web.requests.framing import has_body

CONNECT_SECONDS = 10
IDLE_SECONDS = 1
"""How long a connection to the site is kept for the next request: less than any usual server keeps it."""
LONGEST_HEADER = 65_536

log: logging.Logger = logging.getLogger("waitroom")


class Proxy:
    """Passes requests on to the site at `base`, such as http://127.0.0.1:8080.

    `seconds` is how long the site may take to begin its answer; a stream that has begun may be silent for as long
    as it likes.
    """

    faces_visitors = True
    """What a gate in front of this one would say is not believed: visitors speak to this one."""

    def __init__(self, base: str, seconds: float) -> None:
        self._base = base
        self._seconds = seconds
        self._draining = Draining()
        self._session: aiohttp.ClientSession

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the lifespan."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._session = aiohttp.ClientSession(
            # The gate says how many are inside; here nobody waits for a free connection.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            # A jar would hand one visitor's cookies to the next.
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            auto_decompress=False,
            max_line_size=LONGEST_HEADER,
            max_field_size=LONGEST_HEADER,
            ws_response_class=Line,
        )
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._session.close()
        await send({"type": "lifespan.shutdown.complete"})

    # -- HTTP -------------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        target = target_of(scope)
        if target is None or has_too_many_names(scope):
            await self._answer(_refusal(target), scope, receive, send)
            return
        visit = _Visit(receive, self._seconds)
        try:
            async with visit.limit:
                await self._pass_on(scope, URL(self._base + target, encoded=True), visit, send)
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
            if visit.gone:
                return
            response = self._failed(error)
            # Where the answer has begun, returning without its end makes the server cut the connection: the
            # visitor must not take a half for the whole.
            if not visit.answered:
                await self._answer(response, scope, visit.rest, send)

    async def _answer(self, response: Answer, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in the site's place, within the bounds of the room whose gate stands in front."""
        await (draining_of(scope) or self._draining).answer(response, scope, receive, send)

    async def _pass_on(self, scope: Scope, url: URL, visit: "_Visit", send: Send) -> None:
        uploads = has_body(scope)
        watch = asyncio.ensure_future(visit.watch(uploads))
        try:
            async with self._session.request(
                scope["method"],
                url,
                headers=request_headers(scope) + vouchers(scope, url.raw_path_qs),
                data=visit.upload() if uploads else None,
                allow_redirects=False,
            ) as answer:
                headers = response_headers(answer.status, answer.raw_headers)
                if not (200 <= answer.status <= 599 and are_sound(headers)):
                    raise aiohttp.ClientPayloadError(f"an answer of status {answer.status} is not HTTP")
                visit.has_answer()
                await send({"type": "http.response.start", "status": answer.status, "headers": headers})
                async for piece in answer.content.iter_any():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            watch.cancel()

    def _failed(self, error: Exception) -> Answer:
        """Tell the log what went wrong, in a line, and the visitor only that it did."""
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        log.warning("the site at %s failed: %s", self._base, reason)
        if isinstance(error, TimeoutError):
            return problem(504, "site-too-slow", "The site took too long to answer.")
        return problem(502, "site-away", "The site can't be reached or broke off. Try again in a moment.")

    # -- WebSockets -------------------------------------------------------------------------------

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        target = target_of(scope)
        if target is None or has_too_many_names(scope):
            await _deny(send, _refusal(target))
            return
        try:
            line = await self._connect(scope, URL(self._base + target, encoded=True))
        except aiohttp.WSServerHandshakeError as denied:
            await _deny(send, self._denied(denied))
        except (aiohttp.ClientError, OSError) as error:
            await _deny(send, self._failed(error))
        else:
            await talk(line, receive, send)

    async def _connect(self, scope: Scope, url: URL) -> Line:
        async with asyncio.timeout(self._seconds):
            line = await self._session.ws_connect(
                url,
                protocols=scope["subprotocols"],
                headers=request_headers(scope) + vouchers(scope, url.raw_path_qs),
                max_msg_size=LARGEST_MESSAGE,
            )
        return cast("Line", line)  # as the session was told

    def _denied(self, denied: aiohttp.WSServerHandshakeError) -> Answer:
        """The site's refusal; the client library does not keep its body."""
        if denied.status == 101:
            return self._failed(denied)
        told = denied.headers.items() if denied.headers else ()
        raw = [(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in told]
        headers = response_headers(denied.status, raw)
        return Answer(denied.status, [pair for pair in headers if not pair[0].startswith(b"content-")])


class _Visit:
    """One request on its way: what the visitor still sends, whether they are there, how long the site may take."""

    def __init__(self, receive: Receive, seconds: float) -> None:
        self._receive = receive
        self._seconds = seconds
        self._sent = asyncio.Event()
        self._has_more = True
        self.limit = asyncio.timeout(seconds)
        self.answered = False
        self.gone = False

    async def upload(self) -> AsyncIterator[bytes]:
        """Hand on the body piece by piece; the visitor's own pace is not the site's fault."""
        more = True
        try:
            while more:
                self._allow(None)
                message = await self._receive()
                self._allow(None if self.answered else self._seconds)
                if message["type"] == "http.disconnect":
                    self.gone = True
                    # To end here would be to say that this was all.
                    raise ConnectionResetError("the visitor has gone")
                more = self._has_more = message.get("more_body", False)
                if body := message.get("body"):
                    yield body
        finally:
            self._sent.set()  # also where the site has answered early and reads no more

    async def rest(self) -> Message:
        """Receive what the visitor has not sent yet, for whoever answers in the site's place."""
        return await self._receive() if self._has_more else {"type": "http.request"}

    async def watch(self, uploads: bool) -> None:
        """Give the request up where its visitor has gone."""
        if uploads:
            await self._sent.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._allow(0)  # ends it at once
        self.gone = True

    def has_answer(self) -> None:
        """Let the site take its time from here on."""
        self._allow(None)
        self.answered = True

    def _allow(self, seconds: float | None) -> None:
        if not (self.gone or self.limit.expired()):
            now = asyncio.get_running_loop().time()
            self.limit.reschedule(None if seconds is None else now + seconds)


def _refusal(target: str | None) -> Answer:
    if target is None:
        return problem(400, "not-a-path", "The address asked for is not a path of this site.")
    most = f"A request may have headers of no more than {MOST_NAMES} names."
    return problem(431, "too-many-headers", most)


async def _deny(send: Send, response: Answer) -> None:
    start = {"status": response.status, "headers": response.headers}
    await send({"type": "websocket.http.response.start", **start})
    await send({"type": "websocket.http.response.body", "body": response.body})
