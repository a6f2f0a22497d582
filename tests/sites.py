"""Sites that the tests put behind the gate: one of Starlette, one of plain ASGI."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from waitroom.web.middleware import WaitingRoomMiddleware


async def _echo(request: Request) -> Response:
    """Tell what the site got to see of a request."""
    visitor = getattr(request.state, "waitroom", None)
    return JSONResponse(
        {
            "site": "inside",
            "path": request.url.path,
            "query": request.url.query,
            "method": request.method,
            "body": (await request.body()).decode("utf-8", "replace"),
            "cookies": request.cookies,
            "headers": [name for name, _ in request.headers.items()],
            "number": visitor and visitor.number,
            "session": visitor and visitor.session,
            "waited": visitor and visitor.waited_seconds,
        }
    )


async def _release(_: Request) -> Response:
    return PlainTextResponse("goodbye", headers={"Waitroom-Command": "release"})


async def _cached(request: Request) -> Response:
    status = int(request.query_params.get("status", "200"))
    headers = {"Cache-Control": request.query_params["control"]}
    return PlainTextResponse("inside, for all", status, headers)


_steps: asyncio.Queue[None] = asyncio.Queue()


async def _stepwise(_: Request) -> Response:
    """A stream that writes its next piece when `/step` is asked for."""

    async def pieces() -> AsyncIterator[bytes]:
        for piece in range(3):
            yield b"inside, piece %d\n" % piece
            await _steps.get()

    return StreamingResponse(pieces(), media_type="text/plain")


async def _step(_: Request) -> Response:
    _steps.put_nowait(None)
    return PlainTextResponse("inside, stepped")


async def _upload(request: Request) -> Response:
    return PlainTextResponse(f"inside, {sum([len(piece) async for piece in request.stream()])} bytes")


async def _socket(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(f"heard {text}")


site = Starlette(
    routes=[
        Route("/release", _release),
        Route("/cached", _cached),
        Route("/stepwise", _stepwise),
        Route("/step", _step),
        Route("/upload", _upload, methods=["POST"]),
        WebSocketRoute("/socket", _socket),
        Route("/{path:path}", _echo, methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
    ]
)

starlette_site = Starlette(routes=site.routes)
starlette_site.add_middleware(WaitingRoomMiddleware)


@asynccontextmanager
async def _no_start(app: Starlette) -> AsyncIterator[None]:
    if app.routes == []:
        raise RuntimeError("the shop has no goods")
    yield


site_without_goods = Starlette(lifespan=_no_start)
site_without_goods.add_middleware(WaitingRoomMiddleware)


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that knows nothing but HTTP, not even lifespan."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"inside"})


def plain_site() -> WaitingRoomMiddleware:
    """For `uvicorn --factory`."""
    return WaitingRoomMiddleware(plain)


def saying(*headers: tuple[bytes, bytes], text: str = "inside") -> ASGIApp:
    """A site that answers everything alike, with these headers, by which it may speak to the gate."""

    async def answers(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        await send({"type": "http.response.body", "body": text.encode()})

    return answers


def without_cookies(app: ASGIApp) -> ASGIApp:
    """Put something on the way that lets no cookie through."""

    async def on_the_way(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_on(message: Message) -> None:
            headers = [pair for pair in message.get("headers", ()) if pair[0] != b"set-cookie"]
            await send({**message, "headers": headers} if "headers" in message else message)

        await app(scope, receive, send_on)

    return on_the_way
