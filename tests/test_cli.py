"""The command line: exit statuses, one line for what is wrong, and the commands on real servers."""

import asyncio
import json
import os
import re
import shutil
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest
from click.testing import CliRunner

from tests import stores
from tests.conftest import SECRET
from tests.gates import DEADLINE_SECONDS, Server, free_port, join, started
from tests.visits import visitor
from tests.waiting import until
from waitroom.cli import commands as cli
from waitroom.cli import demo, status
from waitroom.config.settings import Settings, load
from waitroom.errors import EmbeddedError, StoreError, WaitroomError
from waitroom.store.embedded.folders import names

soon = partial(until, seconds=20)
WAITROOM = [sys.executable, "-m", "waitroom"]
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "d2FpdHJvb213YWl0cm9vbQ==",
    "Sec-WebSocket-Version": "13",
}


def waitroom(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    command = [*WAITROOM, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)


def within(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command that serves nothing within this process: one of its own takes most of a second to start."""
    done = CliRunner().invoke(cli.main, arguments, env=variables)
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


@contextmanager
def serving(*arguments: str, **variables: str) -> Iterator[Server]:
    port = free_port()
    with started([*WAITROOM, *arguments, "--port", str(port)], variables, port) as server:
        yield server


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (
            ["--capacity", "many"],
            {},
            "WAITROOM_CAPACITY='many' is not allowed; allowed: a whole number from 1 to",
        ),
        (
            [],
            {"WAITROOM_WINDOW_SIZE": "0"},
            "WAITROOM_WINDOW_SIZE='0' is not allowed; allowed: a whole number",
        ),
        ([], {"WAITROOM_WINDW_SIZE": "5"}, "WAITROOM_WINDW_SIZE: there is no such setting; did you mean"),
        ([], {"WAITROOM_REDIS_URL": "redis://localhost"}, "WAITROOM_SECRET is not set"),
    ],
)
def test_a_wrong_setting_ends_with_one_line_and_status_2(
    arguments: list[str], variables: dict[str, str], said: str
) -> None:
    done = waitroom("serve", *arguments, **variables)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"waitroom: {said}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("target", ["nowhere:app", "tests.sites:nothing", "tests.sites"])
def test_a_wrong_target_ends_with_one_line_and_status_2(target: str) -> None:
    done = waitroom("run", target)
    assert done.returncode == 2
    assert done.stderr.startswith("waitroom: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["tests.sites:plain_site"],
            "tests.sites:plain_site is not an ASGI app; if it makes one, add --factory",
        ),
        (
            ["--factory", "tests.sites:site"],
            "tests.sites:site can't be called without arguments; if it is an",
        ),
    ],
)
def test_a_factory_and_an_app_are_told_apart(arguments: list[str], said: str) -> None:
    done = waitroom("run", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"waitroom: {said}")
    assert done.stderr.count("\n") == 1


def store_fails(url: str, *arguments: str) -> str:
    done = waitroom(*(arguments or ("serve",)), WAITROOM_REDIS_URL=url, WAITROOM_SECRET=SECRET)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_a_store_that_cannot_be_reached_ends_with_one_line_and_status_3() -> None:
    url = f"redis://:hidden@127.0.0.1:{free_port()}/0"
    said = store_fails(url)
    assert re.match(r"waitroom: the store at redis://127\.0\.0\.1:\d+/0 can't be reached: ", said)
    assert "hidden" not in said


def test_a_wrong_password_ends_with_one_line_and_status_3(tmp_path: Path) -> None:
    with stores.redis_server(tmp_path, "--requirepass", "right") as url:
        for wrong in (url, url.replace("unix://", "unix://:wrong@")):
            said = store_fails(wrong)
            assert "refused the user or password of WAITROOM_REDIS_URL" in said
            assert ":wrong" not in said


class OldServer(socketserver.StreamRequestHandler):
    """Speaks as a Redis 6 does; no such server can be installed any more."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            words = [self._word() for _ in range(int(line[1:]))]
            if words[0].upper() == b"INFO":
                info = b"# Server\r\nredis_version:6.2.14\r\n"
                self.wfile.write(b"$%d\r\n%b\r\n" % (len(info), info))
            else:
                self.wfile.write(b"+OK\r\n")

    def _word(self) -> bytes:
        length = int(self.rfile.readline()[1:])
        return self.rfile.read(length + 2)[:-2]


def test_an_old_server_ends_with_one_line_and_status_3() -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), OldServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        said = store_fails(f"redis://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
    assert "is version 6.2.14; Redis 7 or Valkey 7 and newer will do" in said


def test_run_wraps_any_app_with_the_flags() -> None:
    with (
        serving(
            "run", "tests.sites:plain", "--capacity", "1", "--room", "run", WAITROOM_CAPACITY="9"
        ) as server,
        visitor(server) as inside,
        visitor(server) as outside,
    ):
        for _ in range(2):  # the second time it shows that it keeps its cookie
            until(lambda: inside.get("/").text == "inside")
        held = outside.get("/")
        window = outside.get("/_waitroom/window").json()
    assert held.status_code == 503
    assert (window["room"], window["capacity"], window["inside"]) == ("run", 1, 1)


def test_run_finds_the_app_in_the_folder_it_is_called_in(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("from tests.sites import plain as app\n")
    port = free_port()
    command = [*WAITROOM, "run", "shop:app", "--port", str(port)]
    root = str(Path(__file__).parent.parent)
    with started(command, {"PYTHONPATH": root}, port, cwd=tmp_path) as server, visitor(server) as client:
        until(lambda: client.get("/").text == "inside")


def test_workers_of_run_share_one_embedded_store_and_leave_nothing() -> None:
    with serving("run", "tests.sites:plain", "--workers", "2", "--capacity", "1") as server:
        with visitor(server) as inside:
            for _ in range(2):  # the second time it shows that it keeps its cookie
                until(lambda: inside.get("/").status_code == 200)
        answers = [httpx.get(server.url, timeout=DEADLINE_SECONDS).status_code for _ in range(7)]
        process = psutil.Process(server.process.pid)
        folder = names(process.pid)[0]
        assert folder.exists()
    assert answers == [503] * 7
    soon(lambda: not folder.exists())


def test_serve_has_the_routes_and_no_site() -> None:
    with serving("serve", "--log-level", "warning") as server, visitor(server) as client:
        assert join(client).status_code == 201
        nothing = client.get("/")
        no_socket = client.get("/", headers=UPGRADE)
    assert nothing.status_code == 404
    assert no_socket.status_code == 403
    assert nothing.json()["type"] == "urn:waitroom:no-site"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_event_loop_and_the_backlog_are_the_operators_choice(loop: str) -> None:
    with serving("serve", "--loop", loop, "--backlog", "16") as server:
        loaded = Path(f"/proc/{server.process.pid}/maps").read_text("utf-8")
        assert ("uvloop" in loaded) == (loop == "uvloop")
        if shutil.which("ss") is None:
            stores.missing("ss, of iproute2,")
        port = server.url.rpartition(":")[2]
        listening = subprocess.run(["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True)
    assert listening.stdout.split()[2] == "16"


def test_a_missing_event_loop_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == "uvloop" else object())
    done = CliRunner().invoke(cli.main, ["serve", "--loop", "uvloop"])
    assert (done.exit_code, done.stderr) == (
        2,
        "waitroom: --loop uvloop needs uvloop: pip install uvloop; or leave --loop out\n",
    )


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_shows_a_line_and_leaves_nothing(end: signal.Signals) -> None:
    port = free_port()
    with started([*WAITROOM, "demo", "--port", str(port)], {}, port) as server:
        window = f"{server.url}/_waitroom/window"
        soon(lambda: httpx.get(window, timeout=DEADLINE_SECONDS).json()["waiting"] >= 5)
        assert httpx.get(server.url, timeout=DEADLINE_SECONDS).status_code == 503
        soon(lambda: f"{server.url}/inside" in server.printed())
        family = descendants(server.process.pid)
        assert any("crowd" in " ".join(process.cmdline()) for process in family)
        folder = names(server.process.pid)[0]
        assert folder.exists()
        told = CliRunner().invoke(
            cli.main, ["status", "--room", "demo", "--redis-url", f"unix://{folder}/valkey.sock"]
        )
        server.process.send_signal(end)
        assert server.process.wait(30) == (0 if end == signal.SIGINT else 143)
        soon(lambda: not any(process.is_running() for process in family) and not folder.exists())
        assert "Traceback" not in server.printed()
    assert told.exit_code == 0
    assert re.search(r"^inside +\d+ of 40", told.output, re.MULTILINE)


def test_the_demo_invites_in_the_end_even_if_nobody_comes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "TRIES", 1)
    demo._tell_when_a_line_stands(f"http://127.0.0.1:{free_port()}", "/_waitroom")
    assert "Open the shop" in capsys.readouterr().out


def test_the_demo_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    done = CliRunner().invoke(cli.main, ["demo"])
    assert (done.exit_code, done.stderr) == (
        3,
        "waitroom: the demo's shop is not among the installed files\n",
    )
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == "httpx" else object())
    with pytest.raises(WaitroomError, match="the crowd needs httpx"):
        demo.run_demo("127.0.0.1", 1, 1)


async def room_of_two(settings: Settings) -> None:
    from waitroom.store.transitions import Store

    store = Store(settings.redis_url, settings)
    await store.join([("enter", "one"), ("number", "two")])
    await store.close()


@pytest.fixture
async def two(any_store_url: str, room: str) -> Settings:
    """A room with one visitor inside and one waiting."""
    settings = load(redis_url=any_store_url, room=room, secret=SECRET, capacity=1, window_size=4)
    await room_of_two(settings)
    return settings


def test_status_shows_the_room_without_touching_it(two: Settings) -> None:
    done = waitroom("status", "--redis-url", two.redis_url, "--room", two.room)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^inside +1 of 1, 0 of them on a first lease$", done.stdout, re.MULTILINE)
    assert re.search(r"^entered +1 of 4 in the last 10 s$", done.stdout, re.MULTILINE)
    assert re.search(r"^called +1 of 2 issued", done.stdout, re.MULTILINE)
    assert re.search(
        r"^not in yet +0 called lately who have not come, 0 at the door$", done.stdout, re.MULTILINE
    )
    told = json.loads(within("status", "--json", "--redis-url", two.redis_url, "--room", two.room).stdout)
    expected = {"issued": 2, "called": 1, "waiting": 1, "inside": 1, "capacity": 1, "window_interval": 10.0}
    assert {name: told[name] for name in expected} == expected


def test_status_watches_until_it_is_stopped(two: Settings) -> None:
    command = [*WAITROOM, "status", "--watch", "--json", "--redis-url", two.redis_url, "--room", two.room]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert [json.loads(line)["issued"] for line in lines] == [2, 2]


def test_status_of_a_room_that_is_not_there(any_store_url: str) -> None:
    done = within("status", "--redis-url", any_store_url, "--room", "nowhere")
    assert done.returncode == 3
    assert "there is no room 'nowhere' in the store at unix://" in done.stderr


def test_status_of_a_store_that_is_away() -> None:
    assert "can't be reached" in store_fails("unix:///nowhere/redis.sock", "status")


def test_status_shows_a_room_beside_one_whose_store_is_away(two: Settings) -> None:
    flags = ("--redis-url", two.redis_url)
    away = {"WAITROOM_ROOMS__FAR__REDIS_URL": "unix:///nowhere/redis.sock", "WAITROOM_ROOM": two.room}
    done = within("status", "--json", *flags, **away)
    told = {fields["room"]: fields for fields in map(json.loads, done.stdout.splitlines())}
    assert (done.returncode, told[two.room]["inside"]) == (3, 1)
    assert "can't be reached" in told["far"]["error"]
    shown = within("status", *flags, **away)
    assert re.search(
        "^far +the store at unix:///nowhere/redis.sock can't be reached", shown.stdout, re.MULTILINE
    )
    alone = within("status", "--room", "far", *flags, **away)
    assert (alone.returncode, alone.stdout) == (3, ""), "its own store, not the plain one"


def test_status_shows_what_it_may(any_store_url: str, two: Settings) -> None:
    """A user who may not look for keys sees the rooms that the settings name."""
    with stores.admin(any_store_url) as client:
        client.execute_command("ACL", "SETUSER", two.room, "on", ">pass", "~waitroom:*", "+@all", "-scan")
        url = f"unix://{two.room}:pass@{any_store_url.removeprefix('unix://')}"
        named = within("status", "--redis-url", url, WAITROOM_ROOM=two.room)
        unnamed = within("status", "--redis-url", url)
        client.execute_command("ACL", "DELUSER", two.room)
    assert (named.returncode, named.stdout.count("inside")) == (0, 1)
    assert (unnamed.returncode, "there is no room 'default'" in unnamed.stderr) == (3, True)


def test_a_target_that_does_not_tell_what_it_takes_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def untold(_: object) -> None:
        raise ValueError("no signature found for builtin")

    monkeypatch.setattr(cli, "signature", untold)
    monkeypatch.setattr(sys, "path", [*sys.path])
    cli._check_target("tests.sites:site", factory=False)


def test_status_watches_a_store_that_goes_and_comes(tmp_path: Path) -> None:
    with stores.redis_server(tmp_path) as url:
        asyncio.run(room_of_two(load(redis_url=url, room="shop", secret=SECRET)))
        process = subprocess.Popen(
            [*WAITROOM, "status", "--watch", "--json", "--redis-url", url], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert "issued" in json.loads(process.stdout.readline())
    while "error" not in json.loads(process.stdout.readline()):
        pass
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    process.stdout.close()


def test_status_finds_the_embedded_server(monkeypatch: pytest.MonkeyPatch, two: Settings) -> None:
    settings = load()
    servers: list[Path] = []
    monkeypatch.setattr(status, "running", lambda: servers)
    with pytest.raises(StoreError, match="no embedded server of yours is running"):
        status.store_url(settings)
    servers.append(Path("/tmp/one"))
    assert status.store_url(settings) == "unix:///tmp/one"
    servers.append(Path("/tmp/two"))
    with pytest.raises(StoreError, match=r"2 embedded servers .*: unix:///tmp/one, unix:///tmp/two"):
        status.store_url(settings)


def test_status_clears_the_screen_while_it_watches(monkeypatch: pytest.MonkeyPatch, two: Settings) -> None:
    def stop(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("waitroom.cli.commands.time.sleep", stop)
    done = CliRunner().invoke(
        cli.main, ["status", "--watch", "--redis-url", two.redis_url, "--room", two.room]
    )
    assert done.exit_code == 0
    assert done.output.startswith("room ")


def test_an_embedded_server_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise EmbeddedError("nothing to start")

    monkeypatch.setattr(cli, "share", fail)
    done = CliRunner().invoke(cli.main, ["serve"])
    assert (done.exit_code, done.stderr) == (3, "waitroom: nothing to start\n")


def test_keygen_prints_a_new_key_each_time() -> None:
    keys = {CliRunner().invoke(cli.main, ["keygen"]).output.strip() for _ in range(3)}
    assert len(keys) == 3
    assert all(load(redis_url="redis://localhost", secret=key).secret == (key,) for key in keys)


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(cli.main, ["--version"]).output.startswith("waitroom, version 0.")


def test_every_setting_is_a_flag() -> None:
    shown = CliRunner().invoke(cli.main, ["run", "--help"]).output
    missing = [name for name in Settings.model_fields if f"--{name.replace('_', '-')} " not in shown]
    assert not missing
