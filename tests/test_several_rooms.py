"""Several rooms in one process: each with its own line, store keys, cookie, page and answers."""

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from starlette.types import ASGIApp

from tests.conftest import SECRET
from tests.gates import API, client_of, gated, page_data, session, takes_number, uvicorn
from tests.sites import saying, site
from tests.test_cli import waitroom, within
from tests.visits import visitor
from tests.waiting import until
from waitroom.config.settings import Settings
from waitroom.web.middleware import WaitingRoomMiddleware

pytestmark = pytest.mark.usefixtures("patience")

Make = Callable[..., Settings]


@pytest.fixture
def rooms(settings: Make, room: str) -> list[Settings]:
    """A shop with room for one, and a sale with room for one."""
    return [
        settings(capacity=1),
        settings(room=f"{room}-sale", paths="/sale/*", capacity=1, status_code=429, exclude="/sale/hook"),
    ]


@asynccontextmanager
async def three(
    rooms: list[Settings],
) -> AsyncIterator[tuple[WaitingRoomMiddleware, list[httpx.AsyncClient]]]:
    async with gated(site, settings=rooms) as gate:
        clients = [client_of(gate) for _ in range(3)]
        yield gate, clients
        for client in clients:
            await client.aclose()


async def fill(client: httpx.AsyncClient, settings: Settings) -> dict[str, Any]:
    """Take the one place of a room."""
    where = {"room": settings.room}
    assert (await client.post(f"{API}/join", params=where)).status_code == 201
    told: dict[str, Any] = (await client.get(f"{API}/status", params=where)).json()
    assert (told["room"], told["status"]) == (settings.room, "active")
    return told


async def test_each_room_has_its_own_line_and_place(rooms: list[Settings]) -> None:
    shop, sale = rooms
    async with three(rooms) as (_, (first, second, _third)):
        await fill(first, shop)
        assert (await first.get("/")).json()["number"] == 1
        # The sale has room still, for one who holds nothing but a pass to the shop.
        await fill(second, sale)
        assert (await second.get("/sale/shoes")).json()["number"] == 1
        held = await first.get("/sale/shoes")
        assert held.status_code == 429, "the sale's own status code"
        assert page_data(held)["room"] == sale.room
        assert page_data(await second.get("/"))["room"] == shop.room
        assert (await second.get("/sale/hook")).json()["site"] == "inside", "the sale excludes it"


async def test_each_room_has_its_own_cookie_and_the_site_sees_none(rooms: list[Settings]) -> None:
    shop, sale = rooms
    async with three(rooms) as (_, (visitor, *_)):
        await fill(visitor, shop)
        await fill(visitor, sale)
        assert {cookie.name for cookie in visitor.cookies.jar} == {
            f"waitroom-{settings.room}" for settings in rooms
        }
        visitor.cookies.set("basket", "3", domain="shop.test")
        for path in ("/", "/sale/x", "/sale/hook"):
            assert (await visitor.get(path)).json()["cookies"] == {"basket": "3"}


async def test_p8_a_pass_of_one_room_opens_no_other(rooms: list[Settings]) -> None:
    shop, sale = rooms
    async with three(rooms) as (gate, (inside, other, _third)):
        token = (await fill(inside, shop))["pass"]
        await fill(other, sale)
        headers = {"Waitroom-Pass": token, "Accept": "application/json"}
        async with client_of(gate) as bare:
            assert (await bare.get("/", headers=headers)).status_code == 200
            assert (await bare.get("/sale/x", headers=headers)).status_code == 503
            bare.cookies.set(f"waitroom-{sale.room}", token, domain="shop.test")
            assert (await bare.get("/sale/x", headers={"Accept": "application/json"})).status_code == 503


async def test_p8_a_spelling_between_two_rooms_needs_both_passes(rooms: list[Settings]) -> None:
    shop, sale = rooms
    async with three(rooms) as (_, (visitor, other, _third)):
        await fill(visitor, shop)
        await fill(other, sale)
        # httpx would resolve the dots: the server's own path is what counts.
        between = await visitor.get("/x%2f..%2f..%2fsale/y", headers={"Accept": "application/json"})
        assert (between.status_code, between.json()["room"]) == (503, sale.room)
        await other.delete(f"{API}/ticket", params={"room": sale.room})
        await fill(visitor, sale)
        assert (await visitor.get("/x%2f..%2f..%2fsale/y")).json()["site"] == "inside"


async def test_the_routes_are_told_apart_by_room(rooms: list[Settings]) -> None:
    shop, sale = rooms
    async with three(rooms) as (_, (visitor, *_)):
        assert (await visitor.get(f"{API}/window")).json()["room"] == shop.room
        told = (await visitor.get(f"{API}/window", params={"room": sale.room})).json()
        assert (told["room"], told["capacity"]) == (sale.room, 1)
        for query in ("?room=none", f"?room={shop.room}&room={sale.room}", "?room="):
            assert (await visitor.get(f"{API}/window{query}")).status_code == 404
        assert (await visitor.get(f"{API}/readyz")).text == "ready\n"


async def test_leaving_one_room_leaves_the_other_alone(rooms: list[Settings]) -> None:
    shop, sale = rooms
    async with three(rooms) as (_, (visitor, *_)):
        await fill(visitor, shop)
        await fill(visitor, sale)
        await visitor.delete(f"{API}/ticket", params={"room": sale.room})
        assert (await visitor.get("/")).json()["number"] == 1
        assert {cookie.name for cookie in visitor.cookies.jar} == {f"waitroom-{shop.room}"}


releases = saying((b"content-type", b"text/plain"), (b"waitroom-command", b"release"), text="inside no more")


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("/sale/bye", {"shop"}),
        ("/sale/hook", {"shop"}),
        ("/about", set()),
        ("/shop%2f..%2fsale/y", set()),  # between the two
    ],
)
async def test_the_site_releases_from_the_room_of_the_path_and_from_a_free_one_all(
    rooms: list[Settings], path: str, left: set[str]
) -> None:
    shop, sale = rooms = [rooms[0].model_copy(update={"paths": ("/shop/*",)}), rooms[1]]
    async with gated(releases, settings=rooms) as gate, client_of(gate) as visitor:
        await fill(visitor, shop)
        await fill(visitor, sale)
        response = await visitor.get(path)
        assert "waitroom-command" not in response.headers
        names = {f"waitroom-{shop.room}": "shop", f"waitroom-{sale.room}": "sale"}
        assert {names[cookie.name] for cookie in visitor.cookies.jar} == left


async def test_a_preflight_passes_the_gates_of_both_rooms(rooms: list[Settings]) -> None:
    """It takes no slot in either, and what the site says to the gates stays between them."""
    async with gated(releases, settings=rooms) as gate, client_of(gate) as visitor:
        asks = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
        response = await visitor.options("/shop%2f..%2fsale/y", headers=asks)
        assert (response.status_code, response.text) == (200, "")
        assert "waitroom-command" not in response.headers
        assert not visitor.cookies


@pytest.mark.parametrize("path", ["/sale/hook", "/about"])
async def test_p4_a_release_takes_nobody_out_of_a_line(rooms: list[Settings], path: str) -> None:
    shop, sale = rooms = [rooms[0].model_copy(update={"paths": ("/shop/*",)}), rooms[1]]
    async with gated(releases, settings=rooms) as gate, client_of(gate) as other, client_of(gate) as visitor:
        await fill(other, shop)
        waits = (await visitor.post(f"{API}/join")).json()
        await fill(visitor, sale)
        await visitor.get(path)
        assert {cookie.name for cookie in visitor.cookies.jar} == {f"waitroom-{shop.room}"}
        told = (await visitor.get(f"{API}/status")).json()
        assert (told["status"], told["number"]) == ("waiting", waits["number"])


async def test_the_store_has_keys_of_its_own_for_each(rooms: list[Settings], store_url: str) -> None:
    async with three(rooms) as (_, (visitor, *_)):
        for settings in rooms:
            await fill(visitor, settings)
    async with Redis.from_url(store_url, decode_responses=True) as store:
        for settings in rooms:
            inside = await store.zcard(f"waitroom:{{{settings.room}}}:inside")
            assert inside == 1


async def test_each_room_has_its_own_page(rooms: list[Settings], tmp_path: Path) -> None:
    shop, sale = rooms
    (tmp_path / "messages.en.json").write_text(json.dumps({"page": {"waiting": "You queue for the sale"}}))
    own = sale.model_copy(update={"templates": tmp_path})
    async with three([shop, own]) as (_, (first, second, third)):
        await fill(first, shop)
        await fill(second, sale)
        assert "You queue for the sale" in (await takes_number(third, "/sale/x")).text
        assert "You queue for the sale" not in (await takes_number(third, "/")).text


async def test_cors_is_each_rooms_own(rooms: list[Settings]) -> None:
    shop, sale = rooms
    origin = {"Origin": "https://app.example"}
    allowing = sale.model_copy(update={"cors_origins": ("https://app.example",)})
    async with three([shop, allowing]) as (_, (visitor, *_)):
        for settings, allowed in ((shop, None), (sale, "https://app.example")):
            told = await visitor.get(f"{API}/window", params={"room": settings.room}, headers=origin)
            assert told.headers.get("access-control-allow-origin") == allowed


async def test_bypass_is_asked_for_every_room(rooms: list[Settings]) -> None:
    shop, sale = rooms
    async with (
        gated(site, settings=rooms, bypass=lambda scope: b"x-probe" in dict(scope["headers"])) as gate,
        client_of(gate) as one,
        client_of(gate) as other,
    ):
        await fill(one, shop)
        await fill(one, sale)
        for path in ("/", "/sale/x"):
            assert (await other.get(path)).status_code in (503, 429)
            assert (await other.get(path, headers={"X-Probe": "1"})).json()["site"] == "inside"


def test_rooms_by_variables_run_behind_a_real_server(store_url: str, room: str) -> None:
    sale = f"{room}_sale".replace("-", "_")
    variables: dict[str, Any] = {
        "redis_url": store_url,
        "secret": SECRET,
        "room": room,
        "capacity": 5,
        f"rooms__{sale}__paths": "/sale/*",
        f"rooms__{sale}__capacity": 1,
    }
    with uvicorn("tests.sites:starlette_site", **variables) as server:
        for name, capacity in ((room, 5), (sale, 1)):
            with visitor(server) as client:
                told = client.get(f"{API}/window", params={"room": name}).json()
            assert (told["room"], told["capacity"]) == (name, capacity)
        with visitor(server) as first, visitor(server) as second:
            for path in ("/", "/sale/x", "/sale/x"):  # the second time it shows that it keeps its cookie
                until(lambda: first.get(path).status_code == 200)  # noqa: B023
            assert second.get("/sale/x").status_code == 503
        # Looked at from a shell that knows of none of them.
        told = within("status", "--json", "--redis-url", store_url)
        shown = {fields["room"]: fields["inside"] for fields in map(json.loads, told.stdout.splitlines())}
        assert (shown[room], shown[sale]) == (1, 1)
        named = within("status", "--redis-url", store_url, "--room", sale)
        assert re.findall(r"^room +(\S+)", named.stdout, re.MULTILINE) == [sale]


def test_rooms_by_flags(store_url: str) -> None:
    wrong = waitroom(
        "run", "tests.sites:site", "--redis-url", store_url, "--rooms", "sale", WAITROOM_SECRET=SECRET
    )
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "waitroom: --rooms sale names no room and setting: write it as --rooms sale__paths=/sale/*\n",
    )
    missing = waitroom(
        "serve", "--redis-url", "redis://127.0.0.1:1", "--secret", SECRET, "--rooms", "s__capacity=1"
    )
    assert missing.returncode == 3, "a service's rooms need no paths"
    no_paths = waitroom("run", "tests.sites:site", "--rooms", "s__capacity=1")
    assert (no_paths.returncode, no_paths.stderr[:46]) == (
        2,
        "waitroom: WAITROOM_ROOMS__S__PATHS is not set:",
    )


async def test_websockets_meet_the_gate_of_their_path(rooms: list[Settings]) -> None:
    async with gated(site, settings=rooms) as gate, client_of(gate) as visitor:
        token = (await session(visitor))["pass"]
        assert await said(gate, "/socket", token) == "websocket.accept"
        assert await said(gate, "/sale/socket", token) == "websocket.close"


async def said(gate: ASGIApp, path: str, token: str) -> str:
    """What a WebSocket on that path is answered with first."""
    sent: list[str] = []
    coming: Iterator[dict[str, Any]] = iter(
        [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}]
    )

    async def receive() -> dict[str, Any]:
        return next(coming)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    headers = [(b"waitroom-pass", token.encode())]
    scope = {"type": "websocket", "path": path, "headers": headers, "query_string": b"", "scheme": "ws"}
    await gate({**scope, "root_path": "", "subprotocols": [], "state": {}}, receive, send)
    return sent[0]
