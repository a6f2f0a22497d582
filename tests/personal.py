"""A site whose pages are each visitor's own, or everybody's, and say so: to stand behind a shared cache."""

import json

from starlette.types import Receive, Scope, Send

from waitroom.web.middleware import WaitingRoomMiddleware


async def pages(scope: Scope, receive: Receive, send: Send) -> None:
    """`/all…` is the same for everybody; any other page tells whose it is, and is for nobody else."""
    assert scope["type"] == "http"
    visitor = scope["state"].get("waitroom")  # images come through uncounted while nobody waits
    shared = scope["path"].startswith("/all")
    control = b"public, max-age=600" if shared else b"private"
    told = {"site": "inside", "session": visitor.session if visitor and not shared else None}
    headers = [(b"content-type", b"application/json"), (b"cache-control", control)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})


def personal_site() -> WaitingRoomMiddleware:
    """For `uvicorn --factory`."""
    return WaitingRoomMiddleware(pages)
