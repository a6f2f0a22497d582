"""What an operator is told of bad input and of a store that fails: counts, on the way to `waitroom status --json`."""

import asyncio
import json
from pathlib import Path
from typing import Any, get_type_hints

import httpx
import pytest
from click.testing import CliRunner
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests import stores
from tests.conftest import SECRET
from tests.gates import API, DEADLINE_SECONDS, Server, eventually, take_place, told_by_the_store, uvicorn
from tests.rooms import Line
from tests.solving import carrying, solved
from tests.waiting import until
from waitroom.cli import commands as cli
from waitroom.config.settings import load
from waitroom.errors import StoreError
from waitroom.line.counters import NAMES, Counters
from waitroom.line.tickets import Ticket, Tokens, new_id

DOCUMENTED = Path(__file__).parent.with_name("docs").joinpath("stores.md").read_text()


def counted(url: str, room: str) -> dict[str, int]:
    """What the operator reads, without what did not happen."""
    done = CliRunner().invoke(cli.main, ["status", "--json", "--redis-url", url, "--room", room])
    assert done.exit_code == 0, done.output
    counters: dict[str, int] = json.loads(done.stdout)["counters"]
    assert tuple(counters) == NAMES
    return {name: count for name, count in counters.items() if count}


@pytest.mark.parametrize("name", NAMES)
def test_each_counter_is_documented(name: str) -> None:
    assert f"| `{name}` |" in DOCUMENTED


def test_what_cannot_be_told_is_kept() -> None:
    counters = Counters()
    counters.add("foreign_tokens")
    counters.add("unsent_requests", 0)
    taken = counters.take()
    assert taken == {"foreign_tokens": 1}
    counters.add("foreign_tokens", 2)
    counters.put_back(taken | {"store_failures": 1})
    assert counters.take() == {"foreign_tokens": 3, "store_failures": 1}
    assert counters.take() == {}


async def test_counts_wait_for_a_store_that_fails(
    any_store_url: str, room: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="waitroom")
    line = Line(any_store_url, load(redis_url=any_store_url, secret=SECRET, room=room))
    await line.look()
    line.store.counters.add("foreign_tokens", 3)
    with stores.admin(any_store_url) as admin:
        key = f"waitroom:{{{room}}}:inside"
        admin.set(key, "something else")
        for _ in range(2):
            with pytest.raises(StoreError):
                await line.look()
        admin.delete(key)
    await line.look()
    told = await asyncio.to_thread(counted, any_store_url, room)
    assert told == {"foreign_tokens": 3, "store_failures": 2}
    assert caplog.messages == ["counted since the last time: 3 foreign_tokens, 2 store_failures"]
    line.store.counters.add("foreign_tokens")
    with stores.admin(any_store_url) as admin:
        admin.execute_command("CLIENT PAUSE", 60_000, "WRITE")
        try:
            reading = asyncio.ensure_future(line.look())

            async def is_on_its_way() -> bool:
                return bool(admin.info("clients")["blocked_clients"])

            await eventually(is_on_its_way)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        finally:
            admin.execute_command("CLIENT UNPAUSE")
    assert line.store.counters.take() == {"foreign_tokens": 1, "store_late": 1}
    await line.close()


def test_bad_input_is_counted_and_no_token_is_in_the_log(store_url: str, room: str) -> None:
    name = f"waitroom-{room}"
    ticket = Ticket(1, "0000000000000001-abcdef", 1, new_id(), 1, 0)
    foreign = Tokens([SECRET[::-1]], room).sign(ticket)
    settings: dict[str, Any] = {"redis_url": store_url, "secret": SECRET, "room": room, "capacity": 1}
    with uvicorn("tests.sites:starlette_site", sync_seconds=0.05, **settings) as server:
        take_place(server)
        with httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS) as client:
            for headers in (
                {"Cookie": f"{name}={foreign}"},
                {"Waitroom-Pass": foreign},
                {"Cookie": f"{name}={'x' * 2_000}"},
                {"Authorization": "Bearer of-the-sites.own-kind"},
                {"Cookie": "; ".join(f"{name}=ti.{n}.x.y.z" for n in range(11))},
            ):
                assert client.get("/", headers=headers).status_code == 503
                client.cookies.clear()
            assert client.post("/", content="order").status_code == 503
        with pytest.raises(InvalidStatus):
            connect(server.url.replace("http", "ws") + "/socket")
        expected = {
            "foreign_tokens": 2 + 8,
            "malformed_tokens": 1,
            "surplus_tokens": 3,
            "unsent_requests": 1,
            "refused_sockets": 1,
        }

        def is_told() -> bool:
            told = counted(store_url, room)
            return {n: told.get(n) for n in expected} == expected

        until(is_told)
    assert foreign not in server.said
    assert "Traceback" not in server.said


def test_wrong_solutions_and_numbers_that_are_withheld_are_counted(store_url: str, room: str) -> None:
    settings: dict[str, Any] = {"redis_url": store_url, "secret": SECRET, "challenge": "always"}
    settings |= {"challenge_difficulty": 4, "sync_seconds": 0.05}
    with (
        uvicorn("tests.sites:starlette_site", room=room, **settings) as server,
        uvicorn("tests.sites:starlette_site", room=f"{room}-b", **settings) as another,
    ):

        def challenge(of: Server) -> dict[str, Any]:
            told = httpx.get(f"{of.url}{API}/challenge", timeout=DEADLINE_SECONDS).json()
            return {name: told[name] for name in ("parameters", "signature")}

        def joins(**headers: str) -> int:
            def post() -> httpx.Response:
                return httpx.post(f"{server.url}{API}/join", headers=headers, timeout=DEADLINE_SECONDS)

            return told_by_the_store(post).status_code

        right = carrying(challenge(server))
        assert joins(**right) == 201
        wrong = ("x" * 3_000, "e30=", "[]", solved(challenge(server), slot=7), solved(challenge(another)))
        for solution in (*wrong, right["Waitroom-Solution"]):
            assert joins(**{"Waitroom-Solution": solution}) == 403
        assert httpx.get(server.url, timeout=DEADLINE_SECONDS).status_code == 503
        expected = {"wrong_solutions": 6, "withheld_numbers": 7}
        until(lambda: counted(store_url, room).items() >= expected.items())
    assert "Traceback" not in server.said
    assert not any(solution in server.said for solution in wrong[3:])


def test_the_names_are_a_bounded_set() -> None:
    assert get_type_hints(Counters.add)["name"].__args__ == NAMES
