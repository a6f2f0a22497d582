"""A process that has more to do than it can turns away who does not lose by it, at the least cost."""

import asyncio
import re
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from tests.gates import API, bearer, client_of, comes_back_after, eventually, gated, session
from tests.windows import window
from waitroom.config.settings import Settings
from waitroom.line.window import Window
from waitroom.room import overload
from waitroom.store import batching
from waitroom.store.batching import Batching

Make = Callable[..., Settings]

PAGE = {"Accept": "text/html"}
SCRIPT = {"Accept": "application/json"}
IMAGE = {"Sec-Fetch-Dest": "image"}


async def site(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer; `/slow` does what a site should not, and keeps the process from all else."""
    if scope["path"] == "/slow":
        time.sleep(0.5)  # on purpose
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
    await send({"type": "http.response.body", "body": b"inside"})


def is_turned_away(response: httpx.Response) -> bool:
    """Whether it is the short answer, which leaves nothing behind and says when to ask again."""
    if response.status_code != 503 or "set-cookie" in response.headers:
        return False
    return int(response.headers["retry-after"]) >= 4 and len(response.content) < 2000


async def test_a_late_loop_turns_newcomers_and_those_who_wait_away(settings: Make) -> None:
    """P4, P6: who is inside or called goes on, and who waits keeps the place."""
    mine = settings(capacity=2)
    async with gated(site, settings=mine) as gate, client_of(gate) as inside, client_of(gate) as guest:
        await session(inside)
        called = (await guest.post(f"{API}/join")).json()["ticket"]
        guest.cookies.clear()
        waits = (await guest.post(f"{API}/join")).json()
        guest.cookies.clear()
        snapshot = gate._gates[0].room.snapshot
        issued = (await guest.get(f"{API}/window")).json()["issued"]
        await snapshot.reread()
        snapshot._late_by = overload.LATEST + 1
        assert is_turned_away(await guest.post(f"{API}/join"))
        for headers in (PAGE, SCRIPT, IMAGE, PAGE | bearer(waits["ticket"])):
            response = await guest.get("/", headers=headers)
            assert is_turned_away(response) or headers is IMAGE
            assert response.status_code == 503
        page = await guest.get("/", headers=PAGE)
        assert comes_back_after(page)
        assert "Very many people are arriving" in page.text
        form = await guest.post("/", headers=PAGE)
        assert is_turned_away(form)
        assert "was not passed on" in form.text
        assert '<a href="">' in form.text
        assert "refresh" not in form.headers
        assert (await guest.get("/", headers=SCRIPT)).json()["type"] == "urn:waitroom:busy"
        assert (await inside.get("/")).text == "inside", "P6"
        assert (await guest.get("/", headers=bearer(called))).text == "inside"
        guest.cookies.clear()
        assert (await guest.get(f"{API}/status", headers=bearer(waits["ticket"]))).json()["number"] == 3
        snapshot._late_by = 0.0
        assert (await guest.get("/", headers=PAGE | bearer(waits["ticket"]))).status_code == 503
        joined = (await guest.post(f"{API}/join")).json()
        assert joined["number"] == issued + 1, "P4: nothing was written about those who were turned away"


@pytest.mark.parametrize(
    ("own", "shown"),
    [
        ({}, "prefers-color-scheme: dark"),
        ({"busy.css": "h1 { color: teal }"}, "<style>h1 { color: teal }</style>"),
        ({"busy.html": "<style>{{ css }}</style><b>{{ t.busy }}</b>"}, "<b>Very many people are arriving"),
    ],
    ids=["shipped", "own style", "own page"],
)
async def test_the_page_has_a_style_which_its_policy_allows(
    settings: Make, tmp_path: Path, own: dict[str, str], shown: str
) -> None:
    """Nothing else may run or load: the page is the only answer that a process beyond its limit can afford."""
    for name, text in own.items():
        (tmp_path / name).write_text(text, "utf-8")
    async with gated(site, settings=settings(templates=tmp_path)) as gate, client_of(gate) as guest:
        await guest.get("/", headers=PAGE)
        guest.cookies.clear()
        gate._gates[0].room.snapshot._late_by = overload.LATEST + 1
        page = await guest.get("/", headers=PAGE)
    assert is_turned_away(page)
    assert shown in page.text
    (style,) = re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = [part.strip() for part in page.headers["content-security-policy"].split(";")]
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not [part for part in policy if part.startswith(("script-src", "img-src", "connect-src"))]


async def test_a_loop_that_is_held_up_is_noticed(settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "LATEST", 0.2)
    async with gated(site, settings=settings(sync_seconds=0.05)) as gate, client_of(gate) as inside:
        await session(inside)
        snapshot = gate._gates[0].room.snapshot

        async def is_late() -> bool:
            await inside.get("/slow")
            await asyncio.sleep(0)
            return snapshot.is_late(overload.LATEST)

        await eventually(is_late)

        async def is_on_time() -> bool:
            await inside.get("/")
            return not snapshot.is_late(overload.LATEST)

        await eventually(is_on_time)


async def test_a_process_that_nobody_looks_at_is_not_late(settings: Make) -> None:
    """What was seen last would stand for ever: who is turned away does not start the task that looks."""
    async with gated(site, settings=settings()) as gate, client_of(gate) as guest:
        snapshot = gate._gates[0].room.snapshot
        await session(guest)
        snapshot._late_by, snapshot._used_at = overload.LATEST + 1, 0.0
        assert snapshot.is_late(overload.LATEST)
        assert snapshot._used_at, "whoever is turned away keeps the task looking"
        assert snapshot._task is not None
        snapshot._task.cancel()
        await asyncio.wait([snapshot._task])
        guest.cookies.clear()
        assert (await guest.post(f"{API}/join")).status_code == 201


async def test_more_joins_than_can_wait_are_turned_away(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crowd's memory is bounded, and each number that is given has its visitor."""
    monkeypatch.setattr(overload, "MOST_JOINING", 3)
    async with gated(site, settings=settings(capacity=1)) as gate, client_of(gate) as guest:
        answers = await asyncio.gather(*(guest.post(f"{API}/join") for _ in range(40)))
        given = sorted(answer.json()["number"] for answer in answers if answer.status_code == 201)
        away = [answer for answer in answers if answer.status_code != 201]
        assert away
        assert all(map(is_turned_away, away))
        assert given == list(range(1, len(given) + 1))


async def test_who_waits_for_a_turn_behind_others_does_not_wait_for_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A store that answers each call in time is not away, however many calls come first."""
    monkeypatch.setattr(batching, "BATCH", 1)
    patience = 0.5

    async def call(items: Sequence[int]) -> tuple[Window, Sequence[int]]:
        await asyncio.sleep(patience / 5)
        return window(), items

    calls: Batching[int, int] = Batching(call, lambda _: None, patience)
    assert await asyncio.gather(*map(calls.ask, range(10))) == list(range(10))
