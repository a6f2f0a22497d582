"""The process that keeps an embedded server: starts it, restarts it, and ends it with its last user.

Runs as a script of its own, outside the app's session and with nothing but the standard library, so that it
is small and outlives whatever becomes of the app. While the server has users it waits in the kernel, and does not look
again and again:

    keeper ─┬─ watcher   blocked in flock() until no process shares the folder's lock any more
            └─ server    valkey; where it dies while it has users, the keeper starts another

Between two users there may be a gap: a supervisor (gunicorn, granian, uvicorn with `--reload`) ends its only worker
before it starts the next. So where the app has a supervisor that lives, the keeper waits for the next user, for
`gap` seconds at most, before it ends the server.

Who holds which lock: users of the server hold the folder's lock shared, the keeper takes it exclusively
before it removes anything; `keeper.lock` is the keeper's for its whole life, so there is never a second one.
"""

import ctypes
import fcntl
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress

SOCKET = "valkey.sock"
LOCK = "keeper.lock"
LOG = "server.log"
SECRET = "secret"  # noqa: S105 - the name of the file

# Nothing else is ever removed: a folder named by hand may hold other things.
OURS = (SOCKET, SECRET, LOG, LOCK, "dump.rdb")

# How often, in seconds, it looks for the next user in a gap.
LOOK_SECONDS = 0.1

# A server (or watcher) that ends sooner than this, in seconds, would do so again: give up.
SHORTEST_LIFE = 1.0

SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>


def main(folder: str, server: str, lock: int, owner: int, gap: float) -> None:
    """Keep `server` (a path) in `folder`; `lock` is the open and locked `keeper.lock`.

    `owner` is the process id of the app's supervisor, 0 where it has none. While that lives the server is kept for
    `gap` seconds without a user.
    """
    if os.fork():
        return  # the app waits for this half only; the keeper is nobody's child and leaves no zombie
    os.set_inheritable(lock, False)
    # Whoever stops the app may signal all that it started. The keeper ends with the users, not before them.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # an app may have it ignored, and then wait() sees no child
    keep(folder, server, lock, owner, gap)


def keep(folder: str, server: str, lock: int, owner: int, gap: float) -> None:
    """Run the server until nobody uses it, then remove the folder; or give up when it will not live."""
    users = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

    def watch() -> None:
        os.close(lock)
        # The lock belongs to the open file, which the keeper shares: it stays when the watcher has ended.
        fcntl.flock(users, fcntl.LOCK_EX)

    def serve() -> None:
        # The environment is bare but for where libraries are; an unknown locale in it would stop the server.
        os.execve(server, command(folder, server), {**os.environ, "LC_ALL": "C"})  # noqa: S606

    def start(work: Callable[[], None]) -> None:
        children[_fork(work)] = work, time.monotonic()

    children: dict[int, tuple[Callable[[], None], float]] = {}
    start(watch)
    start(serve)
    while True:
        pid, status = os.wait()
        work, born = children.pop(pid)
        unused = work is watch and status == 0 and not is_used_again(users, owner, gap)
        is_young = time.monotonic() - born < SHORTEST_LIFE
        if unused or (is_young and (work is serve or status != 0)):
            break
        start(work)

    for child in children:
        os.kill(child, signal.SIGKILL)  # it keeps nothing on disk, there is nothing to finish
        os.waitpid(child, 0)
    if work is serve:
        code = os.waitstatus_to_exitcode(status)
        how = f"with exit status {code}" if code >= 0 else f"by signal {-code}"
        print(f"{server} ended at once, {how}", file=sys.stderr)
    if unused or exclusively(users):
        remove(folder)


def is_used_again(users: int, owner: int, gap: float) -> bool:
    """Return whether somebody uses the server again before its gap is over; where not, `users` stays locked."""
    end = time.monotonic() + gap
    while is_alive(owner) and time.monotonic() < end:
        fcntl.flock(users, fcntl.LOCK_UN)
        time.sleep(LOOK_SECONDS)
        if not exclusively(users):
            return True
    return False


def is_alive(pid: int) -> bool:
    """Return whether there is such a process; 0 is none, and one that has ended is none, waited for or not."""
    with suppress(OSError):
        if pid and sys.platform == "linux":
            ended = os.pidfd_open(pid)
            try:
                return not select.select([ended], [], [], 0)[0]
            finally:
                os.close(ended)
        if pid:  # pragma: no cover - elsewhere one that nobody has waited for counts for a minute
            os.kill(pid, 0)
            return True
    return False


def command(folder: str, server: str) -> list[str]:
    """What starts the server: a private socket, no port, nothing on disk, and no forgetting when full."""
    return [
        *(server, "--port", "0", "--unixsocket", f"{folder}/{SOCKET}", "--unixsocketperm", "700"),
        *("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"),
        *("--dir", folder, "--daemonize", "no", "--loglevel", "warning"),
    ]


def exclusively(lock: int) -> bool:
    """Take the open file's lock if nobody else has it, without waiting."""
    with suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def remove(folder: str) -> None:
    """Remove the server's files and folder. The caller has the folder's lock exclusively."""
    for name in OURS:
        with suppress(FileNotFoundError):
            os.unlink(f"{folder}/{name}")
    with suppress(OSError):  # something of somebody else's is in it
        os.rmdir(folder)


def _fork(work: Callable[[], None]) -> int:
    """Do `work` in a child that dies with this process. Returns its pid."""
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _die_with(keeper)
            work()
            status = 0
        except OSError as error:
            print(error, file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    return pid


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, kill -9 included (Linux only)."""
    if sys.platform == "linux":  # pragma: no branch
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:
        raise ProcessLookupError("the keeper died while it started this process")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
