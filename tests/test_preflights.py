"""CORS preflights carry no pass: nothing of a protected page can be reached or read by one."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from tests.gates import API, bearer, client_of, eventually, gated, is_inside, session, takes_number
from tests.sites import site
from waitroom.config.settings import Settings
from waitroom.web import preflights

Make = Callable[..., Settings]

ORIGIN = {"Origin": "https://app.example"}
PREFLIGHT = ORIGIN | {"Access-Control-Request-Method": "POST"}
TOLD = [
    (b"Access-Control-Allow-Origin", b"https://app.example"),
    (b"access-control-max-age", b"600"),
    (b"vary", b"Origin"),
    (b"allow", b"GET, POST"),
]
KEPT_BACK = [
    (b"content-type", b"text/html"),
    (b"set-cookie", b"session=1"),
    (b"x-user", b"somebody"),
    (b"location", b"https://elsewhere.example/"),
    (b"waitroom-command", b"release"),
]


MORE = dict.fromkeys(
    [
        *("Cookie", "Authorization", "X-HTTP-Method-Override", "x_http_method", "X-REST-Method"),
        *("X-API-Key", "Range", "Content-Type", "If-Match"),
    ],
    "x",
)
"""What no browser sends with a preflight."""


class IgnoresMethods:
    """A site that does the same whatever the method is, as a Django view does that never looks."""

    def __init__(self, status: int = 200, begins: asyncio.Event | None = None) -> None:
        self.status = status
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []
        self.running = self.most = 0
        self._begins = begins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        self.scopes.append(dict(scope))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            body = b""
            while True:
                message = await receive()
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
            self.bodies.append(body)
            if self._begins:
                await self._begins.wait()
            start = {"type": "http.response.start", "status": self.status, "headers": TOLD + KEPT_BACK}
            await send(start)
            await send({"type": "http.response.body", "body": b"a secret page"})
        finally:
            self.running -= 1


async def fill(gate: Any) -> None:
    async with client_of(gate) as guest:
        await session(guest)


def seen(scope: Scope) -> dict[bytes, bytes]:
    return dict(scope["headers"])


@pytest.mark.parametrize("line", [0, 1])
@pytest.mark.parametrize("status", [200, 204, 403, 302])
async def test_the_site_gets_the_question_alone_and_a_browser_the_answer(
    settings: Make, status: int, line: int
) -> None:
    handler = IgnoresMethods(status)
    async with gated(handler, settings=settings(capacity=1)) as gate, client_of(gate) as client:
        await fill(gate)
        if line:
            async with client_of(gate) as other:
                await takes_number(other)
        before = len(handler.scopes)
        proxied = {"X-Forwarded-Proto": "https", "Forwarded": "proto=https"}
        answer = await client.options("/checkout?buy=7", headers=PREFLIGHT | MORE | proxied)
        assert (answer.status_code, answer.content) == (status, b"")
        named = {name.lower() for name, _ in answer.headers.raw} - {b"content-length"}
        assert named == {name.lower() for name, _ in TOLD}
        (asked,) = handler.scopes[before:]
        assert (asked["method"], asked["query_string"]) == ("OPTIONS", b"buy=7")
        assert seen(asked)[b"origin"] == b"https://app.example"
        assert not {name.lower().encode() for name in MORE} & seen(asked).keys()
        assert {name.lower().encode() for name in proxied} <= seen(asked).keys()
        assert handler.bodies[-1] == b""


@pytest.mark.parametrize(
    "sent",
    [
        {"headers": {"Access-Control-Request-Method": "POST"}},
        {"headers": ORIGIN},
        {"headers": PREFLIGHT | {"Origin": ""}},
        {"headers": PREFLIGHT | {"Access-Control-Request-Method": ""}},
        {"headers": PREFLIGHT, "content": b"buy=7"},
        {"headers": PREFLIGHT | {"Transfer-Encoding": "chunked"}, "content": b"5\r\nbuy=7\r\n0\r\n\r\n"},
        {"headers": PREFLIGHT, "method": "GET"},
        {"headers": PREFLIGHT, "method": "POST"},
    ],
    ids=[
        "no origin",
        "no question",
        "an empty origin",
        "an empty question",
        "a body",
        "a body of unknown length",
        "GET",
        "POST",
    ],
)
async def test_what_is_no_preflight_is_held(settings: Make, sent: dict[str, Any]) -> None:
    handler = IgnoresMethods()
    async with gated(handler, settings=settings(capacity=1)) as gate, client_of(gate) as client:
        await fill(gate)
        before = len(handler.scopes)
        answer = await client.request(**{"method": "OPTIONS", "url": "/checkout"} | sent)
        assert answer.status_code == 503
        assert len(handler.scopes) == before


async def test_with_a_pass_it_is_a_request_like_any_other_and_with_a_ticket_it_waits(settings: Make) -> None:
    async with gated(site, settings=settings(capacity=1)) as gate, client_of(gate) as client:
        token = (await session(client))["pass"]
        client.cookies.clear()
        assert is_inside(await client.options("/checkout", headers=PREFLIGHT | bearer(token)))
        ticket = (await client.post(f"{API}/join")).json()["ticket"]
        client.cookies.clear()
        assert (await client.options("/checkout", headers=PREFLIGHT | bearer(ticket))).status_code == 503


async def test_only_so_many_run_at_a_time(settings: Make) -> None:
    begins = asyncio.Event()
    begins.set()
    handler = IgnoresMethods(begins=begins)
    async with gated(handler, settings=settings(capacity=1)) as gate, client_of(gate) as client:
        await fill(gate)
        begins.clear()
        count = 3 * preflights.LEAST_AT_ONCE
        asked = [asyncio.ensure_future(client.options("/x", headers=PREFLIGHT)) for _ in range(count)]

        async def are_refused() -> bool:
            return sum(one.done() for one in asked) == count - preflights.LEAST_AT_ONCE

        await eventually(are_refused)
        assert {one.result().status_code for one in asked if one.done()} == {503}
        begins.set()
        statuses = [answer.status_code for answer in await asyncio.gather(*asked)]
        assert handler.most == preflights.LEAST_AT_ONCE == statuses.count(200)
        assert (await client.options("/x", headers=PREFLIGHT)).status_code == 200
        counted = gate._gates[0].room.counters.take()
        assert counted["preflights"] == preflights.LEAST_AT_ONCE + 1
        assert counted["refused_preflights"] == count - preflights.LEAST_AT_ONCE


async def test_a_large_room_has_more(settings: Make) -> None:
    mine = settings(capacity=1_000)
    async with gated(site, settings=mine) as gate:
        assert gate._gates[0]._preflights._most == 100


async def test_an_operator_can_turn_them_off(settings: Make) -> None:
    handler = IgnoresMethods()
    mine = settings(capacity=1, preflights="refuse")
    async with gated(handler, settings=mine) as gate, client_of(gate) as client:
        answer = await client.options("/checkout", headers=PREFLIGHT)
        assert (answer.status_code, answer.content) == (503, b"")
        assert not handler.scopes


async def test_a_site_that_does_not_answer_is_given_up(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflights, "LONGEST_SECONDS", 0.05)
    handler = IgnoresMethods(begins=asyncio.Event())
    async with gated(handler, settings=settings()) as gate, client_of(gate) as client:
        assert (await client.options("/checkout", headers=PREFLIGHT)).status_code == 503
        assert (len(handler.scopes), handler.running) == (1, 0)


async def test_a_stream_ends_with_its_first_piece(settings: Make) -> None:
    sent = 0

    async def streams(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        assert scope["type"] == "http"
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": TOLD, "trailers": True})
        await send({"type": "http.response.start", "status": 500, "headers": KEPT_BACK})  # a broken site
        while True:
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
            sent += 1

    async with gated(streams, settings=settings()) as gate, client_of(gate) as client:
        answer = await client.options("/events", headers=PREFLIGHT)
        assert (answer.status_code, answer.content, sent) == (200, b"", 0)


@pytest.mark.parametrize("begins", [True, False], ids=["after its answer", "before it"])
async def test_a_site_that_never_waits_and_takes_no_error_is_stopped_all_the_same(
    settings: Make, monkeypatch: pytest.MonkeyPatch, begins: bool
) -> None:
    monkeypatch.setattr(preflights, "LONGEST_SECONDS", 0.1)

    async def goes_on(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        if begins:
            await send({"type": "http.response.start", "status": 200, "headers": TOLD})
        while True:
            with suppress(OSError):
                await send({"type": "http.response.body", "body": b"more", "more_body": True})

    async with gated(goes_on, settings=settings()) as gate, client_of(gate) as client:
        answer = await client.options("/events", headers=PREFLIGHT)
        assert (answer.status_code, answer.content) == (200 if begins else 503, b"")


async def test_a_site_learns_that_its_answer_is_over(settings: Make) -> None:
    ended = asyncio.Event()

    async def looks(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": TOLD})
        await send({"type": "http.response.body", "body": b"a page"})
        assert (await receive())["type"] == "http.disconnect"
        ended.set()

    async with gated(looks, settings=settings()) as gate, client_of(gate) as client:
        await client.options("/events", headers=PREFLIGHT)
        assert ended.is_set()


def scope_of_one() -> Scope:
    headers = [(name.lower().encode(), value.encode()) for name, value in PREFLIGHT.items()]
    return {"type": "http", "method": "OPTIONS", "path": "/x", "headers": headers, "query_string": b""}


async def nothing_more() -> Message:
    return await asyncio.Event().wait()  # type: ignore[return-value]  # it never returns


async def test_the_sites_own_failure_is_its_own(settings: Make) -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.body", "body": b""})  # before it has begun: nobody gets it
        raise TimeoutError("the database took too long")

    async with gated(fails, settings=settings()) as gate:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        scope = scope_of_one()
        given = scope["headers"]
        with pytest.raises(TimeoutError, match="the database"):
            await gate(scope, nothing_more, send)
        assert sent == []
        assert scope["headers"] is given


async def test_one_whose_sender_has_gone_runs_no_longer(settings: Make) -> None:
    handler = IgnoresMethods(begins=asyncio.Event())
    async with gated(handler, settings=settings()) as gate:
        said: list[Message] = [{"type": "http.request", "more_body": False}, {"type": "http.disconnect"}]

        async def receive() -> Message:
            await asyncio.sleep(0)
            return said.pop(0)

        async def send(message: Message) -> None:
            pass

        await gate(scope_of_one(), receive, send)
        assert (len(handler.scopes), handler.running) == (1, 0)


async def test_there_are_only_so_many_in_a_second(settings: Make) -> None:
    now = 100.0
    handler = IgnoresMethods()
    async with gated(handler, settings=settings(capacity=15)) as gate, client_of(gate) as client:
        room = gate._gates[0]
        room._preflights = preflights.Preflights(room.settings, room.room.counters, lambda: now)

        async def count(asked: int) -> int:
            answers = [await client.options("/x", headers=PREFLIGHT) for _ in range(asked)]
            return [answer.status_code for answer in answers].count(200)

        assert await count(40) == 30, "twice the capacity"
        now += 0.5
        assert await count(40) == 15
        now += 60
        assert await count(40) == 30


async def test_while_the_process_is_overloaded_none_gets_through(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = IgnoresMethods()
    async with gated(handler, settings=settings()) as gate, client_of(gate) as client:
        monkeypatch.setattr(gate._gates[0].room.overload, "turns_away", lambda _: True)
        answer = await client.options("/checkout", headers=PREFLIGHT)
        assert (answer.status_code, answer.content) == (503, b"")
        assert not handler.scopes
