"""Start and stop: the gate's around the site's, and what a server hears of it."""

import asyncio
import os
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import trio
from starlette.types import Message, Receive, Scope, Send

from tests import stores
from tests.conftest import SECRET
from tests.gates import (
    API,
    DEADLINE_SECONDS,
    client_of,
    eventually,
    free_port,
    gated,
    is_inside,
    lifespan,
    uvicorn,
)
from tests.sites import plain, site
from tests.test_cli import OldServer
from waitroom.config.settings import Settings
from waitroom.web.lifespan import SiteLifespan
from waitroom.web.middleware import WaitingRoomMiddleware

Make = Callable[..., Settings]


pytestmark = pytest.mark.usefixtures("patience")


COMPLETE = {"type": "lifespan.startup.complete"}
SHUT = {"type": "lifespan.shutdown.complete"}


class Site:
    """Speaks lifespan, and fails where it is told to."""

    def __init__(self, **failures: str) -> None:
        self.failures = failures
        self.heard: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for step in ("startup", "shutdown"):
            message = await receive()
            self.heard.append(message["type"])
            if step in self.failures:
                await send({"type": f"lifespan.{step}.failed", "message": self.failures[step]})
                return
            scope["state"]["goods"] = 7
            await send({"type": f"lifespan.{step}.complete"})


async def life(app: Any) -> list[Message]:
    async with lifespan(app) as sent:
        pass
    return sent


async def test_the_server_hears_of_one_application(settings: Make) -> None:
    inner = Site()
    assert await life(WaitingRoomMiddleware(inner, settings=settings())) == [COMPLETE, SHUT]
    assert inner.heard == ["lifespan.startup", "lifespan.shutdown"]


async def test_a_site_that_does_not_speak_it_is_left_in_peace(settings: Make) -> None:
    assert await life(WaitingRoomMiddleware(plain, settings=settings())) == [COMPLETE, SHUT]

    async def says_nothing(scope: Scope, receive: Receive, send: Send) -> None:
        return

    assert await life(WaitingRoomMiddleware(says_nothing, settings=settings())) == [COMPLETE, SHUT]


async def test_a_site_that_fails_at_its_start_is_heard(settings: Make) -> None:
    gate = WaitingRoomMiddleware(Site(startup="no goods"), settings=settings())
    assert await life(gate) == [{"type": "lifespan.startup.failed", "message": "no goods"}]


async def test_a_site_that_fails_at_its_end_is_heard(settings: Make) -> None:
    gate = WaitingRoomMiddleware(Site(shutdown="no till"), settings=settings())
    assert await life(gate) == [COMPLETE, {"type": "lifespan.shutdown.failed", "message": "no till"}]


async def test_a_site_that_never_ends_is_ended(settings: Make) -> None:
    async def hangs(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(COMPLETE)
        await receive()
        await send(SHUT)
        await receive()

    assert await life(WaitingRoomMiddleware(hangs, settings=settings())) == [COMPLETE, SHUT]


async def test_a_site_that_has_answered_and_ended_at_once_is_heard() -> None:
    async def answers(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed"})

    assert await SiteLifespan(answers, {"type": "lifespan"}).step("startup") == ""


async def test_what_the_site_puts_into_its_state_reaches_its_requests(settings: Make) -> None:
    state: dict[str, Any] = {}
    gate = WaitingRoomMiddleware(Site(), settings=settings())
    steps = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[Message] = []

    async def receive() -> Message:
        return next(steps)

    async def send(message: Message) -> None:
        sent.append(message)

    await gate({"type": "lifespan", "state": state}, receive, send)
    assert sent == [COMPLETE, SHUT]
    assert state == {"goods": 7}


async def test_a_gate_may_be_started_again(settings: Make) -> None:
    gate = WaitingRoomMiddleware(site, settings=settings())
    for _ in range(2):
        async with lifespan(gate) as sent, client_of(gate) as client:
            assert sent == [COMPLETE]
            assert is_inside(await client.get("/"))


async def test_nothing_is_under_way_once_the_gate_has_stopped(settings: Make) -> None:
    """A call that went on would open connections that nobody closes."""
    for _ in range(10):
        async with gated(site, settings=settings()) as gate, client_of(gate) as client:
            await client.get("/")
            await client.get("/")  # makes the first lease a full one, after the answer
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_embedded_store_is_there_without_a_setting() -> None:
    async with gated(site, room="embedded") as gate, client_of(gate) as client:
        assert is_inside(await client.get("/"))
        assert (await client.get(f"{API}/window")).json()["inside"] == 1


async def test_a_real_store_that_is_away_does_not_keep_the_site_from_starting(tmp_path: Path) -> None:
    gate = WaitingRoomMiddleware(site, redis_url=f"unix://{tmp_path}/nobody", secret=SECRET)
    assert await life(gate) == [COMPLETE, SHUT]


@pytest.mark.parametrize("user", ["", "someone:wrong", "gate:secret"])
async def test_a_store_that_refuses_us_is_told_in_one_line(tmp_path: Path, user: str) -> None:
    with stores.redis_server(tmp_path, "--requirepass", "right") as url:
        with redis.Redis.from_url(url.replace("unix://", "unix://:right@")) as client:
            client.execute_command("ACL", "SETUSER", "gate", "on", ">secret", "~*", "+ping")
        url = url.replace("unix://", f"unix://{user}@" if user else "unix://")
        gate = WaitingRoomMiddleware(site, redis_url=url, secret=SECRET)
        (sent,) = await life(gate)
    assert sent["type"] == "lifespan.startup.failed"
    assert sent["message"].startswith(f"the store at unix://{tmp_path}")
    assert "\n" not in sent["message"]
    assert "wrong" not in sent["message"]


async def test_an_old_store_is_told_in_one_line() -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), OldServer) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"redis://127.0.0.1:{server.server_address[1]}"
        (sent,) = await life(WaitingRoomMiddleware(site, redis_url=url, secret=SECRET))
        server.shutdown()
    assert sent["type"] == "lifespan.startup.failed"
    assert "is version 6.2.14; Redis 7 or Valkey 7 and newer will do" in sent["message"]


class Dies(Site):
    """Has a task of its own that fails while the site runs, and takes the lifespan with it."""

    def __init__(self, error: BaseException | None) -> None:
        super().__init__()
        self.error = error
        self.fails = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await site(scope, receive, send)
            return
        await receive()
        await send(COMPLETE)
        await self.fails.wait()
        if self.error:
            raise self.error


@pytest.mark.parametrize(
    "error", [RuntimeError("the till is on fire"), BaseExceptionGroup("several", [KeyError("till")])]
)
async def test_a_site_that_dies_while_it_runs_is_logged_at_once(
    settings: Make, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    inner = Dies(error)
    gate = WaitingRoomMiddleware(inner, settings=settings())
    async with lifespan(gate) as sent, client_of(gate) as client:
        inner.fails.set()

        async def logged() -> bool:
            return bool(caplog.records)

        await eventually(logged)
        (record,) = caplog.records
        assert record.levelname == "ERROR"
        assert record.exc_info is not None
        assert record.exc_info[1] is error
        assert is_inside(await client.get("/")), "the server would go on serving"
    assert sent == [COMPLETE, SHUT]
    assert len(caplog.records) == 1


async def test_a_site_that_says_that_it_dies_is_logged_at_once(
    settings: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """As Starlette does for its own lifespan; what it says once it is asked to stop is the server's to log."""
    failed = {"type": "lifespan.shutdown.failed", "message": "the till is on fire"}

    async def dying(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(COMPLETE)
        await send(failed)
        raise RuntimeError("the till is on fire")

    async with lifespan(WaitingRoomMiddleware(dying, settings=settings())) as sent:

        async def logged() -> bool:
            return bool(caplog.records)

        await eventually(logged)
    assert sent == [COMPLETE, failed]
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "the till is on fire" in record.getMessage()


async def test_a_site_that_returns_while_it_runs_is_no_error(
    settings: Make, caplog: pytest.LogCaptureFixture
) -> None:
    inner = Dies(None)
    async with lifespan(WaitingRoomMiddleware(inner, settings=settings())) as sent:
        inner.fails.set()
    assert sent == [COMPLETE, SHUT]
    assert not caplog.records


def test_trio_is_refused_in_one_line(settings: Make, caplog: pytest.LogCaptureFixture) -> None:
    """At the start, and with the first request where the server runs without lifespan."""
    gate = WaitingRoomMiddleware(site, settings=settings())
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def both() -> None:
        await gate({"type": "lifespan", "state": {}}, receive, send)
        await gate({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)

    trio.run(both)
    assert [message["type"] for message in sent[:2]] == ["lifespan.startup.failed", "http.response.start"]
    assert sent[1]["status"] == 503
    (record,) = caplog.records
    for told in (sent[0]["message"], record.getMessage()):
        assert told.startswith("the gate needs asyncio and can't run on trio")
        assert "\n" not in told


# -- under a real server -----------------------------------------------------------------------------


def served(app: str, *arguments: str, **settings: str) -> str:
    """Run an app under uvicorn until it gives up; what it printed."""
    environment = {**os.environ, **{f"WAITROOM_{name.upper()}": value for name, value in settings.items()}}
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(free_port()), *arguments]
    done = subprocess.run(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    return done.stdout


@pytest.mark.parametrize("app", ["tests.sites:starlette_site", "tests.sites:site_without_goods"])
def test_a_wrong_setting_ends_the_server_with_one_line(app: str) -> None:
    said = served(app, capacity="many")
    assert "ERROR:    WAITROOM_CAPACITY='many' is not allowed; allowed: a whole number from 1" in said
    assert "Traceback" not in said


def test_a_store_that_refuses_us_ends_the_server_with_one_line(tmp_path: Path) -> None:
    with stores.redis_server(tmp_path, "--requirepass", "right") as url:
        said = served("tests.sites:starlette_site", redis_url=url, secret=SECRET)
    assert f"the store at {url} refused the user or password of WAITROOM_REDIS_URL" in said
    assert "Traceback" not in said
    assert "never retrieved" not in said


def test_a_site_that_fails_at_its_start_ends_the_server_and_says_why(store_url: str, room: str) -> None:
    said = served("tests.sites:site_without_goods", redis_url=store_url, secret=SECRET, room=room)
    assert "RuntimeError: the shop has no goods" in said
    assert "Application startup failed" in said


def test_with_lifespan_off_a_wrong_setting_lets_nobody_in() -> None:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.sites:starlette_site", "--lifespan", "off"]
    environment = {**os.environ, "WAITROOM_CAPACITY": "many"}
    process = subprocess.Popen(
        [*command, "--port", str(port)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        assert process.stdout is not None
        while b"running on" not in process.stdout.readline():
            assert process.poll() is None
        response = httpx.get(f"http://127.0.0.1:{port}/", timeout=DEADLINE_SECONDS)
        assert response.status_code == 503
        assert response.json()["type"] == "urn:waitroom:not-set-up"
        process.send_signal(signal.SIGTERM)
        said = process.stdout.read().decode()
        assert "WAITROOM_CAPACITY='many' is not allowed" in said
        assert "Traceback" not in said
    finally:
        process.terminate()
        process.communicate()


def enters(url: str) -> None:
    """Come in where there is room, and come back; on a busy machine the store may seem away for a moment."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    with httpx.Client(timeout=DEADLINE_SECONDS) as browser:
        while browser.get(url).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert browser.get(url).status_code == 200


def test_with_lifespan_off_the_gate_starts_with_the_first_request(store_url: str, room: str) -> None:
    settings: dict[str, Any] = {"redis_url": store_url, "secret": SECRET, "room": room, "capacity": 1}
    with uvicorn("tests.sites:starlette_site", arguments=("--lifespan", "off"), **settings) as server:
        enters(server.url)
        assert httpx.get(server.url, timeout=DEADLINE_SECONDS).status_code == 503
    assert "Traceback" not in server.said


def test_around_plain_asgi_without_lifespan(store_url: str, room: str) -> None:
    settings: dict[str, Any] = {"redis_url": store_url, "secret": SECRET, "room": room, "capacity": 1}
    with uvicorn("tests.sites:plain_site", arguments=("--factory",), **settings) as server:
        enters(server.url)
        assert httpx.head(server.url, timeout=DEADLINE_SECONDS).content == b""
        assert httpx.get(server.url, timeout=DEADLINE_SECONDS).status_code == 503
    assert "Traceback" not in server.said
