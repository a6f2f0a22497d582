"""As little a site as can be, behind the gate: what is measured is the gate."""

from starlette.types import Receive, Scope, Send

from waitroom.web.middleware import WaitingRoomMiddleware

INSIDE = b"inside"


async def _shop(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-length", b"%d" % len(INSIDE)), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": INSIDE})


shop = WaitingRoomMiddleware(_shop)
