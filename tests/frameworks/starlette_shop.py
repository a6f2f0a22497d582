import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
    yield {"goods": 7}


async def socket(line: WebSocket) -> None:
    await line.accept()
    async for text in line.iter_text():
        await line.send_text(f"heard {text} of {line.state.waitroom.number}")


async def version(line: WebSocket) -> None:
    await line.accept()
    await line.send_text(line.scope["http_version"])
    await line.close()


async def tell(request: Request) -> Response:
    return JSONResponse(
        {
            "site": "inside",
            "body": (await request.body()).decode(),
            "goods": getattr(request.state, "goods", None),
            "number": request.state.waitroom.number,
        }
    )


async def icon(_: Request) -> Response:
    """Browsers ask for one by themselves, with a pass or without."""
    return Response(status_code=404)


async def file(_: Request) -> Response:
    return FileResponse(__file__, media_type="text/plain")


async def events(_: Request) -> Response:
    """Say for how many seconds the stream has been open, until the visitor goes."""

    async def words() -> AsyncIterator[str]:
        opened = time.monotonic()
        while True:
            yield f"data: {time.monotonic() - opened:.1f}\n\n"
            await asyncio.sleep(0.2)

    return StreamingResponse(words(), media_type="text/event-stream")


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/favicon.ico", icon),
        Route("/file", file),
        Route("/events", events),
        WebSocketRoute("/socket", socket),
        WebSocketRoute("/version", version),
        Route("/{path:path}", tell, methods=["GET", "POST"]),
    ],
)
