"""What machines that come in crowds can take, and what they cannot: the limit, the challenge, and the wait."""

import asyncio
import base64
import json
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.conftest import SECRET
from tests.gates import (
    API,
    comes_back_after,
    eventually,
    gated,
    is_inside,
    join,
    page_data,
    serving,
    session,
    uvicorn,
)
from tests.rooms import Clock
from tests.sites import site
from tests.solving import carrying, solved
from waitroom.config.settings import Settings
from waitroom.errors import SettingsError
from waitroom.room import challenges, guard
from waitroom.room.challenges import CHALLENGE_SECONDS, SLOTS, Challenges, worker
from waitroom.store.transitions import Store
from waitroom.web.middleware import WaitingRoomMiddleware

pytestmark = pytest.mark.usefixtures("patience")

Make = Callable[..., Settings]

EASY = {"challenge_difficulty": 4}
CHALLENGE = "urn:waitroom:challenge"


def visitor(gate: WaitingRoomMiddleware, address: str = "192.0.2.1", **keywords: Any) -> httpx.AsyncClient:
    """A client with an address of its own, which keeps cookies."""
    transport = httpx.ASGITransport(app=gate, client=(address, 123))
    return httpx.AsyncClient(transport=transport, base_url="http://shop.test", **keywords)


async def window(client: httpx.AsyncClient) -> dict[str, Any]:
    told: dict[str, Any] = (await client.get(f"{API}/window")).json()
    return told


async def joins(client: httpx.AsyncClient, **keywords: Any) -> httpx.Response:
    """Join as somebody new."""
    client.cookies.clear()
    return await client.post(f"{API}/join", **keywords)


async def a_line(client: httpx.AsyncClient) -> None:
    """Take the one place there is, and stand in line behind it."""
    await session(client)
    assert (await joins(client)).json()["ahead"] == 0
    client.cookies.clear()
    await eventually(lambda: _waits(client))


async def _waits(client: httpx.AsyncClient) -> bool:
    return int((await window(client))["waiting"]) > 0


# -- visits without cookies ----------------------------------------------------------------------------


async def test_visits_without_cookies_take_no_numbers(settings: Make) -> None:
    async with gated(site, settings=settings(capacity=1)) as gate, visitor(gate) as client:
        await a_line(client)
        before = await window(client)
        for _ in range(200):
            client.cookies.clear()
            assert page_data(await client.get("/"))["kind"] == "first"
        after = await eventually(lambda: _later(client, before))
        assert (after["issued"], after["waiting"]) == (before["issued"], before["waiting"])


async def _later(client: httpx.AsyncClient, before: dict[str, Any]) -> dict[str, Any] | None:
    """The room as it is by the store itself, not as this process saw it before."""
    client.cookies.clear()
    number = (await client.post(f"{API}/join")).json()["number"]
    now = await window(client)
    return {**now, "issued": number - 1, "waiting": now["waiting"] - 1} if number > before["issued"] else None


async def test_a_flood_while_there_is_room_keeps_nobody_out(settings: Make) -> None:
    """Each visit gives way to the next, and to whoever keeps the cookie."""
    async with gated(site, settings=settings(capacity=20, window_size=400)) as gate, visitor(gate) as client:
        for _ in range(100):
            client.cookies.clear()
            assert is_inside(await client.get("/"))
        session = (await client.get("/")).json()["session"]
        async with visitor(gate) as flood:
            for _ in range(40):
                flood.cookies.clear()
                assert is_inside(await flood.get("/"))
        assert (await client.get("/")).json()["session"] == session


# -- the limit -----------------------------------------------------------------------------------------


async def test_above_the_limit_comes_a_challenge_and_its_solution_gives_a_number(settings: Make) -> None:
    async with (
        gated(site, settings=settings(join_limit=3, **EASY)) as gate,
        visitor(gate) as client,
        visitor(gate, "192.0.2.2") as another,
    ):
        assert [(await joins(client)).status_code for _ in range(3)] == [201] * 3
        refused = await joins(client)
        assert (refused.status_code, refused.headers["content-type"]) == (403, "application/problem+json")
        told = refused.json()
        assert (told["type"], told["status"]) == (CHALLENGE, 403)
        assert (told["solution_header"], told["expires_in"]) == ("Waitroom-Solution", 600)
        assert refused.headers["retry-after"] == str(guard.TIMED_SECONDS)
        assert (await joins(another)).status_code == 201
        given = await joins(client, headers=carrying(told["challenge"]))
        assert (given.status_code, given.json()["number"]) == (201, 5)


async def test_who_has_a_ticket_gets_it_back_whatever_the_limit(settings: Make) -> None:
    async with gated(site, settings=settings(join_limit=1, **EASY)) as gate, visitor(gate) as client:
        first = await client.post(f"{API}/join")
        again = await client.post(f"{API}/join")
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json()["number"] == again.json()["number"]


async def test_visits_count_as_joins_do_where_they_get_a_number(settings: Make) -> None:
    async with gated(site, settings=settings(join_limit=2, **EASY)) as gate, visitor(gate) as client:
        for _ in range(2):
            client.cookies.clear()
            assert is_inside(await client.get("/"))
        client.cookies.clear()
        held = await client.get("/")
        assert (held.status_code, page_data(held)["kind"]) == (503, "challenge")
        # It has a proof now: coming back with it is no way around.
        assert page_data(await client.get("/"))["kind"] == "challenge"
        assert (await joins(client)).json()["type"] == CHALLENGE


async def test_a_visit_that_has_to_wait_counts_once_it_comes_back(settings: Make) -> None:
    limits = {"capacity": 1, "join_limit": 4, **EASY}
    async with gated(site, settings=settings(**limits)) as gate, visitor(gate) as client:
        await a_line(client)  # two
        for kind in ("waiting", "waiting", "challenge"):
            client.cookies.clear()
            assert page_data(await client.get("/"))["kind"] == "first"
            assert page_data(await client.get("/"))["kind"] == kind


async def test_off_refuses_and_says_when(settings: Make) -> None:
    async with gated(site, settings=settings(join_limit=1, challenge="off")) as gate, visitor(gate) as client:
        assert (await joins(client)).status_code == 201
        refused = await joins(client)
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:waitroom:too-many")
        assert 1 <= int(refused.headers["retry-after"]) <= 61
        client.cookies.clear()
        page = await client.get("/")
        assert (page.status_code, page_data(page)["kind"]) == (429, "refused")
        assert comes_back_after(page)
        script = await client.get("/", headers={"Accept": "application/json"})
        assert (script.status_code, script.json()["type"]) == (429, "urn:waitroom:too-many")
        for route in ("challenge", "challenge.js"):
            missing = await client.get(f"{API}/{route}")
            assert (missing.status_code, missing.json()["type"]) == (404, "urn:waitroom:no-challenges")


async def test_forwarded_addresses_count_behind_a_proxy_that_is_named(settings: Make) -> None:
    limits = {"join_limit": 1, "challenge": "off", "trusted_proxies": "10.0.0.0/8"}
    async with gated(site, settings=settings(**limits)) as gate:
        for proxy, codes in (("10.0.0.1", [201, 201, 429]), ("192.0.2.9", [201, 429, 429])):
            async with visitor(gate, proxy) as client:
                told = ["203.0.113.1", "203.0.113.2", "9.9.9.9, 203.0.113.2"]
                headers = [{"X-Forwarded-For": one} for one in told]
                assert [(await joins(client, headers=each)).status_code for each in headers] == codes


def test_uvicorns_own_belief_in_local_proxies_is_not_ours(store_url: str, room: str) -> None:
    """By default it puts what connections from 127.0.0.1 say of others in the place of the client."""
    on: dict[str, Any] = {"redis_url": store_url, "secret": SECRET, "join_limit": 2, "challenge": "off"}
    for at, (proxies, codes) in enumerate(
        (("", [201, 201, 429]), ("10.1.1.1", [201, 201, 429]), ("127.0.0.1", [201] * 3))
    ):
        with uvicorn(
            "tests.sites:starlette_site", **on, room=f"{room}-{at}", trusted_proxies=proxies
        ) as server:
            assert codes_by_forwarded(server.url) == codes
    with serving("waitroom run tests.sites:site", **on, room=f"{room}-run") as server:
        assert codes_by_forwarded(server.url) == [201, 201, 429]


def codes_by_forwarded(url: str) -> list[int]:
    codes = []
    for at in range(3):
        with httpx.Client(base_url=url, timeout=30) as client:
            codes.append(join(client, headers={"X-Forwarded-For": f"203.0.113.{at}"}).status_code)
    return codes


# -- the challenge -------------------------------------------------------------------------------------


async def test_always_nobody_gets_a_number_without_a_solution(settings: Make) -> None:
    async with gated(site, settings=settings(challenge="always", **EASY)) as gate, visitor(gate) as client:
        page = await client.get("/")
        assert (page.status_code, page_data(page)["kind"]) == (503, "challenge")
        assert comes_back_after(page) == str(guard.TIMED_SECONDS)
        assert page_data(await client.get("/"))["kind"] == "challenge"
        assert (await joins(client)).json()["type"] == CHALLENGE
        script = await client.get("/", headers={"Accept": "application/json"})
        assert (script.status_code, script.json()["type"]) == (403, CHALLENGE)
        assert (await window(client))["issued"] == 0
        # With a solution the site itself answers, also to a visit without a cookie.
        client.cookies.clear()
        assert is_inside(await client.get("/", headers=carrying(script.json()["challenge"])))
        assert (await client.get("/")).status_code == 200


async def test_the_route_gives_what_altchas_widget_expects(settings: Make) -> None:
    async with gated(site, settings=settings(challenge="always")) as gate, visitor(gate) as client:
        response = await client.get(f"{API}/challenge")
        assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")
        parameters = response.json()["parameters"]
        assert set(response.json()) == {"parameters", "signature", "cookie"}
        assert (parameters["algorithm"], parameters["cost"]) == ("PBKDF2/SHA-256", 1000)
        solution = json.loads(base64.b64decode(solved(response.json())))["solution"]
        assert 500 <= solution["counter"] <= 1000
        script = await client.get(f"{API}/challenge.js")
        assert script.headers["content-type"] == "text/javascript; charset=utf-8"
        assert script.content == worker()
        assert (await joins(client, headers=carrying(response.json()))).status_code == 201


async def test_a_solution_gives_one_number_in_all_processes_together(settings: Make) -> None:
    on = settings(challenge="always", **EASY)
    async with (
        gated(site, settings=on) as one,
        gated(site, settings=on) as two,
        visitor(one) as here,
        visitor(two) as there,
    ):
        solutions = [carrying((await here.get(f"{API}/challenge")).json()) for _ in range(3)]
        codes: dict[httpx.AsyncClient, list[int]] = {here: [], there: []}
        for solution in solutions:
            for client in (there, here, there):
                codes[client].append((await joins(client, headers=solution)).status_code)
        assert codes[there] == [201, 403] * 3
        assert codes[here] == [403] * 3
        at_once = carrying((await here.get(f"{API}/challenge")).json())
        sent = [visitor(gate) for gate in (one, two) * 5]
        answers = await asyncio.gather(*(each.post(f"{API}/join", headers=at_once) for each in sent))
        assert sorted(answer.status_code for answer in answers) == [201] + [403] * 9
        for each in sent:
            await each.aclose()


async def test_what_is_no_solution_gives_no_number(settings: Make) -> None:
    on = settings(challenge="always", **EASY)
    other = settings(challenge="always", room=f"{on.room}-other", **EASY)
    async with (
        gated(site, settings=on) as gate,
        visitor(gate) as client,
        gated(site, settings=other) as elsewhere,
        visitor(elsewhere) as stranger,
    ):
        challenge = (await client.get(f"{API}/challenge")).json()
        nonsense = [
            "",
            "x",
            "e30=",
            "ü",
            base64.b64encode(b"[]").decode(),
            base64.b64encode(b'{"challenge": 1, "solution": 2}').decode(),
            base64.b64encode(b"[" * 1500).decode(),
            solved(challenge) + "A" * 2048,
            solved(challenge, derivedKey="00" * 32),
            solved(challenge, derivedKey=None),
            solved(challenge, until=2**52),
            solved(challenge, pad="another"),
            solved((await stranger.get(f"{API}/challenge")).json()),
        ]
        for text in nonsense:
            response = await joins(client, headers={b"Waitroom-Solution": text.encode("latin-1")})
            assert response.json()["type"] == CHALLENGE, text
        assert (await joins(client, headers=carrying(challenge))).status_code == 201


def test_a_challenge_is_good_for_ten_minutes_by_the_clock_it_was_made_by() -> None:
    made = Challenges([SECRET], "sale", 4)
    solution = solved(made.make(now=1_000_000))
    last = 1_000_000 + CHALLENGE_SECONDS * 1000
    assert made.read(solution, last) is not None
    assert made.read(solution, last + 1) is None


def test_keys_can_be_changed_without_a_challenge_lost() -> None:
    old, new = "o" * 32, "n" * 32
    solution = solved(Challenges([old], "sale", 4).make(0))
    assert Challenges([new, old], "sale", 4).read(solution, 0) is not None
    assert Challenges([new], "sale", 4).read(solution, 0) is None


def test_no_two_challenges_have_a_slip_in_common() -> None:
    one, two = Challenges([SECRET], "sale", 1), Challenges([SECRET], "sale", 1)
    data = [each.make(0)["parameters"]["data"] for each in (one, two) for _ in range(SLOTS + 1)]
    slips = {(each["pad"], each["slot"]) for each in data}
    assert len(slips) == 2 * (SLOTS + 1)
    assert len({pad for pad, _ in slips}) == 4
    assert {slot for _, slot in slips} == set(range(SLOTS))


async def test_what_is_used_up_is_kept_for_its_time_and_no_longer(any_store_url: str, room: str) -> None:
    on = Settings(redis_url=any_store_url, secret=SECRET, room=room)
    clock = Clock()
    store, another = Store(any_store_url, on, clock), Store(any_store_url, on)
    try:
        spent = [await store.spend("pad", slot, 600) for slot in (0, 255, 0, 7, 255)]
        assert spent == [None, None, 0, None, 0]
        clock.advance(599)
        assert await store.spend("pad", 7, 600) == 599
        assert await store.spend("next", 7, 600) is None
        clock.advance(1)
        assert await store.spend("pad", 7, 600) is None, "none of that pad can come back any more"
        assert await store.spend("next", 7, 600) == 1
        clock.advance(-2)
        assert await store.spend("next", 7, 600) == 0
        assert await another.spend("by the store's own clock", 7, 600) is None
        assert await another.spend("by the store's own clock", 7, 600) is not None
    finally:
        await store.close()
        await another.close()


async def test_checking_needs_no_work_whatever_the_difficulty(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Challenges([SECRET], "sale", 4)
    solution = solved(made.make(0))

    def work(*_: Any) -> None:
        raise AssertionError("a key was derived")

    monkeypatch.setattr("hashlib.pbkdf2_hmac", work)
    assert made.read(solution, 0) is not None


def test_without_the_library_the_start_ends_with_a_line_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, settings: Make
) -> None:
    monkeypatch.setitem(sys.modules, "altcha", None)
    on: dict[str, Any]
    for on in ({"challenge": "always"}, {"join_limit": 5}):
        with pytest.raises(SettingsError) as refused:
            WaitingRoomMiddleware(site, settings=settings(**on))
        assert 'pip install "waitroom[challenge]"' in str(refused.value)
    for on in ({"challenge": "off", "join_limit": 5}, {"challenge": "auto"}):
        WaitingRoomMiddleware(site, settings=settings(**on))


# -- the wait ------------------------------------------------------------------------------------------


async def test_who_solves_nothing_gets_a_number_for_waiting(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "TIMED_SECONDS", 1)
    on = settings(challenge="always", capacity=1)
    async with (
        gated(site, settings=on) as one,
        gated(site, settings=on) as two,
        visitor(one) as client,
        visitor(two, "192.0.2.2") as elsewhere,
    ):
        await client.get("/")
        kept = dict(client.cookies)
        assert page_data(await client.get("/"))["kind"] == "challenge"
        assert (await eventually(lambda: _inside(client))).status_code == 200
        # The proof has waited once, and gives one number, whatever process it comes to.
        ((name, token),) = kept.items()
        monkeypatch.setattr(guard, "ON_ITS_WAY_SECONDS", 0)
        again = await elsewhere.get("/", headers={"Cookie": f"{name}={token}"})
        assert page_data(again)["kind"] == "challenge"
        assert again.cookies[name] != token, "a new one waits anew"
        await eventually(lambda: _in_line(elsewhere))


async def test_p4_a_second_tab_takes_no_place_away_from_the_first(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both come back with one proof at the same time, and two processes answer: the cookie is one."""
    monkeypatch.setattr(guard, "TIMED_SECONDS", 0)
    on = settings(challenge="always")
    async with gated(site, settings=on) as one, gated(site, settings=on) as two, visitor(one) as tab:
        await tab.get("/")
        proof = dict(tab.cookies)
        assert is_inside(await tab.get("/"))
        async with visitor(two, cookies=proof) as other_tab:
            for _ in range(2 * guard.TIMED_PER_MINUTE):
                late = await other_tab.get("/")
                assert page_data(late)["kind"] == "challenge"
                assert "set-cookie" not in late.headers
                assert late.headers["retry-after"] == str(guard.LOOK_AGAIN_SECONDS)
            assert (await other_tab.post(f"{API}/join")).json()["type"] == CHALLENGE
            other_tab.cookies.clear()
            other_tab.cookies.update(dict(tab.cookies))  # as the browser has it by then
            assert is_inside(await other_tab.get("/"))
            # Nothing was given for the proof, so its client has all its numbers still.
            other_tab.cookies.clear()
            await other_tab.get("/")
            assert is_inside(await other_tab.get("/"))


async def _in_line(client: httpx.AsyncClient) -> bool:
    return bool(page_data(await client.get("/"))["kind"] == "waiting")


async def _inside(client: httpx.AsyncClient) -> httpx.Response | None:
    response = await client.get("/")
    return response if is_inside(response) else None


async def test_programs_can_wait_as_well(settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "TIMED_SECONDS", 1)
    async with gated(site, settings=settings(challenge="always")) as gate, visitor(gate) as client:
        refused = await client.post(f"{API}/join")
        assert refused.headers["retry-after"] == "1"
        assert (await eventually(lambda: _joined(client))).status_code == 201


async def _joined(client: httpx.AsyncClient) -> httpx.Response | None:
    response = await client.post(f"{API}/join")
    return response if response.status_code == 201 else None


@pytest.mark.parametrize(("join_limit", "given"), [(0, 10), (3, 3), (30, 10)])
async def test_proofs_that_waited_together_give_few_numbers_by_address(
    settings: Make, monkeypatch: pytest.MonkeyPatch, join_limit: int, given: int
) -> None:
    monkeypatch.setattr(guard, "TIMED_SECONDS", 0)
    on = settings(challenge="always", join_limit=join_limit)
    async with gated(site, settings=on) as gate, visitor(gate) as client, visitor(gate, "::1") as other:
        proofs = []
        for _ in range(given + 3):
            client.cookies.clear()
            await client.get("/")
            proofs.append(dict(client.cookies))
        codes = []
        for proof in proofs:
            client.cookies.clear()
            client.cookies.update(proof)
            codes.append((await client.post(f"{API}/join")).status_code)
        assert codes == [201] * given + [403] * 3
        other.cookies.update(proofs[-1])
        assert (await other.post(f"{API}/join")).status_code == 201


async def test_a_proof_is_no_older_than_the_time_it_is_good_for(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waitroom.room.room.PROOF_MS", -10_000)
    monkeypatch.setattr("waitroom.room.room.SKEW_MS", 0)
    async with gated(site, settings=settings(challenge="always")) as gate, visitor(gate) as client:
        await client.post(f"{API}/join")
        first = dict(client.cookies)
        again = await client.post(f"{API}/join")
        assert again.status_code == 403
        assert dict(client.cookies) != first, "the wait begins again"


def test_the_script_is_altchas_as_it_is() -> None:
    text = worker().decode()
    assert text.startswith("/* dist/workers/pbkdf2.js of altcha 3.2.2")
    assert "Permission is hereby granted" in text
    assert challenges.ALGORITHM in text
