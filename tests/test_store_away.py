"""The store stops, dies, hangs and comes back: those inside notice nothing, the others get a page (P6)."""

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message

from tests import stores
from tests.conftest import SECRET
from tests.gates import (
    API,
    bearer,
    client_of,
    comes_back_after,
    comes_in,
    eventually,
    gated,
    is_inside,
    page_data,
    session,
    takes_number,
)
from tests.rooms import open_request
from tests.sites import site
from tests.stores import Box
from waitroom.config.settings import load
from waitroom.line.tickets import Pass, Tokens
from waitroom.web.middleware import WaitingRoomMiddleware

IMAGE = {"Sec-Fetch-Dest": "image"}


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is not a store that is away."""
    monkeypatch.setenv("WAITROOM_STORE_TIMEOUT_SECONDS", "2")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """It writes everything to its disk."""
    with stores.box(tmp_path, *stores.DURABLE) as machine:
        yield machine


@asynccontextmanager
async def full_house(
    box: Box, **keywords: Any
) -> AsyncIterator[tuple[WaitingRoomMiddleware, httpx.AsyncClient, httpx.AsyncClient]]:
    """One inside, one in line; the clients of both."""
    mine = load(**{"redis_url": box.url, "secret": SECRET, "capacity": 1, "sync_seconds": 0.05} | keywords)
    async with gated(site, settings=mine) as gate, client_of(gate) as guest, client_of(gate) as waits:
        await session(guest)
        await takes_number(waits)
        yield gate, guest, waits


async def is_away(client: httpx.AsyncClient) -> bool:
    return "away since" in (await client.get(f"{API}/readyz")).text


async def is_ready(client: httpx.AsyncClient) -> bool:
    return (await client.get(f"{API}/readyz")).text == "ready\n"


def pause(box: Box) -> None:
    box.signal(signal.SIGSTOP)


def resume(box: Box) -> None:
    box.signal(signal.SIGCONT)


@pytest.mark.parametrize(
    ("goes", "comes"),
    [(Box.stop, Box.start), (Box.kill, Box.start), (pause, resume)],
    ids=["stop", "kill", "hang"],
)
async def test_p6_the_store_goes_and_comes_back(box: Box, goes: Any, comes: Any) -> None:
    async with full_house(box) as (gate, guest, waits), client_of(gate) as stranger:
        goes(box)
        try:
            while not await is_away(stranger):
                assert is_inside(await guest.get("/")), "P6"
            for _ in range(20):
                response = await guest.post("/checkout", content="order")
                assert response.json()["body"] == "order", "P6"
            assert (await guest.get(f"{API}/status")).json()["status"] == "active"

            held = await waits.get("/")
            data = page_data(held)
            assert (held.status_code, data["kind"], data["number"]) == (503, "away", 2)
            assert comes_back_after(held)
            assert "set-cookie" not in held.headers, "P4"
            assert (await waits.get(f"{API}/status")).json()["number"] == 2

            response = await stranger.get("/")
            assert page_data(response)["kind"] == "away"
            assert "waitroom-default=pr." in response.headers["set-cookie"], "proof of having been held"
            assert (await stranger.get("/", headers=IMAGE)).status_code == 503
            told = (await stranger.post("/", headers={"Accept": "application/json"})).json()
            assert told["title"].startswith("The store is away.")
            assert page_data(await stranger.post("/", headers={"Accept": "text/html"}))["kind"] == "unsent"
            away = (await stranger.get(f"{API}/window")).json()
            assert away["state"] == "away"

            async def moves_on() -> bool:
                """A time that stands still would make pages take it for a kept copy."""
                later = (await stranger.get(f"{API}/window")).json()
                assert later["state"] == "away"
                return bool(later["at"] > away["at"] and later["at"] % 1000 == 0)

            await eventually(moves_on)
            for client, method, route in (
                (stranger, "POST", "join"),
                (waits, "DELETE", "ticket"),
                (guest, "DELETE", "ticket"),
            ):
                response = await client.request(method, f"{API}/{route}")
                assert response.status_code == 503
                assert response.json()["type"] == "urn:waitroom:store-away"
                assert "set-cookie" not in response.headers, "nothing was changed"
            ready = await stranger.get(f"{API}/readyz")
            assert ready.status_code == 200, "an outage must not take every pod out at once"
            assert ready.text.startswith("ready, but the store is away since 20")
        finally:
            comes(box)

        await eventually(partial(is_ready, stranger))
        assert is_inside(await guest.get("/"))
        assert page_data(await waits.get("/"))["number"] == 2, "P4"
        assert page_data(await takes_number(stranger))["number"] == 3, "P4"
        assert (await guest.delete(f"{API}/ticket")).status_code == 204
        assert (await comes_in(waits)).json()["number"] == 2, "P3"
        assert (await stranger.get(f"{API}/window")).json()["inside"] == 1, "P1"


async def test_p6_passes_that_run_out_are_honoured_for_one_session_and_no_longer(box: Box) -> None:
    async with full_house(box, session_seconds=1.5) as (gate, guest, _):
        told = (await guest.get(f"{API}/status")).json()
        token = Tokens([SECRET], "default").read(told["pass"])
        expires_at: int = token.expires_at  # type: ignore[union-attr]
        box.stop()
        clock = gate._gates[0].room.snapshot.now
        last = 0
        async with client_of(gate) as copy:

            async def refused() -> bool:
                nonlocal last
                before = clock()
                inside = is_inside(await copy.get("/", headers=bearer(told["pass"])))
                copy.cookies.clear()
                assert inside or clock() > expires_at + 1_500, "P6"
                last = before if inside else last
                return not inside

            await eventually(refused)
            assert last > expires_at, "it was honoured past its end"
            response = await copy.get(f"{API}/status", headers=bearer(told["pass"]))
            assert response.status_code == 503, "whether it is over only the store can tell"
        box.start()
        assert (await comes_in(guest)).json()["number"] == 1, "the store kept the lease"


async def test_p4_whose_session_did_not_outlast_the_outage_gets_a_number_as_soon_as_others_who_were_held(
    box: Box,
) -> None:
    async with full_house(box) as (gate, guest, _), client_of(gate) as stranger:
        tokens = Tokens([SECRET], "default")
        latest = tokens.read((await guest.get(f"{API}/status")).json()["pass"])
        assert isinstance(latest, Pass)
        guest.cookies.clear()
        over = {
            "Cookie": f"waitroom-default={tokens.sign(replace(latest, expires_at=latest.entered_at - 600_000))}"
        }
        box.stop()

        await eventually(partial(is_away, stranger))
        held = await guest.get("/", headers=over)
        assert page_data(held)["kind"] == "away"
        assert "waitroom-default=pr." in held.headers["set-cookie"], "proof of having been held"
        box.start()

        await eventually(partial(is_ready, stranger))
        assert page_data(await guest.get("/"))["number"] == 3, "P4"


async def test_p6_a_pass_that_runs_out_at_the_very_moment_is_honoured(box: Box) -> None:
    """Nobody has noticed yet that the store is gone."""
    async with full_house(box, session_seconds=1, sync_seconds=60) as (gate, guest, waits):
        box.stop()
        clock = gate._gates[0].room.snapshot.now
        token = Tokens([SECRET], "default").read(next(iter(guest.cookies.values())))
        assert token is not None
        while clock() <= token.expires_at:  # type: ignore[union-attr]
            assert is_inside(await waits.get("/robots.txt"))
        assert not await is_away(waits)
        assert is_inside(await guest.get("/"))
        assert await is_away(waits)


@pytest.mark.parametrize("who", ["newcomer", "proven", "called", "socket"])
async def test_a_visitor_who_finds_out_that_the_store_is_gone_is_held(box: Box, who: str) -> None:
    async with full_house(box, sync_seconds=60) as (gate, guest, waits), client_of(gate) as stranger:
        if who == "called":
            await guest.delete(f"{API}/ticket")
        if who == "newcomer":
            await guest.delete(f"{API}/ticket")
            await comes_in(waits)
            await waits.delete(f"{API}/ticket")
        if who == "proven":
            await stranger.get("/")
        box.stop()
        client = waits if who == "called" else stranger
        if who == "socket":
            assert (await client.delete(f"{API}/ticket", headers=bearer("x"))).status_code == 204
            assert (await guest.delete(f"{API}/ticket")).status_code == 503
        elif who == "called":
            assert (await client.get("/")).json()["number"] == 2, "the place was kept for this visitor"
        else:
            response = await client.get("/")
            assert page_data(response)["kind"] == "away"
            assert ("set-cookie" in response.headers) == (who == "newcomer"), "the proof stays what it was"
        assert await is_away(stranger)


async def test_p5_a_ticket_that_was_used_and_left_opens_nothing_while_the_store_is_away(box: Box) -> None:
    """Its number is one of those whose places are sure; who has the other comes in."""
    mine = load(redis_url=box.url, secret=SECRET, capacity=2, sync_seconds=0.05)
    async with gated(site, settings=mine) as gate, client_of(gate) as one, client_of(gate) as other:
        for guest in (one, other):
            await session(guest)
        tickets = []
        for _ in range(2):
            async with client_of(gate) as waits:
                tickets.append((await waits.post(f"{API}/join")).json()["ticket"])
        for guest in (one, other):
            await guest.delete(f"{API}/ticket")

        async def called() -> bool:
            return bool((await one.get(f"{API}/window")).json()["called"] == 4)

        await eventually(called)
        async with client_of(gate, headers=bearer(tickets[1])) as fourth:
            assert (await comes_in(fourth)).json()["number"] == 4
            assert (await fourth.delete(f"{API}/ticket")).status_code == 204
        box.stop()

        await eventually(partial(is_away, one))
        assert not is_inside(await one.get("/", headers=bearer(tickets[1]))), "P5"
        assert (await other.get("/", headers=bearer(tickets[0]))).json()["number"] == 3


async def test_p1_a_place_that_was_lent_is_nobody_elses_when_the_store_is_back(box: Box) -> None:
    """Though whoever got it asks for nothing more."""
    mine = load(redis_url=box.url, secret=SECRET, capacity=2, sync_seconds=0.05)
    async with gated(site, settings=mine) as gate, client_of(gate) as one, client_of(gate) as other:
        for guest in (one, other):
            await session(guest)
        async with client_of(gate) as waits, client_of(gate) as next_in_line:
            ticket = (await waits.post(f"{API}/join")).json()["ticket"]
            await takes_number(next_in_line)
            await one.delete(f"{API}/ticket")

            async def is_called() -> bool:
                return bool((await other.get(f"{API}/window")).json()["called"] == 3)

            await eventually(is_called)
            pause(box)
            await eventually(partial(is_away, other))
            assert (await other.get("/", headers=bearer(ticket))).json()["number"] == 2, "the gate holds both"
            assert is_inside(await waits.get("/", headers=bearer(ticket)))
            resume(box)
            await eventually(partial(is_ready, other))
            assert not is_inside(await next_in_line.get("/"))
            assert (await other.get(f"{API}/window")).json()["inside"] == 2


async def test_the_better_of_two_tickets_counts_when_only_the_store_could_tell(box: Box) -> None:
    async with full_house(box, sync_seconds=60) as (gate, guest, waits), client_of(gate) as other:
        later = (await other.post(f"{API}/join")).json()["ticket"]
        await guest.delete(f"{API}/ticket")
        box.stop()
        response = await waits.get("/", headers=bearer(later))
        assert response.json()["number"] == 2


async def test_the_gate_may_be_open_while_the_store_is_away(box: Box) -> None:
    async with full_house(box, on_store_failure="open") as (gate, guest, waits), client_of(gate) as stranger:
        assert not is_inside(await stranger.get("/"))
        box.stop()

        await eventually(partial(is_away, stranger))
        for client in (stranger, waits):
            for headers in ({}, IMAGE, {"Accept": "application/json"}):
                response = await client.get("/", headers=headers)
                assert is_inside(response)
                assert response.json()["number"] is None, "uncounted"
                assert "set-cookie" not in response.headers, "P4"
        assert (await guest.get("/")).json()["number"] == 1
        assert await greets_a_socket(gate)
        box.start()

        await eventually(partial(is_ready, stranger))
        assert page_data(await waits.get("/"))["number"] == 2, "P4"
        assert not await greets_a_socket(gate)


async def greets_a_socket(gate: WaitingRoomMiddleware) -> bool:
    """Whether a WebSocket without a pass reaches the site."""
    to_site: list[Message] = [{"type": "websocket.disconnect", "code": 1000}, {"type": "websocket.connect"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return to_site.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/socket", "scheme": "ws", "headers": [], "query_string": b""}
    await gate(scope, receive, send)
    return bool(sent[0]["type"] == "websocket.accept")


async def test_a_slot_that_cannot_be_released_now_is_freed_by_its_lease(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    async with full_house(box) as (_, guest, waits):
        box.stop()

        await eventually(partial(is_away, waits))
        with caplog.at_level("INFO", logger="waitroom"):
            assert (await guest.get("/release")).text == "goodbye"
        assert "a released slot stays taken until its lease ends" in caplog.text


async def test_p6_an_open_stream_survives_an_outage(box: Box) -> None:
    async with full_house(box, session_seconds=1) as (gate, guest, waits):
        room = gate._gates[0].room
        inside = room.tokens.read(next(iter(guest.cookies.values())))
        assert isinstance(inside, Pass)
        with open_request(room.sessions, inside):
            box.signal(signal.SIGSTOP)
            try:
                await eventually(partial(is_away, waits))
            finally:
                box.signal(signal.SIGCONT)

            async def renewed() -> bool:
                return bool(gate._gates[0].room.sessions._renewed)

            await eventually(renewed)
