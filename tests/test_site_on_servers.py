"""What a site notices of the gate on real servers: when requests end, what scopes hold, how all starts and stops."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psutil
import pytest
import redis

from tests.conftest import SECRET
from tests.gates import API, DEADLINE_SECONDS, Server, free_port, join, serving, status
from tests.test_servers import SERVERS, leases
from tests.waiting import until

SOON_SECONDS = 10
"""The work of the site goes on for as long as the test does: whoever waits for its end waits longer than this."""


@pytest.fixture(scope="module", params=SERVERS)
def server(store_url: str, request: pytest.FixtureRequest) -> Iterator[Server]:
    kind = request.param
    settings: dict[str, Any] = {
        "redis_url": store_url,
        "secret": SECRET,
        "room": f"lasting{kind}",
        "capacity": 1,
        "session_seconds": 1,
        "sync_seconds": 0.1,
        "exclude": "/outside/*",
        f"rooms__pay{kind}__paths": "/pay/*",
        f"rooms__pay{kind}__session_seconds": 600,
        f"rooms__goods{kind}__paths": "/shop/*",
    }
    with strictly(), serving(f"{SERVERS[kind]} tests.lasting_site:app", **settings) as running:
        yield running
        httpx.get(f"{running.url}/outside/let-go", timeout=DEADLINE_SECONDS)
    left_nothing_open(running)


@contextmanager
def strictly() -> Iterator[None]:
    """Have Python look out for what is left open, and take warnings for errors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONDEVMODE", "1")
        patch.setenv("PYTHONWARNINGS", "error")
        yield


def left_nothing_open(server: Server) -> None:
    for sign in ("nclosed", "ResourceWarning", "never awaited", "never retrieved", "was destroyed"):
        assert sign not in server.said, server.said


def visitor(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS)


def is_at_work(server: Server, path: str) -> bool:
    return path in httpx.get(f"{server.url}/outside/working", timeout=DEADLINE_SECONDS).json()


def test_a_released_slot_is_free_at_once_though_the_site_works_on(server: Server) -> None:
    with visitor(server) as leaving, visitor(server) as following:
        for _ in range(2):
            assert leaving.get("/pay/").status_code == 200
        room = {"room": server.environment["WAITROOM_ROOM"].replace("lasting", "pay")}
        assert join(following, params=room).json()["status"] == "waiting"
        assert leaving.get("/pay/leave").text == "goodbye"
        until(lambda: status(following, params=room).json()["status"] == "active", "their turn", SOON_SECONDS)
        assert is_at_work(server, "/pay/leave")


@pytest.mark.parametrize("visits", [1, 2])
def test_a_lease_runs_out_though_the_site_works_on(server: Server, store_url: str, visits: int) -> None:
    """That of a first visit, and that of one who has come back."""
    path, room = f"/work/{visits}", server.environment["WAITROOM_ROOM"]
    with visitor(server) as working, redis.Redis.from_url(store_url) as store:
        for _ in range(visits):
            assert working.get(path).status_code == 200
        until(lambda: all(left < 0 for left in leases(store, room)), "the end of the lease", SOON_SECONDS)
        assert is_at_work(server, path)
        assert working.delete(f"{API}/ticket").status_code == 204


def test_what_the_site_adds_to_a_request_is_seen_outside_the_gate(server: Server) -> None:
    with visitor(server) as guest:
        for number in (7, 8):
            assert guest.get(f"/shop/goods/{number}").text == "inside"
            told = guest.get("/outside/seen").json()
            assert told == {
                "endpoint": "goods",
                "number": number,
                "route": "/goods/{number:int}",
                "tenant": "acme",
                "user": "somebody",
                "credentials": False,
            }


def test_a_site_that_dies_while_it_runs_is_logged_at_once(server: Server) -> None:
    """The last of these tests: the server goes on, as it would without the gate."""
    assert "Traceback" not in server.printed()
    httpx.get(f"{server.url}/outside/fall-ill", timeout=DEADLINE_SECONDS)
    until(
        lambda: "RuntimeError: the shop's worker died" in server.printed(), "a line in the log", SOON_SECONDS
    )
    assert httpx.get(f"{server.url}/outside/seen", timeout=DEADLINE_SECONDS).status_code == 200


def test_the_embedded_store_leaves_nothing_open() -> None:
    with strictly(), serving("uvicorn tests.sites:starlette_site") as server:
        assert httpx.get(server.url, timeout=DEADLINE_SECONDS).status_code == 200
    left_nothing_open(server)
    assert "Traceback" not in server.said


def test_trio_is_refused_and_the_reason_is_given_once() -> None:
    """Hypercorn tells it in a traceback of its own, whatever a site says at its start."""
    command = [sys.executable, "-m", "hypercorn", "-k", "trio", "tests.sites:starlette_site"]
    done = subprocess.run(
        [*command, "--bind", f"127.0.0.1:{free_port()}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.count("the gate needs asyncio and can't run on trio; with hypercorn: -k asyncio") == 1


def test_the_workers_of_a_server_that_was_killed_end_with_its_test() -> None:
    """Else they would go on serving for as long as the machine runs."""
    with serving("granian --interface asgi --workers 2 tests.sites:starlette_site") as server:
        workers = psutil.Process(server.process.pid).children(recursive=True)
        server.process.kill()
    assert len(workers) >= 2
    until(lambda: not any(is_running(worker) for worker in workers), "the end of the workers", SOON_SECONDS)


def is_running(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
