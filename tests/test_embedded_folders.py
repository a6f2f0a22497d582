"""Where the embedded server's folder is: a place of the user's own, whatever others have put in its way."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.test_embedded import Family, Sharer, answers
from tests.waiting import until
from waitroom.errors import EmbeddedError
from waitroom.store.embedded import folders as embedded_places
from waitroom.store.embedded import server as embedded
from waitroom.store.embedded.folders import names, pick, twins
from waitroom.store.embedded.keeper import LOCK, SECRET, SOCKET
from waitroom.store.embedded.server import running, share

NOBODY = 2**22
"""A process id above the highest."""


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """The user's own folder and everybody's, for this process and its children."""
    base = Path(tempfile.mkdtemp(prefix="wr-"))
    own, everybodys = base / "own", base / "tmp"
    own.mkdir(0o700)
    everybodys.mkdir()
    everybodys.chmod(0o1777)
    base.chmod(0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(own))
    monkeypatch.setenv("TMPDIR", str(everybodys))
    monkeypatch.setattr(tempfile, "tempdir", str(everybodys))
    yield own, everybodys
    until(lambda: not list(own.glob("*/valkey.sock")) and not list(everybodys.glob("*/valkey.sock")))
    shutil.rmtree(base)


Folders = tuple[Path, Path]


def test_it_is_in_the_users_own_folder(folders: Folders) -> None:
    own, everybodys = folders
    with closing(share(owner=NOBODY)) as server:
        (home,) = own.iterdir()
        assert server.url == f"unix://{home}/{SOCKET}"
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert home / SOCKET in running()
        assert not list(everybodys.iterdir())


def open_to_all(own: Path, patch: pytest.MonkeyPatch) -> None:
    own.chmod(0o755)


def missing(own: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("XDG_RUNTIME_DIR", f"{own}/none")


def relative(own: Path, patch: pytest.MonkeyPatch) -> None:
    patch.chdir(own.parent)
    patch.setenv("XDG_RUNTIME_DIR", "own")


def unset(own: Path, patch: pytest.MonkeyPatch) -> None:
    patch.delenv("XDG_RUNTIME_DIR")


def too_long(own: Path, patch: pytest.MonkeyPatch) -> None:
    longest = own / ("long" * 20)
    longest.mkdir(0o700)
    patch.setenv("XDG_RUNTIME_DIR", str(longest))


def not_to_be_looked_at(own: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("XDG_RUNTIME_DIR", f"/{'x' * 300}")


def somebody_elses(own: Path, patch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(own, 12345, -1)


@pytest.mark.parametrize(
    "change", [open_to_all, missing, relative, unset, too_long, not_to_be_looked_at, somebody_elses]
)
def test_else_it_is_in_the_temporary_folder(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path, pytest.MonkeyPatch], None]
) -> None:
    own, everybodys = folders
    change(own, monkeypatch)
    with closing(share(owner=NOBODY)) as server:
        (home,) = everybodys.iterdir()
        assert server.url == f"unix://{home}/{SOCKET}"
        assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_where_nothing_can_be_made_in_the_own_folder_it_is_the_temporary_one(folders: Folders) -> None:
    _, everybodys = folders
    # In /proc nobody makes anything.
    own, temporary, *_ = names(NOBODY)
    places = [Path("/proc") / own.name, temporary]
    assert pick(places).parent == everybodys
    with pytest.raises(EmbeddedError, match=r"cannot make /proc/waitroom-.*-4194304 for the embedded server"):
        pick(places[:1])


def as_file(home: Path) -> None:
    home.touch(0o700)


def as_link(home: Path) -> None:
    home.symlink_to(home.parent)


def as_dangling_link(home: Path) -> None:
    home.symlink_to(home.with_name("dangling"))


def as_folder(home: Path) -> None:
    home.mkdir(0o755)
    home.chmod(0o755)
    if os.geteuid() == 0:
        home.chmod(0o700)
        os.chown(home, 12345, -1)


Foreign = Callable[[Path], None]
FOREIGN: list[Foreign] = [as_file, as_link, as_dangling_link, as_folder]
"""What a user of the same machine can put in the way."""


@pytest.mark.parametrize("foreign", FOREIGN)
def test_names_that_others_have_taken_stop_nobody(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, foreign: Foreign
) -> None:
    """However many, and whatever may be guessed of the names that would be tried."""
    _, everybodys = folders
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    place = names(NOBODY)[0]
    assert place.parent == everybodys
    taken = [place, *(place.with_name(f"{place.name}.{end}") for end in (*range(40), "aaaaaaaa", "_______0"))]
    for name in taken:
        foreign(name)
    with closing(share(owner=NOBODY)) as server:
        (home,) = {*everybodys.glob(f"{place.name}*"), *everybodys.iterdir()} - {*taken}
        assert server.url == f"unix://{home}/{SOCKET}"
        assert home.name.startswith(f"{place.name}.")
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert home / SOCKET in running()
        remove(place)
        with closing(share(owner=NOBODY)) as again:
            assert again.url == server.url, "what is there counts for more than a name that is free again"
            assert again.secret == server.secret
    until(lambda: not home.exists())
    with closing(share(owner=NOBODY)) as server:
        assert server.url == f"unix://{place}/{SOCKET}"


def remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        place.rmdir()
    else:
        place.unlink()


def test_a_folder_that_is_named_has_no_other_in_its_stead(folders: Folders) -> None:
    _, everybodys = folders
    place = everybodys / "app"
    as_file(place)
    place.with_name("app.mine").mkdir(0o700)
    with pytest.raises(EmbeddedError, match=r"/app is not a folder of this user's with mode 0700"):
        share(place)


def test_a_name_that_is_taken_between_two_looks_is_passed_over(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, *_ = names(NOBODY)
    make = Path.mkdir

    def mkdir(home: Path, mode: int = 0o777) -> None:
        make(home, mode)  # a sibling's
        make(home, mode)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert pick([first, second]) == first
    assert not second.exists()


def test_of_several_that_workers_made_at_once_one_is_left(folders: Folders) -> None:
    """As after others had taken the name: the first, or the one that is in use, though others sort before it."""
    place = names(NOBODY)[0]
    several = [place.with_name(f"{place.name}.{end}") for end in ("aaaa", "bbbb", "cccc")]
    for home in several:
        home.mkdir(0o700)
    with closing(share(owner=NOBODY)) as server:
        assert server.url == f"unix://{several[0]}/{SOCKET}"
        assert twins(place, [place]) == several[:1]
        place.mkdir(0o700)
        with closing(share(owner=NOBODY)) as again:
            assert again.url == server.url
        assert not place.exists()


@pytest.mark.parametrize("mask", [0o277, 0o777])
def test_an_umask_that_takes_the_users_own_rights_stops_nobody(folders: Folders, mask: int) -> None:
    mine = os.geteuid()
    before = os.umask(mask)
    try:
        with closing(share(owner=NOBODY)) as server, closing(share(owner=NOBODY)) as again:
            assert again.secret == server.secret
        home = names(NOBODY)[0]
        until(lambda: not home.exists())
        os.seteuid(mine or 12345)  # to root modes say nothing
        home = folders[1] / "app"
        home.mkdir()
        home.chmod(0o700)
        for file in (LOCK, SECRET):
            os.close(embedded._open(home / file, os.O_RDWR))
            os.close(embedded._open(home / file, os.O_RDWR))
            assert stat.S_IMODE((home / file).stat().st_mode) == 0o600
    finally:
        os.seteuid(mine)
        os.umask(before)


@pytest.mark.parametrize("is_taken", [False, True])
def test_eight_workers_at_once_have_one_server(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, is_taken: bool
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    place = names(os.getpid())[0]
    if is_taken:
        as_file(place)
    code = """
import json, os, sys
from waitroom.store.embedded.server import share
server = share(owner=os.getppid())
print(json.dumps({"url": server.url, "secret": server.secret}), flush=True)
sys.stdin.read()
"""
    with ExitStack() as stack:
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(8)
        ]
        for worker in workers:
            stack.callback(worker.communicate)
        got = {worker.stdout.readline() for worker in workers if worker.stdout}
        assert len(got) == 1, got
        url = json.loads(got.pop())["url"]
        (home,) = twins(place, [place])
        assert url == f"unix://{home}/{SOCKET}"
        assert (home == place) is not is_taken
        family = Family(url)
    os.kill(family.keeper, signal.SIGKILL)  # else it waits for this test, which is the workers' supervisor
    until(family.is_gone)
    embedded._sweep(home)


def test_a_server_is_found_by_who_is_not_told_of_the_sessions_folder(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from cron, or over ssh from another session."""
    own, everybodys = folders
    with closing(share(owner=NOBODY)):
        (home,) = own.iterdir()
        monkeypatch.delenv("XDG_RUNTIME_DIR")
        assert home / SOCKET not in running()
        monkeypatch.setattr(embedded_places, "USUAL", f"{own.parent}/{{}}")
        own.rename(own.parent / str(os.geteuid()))
        assert home.name in [path.parent.name for path in running()]
        (own.parent / str(os.geteuid())).rename(own)
    assert not list(everybodys.iterdir())


def test_containers_that_share_the_folder_have_servers_of_their_own(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """User and process id are the same in both, and so would be the name."""
    apart = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*apart, "true"], capture_output=True).returncode != 0:
        pytest.skip("process namespaces can't be made here")
    monkeypatch.setattr(Sharer, "before", apart)
    # Other apps of this machine have theirs in /tmp.
    monkeypatch.setattr(embedded_places, "_all_parents", lambda: list(folders))
    with Sharer() as one, Sharer() as other:
        first, second = one.got, other.got
        assert first["url"] != second["url"]
        assert first["secret"] != second["secret"]
        # From here both are seen, as long as there is none of this namespace's own.
        assert {f"unix://{path}" for path in running()} >= {first["url"], second["url"]}
        with closing(share()) as server:
            found = {f"unix://{path}" for path in running()}
            assert server.url in found
            assert not found & {first["url"], second["url"]}
        both = [Path(got["url"].removeprefix("unix://")).parent for got in (first, second)]
    # The kernel has ended all that ran there, and the next app clears up.
    until(lambda: not any(answers(got["url"]) for got in (first, second)))
    with closing(share(owner=NOBODY)):
        assert not any(home.exists() for home in both)


def test_where_namespaces_have_no_name_the_user_and_the_process_do(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_places, "NAMESPACE", "/none")
    assert names(7)[0].name == f"waitroom-{os.geteuid()}-7"
