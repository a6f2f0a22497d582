from typing import Any

from quart import Quart, request, websocket

app = Quart(__name__)


@app.before_serving
async def stock() -> None:
    app.config["GOODS"] = 7


@app.websocket("/socket")
async def socket() -> None:
    while True:
        number = websocket.scope["state"]["waitroom"].number
        await websocket.send(f"heard {await websocket.receive()!s} of {number}")


@app.route("/", methods=["GET", "POST"])
@app.route("/<path:_>", methods=["GET", "POST"])
async def tell(_: str = "") -> dict[str, Any]:
    return {
        "site": "inside",
        "body": await request.get_data(as_text=True),
        "goods": app.config.get("GOODS"),
        "number": request.scope["state"]["waitroom"].number,
    }
