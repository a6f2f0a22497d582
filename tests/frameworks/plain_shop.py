import json
from typing import Any

from starlette.types import Receive, Scope, Send


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Know nothing of lifespan, as many small apps do."""
    if scope["type"] == "websocket":
        await socket(scope, receive, send)
        return
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    told: dict[str, Any] = {"site": "inside", "body": body.decode(), "goods": None}
    told["number"] = scope["state"]["waitroom"].number
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})


async def socket(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        number = scope["state"]["waitroom"].number
        await send({"type": "websocket.send", "text": f"heard {message['text']} of {number}"})
