"""Which room a path belongs to, and by which rule, where one process has several rooms.

The room with the most specific pattern has the path, and its `exclude` alone decides whether the path is free.
A pattern without `*` is the most specific there is; of others it is the one with more letters besides its
stars, and of equals that of the room named first.

What two servers would read as paths of different rooms belongs to all of these: whoever asks needs to be in
each. Some servers tell `/SALE` from `/sale`, some don't, so both readings count. No spelling of a path gets
round the room that it is really in.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from waitroom.paths import Paths, exact_readings, matcher, readings, specificity

Matched = list[tuple["Rule", re.Pattern[str]]]


@dataclass(frozen=True, slots=True)
class Rule:
    """Why a path is gated, or free: the room (its place in the list), and the pattern that says so."""

    room: int
    pattern: str
    excludes: bool = False


class Areas:
    """The paths of several rooms, each given by what it protects and what it excludes."""

    def __init__(self, rooms: Sequence[tuple[Sequence[str], Sequence[str]]]) -> None:
        self._rooms = [Paths(protect, exclude) for protect, exclude in rooms]
        self._exclude = [exclude for _, exclude in rooms]
        rules = [Rule(room, pattern) for room, (protect, _) in enumerate(rooms) for pattern in protect]
        rules.sort(key=lambda rule: specificity(rule.pattern), reverse=True)
        self._folded = [(rule, matcher(rule.pattern)) for rule in rules]
        self._exact = [(rule, matcher(rule.pattern, exact=True)) for rule in rules]

    def rooms_of(self, path: str) -> tuple[int, ...]:
        """The rooms that have to admit a request for the path: none, nearly always one, or several."""
        if len(self._rooms) == 1:
            return (0,) if self._rooms[0].gated(path) else ()
        rules, found = self._rules(path)
        rooms = {rule.room for rule in rules}
        return tuple(room for room in sorted(rooms) if found is None or not self._excludes(room, path, found))

    def owners_of(self, path: str) -> set[int]:
        """The rooms that a path lies in, whether it is gated there or excluded."""
        return {rule.room for rule in self._rules(path)[0]}

    def rules_of(self, path: str) -> list[Rule]:
        """The rules by which `rooms_of` judges a path, for people; empty where no room has it."""
        rules, found = self._rules(path)
        told = {rule if found is None else self._exclusion(path, found, rule) for rule in rules}
        return sorted(told, key=lambda rule: (rule.room, rule.pattern))

    def _rules(self, path: str) -> tuple[set[Rule], set[str] | None]:
        """The rules that have the path's readings, and these; where nobody is certain of them every room's."""
        found, exact = readings(path), exact_readings(path)
        if found is None or exact is None:
            gating = (at for at, paths in enumerate(self._rooms) if paths.gated(path))
            return {next(rule for rule, _ in self._folded if rule.room == at) for at in gating}, None
        return _owners(found, self._folded) | _owners(exact, self._exact), found

    def _excludes(self, room: int, path: str, found: set[str]) -> bool:
        return self._rooms[room].excludes(path, found)

    def _exclusion(self, path: str, found: set[str], rule: Rule) -> Rule:
        if not self._excludes(rule.room, path, found):
            return rule
        exclude = self._exclude[rule.room]
        alone = (pattern for pattern in exclude if Paths((), (pattern,)).excludes(path, found))
        return Rule(rule.room, next(alone, ",".join(exclude)), True)


def _owners(found: Iterable[str], rules: Matched) -> set[Rule]:
    """The most specific rule for each reading that has one."""
    owners = (next((rule for rule, match in rules if match.fullmatch(form)), None) for form in found)
    return {rule for rule in owners if rule}
