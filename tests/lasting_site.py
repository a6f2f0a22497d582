"""A site whose work outlasts its responses and whose life may end early, seen by a middleware outside its gate.

Below `/outside/` nothing is protected: there the tests ask what goes on, and say what is to happen.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from waitroom import WaitingRoomMiddleware

working: set[str] = set()
seen: dict[str, Any] = {}


class Happening:
    """What a test may let happen, in whatever loop the server runs."""

    let_go: asyncio.Event
    fall_ill: asyncio.Event


async def work(path: str) -> None:
    working.add(path)
    await Happening.let_go.wait()
    working.discard(path)


async def page(request: Request) -> Response:
    """Answer, and work on until a test lets go."""
    return PlainTextResponse("inside", background=BackgroundTask(work, request.url.path))


async def leave(request: Request) -> Response:
    headers = {"Waitroom-Command": "release"}
    return PlainTextResponse("goodbye", headers=headers, background=BackgroundTask(work, request.url.path))


async def goods(request: Request) -> Response:
    request.state.user = "somebody"
    request.scope["tenant"] = "acme"
    return PlainTextResponse("inside")


async def at_work(_: Request) -> Response:
    return JSONResponse(sorted(working))


async def let_go(_: Request) -> Response:
    Happening.let_go.set()
    return PlainTextResponse("all may end")


async def fall_ill(_: Request) -> Response:
    Happening.fall_ill.set()
    return PlainTextResponse("it will")


async def tell(_: Request) -> Response:
    return JSONResponse(seen)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    Happening.let_go, Happening.fall_ill = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        patient = tasks.create_task(fails())
        yield
        patient.cancel()
    Happening.let_go.set()


async def fails() -> None:
    await Happening.fall_ill.wait()
    raise RuntimeError("the shop's worker died")


class Outside:
    """Notes what the site has added to a scope, as metrics and error reports do."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)
        if scope["type"] == "http" and "/goods/" in scope["path"]:
            seen.update(
                endpoint=scope["endpoint"].__name__,
                number=scope["path_params"]["number"],
                route=getattr(scope.get("route"), "path", None),
                tenant=scope["tenant"],
                user=scope["state"]["user"],
                credentials="waitroom" in scope["state"],
            )


site = Starlette(
    lifespan=lifespan,
    routes=[
        Mount("/shop", routes=[Route("/goods/{number:int}", goods)]),
        Route("/pay/leave", leave),
        Route("/outside/working", at_work),
        Route("/outside/let-go", let_go),
        Route("/outside/fall-ill", fall_ill),
        Route("/outside/seen", tell),
        Route("/{path:path}", page),
    ],
)

app = Outside(WaitingRoomMiddleware(site))
