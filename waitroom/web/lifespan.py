"""The gate's own start and stop around those of the site."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waitroom.errors import WaitroomError

log: logging.Logger = logging.getLogger("waitroom")


class SiteLifespan:
    """The site's side of the protocol, driven step by step; a site that does not speak it is left in peace."""

    def __init__(self, app: ASGIApp, scope: Scope) -> None:
        self._to_site: asyncio.Queue[Message] = asyncio.Queue()
        self._from_site: asyncio.Queue[Message] = asyncio.Queue()
        self._said = ""
        self._asked = ""
        self._task = asyncio.ensure_future(self._run(app, scope))

    async def _run(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self._to_site.get, self._hear)
        except (Exception, BaseExceptionGroup) as error:
            if self._said.endswith(".complete"):
                # The server would log it, and go on serving. It hears nothing of it, and the site is not asked
                # before the shutdown, which may be days away.
                log.error("Exception in the site's 'lifespan' protocol", exc_info=error)
            else:
                # Raising is how a site says that it does not speak lifespan; one that does and fails says so first.
                log.debug("the site does not speak lifespan: %r", error)

    async def _hear(self, message: Message) -> None:
        self._said = message["type"]
        if self._said == "lifespan.shutdown.failed" and self._asked != "shutdown":
            # So Starlette says that it dies; the server hears of it with the shutdown, which may be days away.
            log.error("The site's lifespan has ended while it runs: %s", message.get("message", ""))
        await self._from_site.put(message)

    async def step(self, name: str) -> str | None:
        """Take the site through `startup` or `shutdown`; answers what it failed with, None when all is well."""
        self._asked = name
        await self._to_site.put({"type": f"lifespan.{name}"})
        said = asyncio.ensure_future(self._from_site.get())
        await asyncio.wait([said, self._task], return_when=asyncio.FIRST_COMPLETED)
        if not said.done() and self._from_site.empty():
            said.cancel()
            return None
        message = await said
        return message.get("message", "") if message["type"] == f"lifespan.{name}.failed" else None

    async def end(self) -> None:
        """Let the site's lifespan task finish, or end it."""
        if self._task.done():
            return  # at once: a server that has heard of the shutdown may cancel whoever still waits
        await asyncio.wait([self._task], timeout=1.0)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def run_lifespan(
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    start: Callable[[], Awaitable[Any]],
    stop: Callable[[], Awaitable[Any]],
) -> None:
    """Start the gate, then the site; stop the site, then the gate. The server hears of one application."""
    await receive()
    refused = None
    try:
        await start()
    except WaitroomError as error:
        refused = str(error)
    if refused is not None:
        # Outside of the `except`: a server that raises here would tell the story of both errors.
        await send({"type": "lifespan.startup.failed", "message": refused})
        return
    site = SiteLifespan(app, scope)
    try:
        failed = await site.step("startup")
        if failed is not None:
            await stop()
            await send({"type": "lifespan.startup.failed", "message": failed})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        failed = await site.step("shutdown")
        await site.end()
        await stop()
        if failed is None:
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await send({"type": "lifespan.shutdown.failed", "message": failed})
    finally:
        await site.end()
