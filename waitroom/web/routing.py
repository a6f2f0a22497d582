"""Which way a request goes by its path: to the gate's own routes, through the gates of some rooms, or past them."""

from collections.abc import Sequence
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from waitroom.paths.owners import Owners
from waitroom.paths.patterns import as_sent, strip_root
from waitroom.paths.readings import unsent
from waitroom.web.requests.cookies import Scope

MOST_KEPT = 4096
"""Paths whose way is remembered, for the next who ask for them."""
LONGEST_KEPT = 512
"""Characters of the longest of them, its raw form included."""

Room = TypeVar("Room")


class Way(NamedTuple, Generic[Room]):
    """One path's way."""

    route: str | None
    """Below the prefix: the gate answers itself."""
    rooms: Sequence[Room]
    """Those that have to admit the request."""
    owners: Sequence[Room]
    """Where none has to: those whose visitors the site may release there."""


class Routing(Generic[Room]):
    """Tells the way of each path among the `rooms`, in the order of their `owners`."""

    def __init__(self, prefix: str, owners: Owners, rooms: Sequence[Room]) -> None:
        self._prefix = prefix + "/"
        self._owners = owners
        self._rooms = rooms
        self._kept: dict[tuple[str, bytes, str], Way[Room]] = {}

    def of(self, scope: Scope) -> Way[Room]:
        """Tell the way of a request's path; all spellings of a path are looked at, once."""
        asked = scope["path"], scope.get("raw_path") or b"", scope.get("root_path", "")
        return self._kept.get(asked) or self._keep(*asked)

    def _keep(self, path: str, raw_path: bytes, root_path: str) -> Way[Room]:
        way = self.find(path, raw_path, root_path)
        if len(path) + len(raw_path) + len(root_path) <= LONGEST_KEPT:
            if len(self._kept) >= MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[path, raw_path, root_path] = way
        return way

    def find(self, path: str, raw_path: bytes, root_path: str) -> Way[Room]:
        """Find the way of a path that is not remembered."""
        path = strip_root(path, root_path)
        if path.startswith(self._prefix):
            return Way(path[len(self._prefix) - 1 :], (), ())
        sent = partial(_sent, raw_path, root_path) if b"%" in raw_path else unsent
        rooms, owners = self._owners.judge(path, sent)
        # Where nobody's path it is, nobody knows whose visitors the site may release there.
        everybody = range(len(self._rooms))
        return Way(None, [self._rooms[at] for at in rooms], [self._rooms[at] for at in owners or everybody])


def _sent(raw_path: bytes, root_path: str) -> str | None:
    """Give the path below its root with what a server behind may decode late; None where there is nothing such."""
    sent = as_sent(raw_path)
    return sent if sent is None else strip_root(sent, root_path)
