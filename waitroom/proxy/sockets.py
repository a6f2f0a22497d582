"""A WebSocket between a visitor and the site behind the proxy: messages both ways, and how it ended."""

import asyncio
from contextlib import suppress
from typing import Any

import aiohttp
from starlette.types import Receive, Send

from waitroom.proxy.forwarding import Pairs, response_headers

LARGEST_MESSAGE = 16 * 1024 * 1024
"""From the site, bytes; the server takes as much from the visitor."""

NORMAL, NO_CODE, VANISHED, SITE_FAILED = 1000, 1005, 1006, 1011
"""Close codes (RFC 6455, 7.4.1). 1014 would name a site that failed, but browsers don't all know it."""


class Line(aiohttp.ClientWebSocketResponse):
    """A WebSocket to the site that remembers the headers of its acceptance."""

    headers: Pairs

    def __init__(
        self, reader: Any, writer: Any, protocol: Any, response: Any, *more: Any, **named: Any
    ) -> None:
        super().__init__(reader, writer, protocol, response, *more, **named)
        headers = response_headers(response.status, response.raw_headers)
        # The server makes the answers to the visitor's key and offers itself.
        self.headers = [pair for pair in headers if not pair[0].startswith(b"sec-websocket-")]


async def talk(line: Line, receive: Receive, send: Send) -> None:
    """Accept the visitor's WebSocket, and pass on what either side says until one has closed."""
    async with line:
        await send({"type": "websocket.accept", "subprotocol": line.protocol, "headers": line.headers})
        async with asyncio.TaskGroup() as both:
            speaking = both.create_task(_from_visitor(line, receive))
            ended = await _from_site(line, send)
            if ended is not None:
                speaking.cancel()
            # else the visitor's own code closes the site's side
        if ended is not None:
            await send({"type": "websocket.close", "code": ended[0], "reason": ended[1]})


async def _from_visitor(line: Line, receive: Receive) -> None:
    # What is said to a site that has closed already is lost; `_from_site` hears of the end.
    with suppress(aiohttp.ClientError):
        while (message := await receive())["type"] == "websocket.receive":
            if message.get("text") is not None:
                await line.send_str(message["text"])
            else:
                await line.send_bytes(message["bytes"])
        # Two codes say that there was none, and can't be sent; the server does not tell who vanished.
        code = NORMAL if message["code"] in (NO_CODE, VANISHED) else message["code"]
        await line.close(code=code, message=(message.get("reason") or "").encode())


async def _from_site(line: Line, send: Send) -> tuple[int, str] | None:
    """Pass on until the end; answers the site's close code and reason, or None where the visitor has left."""
    while True:
        message = await line.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            said = {"type": "websocket.send", "text": message.data}
        elif message.type is aiohttp.WSMsgType.BINARY:
            said = {"type": "websocket.send", "bytes": message.data}
        elif message.type is aiohttp.WSMsgType.CLOSE:
            return message.data or NORMAL, message.extra or ""
        elif message.type is aiohttp.WSMsgType.CLOSING:
            return None
        else:
            return SITE_FAILED, ""
        try:
            await send(said)
        except (
            OSError,
            RuntimeError,
        ):  # the second where the server has closed on a visitor with bad manners
            return None
