"""What the command line's server processes serve: a site behind the gate, or the gate's routes alone."""

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.importer import import_from_string

from waitroom.answers import problem
from waitroom.middleware import WaitingRoomMiddleware
from waitroom.settings import handed_down, load


def gated_site() -> WaitingRoomMiddleware:
    """Wrap the site that `waitroom run` was given; called once in each worker."""
    site: ASGIApp = import_from_string(handed_down())
    return WaitingRoomMiddleware(site)


def made_site() -> WaitingRoomMiddleware:
    """Wrap the site that the function given to `waitroom run --factory` makes."""
    return WaitingRoomMiddleware(import_from_string(handed_down())())


def service() -> WaitingRoomMiddleware:
    """Serve the routes with no site behind them, as `waitroom serve` does."""
    settings = load(paths=())
    return WaitingRoomMiddleware(_NoSite(settings.prefix), settings=settings)


class _NoSite:
    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            response = problem(
                404, "no-site", f"There is no site here; the routes are below {self._prefix}/."
            )
            await response(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            raise RuntimeError("lifespan is the gate's alone")
