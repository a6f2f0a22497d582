"""What is seen of a first visit's response: whether a browser may come back with the cookie that was set in it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from urllib.parse import unquote, urlsplit

from starlette.types import Message, Receive, Scope

from waitroom.web.answers.answer import Extra
from waitroom.web.relay import Asked

REDIRECTS = frozenset({301, 302, 303, 307, 308})
QUICK_SECONDS = 0.1
"""A response that begins within this time is taken to find its client still there: looking costs a task."""
LOOKS = 3
"""Turns of the event loop in which a server has said what it knows already."""


class FirstVisit:
    """One request of somebody who has shown no cookie yet; `keeps`: its slot is to wait for them to come back."""

    def __init__(self, scope: Scope, asked: Asked, keeps: bool) -> None:
        self._keeps = keeps
        self._is_gone = False
        self._is_told = False
        self._began = time.monotonic()
        self._reading = 0
        self._pending: asyncio.Task[Message] | None = None
        self._url = asked[1], _host(asked[2]), scope["path"]
        self._root = scope.get("root_path", "")

    def watching(self, receive: Receive) -> Receive:
        """Receive as before, and notice when the client is gone before it was told anything."""
        self._receive = receive

        async def receive_on() -> Message:
            pending, self._pending = self._pending, None
            self._reading += 1
            try:
                message = await (pending or receive())
            finally:
                self._reading -= 1
            self._is_gone = self._is_gone or message["type"] == "http.disconnect"
            return message

        return receive_on

    def looking_first(
        self, begin: Callable[[Message], Awaitable[None]]
    ) -> Callable[[Message], Awaitable[None]]:
        """Begin the response as `begin` does; where it took a while, look whether anybody is there to be told."""

        async def look_and_begin(message: Message) -> None:
            await self._look()
            await begin(message)

        def begin_in_time(message: Message) -> Awaitable[None]:
            is_quick = time.monotonic() - self._began < QUICK_SECONDS
            return begin(message) if is_quick else look_and_begin(message)

        return begin_in_time

    async def _look(self) -> None:
        """Notice a client that is gone, also where the site never reads what comes; what does come is kept for it."""
        if self._reading:
            return  # the site looks itself
        self._pending = asyncio.ensure_future(self._receive())
        for _ in range(LOOKS):
            await asyncio.sleep(0)
        if self._pending.done():
            self._is_gone = self._is_gone or self._pending.result()["type"] == "http.disconnect"

    def takes_cookie(self, status: int, headers: Extra) -> bool:
        """Tell whether the response that begins now is to carry the cookie."""
        if status in REDIRECTS and self._leads_to_another_origin(headers):
            return False
        self._is_told = not self._is_gone
        return True

    def end(self) -> bool:
        """Stop looking, as the response is over; tells whether the slot is to be kept for a moment."""
        if self._pending is not None and not self._pending.done():
            self._pending.cancel()
            self._pending = None
        return self._keeps and self._is_told

    def _leads_to_another_origin(self, headers: Extra) -> bool:
        """Tell a redirect to the same path by https or on another host: a cookie of this origin may not get there."""
        scheme, host, path = self._url
        for name, value in headers:
            if name.lower() == b"location":
                try:
                    there = urlsplit(value.decode("latin-1"))
                except ValueError:
                    return False
                origin = there.scheme or scheme, there.netloc.lower()
                is_same_path = (unquote(there.path) or "/") in (path, self._root + path)
                return bool(there.netloc) and is_same_path and origin != (scheme, host)
        return False


def _host(headers: Extra) -> str:
    return next((value.decode("latin-1").lower() for name, value in headers if name == b"host"), "")
