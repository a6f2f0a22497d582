"""Where embedded servers have their folders: which names an app's may have, and which of them are this user's own.

The folder that a session of the system gives its user (`XDG_RUNTIME_DIR`) can be entered by nobody else. The temporary
folder is everybody's, and whoever wants to stop a start may take the names that it would use: then the next one is
tried. A name says whose it is, in which process namespace and of which app, as containers that share a temporary folder
mostly share the user and the process id, too.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from waitroom.config import environment
from waitroom.errors import EmbeddedError
from waitroom.store.embedded.keeper import SOCKET

# The longest socket path, in bytes: the smallest limit of the systems it runs on is 104 with its end mark.
LONGEST_SOCKET = 100

# How many names are tried in one folder, where others have taken those before.
MOST_NAMES = 32

NAMESPACE = "/proc/self/ns/pid"
USUAL = "/run/user/{}"
"""What systemd gives a user, by the user's number."""


def names(owner: int) -> list[Path]:
    """The folders that an app whose process is `owner` may have, in the order in which they are tried."""
    begin = f"{_ours()}{owner}"
    return [
        parent / (f"{begin}.{number}" if number else begin)
        for parent in _parents()
        if fits(parent / f"{begin}.{MOST_NAMES}")
        for number in range(MOST_NAMES)
    ]


def fits(home: Path) -> bool:
    """Return whether a socket in that folder has a path that every system takes."""
    return len(os.fsencode(home / SOCKET)) <= LONGEST_SOCKET


def homes() -> list[Path]:
    """The folders that look like embedded servers of this user's, living or left behind, in any namespace."""
    found = {home for parent in _all_parents() for home in parent.glob(f"{_of_user()}*")}
    return sorted(found)


def is_near(home: Path) -> bool:
    """Return whether the name of one of the `homes` says that its app is in this process namespace."""
    return home.name.startswith(_ours())


def pick(places: Iterable[Path]) -> Path:
    """Return the first of the folders that is ours, else make the first that is missing.

    So all workers of an app agree, also where a name before theirs is given up meanwhile. Raises EmbeddedError where
    all are somebody else's, or none can be made.
    """
    places = list(places)
    for home in places:
        if _is_ours(home):
            return home
    hindrance = None
    for home in places:
        try:
            home.mkdir(0o700)
        except FileExistsError:
            if not _is_ours(home):
                continue
        except OSError as error:
            hindrance = hindrance or EmbeddedError(
                f"cannot make {home} for the embedded server: {error.strerror}"
            )
            continue
        return home
    raise hindrance or _refused(places)


@contextmanager
def opened(home: Path) -> Iterator[int]:
    """Open the folder. Raises EmbeddedError unless it is a real one of this user's, closed to all others."""
    try:
        folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise
    except OSError:
        raise _refused([home]) from None
    try:
        if not _is_private(os.fstat(folder)):
            raise _refused([home])
        yield folder
    finally:
        os.close(folder)


def _refused(places: list[Path]) -> EmbeddedError:
    if len(places) == 1:
        return EmbeddedError(
            f"{places[0]} is not a folder of this user's with mode 0700: remove or rename it"
        )
    return EmbeddedError(
        f"{places[0]} and the other names for the embedded server's folder are taken, and not by folders of this user's"
        " with mode 0700: remove them, or set XDG_RUNTIME_DIR or TMPDIR to a folder of this user's own"
    )


def _is_ours(home: Path) -> bool:
    with suppress(FileNotFoundError, EmbeddedError), opened(home):
        return True
    return False


def _is_private(info: os.stat_result) -> bool:
    return info.st_uid == os.geteuid() and info.st_mode & 0o777 == 0o700


def _parents() -> list[Path]:
    """Where this process would make a folder: the user's own first; `/tmp` where another is too long."""
    found = [Path(tempfile.gettempdir()).absolute(), Path("/tmp")]  # noqa: S108
    own = environment.runtime_folder()
    if own and _is_runtime_folder(Path(own)):
        found.insert(0, Path(own))
    return list(dict.fromkeys(found))


def _all_parents() -> list[Path]:
    """Where this user's processes may have made one: cron and services are not told of the session's folder."""
    usual = Path(USUAL.format(os.geteuid()))
    return [*_parents(), *([usual] if _is_runtime_folder(usual) else [])]


def _is_runtime_folder(folder: Path) -> bool:
    """Return whether it is what the XDG specification demands: absolute, there, ours, and nobody else's."""
    try:
        return folder.is_absolute() and folder.is_dir() and _is_private(folder.stat())
    except OSError:
        return False


def _of_user() -> str:
    return f"waitroom-{os.geteuid()}-"


def _ours() -> str:
    """How the names of this namespace's apps begin."""
    with suppress(OSError):
        return f"{_of_user()}{os.stat(NAMESPACE).st_ino}-"
    return _of_user()
