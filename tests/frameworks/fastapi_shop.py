from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, WebSocket


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.goods = 7
    yield


app = FastAPI(lifespan=lifespan)


@app.websocket("/socket")
async def socket(line: WebSocket) -> None:
    await line.accept()
    async for text in line.iter_text():
        await line.send_text(f"heard {text} of {line.state.waitroom.number}")


@app.api_route("/{path:path}", methods=["GET", "POST"])
async def tell(request: Request) -> dict[str, Any]:
    return {
        "site": "inside",
        "body": (await request.body()).decode(),
        "goods": getattr(request.app.state, "goods", None),
        "number": request.state.waitroom.number,
    }
