from typing import Any

from litestar import Litestar, Request, WebSocket, route, websocket


async def stock(app: Litestar) -> None:
    app.state.goods = 7


@websocket("/socket")
async def socket(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    async for text in socket.iter_data("text"):
        await socket.send_text(f"heard {text} of {socket.scope['state']['waitroom'].number}")


@route(["/", "/{_:path}"], http_method=["GET", "POST"], status_code=200)
async def tell(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return {
        "site": "inside",
        "body": (await request.body()).decode(),
        "goods": request.app.state.get("goods"),
        "number": request.scope["state"]["waitroom"].number,
    }


app = Litestar([socket, tell], on_startup=[stock])
