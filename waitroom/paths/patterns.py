"""Which paths a room protects and excludes, by patterns, whatever the spelling.

A path is matched in every reading there is (`readings.read`). It is gated when any reading is protected, unless
all of them, and the path just as it is written, are excluded. What nobody can read for certain is gated.
"""

import re
from collections.abc import Iterable, Sequence
from urllib.parse import unquote_to_bytes

from waitroom.errors import SettingsError
from waitroom.paths.readings import (
    Readings,
    Sent,
    fold,
    is_below,
    is_plain,
    lies_below,
    normalise,
    read,
    unsent,
)

MOST_ESCAPES = 128
"""In a path as it was sent, where what is behind may look for folders before it decodes."""
NOBODYS = "*"
"""What no request for a page has as its path."""
_BARRED = re.compile(r"[?#;\\]|[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd]")


class Paths:
    """The protected paths of a room.

    In a pattern `*` matches anything, slashes and nothing included; the rest is literal. A final slash makes
    no difference to what is protected: sites redirect from one spelling to the other or serve both, so
    `/shop`, `/shop/` and `/shop/*` all protect `/shop` and `/shop/`. To what is excluded it does: only what
    was clearly meant goes free.

    Raises SettingsError (a ValueError) for a pattern that `check_pattern` refuses.
    """

    def __init__(self, protect: Sequence[str], exclude: Sequence[str]) -> None:
        for pattern in (*protect, *exclude):
            check_pattern(pattern)
        self.has_any: bool = bool(protect)
        # No more than a short cut: where every path is protected, nobody has to read one in other spellings.
        self._everything = "/*" in map(_canonical, protect)
        self._protected = _matcher(form for pattern in protect for form in _either_slash(fold(pattern)))
        self._excluded_as_written = _matcher(exclude)
        self._excluded = _matcher(map(fold, exclude))

    def gated(self, path: str, sent: Sent = unsent) -> bool:
        """Whether a request for the path needs a pass: `scope["path"]` minus its root path, or as it was sent.

        Takes time in proportion to the path's length and never raises, whatever the text.
        """
        excluded = self._excluded_as_written.fullmatch(path) is not None
        if self._everything and not excluded:
            return True
        if sent is unsent and is_plain(path):
            return not excluded and self._protected.fullmatch(path) is not None
        found = read(path, sent)
        if found.folded is None:
            return self.has_any
        return any(map(self._protected.fullmatch, found.folded)) and not self.excludes(found)

    def excludes(self, found: Readings) -> bool:
        """Whether a path is free as it is written and in all its readings, as far as they are known."""
        if not all(map(self._excluded_as_written.fullmatch, found.written)):
            return False
        return all(map(self._excluded.fullmatch, found.folded or ()))


def strip_root(path: str, root_path: str) -> str:
    """The scope's path below its root path, whole segments only; the path itself where it isn't below it.

    A path that a lenient server may find below the root, though it isn't as written, comes back without its
    first slash: no request looks like that, and `Paths` gates it.
    """
    if root_path.endswith("/") and path.startswith(root_path):
        # Servers put the one before the other as they are: what is left begins with a slash of its own, or none.
        return "/" + path[len(root_path) :].removeprefix("/")
    root = root_path.rstrip("/")
    if not root:
        return path
    if is_below(path, root):
        return path[len(root) :] or "/"
    # What takes too long to be certain of may be below it.
    return path if lies_below(path, root) is False else path.lstrip("/") or NOBODYS


def as_sent(raw_path: bytes) -> str | None:
    """The path with escaped slashes, backslashes and dots left as they came; None where it has none of them.

    The server has decoded them, but what stands behind may look for folders first and decode then, or not at all:
    `/a%2fb/../c` is `/a/c` to some, and `/c` to others.
    """
    if b"%" not in raw_path:
        return None
    lowered = raw_path.lower()
    if not (b"%2f" in lowered or b"%2e" in lowered or b"%5c" in lowered):
        return None
    if raw_path.count(b"%") > MOST_ESCAPES:
        return NOBODYS
    for kept in (b"2f", b"2F", b"2e", b"2E", b"5c", b"5C"):
        raw_path = raw_path.replace(b"%" + kept, b"%25" + kept)
    return unquote_to_bytes(raw_path).decode("utf-8", "replace")


def ranking(patterns: Iterable[str], exact: bool = False) -> re.Pattern[str]:
    """Match protected paths in the forms that `readings.read` calls folded, or `exact`; a match's `lastindex` is the
    number, from 1, of the first of the patterns that has the path."""
    each = (_either_slash(pattern if exact else fold(pattern)) for pattern in patterns)
    # One empty group after each, which only the one that matched has reached.
    return _matcher_of(f"(?:{'|'.join(map(_translate, forms))})()" for forms in each)


def specificity(pattern: str) -> tuple[bool, int]:
    """How narrow a pattern is, to compare: one that names a single path, else the one that says more of it."""
    literal = fold(pattern).removesuffix("/").replace("*", "")
    return "*" not in pattern, len(literal)


def same_paths(patterns: Iterable[str], others: Iterable[str]) -> str | None:
    """The first of the patterns that protects just what one of the others does; None where there is none."""
    theirs = set(map(_canonical, others))
    return next((pattern for pattern in patterns if _canonical(pattern) in theirs), None)


def check_pattern(pattern: str) -> None:
    """Raise SettingsError (a ValueError) for a pattern that could not match what it seems to say."""
    if not pattern.startswith(("/", "*")):
        raise SettingsError(
            f'{pattern!r} is not a path pattern: it must start with "/" or "*", as "/shop/*" does'
        )
    folded = fold(pattern)
    if barred := _BARRED.search(pattern) or _BARRED.search(folded):
        raise SettingsError(
            f"{pattern!r} is not a path pattern: it must not contain {barred[0]!r}; leave out query,"
            ' fragment, parameters, backslashes and control characters, and use "*" for what may follow'
        )
    rooted = folded if folded.startswith("/") else f"/{folded}"
    if normalise(rooted) != rooted:
        raise SettingsError(
            f'{pattern!r} is not a path pattern: write it decoded ("é", not "%C3%A9"), without "//",'
            ' without "." or ".." as a segment, and no segment ending in a dot or a space'
        )


def _either_slash(pattern: str) -> tuple[str, ...]:
    """The pattern with and without a final slash, and what is left of it where a final `*` is nothing."""
    slashless = pattern.removesuffix("/")
    return (slashless, f"{slashless}/", slashless.rstrip("*").removesuffix("/"))


def _canonical(pattern: str) -> str:
    folded = re.sub(r"\*+", "*", fold(pattern))
    return "/*" if folded == "*" else folded.removesuffix("/")


def _matcher(patterns: Iterable[str]) -> re.Pattern[str]:
    return _matcher_of(map(_translate, patterns))


def _matcher_of(alternatives: Iterable[str]) -> re.Pattern[str]:
    # Without any nothing matches.
    return re.compile("|".join(alternatives) or r"(?!)", re.DOTALL)


def _translate(pattern: str) -> str:
    """The pattern as a regular expression that takes linear time: what lies between two stars is looked for
    once, from the left, and never again. Taking the first place leaves the most for the rest."""
    first, *between = re.split(r"\*+", pattern)
    if not between:
        return re.escape(first)
    last = between.pop()
    found = "".join(f"(?>.*?{re.escape(part)})" for part in between)
    return f"{re.escape(first)}{found}.*{re.escape(last)}"
