"""Which room a path belongs to, and by which rule, where one process has several rooms.

The room with the most specific pattern has the path, and its `exclude` alone decides whether the path is free.
A pattern without `*` is the most specific there is; of others it is the one with more letters besides its
stars, and of equals that of the room named first.

What two servers would read as paths of different rooms belongs to all of these: whoever asks needs to be in
each. Some servers tell `/SALE` from `/sale`, some don't, so both readings count. No spelling of a path gets
round the room that it is really in.
"""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

from waitroom.paths.patterns import Paths, ranking, specificity
from waitroom.paths.readings import Readings, Sent, read, unsent


@dataclass(frozen=True, slots=True)
class Rule:
    """Why a path is gated, or free: the room (its place in the list), and the pattern that says so."""

    room: int
    pattern: str
    excludes: bool = False


class Judgement(NamedTuple):
    """What becomes of one path, by the rooms' places in the list."""

    rooms: Sequence[int]
    """Those that have to admit a request for it: none, nearly always one, or several."""
    owners: Set[int]
    """Those that it lies in, whether it is gated there or excluded."""


class Owners:
    """The paths of several rooms, each given by what it protects and what it excludes."""

    def __init__(self, rooms: Sequence[tuple[Sequence[str], Sequence[str]]]) -> None:
        self._rooms = [Paths(protect, exclude) for protect, exclude in rooms]
        self._exclude = [exclude for _, exclude in rooms]
        rules = [Rule(room, pattern) for room, (protect, _) in enumerate(rooms) for pattern in protect]
        rules.sort(key=lambda rule: specificity(rule.pattern), reverse=True)
        self._rules = rules
        self._folded = ranking(rule.pattern for rule in rules)
        exact = ranking((rule.pattern for rule in rules), exact=True)
        # Patterns in small letters of ASCII are the same in both; then nothing is looked for twice.
        self._exact = None if exact.pattern == self._folded.pattern else exact
        self._first = {rule.room: rule for rule in reversed(rules)}

    def judge(self, path: str, sent: Sent = unsent) -> Judgement:
        """Judge a path (`scope["path"]` minus its root path), and the same as it was sent, where that differs."""
        if len(self._rooms) == 1:
            return Judgement((0,) if self._rooms[0].gated(path, sent) else (), {0})
        found = read(path, sent)
        owners = {rule.room for rule in self._owners(found)}
        if found.folded is None:
            return Judgement(sorted(owners), owners)
        return Judgement([at for at in sorted(owners) if not self._rooms[at].excludes(found)], owners)

    def rooms_of(self, path: str) -> tuple[int, ...]:
        """The rooms that have to admit a request for the path."""
        return tuple(self.judge(path).rooms)

    def rules_of(self, path: str) -> list[Rule]:
        """The rules by which `judge` decides, for people; empty where no room has the path."""
        found = read(path)
        told = {self._exclusion(found, rule) for rule in self._owners(found)}
        return sorted(told, key=lambda rule: (rule.room, rule.pattern))

    def _owners(self, found: Readings) -> Iterable[Rule]:
        """The rules that have the path's readings; where nobody is certain of them every room's narrowest."""
        if found.folded is None or found.exact is None:
            return self._first.values()
        if self._exact is None:
            matches = [*map(self._folded.fullmatch, found.folded | found.exact)]
        else:
            matches = [*map(self._folded.fullmatch, found.folded), *map(self._exact.fullmatch, found.exact)]
        return {self._rules[match.lastindex - 1] for match in matches if match and match.lastindex}

    def _exclusion(self, found: Readings, rule: Rule) -> Rule:
        if found.folded is None or not self._rooms[rule.room].excludes(found):
            return rule
        exclude = self._exclude[rule.room]
        alone = (pattern for pattern in exclude if Paths((), (pattern,)).excludes(found))
        return Rule(rule.room, next(alone, ",".join(exclude)), True)
