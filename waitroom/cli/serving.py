"""What the command line's server processes serve: a site behind the gate, here or elsewhere, or the routes alone."""

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.importer import import_from_string

from waitroom.config.environment import handed_down
from waitroom.config.rooms import load_rooms
from waitroom.config.settings import Settings
from waitroom.web.answers.answer import problem
from waitroom.web.answers.draining import Draining
from waitroom.web.middleware import WaitingRoomMiddleware


def gated_site() -> WaitingRoomMiddleware:
    """Wrap the site that `waitroom run` was given; called once in each worker."""
    target, flags = handed_down()
    site: ASGIApp = import_from_string(target)
    return WaitingRoomMiddleware(site, **flags)


def gated_proxy() -> WaitingRoomMiddleware:
    """Gate the site elsewhere that `waitroom proxy` was given; called once in each worker."""
    from waitroom.proxy.proxy import Proxy  # what it needs comes with an extra

    target, flags = handed_down()
    base, seconds = target.split()
    return WaitingRoomMiddleware(Proxy(base, float(seconds)), **flags)


def made_site() -> WaitingRoomMiddleware:
    """Wrap the site that the function given to `waitroom run --factory` makes."""
    target, flags = handed_down()
    return WaitingRoomMiddleware(import_from_string(target)(), **flags)


def service() -> WaitingRoomMiddleware:
    """Serve the routes with no site behind them, as `waitroom serve` does."""
    rooms = load_rooms(**handed_down()[1], service=True)
    return WaitingRoomMiddleware(_NoSite(rooms[0]), settings=rooms)


class _NoSite:
    def __init__(self, settings: Settings) -> None:
        self._prefix = settings.prefix
        self._draining = Draining(settings.body_limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            response = problem(
                404, "no-site", f"There is no site here; the routes are below {self._prefix}/."
            )
            await self._draining.answer(response, scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            raise RuntimeError("lifespan is the gate's alone")
