"""A request on its way to the site and back: where it ends, and what stands outside the gate sees of it."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.gates import API, client_of, eventually, gated, session
from waitroom.config.settings import Settings
from waitroom.web.middleware import WaitingRoomMiddleware

Make = Callable[..., Settings]
START: Message = {"type": "http.response.start", "status": 200, "headers": []}
RELEASED: Message = {**START, "headers": [(b"waitroom-command", b"release")]}
LAST: Message = {"type": "http.response.body", "body": b"inside"}

pytestmark = pytest.mark.usefixtures("patience")


class Busy:
    """A site that sends these messages and then goes on working, until it is let go."""

    def __init__(self, *messages: Message) -> None:
        self._messages = messages
        self.sent = asyncio.Event()
        self.let_go = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; lifespan is not spoken."""
        assert scope["type"] == "http"
        for message in self._messages:
            await send(message)
        self.sent.set()
        await self.let_go.wait()


def http(path: str = "/", cookie: str = "", **more: Any) -> Scope:
    headers = [(b"host", b"shop.test"), (b"cookie", cookie.encode()), (b"x-own", b"1")]
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "state": {},
        **more,
    }


async def nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def into_nowhere(message: Message) -> None:
    """Nobody looks at what is sent."""


async def pass_of(gate: WaitingRoomMiddleware, client: httpx.AsyncClient, is_known: bool) -> str:
    """Get a pass; one that is known goes the short way."""
    token: str = (await session(client))["pass"]
    if is_known:
        gate._gates[0].room.read(token)
    return token


def open_requests(gate: WaitingRoomMiddleware) -> int:
    return len(gate._gates[0].room.sessions._open)


async def inside(gate: WaitingRoomMiddleware) -> int:
    async with client_of(gate) as anybody:
        return int((await anybody.get(f"{API}/window")).json()["inside"])


ENDINGS: list[tuple[str, Sequence[Message]]] = [
    ("http.response.body", [LAST]),
    ("http.response.body, the last of several", [{**LAST, "more_body": True}, LAST]),
    ("http.response.pathsend", [{"type": "http.response.pathsend", "path": "/nowhere"}]),
    ("http.response.zerocopysend", [{"type": "http.response.zerocopysend", "file": 0}]),
    ("http.response.trailers", [LAST, {"type": "http.response.trailers", "headers": []}]),
]


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("released", [True, False])
@pytest.mark.parametrize("messages", [each for _, each in ENDINGS], ids=[name for name, _ in ENDINGS])
async def test_a_request_ends_with_the_last_piece_of_its_response(
    settings: Make, room: str, is_known: bool, messages: Sequence[Message], released: bool
) -> None:
    """What the site does afterwards, such as a background task, is no part of it."""
    start = {**(RELEASED if released else START), "trailers": messages[-1]["type"].endswith("trailers")}
    site = Busy(start, *messages)
    async with gated(site, settings=settings()) as gate, client_of(gate) as client:
        token = await pass_of(gate, client, is_known)
        scope = http(cookie=f"waitroom-{room}={token}")
        running = asyncio.create_task(gate(scope, nothing, into_nowhere))
        await site.sent.wait()
        assert not running.done()
        assert open_requests(gate) == 0
        if released:

            async def is_out() -> bool:
                return await inside(gate) == 0

            await eventually(is_out)
        site.let_go.set()
        await running


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize(
    "messages",
    [
        [START],
        [START, {**LAST, "more_body": True}],
        [{**START, "trailers": True}, LAST],
        [{**START, "trailers": True}, LAST, {"type": "http.response.trailers", "more_trailers": True}],
        [{"type": "http.response.debug", "info": {}}, START],
    ],
)
async def test_a_response_of_which_more_follows_keeps_its_lease(
    settings: Make, room: str, is_known: bool, messages: Sequence[Message]
) -> None:
    site = Busy(*messages)
    async with gated(site, settings=settings()) as gate, client_of(gate) as client:
        token = await pass_of(gate, client, is_known)
        running = asyncio.create_task(gate(http(cookie=f"waitroom-{room}={token}"), nothing, into_nowhere))
        await site.sent.wait()
        assert open_requests(gate) == 1
        site.let_go.set()
        await running
        assert open_requests(gate) == 0


async def test_a_release_from_beside_the_protected_paths_does_not_wait_for_the_sites_work(
    settings: Make, room: str
) -> None:
    site = Busy(RELEASED, LAST)
    async with gated(site, settings=settings(paths="/shop/*")) as gate, client_of(gate) as client:
        token = (await session(client))["pass"]
        scope = http("/out", cookie=f"waitroom-{room}={token}; a=1")
        running = asyncio.create_task(gate(scope, nothing, into_nowhere))
        await site.sent.wait()
        assert await inside(gate) == 0
        site.let_go.set()
        await running


@pytest.mark.parametrize("is_known", [False, True])
async def test_a_visitor_who_is_gone_when_the_last_piece_is_sent_is_released_all_the_same(
    settings: Make, room: str, is_known: bool
) -> None:
    async def breaks(message: Message) -> None:
        if message["type"] == "http.response.body":
            raise OSError("gone")

    site = Busy(RELEASED, LAST)
    async with gated(site, settings=settings()) as gate, client_of(gate) as client:
        token = await pass_of(gate, client, is_known)
        with pytest.raises(OSError, match="gone"):
            await gate(http(cookie=f"waitroom-{room}={token}"), nothing, breaks)
        assert open_requests(gate) == 0
        assert await inside(gate) == 0


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("paths", ["/*", "/elsewhere"])
async def test_a_site_that_fails_after_it_has_released_releases_all_the_same(
    settings: Make, room: str, is_known: bool, paths: str
) -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await send(RELEASED)
        raise RuntimeError("out of goods")

    async with gated(fails, settings=settings(paths=paths)) as gate, client_of(gate) as client:
        token = await pass_of(gate, client, is_known)
        with pytest.raises(RuntimeError, match="out of goods"):
            await gate(http(cookie=f"waitroom-{room}={token}"), nothing, into_nowhere)
        assert open_requests(gate) == 0
        assert await inside(gate) == 0


async def test_a_site_that_fails_before_its_response_ends_the_request(settings: Make, room: str) -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        raise RuntimeError("out of goods")

    async with gated(fails, settings=settings()) as gate, client_of(gate) as client:
        token = await pass_of(gate, client, is_known=True)
        with pytest.raises(RuntimeError, match="out of goods"):
            await gate(http(cookie=f"waitroom-{room}={token}"), nothing, into_nowhere)
        assert open_requests(gate) == 0


@pytest.mark.parametrize("closes", ["site", "client", "denial"])
async def test_a_websocket_ends_when_either_side_closes_it(settings: Make, room: str, closes: str) -> None:
    let_go, done = asyncio.Event(), asyncio.Event()

    async def site(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "websocket"
        await receive()
        if closes == "denial":
            await send({"type": "websocket.http.response.start", "status": 404, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"no", "more_body": True})
            await send({"type": "websocket.http.response.body", "body": b"where"})
        else:
            await send({"type": "websocket.accept"})
            assert len(gate._gates[0].room.sessions._open) == 1
            if closes == "site":
                await send({"type": "websocket.close", "code": 1000})
            await receive()
        done.set()
        await let_go.wait()

    said: Iterator[Message] = iter(
        [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1001}]
    )

    async def receive() -> Message:
        return next(said)

    async with gated(site, settings=settings()) as gate, client_of(gate) as client:
        token = (await session(client))["pass"]
        scope = {**http(cookie=f"waitroom-{room}={token}"), "type": "websocket", "subprotocols": []}
        del scope["method"]
        running = asyncio.create_task(gate(scope, receive, into_nowhere))
        await done.wait()
        assert open_requests(gate) == 0
        let_go.set()
        await running


# -- the scope -----------------------------------------------------------------------------------


async def goods(request: Request) -> Response:
    assert "waitroom" not in request.headers.get("cookie", "")
    request.state.user = "somebody"
    request.scope["tenant"] = "acme"
    request.state.seen = getattr(request.state, "waitroom", None)
    return PlainTextResponse("inside", background=BackgroundTask(_look, request))


async def _look(request: Request) -> None:
    request.scope["later"] = "waitroom" not in str(request.headers)


SITE = Starlette(routes=[Mount("/shop", routes=[Route("/goods/{number:int}", goods)])])


class Outside:
    """What stands outside the gate, such as a middleware for metrics: it keeps each request's scope."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.scope: Scope = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        await self._app(scope, receive, send)


WAYS: dict[str, dict[str, Any]] = {
    "with a pass": {},
    "uncounted": {"paths": "/elsewhere"},
    "bypassed": {"bypass": True},
    "limited": {"join_limit": 60},
}


@pytest.mark.parametrize("with_state", [True, False])
@pytest.mark.parametrize("way", WAYS)
async def test_what_the_site_adds_to_a_request_is_seen_outside_the_gate(
    settings: Make, room: str, way: str, with_state: bool
) -> None:
    keywords = dict(WAYS[way])
    bypass: dict[str, Any] = {"bypass": lambda _: True} if keywords.pop("bypass", False) else {}
    async with gated(SITE, settings=settings(**keywords), **bypass) as gate, client_of(gate) as client:
        token = (await session(client))["pass"]
        outside = Outside(gate)
        cookie = f"waitroom-{room}={token}; basket=3"
        if way == "limited":
            cookie = "basket=3"
        scope = http("/shop/goods/7", cookie=cookie)
        if not with_state:
            del scope["state"]
        given, state = list(scope["headers"]), scope.get("state")
        await outside(scope, nothing, into_nowhere)
        seen = outside.scope
        assert seen["path_params"] == {"number": 7}
        assert seen["endpoint"] is goods
        assert seen["tenant"] == "acme"
        assert seen["later"]
        assert seen["headers"] == given
        assert seen["state"]["user"] == "somebody"
        assert "waitroom" not in seen["state"]
        assert state is None or seen["state"] is state
        visitor = seen["state"]["seen"]
        assert (visitor is not None) == (way in ("with a pass", "limited"))
