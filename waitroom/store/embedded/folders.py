"""Where embedded servers have their folders: which names an app's may have, and which of them are this user's own.

The folder that a session of the system gives its user (`XDG_RUNTIME_DIR`) can be entered by nobody else. The temporary
folder is everybody's, and whoever wants to stop a start may take the name that it would use: then it gets an end that
nobody can guess, and the app's other workers find it by its beginning. A name says whose it is, in which process
namespace and of which app, as containers that share a temporary folder mostly share the user and the process id, too.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from waitroom.config import environment
from waitroom.errors import EmbeddedError
from waitroom.store.embedded.keeper import SOCKET

# The longest socket path, in bytes: the smallest limit of the systems it runs on is 104 with its end mark.
LONGEST_SOCKET = 100

# What `mkdtemp` adds, where others have taken the name.
LONGEST_END = "." + 8 * "x"

NAMESPACE = "/proc/self/ns/pid"
USUAL = "/run/user/{}"
"""What systemd gives a user, by the user's number."""


def names(owner: int) -> list[Path]:
    """The folders that an app whose process is `owner` may have, in the order in which they are tried."""
    name = f"{_ours()}{owner}"
    return [parent / name for parent in _parents() if fits(parent / f"{name}{LONGEST_END}")]


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


def pick(places: Sequence[Path], is_exact: bool = False) -> Path:
    """Return the first folder of those names that is ours, else make one.

    Where others have taken a name, one that begins with it does as well, unless the name `is_exact`. Workers that
    make theirs at the same time may then have several: see `twins`. Raises EmbeddedError where none can be made.
    """
    for place in places:
        for home in _own(place, is_exact):
            return home
    hindrances = []
    for place in places:
        try:
            return _make(place, is_exact)
        except OSError as error:
            hindrances.append(f"cannot make {place} for the embedded server: {error.strerror}")
    raise EmbeddedError(hindrances[0])


def twins(home: Path, places: Iterable[Path], is_exact: bool = False) -> list[Path]:
    """The folders of ours beside the one that was picked, itself among them, that were made for the same app."""
    return [twin for place in places if place.parent == home.parent for twin in _own(place, is_exact)]


def _own(place: Path, is_exact: bool) -> list[Path]:
    ends = [] if is_exact else sorted(place.parent.glob(f"{place.name}.*"))
    return [home for home in (place, *ends) if _is_ours(home)]


def _make(home: Path, is_exact: bool) -> Path:
    try:
        home.mkdir(0o700)
    except FileExistsError:
        if _is_ours(home):
            return home
        if is_exact:
            raise _refused(home) from None
        home = Path(tempfile.mkdtemp(prefix=f"{home.name}.", dir=home.parent))
    with suppress(
        FileNotFoundError
    ):  # who clears up has taken it for one left behind; it is looked for again
        home.chmod(0o700)  # whatever the umask took away from it
    return home


@contextmanager
def opened(home: Path) -> Iterator[int]:
    """Open the folder. Raises EmbeddedError unless it is a real one of this user's, closed to all others."""
    try:
        folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise
    except OSError:
        raise _refused(home) from None
    try:
        if not _is_private(os.fstat(folder)):
            raise _refused(home)
        yield folder
    finally:
        os.close(folder)


def _refused(home: Path) -> EmbeddedError:
    return EmbeddedError(f"{home} is not a folder of this user's with mode 0700: remove or rename it")


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
