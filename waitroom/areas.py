"""Which room a path belongs to, and by which rule, where one process has several rooms.

The room with the most specific pattern has the path, and its `exclude` alone decides whether the path is free.
A pattern without `*` is the most specific there is; of others it is the one with more letters besides its
stars, and of equals that of the room named first.

What two servers would read as paths of different rooms belongs to all of these: whoever asks needs to be in
each. So no spelling of a path gets round the room that it is really in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from waitroom.paths import Paths, matcher, readings, specificity


@dataclass(frozen=True, slots=True)
class Rule:
    """Why a path is gated, or free: the room (its place in the list), and the pattern that says so."""

    room: int
    pattern: str
    excludes: bool


class Areas:
    """The paths of several rooms, each given by what it protects and what it excludes."""

    def __init__(self, rooms: Sequence[tuple[Sequence[str], Sequence[str]]]) -> None:
        self._rooms = [Paths(protect, exclude) for protect, exclude in rooms]
        self._exclude = [exclude for _, exclude in rooms]
        rules = [
            (pattern, room, matcher(pattern))
            for room, (protect, _) in enumerate(rooms)
            for pattern in sorted(protect, key=specificity, reverse=True)
        ]
        self._rules = sorted(rules, key=lambda rule: specificity(rule[0]), reverse=True)

    def rooms_of(self, path: str) -> tuple[int, ...]:
        """The rooms that have to admit a request for the path: none, nearly always one, or several."""
        if len(self._rooms) == 1:
            return (0,) if self._rooms[0].gated(path) else ()
        found = readings(path)
        if found is None:
            return tuple(at for at, paths in enumerate(self._rooms) if paths.gated(path))
        owners = {rule.room for rule in map(self._owner, found) if rule}
        return tuple(at for at in sorted(owners) if not self._rooms[at].excludes(path, found))

    def rules_of(self, path: str) -> list[Rule]:
        """The rules by which `rooms_of` judges a path, for people; empty where no room has it."""
        found = readings(path)
        if found is None:
            rooms = self.rooms_of(path)
            return [Rule(room, pattern, False) for pattern, room, _ in self._rules if room in rooms]
        rules = {rule for rule in map(self._owner, found) if rule}
        told = sorted(rules, key=lambda rule: (rule.room, rule.pattern))
        return [self._exclusion(path, found, rule.room) or rule for rule in told]

    def _owner(self, reading: str) -> Rule | None:
        for pattern, room, match in self._rules:
            if match.fullmatch(reading):
                return Rule(room, pattern, False)
        return None

    def _exclusion(self, path: str, found: set[str], room: int) -> Rule | None:
        if not self._rooms[room].excludes(path, found):
            return None
        alone = (pattern for pattern in self._exclude[room] if Paths((), (pattern,)).excludes(path, found))
        return Rule(room, next(alone, ",".join(self._exclude[room])), True)
