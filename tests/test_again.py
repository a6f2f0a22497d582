"""Two gates in one request's way: the second of the same room lets pass, and a start that can see it says so."""

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Message
from starlette.websockets import WebSocket
from websockets.sync.client import connect

from tests.conftest import SECRET
from tests.gates import (
    API,
    DEADLINE_SECONDS,
    Server,
    client_of,
    free_port,
    gated,
    is_inside,
    session,
    started,
    take_place,
    uvicorn,
)
from tests.waiting import until
from waitroom.config.settings import Settings
from waitroom.proxy.proxy import Proxy
from waitroom.web.again import PASSED, vouched, vouchers
from waitroom.web.middleware import WaitingRoomMiddleware
from waitroom.web.routing import Way

Make = Callable[..., Settings]

pytestmark = pytest.mark.usefixtures("patience")


async def inside(request: Request) -> Response:
    headers = {"Waitroom-Command": "release"} if "release" in request.query_params else {}
    assert "waitroom" not in request.headers.get("cookie", "")
    who = request.scope["state"].get("waitroom") if "state" in request.scope else None
    return PlainTextResponse(f"inside {who.number if who else None}", headers=headers)


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


SITE = Starlette(routes=[Route("/", inside), Route("/free", inside), WebSocketRoute("/ws", socket)])


def twice(inner: Settings, mounted: bool) -> ASGIApp:
    """A site that is gated itself, alone or below a path of another."""
    if mounted:
        return Starlette(routes=[Mount("/shop", WaitingRoomMiddleware(SITE, settings=inner))])
    return WaitingRoomMiddleware(SITE, settings=inner)


@pytest.mark.parametrize("mounted", [True, False])
async def test_the_second_gate_of_a_room_lets_pass_who_is_inside(settings: Make, mounted: bool) -> None:
    """The visitor of the only slot got the waiting page of the inner gate, which saw somebody new."""
    base = "/shop" if mounted else ""
    mine = settings(capacity=1)
    async with gated(twice(mine, mounted), settings=mine) as gate:
        client, other = client_of(gate), client_of(gate)
        async with client, other:
            told = await session(client)
            for _ in range(3):
                response = await client.get(f"{base}/")
                assert response.text == f"inside {told['number']}"
                assert "set-cookie" not in response.headers
            assert not is_inside(await other.get(f"{base}/"))
            assert (await client.get(f"{API}/window")).json()["inside"] == 1
            # What the site says reaches the gate that counts.
            response = await client.get(f"{base}/", params={"release": "1"})
            assert "waitroom-command" not in response.headers
            assert (await client.get(f"{API}/window")).json()["inside"] == 0


async def test_the_second_gate_lets_a_release_beside_the_paths_through(settings: Make) -> None:
    mine = settings(capacity=1, exclude="/free")
    async with gated(twice(mine, mounted=False), settings=mine) as gate, client_of(gate) as client:
        await session(client)
        assert is_inside(await client.get("/free", params={"release": "1"}))
        assert (await client.get(f"{API}/window")).json()["inside"] == 0


async def test_a_bypass_of_the_first_gate_is_one_of_the_second(settings: Make) -> None:
    mine = settings(capacity=1)
    outer = gated(twice(mine, mounted=False), settings=mine, bypass=lambda _: True)
    async with outer as gate, client_of(gate) as client, client_of(gate) as other:
        await session(client)
        assert is_inside(await other.get("/"))


async def test_another_room_behind_the_first_holds_as_before(settings: Make, room: str) -> None:
    outer, inner = settings(), settings(room=f"{room}-inner", capacity=1)
    async with gated(twice(inner, mounted=True), settings=outer) as gate:
        client, other = client_of(gate), client_of(gate)
        async with client, other:
            where = {"room": inner.room}
            await session(other)
            await session(client)
            assert (await client.post(f"/shop{API}/join")).json()["room"] == inner.room
            assert (await client.get(f"/shop{API}/status", params=where)).json()["status"] == "active"
            assert is_inside(await client.get("/shop/"))
            assert not is_inside(await other.get("/shop/"))


async def test_a_client_cannot_say_that_it_has_passed(settings: Make) -> None:
    async with gated(SITE, settings=settings(capacity=1)) as gate:
        client, other = client_of(gate), client_of(gate)
        async with client, other:
            await session(client)
            for name in ("Waitroom-Passed", "waitroom.passed", "Waitroom-Gates"):
                assert not is_inside(await other.get("/", headers={name: "default"}))


@pytest.mark.parametrize("with_pass", [True, False])
async def test_a_websocket_passes_the_second_gate(settings: Make, room: str, with_pass: bool) -> None:
    mine = settings(capacity=1)
    async with gated(twice(mine, mounted=False), settings=mine) as gate, client_of(gate) as client:
        token = (await session(client))["pass"]
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        async def send(message: Message) -> None:
            sent.append(message)

        cookie = f"waitroom-{room}={token}" if with_pass else "a=1"
        scope = {
            "type": "websocket",
            "path": "/ws",
            "raw_path": b"/ws",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"cookie", cookie.encode())],
            "subprotocols": [],
        }
        await asyncio.wait_for(gate(scope, receive, send), 30)
        assert (sent[0]["type"] == "websocket.accept") == with_pass
        assert scope["headers"] == [(b"cookie", cookie.encode())]


@pytest.mark.parametrize("mounted", [True, False])
@pytest.mark.parametrize("same", [True, False])
async def test_two_gates_are_said_once(
    settings: Make, caplog: pytest.LogCaptureFixture, mounted: bool, same: bool
) -> None:
    mine = settings()
    inner = mine if same else settings(secret="another-secret-that-is-quite-long-enough-7")
    with caplog.at_level(logging.WARNING, "waitroom"):
        async with gated(twice(inner, mounted), settings=mine) as gate, client_of(gate) as client:
            if not mounted:
                assert len(caplog.records) == 1, "at the start"
            for _ in range(2):
                await client.get("/shop/" if mounted else "/")
    (record,) = [record for record in caplog.records if "gate in front" in record.message]
    assert ("one of the two is enough" in record.message) == same
    assert ("another WAITROOM_ROOM" in record.message) != same


async def test_gates_of_other_rooms_are_nothing_to_warn_of(
    settings: Make, room: str, caplog: pytest.LogCaptureFixture
) -> None:
    inner = settings(room=f"{room}-inner")
    async with gated(twice(inner, mounted=False), settings=settings()):
        assert not caplog.records


# -- a proxy in front ----------------------------------------------------------------------------


def gated_upstream() -> ASGIApp:
    """For `uvicorn --factory`: a site that is gated itself."""
    return WaitingRoomMiddleware(SITE)


@contextmanager
def behind_a_proxy(store_url: str, room: str) -> Iterator[tuple[Server, Server]]:
    """A proxy with room for one in front of a site whose own gate is of the same room, on real servers."""
    settings: dict[str, Any] = {"redis_url": store_url, "secret": SECRET, "room": room, "capacity": 1}
    with uvicorn("tests.test_again:gated_upstream", arguments=("--factory",), **settings) as inner:
        port = free_port()
        command = [sys.executable, "-m", "waitroom", "proxy", inner.url, "--port", str(port)]
        with started(command, inner.environment, port) as outer:
            yield outer, inner


def test_the_gate_of_a_site_behind_a_proxy_lets_pass_whom_the_proxy_has_let_in(
    store_url: str, room: str
) -> None:
    with behind_a_proxy(store_url, room) as (outer, inner):
        cookies = {f"waitroom-{room}": take_place(outer)}
        with httpx.Client(base_url=outer.url, cookies=cookies, timeout=DEADLINE_SECONDS) as client:
            for path in ("/", "/?size=9&name=a%20b", "/%66ree"):
                response = client.get(path)
                assert response.text.startswith("inside"), response.text[:200]
            assert client.get(f"{API}/window").json()["inside"] == 1
            for server in (outer, inner):
                assert httpx.get(server.url, timeout=DEADLINE_SECONDS).status_code == 503
            url = outer.url.replace("http", "ws") + "/ws"
            with connect(
                url, additional_headers={"Cookie": f"waitroom-{room}={cookies[f'waitroom-{room}']}"}
            ):
                pass
            client.get("/", params={"release": "1"})

            def is_out() -> bool:
                return bool(client.get(f"{API}/window").json()["inside"] == 0)

            until(is_out)
    assert inner.said.count("one of the two is enough") == 1


def http_for(path: str, *passed: bytes, method: str = "GET") -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(b"waitroom-passed", value) for value in passed],
    }


async def test_a_proxys_word_is_for_one_address_and_a_minute_and_a_room(settings: Make, room: str) -> None:
    async with gated(SITE, settings=[settings(), settings(room=f"{room}-b", paths="/b/*")]) as gate:
        one, other = gate._gates
        scope = {**http_for("/"), PASSED: (Way(None, [one], ()),)}
        ((name, word),) = vouchers(scope, "/")
        assert name == "waitroom-passed"
        good = word.encode()
        at, _, signature = good.partition(b".")
        assert vouched(http_for("/", good), [one, other]) == [one]
        assert vouched(http_for("/", b"x", good, good), [one]) == [one]
        late = b"%d" % (int(at) - 61_000)
        for wrong in (
            b"",
            b".",
            b"1",
            b"x" * 200,
            late + b"." + signature,
            at + b".x",
            at + b"." + b"A" * 43,
        ):
            assert vouched(http_for("/", wrong), [one]) == []
        assert vouched(http_for("/goods", good), [one]) == []
        assert vouched(http_for("/", good, method="POST"), [one]) == []
        # A gate that visitors speak to believes nobody.
        assert gate._vouched(http_for("/", good)) == [one]
        facing = WaitingRoomMiddleware(Proxy("http://127.0.0.1:1", 1), settings=settings())
        assert facing._vouched(http_for("/", good)) == ()
