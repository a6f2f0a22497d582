"""The embedded server: one for an app, joined by all its workers, gone with the last of them."""

import fcntl
import json
import multiprocessing
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis, RedisError

from tests.stores import missing
from tests.waiting import until
from waitroom.errors import EmbeddedError
from waitroom.store.embedded import server as embedded
from waitroom.store.embedded.folders import names, opened
from waitroom.store.embedded.keeper import LOCK, SECRET, SOCKET
from waitroom.store.embedded.server import EmbeddedServer, owner_pid, running, share

# A process of an app: joins the server, says what it got, and stays until its stdin is closed.
SHARER = """
import json, sys
from pathlib import Path
from waitroom.store.embedded.server import share
server = share(folder=Path(sys.argv[1]) if sys.argv[1] else None)
print(json.dumps({"url": server.url, "secret": server.secret}), flush=True)
sys.stdin.read()
if sys.argv[2:] != ["just exit"]:
    server.close()
"""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where this process and its children put their default folders; a test leaves it empty."""
    place = Path(tempfile.mkdtemp(prefix="wr-"))
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    yield place
    try:
        until(lambda: not list(place.iterdir()))
    finally:
        shutil.rmtree(place)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keepers start with site-packages and the environment, which is how coverage gets into them."""
    monkeypatch.setattr(embedded, "ISOLATED", ())
    monkeypatch.setattr(embedded, "bare", lambda: dict(os.environ))


def client(server: EmbeddedServer | str) -> "closing[Redis]":
    return closing(Redis.from_url(server if isinstance(server, str) else server.url))


def info(url: str) -> dict[str, Any]:
    with client(url) as redis:
        found: dict[str, Any] = redis.info("server")
    return found


def answers(url: str) -> bool:
    try:
        return bool(info(url))
    except RedisError:
        return False


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children_of(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def alive(pid: int) -> bool:
    """Whether it runs: a process that nobody has waited for yet does not."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


class Family:
    """The processes of one embedded server."""

    def __init__(self, url: str) -> None:
        self.server = info(url)["process_id"]
        self.keeper = parent_of(self.server)
        (self.watcher,) = children_of(self.keeper) - {self.server}

    def is_gone(self) -> bool:
        return not any(alive(pid) for pid in (self.server, self.keeper, self.watcher))


class Sharer:
    """A process of an app that shares a server."""

    before: tuple[str, ...] | list[str] = ()
    """What runs Python."""

    def __init__(self, folder: Path | str = "", *how: str) -> None:
        self.process = subprocess.Popen(
            [*self.before, sys.executable, "-c", SHARER, str(folder), *how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Sharer":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def got(self) -> dict[str, str]:
        assert self.process.stdout is not None
        got: dict[str, str] = json.loads(self.process.stdout.readline())
        return got


def work(results: "multiprocessing.Queue[tuple[str, str, list[Any]]]", barrier: Any) -> None:
    """A worker as uvicorn's: its app's process is its parent."""
    embedded.GAP_SECONDS = 0.2  # the parent is this test's process, which goes on
    with closing(share()) as server, client(server) as redis:
        redis.rpush("workers", os.getpid())
        barrier.wait()
        results.put((server.url, server.secret, redis.lrange("workers", 0, -1)))
        barrier.wait()


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_the_workers_of_an_app_share_one_server(place: Path, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    results: Any = context.Queue()
    barrier = context.Barrier(4, timeout=60)
    workers = [context.Process(target=work, args=(results, barrier)) for _ in range(4)]
    for worker in workers:
        worker.start()
    got = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()

    assert got == [got[0]] * 4
    url, secret, seen = got[0]
    assert url == f"unix://{names(os.getpid())[0]}/{SOCKET}"
    assert len(secret) >= 32
    assert {int(pid) for pid in seen} == {worker.pid for worker in workers}


def test_two_apps_have_servers_of_their_own(place: Path) -> None:
    with Sharer() as one, Sharer() as other:
        first, second = one.got, other.got
        assert first["url"] != second["url"]
        assert first["secret"] != second["secret"]
        assert {f"unix://{path}" for path in running()} >= {first["url"], second["url"]}
    until(lambda: not any(path.is_relative_to(place) for path in running()))


def test_killing_every_process_of_an_app_leaves_nothing(place: Path) -> None:
    home = place / "app"
    with ExitStack() as stack:
        sharers = [stack.enter_context(Sharer(home)) for _ in range(4)]
        urls = {sharer.got["url"] for sharer in sharers}
        assert len(urls) == 1
        family = Family(urls.pop())
        for sharer in sharers:
            assert not family.is_gone()
            sharer.process.kill()
    until(family.is_gone)
    until(lambda: not home.exists())


def test_a_server_outlives_all_users_but_the_last(place: Path) -> None:
    with Sharer(place / "app") as first, Sharer(place / "app") as last:
        url = first.got["url"]
        assert last.got["url"] == url
        family = Family(url)
        first.process.kill()
        first.process.wait()
        with client(url) as redis:
            assert redis.ping()
        assert not family.is_gone()


def test_an_app_that_just_exits_leaves_nothing(place: Path) -> None:
    with Sharer(place / "app", "just exit") as sharer:
        family = Family(sharer.got["url"])
        sharer.process.communicate()
        until(family.is_gone)
        until(lambda: not (place / "app").exists())


@pytest.mark.usefixtures("measured")
def test_closing_leaves_nothing(place: Path) -> None:
    server = share()
    (home,) = place.iterdir()
    assert home == names(os.getpid())[0]
    assert home / SOCKET in running()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / SECRET).stat().st_mode) == 0o600
    family = Family(server.url)

    again = share()
    assert (again.url, again.secret) == (server.url, server.secret)
    server.close()
    server.close()
    assert not family.is_gone()
    again.close()
    until(family.is_gone)
    until(lambda: not home.exists())
    assert home / SOCKET not in running()


def test_a_forked_child_has_its_parents_share(place: Path) -> None:
    server = share(place / "app")
    family = Family(server.url)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=theirs.recv)
    child.start()
    server.close()
    with client(server) as redis:
        assert redis.ping()
    ours.send("enough")
    child.join()
    until(family.is_gone)


def test_a_program_the_app_starts_has_no_share(place: Path) -> None:
    server = share(place / "app")
    family = Family(server.url)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False):
        server.close()
        until(family.is_gone)


def test_it_listens_on_no_port_and_keeps_nothing_on_disk(place: Path) -> None:
    with closing(share(place / "app")) as server, client(server) as redis:
        fds = Path(f"/proc/{Family(server.url).server}/fd")
        ours = {str(link.readlink()) for link in fds.iterdir()}
        for table in ("tcp", "tcp6", "udp", "udp6"):
            rows = Path("/proc/net", table).read_text().splitlines()[1:]
            assert not ours & {f"socket:[{row.split()[9]}]" for row in rows}
        settings = redis.config_get("port", "save", "appendonly", "maxmemory-policy")
        assert settings == {"port": "0", "save": "", "appendonly": "no", "maxmemory-policy": "noeviction"}
        assert {path.name for path in (place / "app").iterdir()} == {SOCKET, SECRET, LOCK, "server.log"}


def environment_of(pid: int) -> dict[str, str]:
    words = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(word.split("=", 1) for word in words if word)


def test_nothing_of_the_apps_environment_is_in_that_of_its_server(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = (
        "WAITROOM_SECRET",
        "WAITROOM_REDIS_URL",
        "_WAITROOM_HANDED_DOWN",
        "DATABASE_URL",
        "LD_SDK_KEY",
        "LANGFUSE_KEY",
    )
    for name in secrets:
        monkeypatch.setenv(name, "hush")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/where/libraries/are")
    with closing(share(place / "app")) as server:
        family = Family(server.url)
        for pid in (family.keeper, family.watcher, family.server):
            found = environment_of(pid)
            # The server writes its title over it.
            assert found.pop("LD_LIBRARY_PATH", None) == "/where/libraries/are" or pid == family.server
            assert set(found) <= {"LANG", "LC_ALL", "LC_CTYPE", "LD_PRELOAD"}, found


def test_signals_to_the_app_and_all_it_started_end_nobody_inside(place: Path) -> None:
    with closing(share(place / "app")) as server:
        family = Family(server.url)
        assert os.getsid(family.keeper) == os.getsid(family.server) != os.getsid(0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(family.keeper, number)
            os.kill(family.watcher, number)
        assert answers(server.url)
        assert not family.is_gone()


@pytest.mark.usefixtures("measured")
def test_a_server_that_dies_is_replaced_while_it_has_users(place: Path) -> None:
    with closing(share(place / "app")) as server, client(server) as redis:
        redis.set("key", "value")
        family = Family(server.url)
        until(lambda: info(server.url)["uptime_in_seconds"] >= 2)
        os.kill(family.server, signal.SIGKILL)
        until(lambda: answers(server.url))
        assert redis.get("key") is None
        assert Family(server.url).keeper == family.keeper
        with closing(share(place / "app")) as again:
            assert (again.url, again.secret) == (server.url, server.secret)


@pytest.mark.usefixtures("measured")
def test_a_watcher_that_dies_is_replaced(place: Path) -> None:
    with closing(share(place / "app")) as server:
        family = Family(server.url)
        until(lambda: info(server.url)["uptime_in_seconds"] >= 2)
        os.kill(family.watcher, signal.SIGKILL)
        until(lambda: children_of(family.keeper) - {family.server, family.watcher})
        assert alive(family.server)
    until(family.is_gone)


def test_a_new_share_replaces_a_server_that_died_young(place: Path) -> None:
    with closing(share(place / "app")) as server:
        family = Family(server.url)
        os.kill(family.server, signal.SIGKILL)
        with closing(share(place / "app")) as again:
            assert (again.url, again.secret) == (server.url, server.secret)
            assert Family(server.url).server != family.server


def test_killing_the_keeper_takes_the_server_along(place: Path) -> None:
    with closing(share(place / "app")) as server:
        family = Family(server.url)
        os.kill(family.keeper, signal.SIGKILL)
        until(family.is_gone)
        assert not answers(server.url)
        with closing(share(place / "app")) as again:
            assert answers(server.url)
            assert again.secret == server.secret
            assert Family(again.url).keeper != family.keeper


def test_the_last_user_clears_up_after_a_killed_keeper(place: Path) -> None:
    server = share(place / "app")
    family = Family(server.url)
    os.kill(family.keeper, signal.SIGKILL)
    until(family.is_gone)
    server.close()
    assert not (place / "app").exists()


def test_a_folder_left_behind_is_taken_over(place: Path) -> None:
    with Sharer(place / "app") as sharer:
        family = Family(sharer.got["url"])
        os.kill(family.keeper, signal.SIGKILL)
        until(family.is_gone)
    assert (place / "app" / SOCKET).exists()
    with closing(share(place / "app")) as server:
        assert answers(server.url)


def test_folders_left_behind_are_cleared_up_by_the_next_app(place: Path) -> None:
    left = place / f"waitroom-{os.geteuid()}-0"
    left.mkdir(0o700)
    (left / SOCKET).touch()
    with closing(share()):
        assert not left.exists()


def test_what_is_not_ours_is_never_removed(place: Path) -> None:
    home = place / "app"
    home.mkdir(0o700)
    (home / "diary").touch()
    with closing(share(home)) as server:
        family = Family(server.url)
    until(family.is_gone)
    assert [path.name for path in home.iterdir()] == ["diary"]
    shutil.rmtree(home)


def test_a_server_without_a_keeper_is_replaced(place: Path) -> None:
    home = place / "app"
    home.mkdir(0o700)
    orphan = subprocess.Popen(
        [embedded._binary(), "--port", "0", "--unixsocket", home / SOCKET, "--save", "", "--dir", home],
        stdout=subprocess.DEVNULL,
    )
    until(lambda: answers(f"unix://{home / SOCKET}"))
    with closing(share(home)) as server:
        assert orphan.wait() == 0
        assert Family(server.url).server != orphan.pid


def is_waited_for(folder: Path) -> bool:
    inode = folder.stat().st_ino
    locks = Path("/proc/locks").read_text().splitlines()
    return any("->" in lock and f":{inode} " in lock for lock in locks)


def test_a_folder_that_is_just_being_removed_is_made_anew(place: Path) -> None:
    home = place / "app"
    home.mkdir(0o700)
    keeper = os.open(home, os.O_RDONLY)
    fcntl.flock(keeper, fcntl.LOCK_EX)
    with ThreadPoolExecutor() as threads:
        joining = threads.submit(share, home)
        until(lambda: is_waited_for(home))
        home.rmdir()
        os.close(keeper)
        with closing(joining.result()) as server:
            assert answers(server.url)


def test_a_process_whose_keeper_died_meanwhile_does_not_start() -> None:
    code = "import os; from waitroom.store.embedded.keeper import _die_with; _die_with(os.getpid())"
    child = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert "ProcessLookupError: the keeper died" in child.stderr


def test_only_servers_that_answer_are_running(place: Path) -> None:
    for number, mode in enumerate([0o700, 0o755]):
        home = place / f"waitroom-{os.geteuid()}-{number}"
        home.mkdir()
        home.chmod(mode)
    assert not any(path.is_relative_to(place) for path in running())
    for home in place.iterdir():
        home.rmdir()


def test_apps_that_come_and_go_at_once_always_find_a_server(place: Path) -> None:
    code = """
import sys
from pathlib import Path
from contextlib import closing
from redis import Redis
from waitroom.store.embedded.server import share
for _ in range(20):
    with closing(share(Path(sys.argv[1]))) as server, closing(Redis.from_url(server.url)) as redis:
        assert redis.ping()
"""
    apps = [subprocess.Popen([sys.executable, "-c", code, place / "app"]) for _ in range(4)]
    assert [app.wait() for app in apps] == [0] * 4


def test_a_strange_path_is_quoted_in_the_url(place: Path) -> None:
    with closing(share(place / "100% a?b")) as server:
        assert server.url == f"unix://{place}/100%25%20a%3Fb/{SOCKET}"
        assert answers(server.url)


def test_an_app_is_named_by_the_process_its_workers_agree_on() -> None:
    assert owner_pid() == owner_pid("uvicorn") == os.getpid()
    assert owner_pid("gunicorn/23.0.0") == os.getppid()
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        assert pool.apply(owner_pid) == os.getpid()


def test_an_owner_names_the_folder(place: Path) -> None:
    nobody = 2**22  # above the highest process id
    with closing(share(owner=nobody)) as server:
        assert server.url == f"unix://{names(nobody)[0]}/{SOCKET}"


def test_a_server_is_kept_from_one_worker_to_the_next(place: Path, measured: None) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as supervisor:
        with closing(share(owner=supervisor.pid)) as server, client(server) as redis:
            family = Family(server.url)
            redis.set("line", "stands")
        until(lambda: family.watcher not in children_of(family.keeper), "the gap is noticed")
        with closing(share(owner=supervisor.pid)) as server, client(server) as redis:
            assert redis.get("line") == b"stands"
            until(lambda: len(children_of(family.keeper)) == 2, "and its end")
        supervisor.communicate(b"\n")
    until(family.is_gone, "nothing outlives the supervisor")


def test_a_gap_is_not_waited_for_for_ever(
    place: Path, measured: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "GAP_SECONDS", 0.3)
    with closing(share(owner=os.getppid())) as server:
        family = Family(server.url)
    until(family.is_gone)


def test_a_long_temporary_path_is_avoided(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = place / ("long" * 20)
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with closing(share()) as server:
        assert server.url == f"unix://{names(os.getpid())[0]}/{SOCKET}"
        assert server.url.startswith("unix:///tmp/waitroom-")
    with pytest.raises(EmbeddedError, match=r"longlong is too long for a socket's path: at most 100 bytes"):
        share(long)


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o500])
def test_a_folder_that_others_may_enter_is_refused(place: Path, mode: int) -> None:
    home = place / "app"
    home.mkdir()
    home.chmod(mode)
    with pytest.raises(
        EmbeddedError, match=r"app is not a folder of this user's with mode 0700: remove or rename it"
    ):
        share(home)
    home.chmod(0o700)
    home.rmdir()


def test_somebody_elses_folder_is_refused(place: Path) -> None:
    if os.geteuid() != 0:
        missing("root, who alone can give a folder away,")
    home = place / "app"
    home.mkdir(0o700)
    os.chown(home, 12345, -1)
    with pytest.raises(EmbeddedError, match="is not a folder of this user's"):
        share(home)
    home.rmdir()


@pytest.mark.parametrize("what", ["file", "link", "dangling link"])
def test_what_is_no_folder_is_refused(place: Path, what: str) -> None:
    home, real = place / "app", place / "real"
    if what == "file":
        home.touch(0o700)
    else:
        home.symlink_to(real)
    if what == "link":
        real.mkdir(0o700)
    with pytest.raises(EmbeddedError, match="is not a folder of this user's"):
        share(home)
    home.unlink()
    if what == "link":
        real.rmdir()


def test_a_folder_that_cannot_be_made_is_named(place: Path) -> None:
    with pytest.raises(EmbeddedError, match=r"cannot make .*/none/app for the embedded server: No such file"):
        share(place / "none" / "app")


def without_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)


def test_without_the_wheel_a_server_on_the_path_will_do(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = embedded._binary()
    without_wheel(monkeypatch)
    programs = place / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    (programs / "redis-server").symlink_to(binary)
    assert embedded._binary() == programs / "redis-server"
    (programs / "valkey-server").symlink_to(binary)
    assert embedded._binary() == programs / "valkey-server"
    with closing(share(place / "app")) as server:
        assert answers(server.url)
    shutil.rmtree(programs)


def test_without_any_server_it_says_what_to_install(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_wheel(monkeypatch)
    monkeypatch.setenv("PATH", str(place))
    with pytest.raises(EmbeddedError, match=r'no server to embed: pip install "waitroom\[embedded\]"'):
        share(place / "app")
    assert not (place / "app").exists()


def program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "echo this processor; echo is too old >&2; exit 3",
            r"this processor \| is too old \| .* exit status 3",
        ),
        ("kill -ILL $$", r"valkey-server ended at once, by signal 4"),
    ],
)
def test_a_server_that_does_not_start_is_quoted(
    place: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    program(place / "bin" / "valkey-server", text)
    without_wheel(monkeypatch)
    monkeypatch.setenv("PATH", str(place / "bin"), prepend=os.pathsep)
    with pytest.raises(EmbeddedError, match=f"the embedded server did not start: .*{said}"):
        share(place / "app")
    shutil.rmtree(place / "bin")
    assert not (place / "app").exists()


@pytest.mark.usefixtures("measured")
def test_a_binary_that_cannot_be_run_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_binary", lambda: place / "nothing")
    with pytest.raises(EmbeddedError, match=r"No such file or directory: '.*/nothing'.* exit status 1"):
        share(place / "app")


def test_a_python_that_cannot_be_run_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(EmbeddedError, match=r"cannot run '' to keep the embedded server"):
        share(place / "app")


def test_a_server_that_hangs_is_given_up(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "PATIENCE", 0.5)
    program(place / "bin" / "valkey-server", "exec sleep 1000")
    without_wheel(monkeypatch)
    monkeypatch.setenv("PATH", str(place / "bin"), prepend=os.pathsep)
    with pytest.raises(EmbeddedError, match=r"does not answer in 0\.5 s: it said nothing"):
        share(place / "app")
    shutil.rmtree(place / "bin")


def test_a_folder_that_is_gone_is_not_taken_for_a_foreign_one(place: Path) -> None:
    """So that whoever comes while the last keeper clears up begins again, with a folder of their own."""
    with pytest.raises(FileNotFoundError), opened(place / "gone"):
        raise AssertionError("there is nothing to open")


def test_a_server_that_cannot_come_back_is_told_once(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = share()
    (home,) = place.iterdir()
    home.rename(home.with_name("elsewhere"))
    for _ in range(2):
        server.revive()
        thread = server._reviving
        assert thread is not None
        thread.join()
    assert caplog.text.count("the embedded server does not come back") == 1
    home.with_name("elsewhere").rename(home)
    server.close()
    server.revive()
    assert server._reviving is thread, "nobody starts what nobody uses"
