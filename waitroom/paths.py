"""Which request is protected: a path as it is written, and as the server or framework behind might read it.

One path has many spellings, and which of them lead to the same page depends on what stands behind the
gate. So a path is matched in every reading there is: each step below, from decoding to resolving `..`, is
taken or left out. A path is gated when any reading is protected, unless all of them, and the path just as
it is written, are excluded. What nobody can read for certain is gated.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from unicodedata import category, normalize
from urllib.parse import unquote, unquote_to_bytes

from waitroom.errors import SettingsError

# How often a path may be encoded beyond what the server has decoded already, and the longest path, in
# characters, that is read in other spellings than its own. What goes beyond is no link that a site gives out.
MOST_ROUNDS = 3
LONGEST_SPELLING = 2048
LONGEST_READINGS = 20_000
"""Characters in all the ways to read one path together; where there are more, nobody looks at them all."""

Step = Callable[[str], str]

_PLAIN = re.compile(r"/[a-z0-9_~!$&'()*+,=:@./-]*")
_DOUBT = re.compile(
    r"[\x00-\x1f\x7f-\x9f]"  # control characters: some servers end the path there, some leave them out
    r"|[\ud800-\udfff\ufffd]"  # bytes that were not UTF-8 may be letters, slashes or dots in another encoding
    r"|%u[0-9a-f]{4}"  # an escape that some servers know and most don't
    r"|/(?!\.{1,2}(?:/|\Z))[. ]++(?:/|\Z)"  # "..." and ".. ": a name, this folder, or the one above
)
_PARAMETERS = re.compile(r"[;?#].*", re.DOTALL)
_TRAILING = re.compile(r"(?<=[^/. ])[. ]++(?=/|\Z)")
_SLASHES = re.compile(r"//+")
_HOST = re.compile(r"\A//+[^/]*")
_DOT = re.compile("%2e", re.IGNORECASE)
_STRUCTURE = re.compile(rb"%(?=2[ef]|5c)", re.IGNORECASE)
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
        self._any = bool(protect)
        # No more than a short cut: where every path is protected, nobody has to read one in other spellings.
        self._everything = "/*" in map(_canonical, protect)
        self._protected = _matcher(form for pattern in protect for form in _either_slash(_fold(pattern)))
        self._excluded_as_written = _matcher(exclude)
        self._excluded = _matcher(map(_fold, exclude))

    def gated(self, path: str) -> bool:
        """Whether a request for the path needs a pass: `scope["path"]` minus its root path.

        Takes time in proportion to the path's length and never raises, whatever the text.
        """
        excluded = self._excluded_as_written.fullmatch(path) is not None
        if self._everything and not excluded:
            return True
        if _is_plain(path):
            return not excluded and self._protected.fullmatch(path) is not None
        found = readings(path)
        if found is None:
            return self._any
        if not any(map(self._protected.fullmatch, found)):
            return False
        return not self.excludes(path, found)

    def excludes(self, path: str, found: Iterable[str]) -> bool:
        """Whether a path is free as it is written and in all its readings."""
        if self._excluded_as_written.fullmatch(path) is None:
            return False
        return all(map(self._excluded.fullmatch, found))


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
    if _is_below(path, root):
        return path[len(root) :] or "/"
    if _is_below(normalise(path), normalise(root)):
        return path.lstrip("/")
    return path


def as_sent(raw_path: bytes) -> str | None:
    """The path with escaped slashes, backslashes and dots left as they came; None where it has none of them.

    The server has decoded them, but what stands behind may look for folders first and decode then, or not at all:
    `/a%2fb/../c` is `/a/c` to some, and `/c` to others.
    """
    kept, count = _STRUCTURE.subn(b"%25", raw_path)
    return unquote_to_bytes(kept).decode("utf-8", "replace") if count else None


def normalise(path: str) -> str:
    """The path as the most lenient server or framework might read it: every step taken.

    Decoded until stable (at most MOST_ROUNDS times), case and compatibility forms folded, backslashes turned,
    cut at parameters, freed of trailing dots and spaces, slashes collapsed, `.` and `..` resolved.
    """
    path = _turn(_fold(path))
    for _ in range(MOST_ROUNDS):
        path = _decode(path)
    return _resolve(_collapse(_trim(_cut(path))))


def matcher(pattern: str, exact: bool = False) -> re.Pattern[str]:
    """What one protected pattern matches, for paths as `readings` or `exact_readings` has them."""
    return _matcher(_either_slash(pattern if exact else _fold(pattern)))


def specificity(pattern: str) -> tuple[bool, int]:
    """How narrow a pattern is, to compare: one that names a single path, else the one that says more of it."""
    literal = _fold(pattern).removesuffix("/").replace("*", "")
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
    folded = _fold(pattern)
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


def _is_plain(path: str) -> bool:
    """Whether no step changes the path, so that all servers read it alike: true of most, and quick to see."""
    return _PLAIN.fullmatch(path) is not None and "//" not in path and "./" not in path and path[-1] != "."


def _is_below(path: str, root: str) -> bool:
    return path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/")


def readings(path: str) -> set[str] | None:
    """Every way to read the path, folded as patterns are; None where nobody could be certain of them."""
    if _is_beyond_reading(path):
        return None
    folded = _fold(path) or "/"
    if _is_plain(folded):
        return {folded}
    decoded = _decodings(_turn(folded), _decode)
    if decoded is None or any(map(_is_doubtful, _cut_or_not(decoded))):
        return None
    # Folding and turning are steps too: who takes a backslash for a letter resolves another ".." than who does not.
    found = _in_any_order({path, *decoded}, (unquote, _fold, _visible, _turn, *_STEPS))
    return None if found is None else set(map(_fold, found))


def exact_readings(path: str) -> set[str] | None:
    """Every way to read a path for which capitals and marks make a difference; None as for `readings`."""
    if _is_beyond_reading(path):
        return None
    if _is_plain(path):
        return {path}
    decoded = _decodings(path or "/", unquote)
    return None if decoded is None else _in_any_order(set(decoded), (unquote, *_STEPS))


def _is_beyond_reading(path: str) -> bool:
    return len(path) > LONGEST_SPELLING or path[:1] not in ("", "/")


def _in_any_order(forms: set[str], steps: Sequence[Step]) -> set[str] | None:
    """All that the steps make of these forms, whichever is taken when; None where that is too much."""
    found, new = set[str](), _cut_or_not(forms)
    while new:
        found |= new
        if sum(map(len, found)) > LONGEST_READINGS:
            return None
        new = _cut_or_not({step(form) for form in new for step in steps}) - found
    return found


def _decodings(form: str, decode: Step) -> list[str] | None:
    """The path decoded never, once, twice … until stable; None if it doesn't get there."""
    forms = [form]
    while (decoded := decode(forms[-1])) != forms[-1]:
        # With `..` beside escapes it also matters which is looked at first; no honest link has both.
        if len(forms) > MOST_ROUNDS or "/.." in forms[-1]:
            return None
        forms.append(decoded)
    return forms


def _is_doubtful(form: str) -> bool:
    # Before a slash it can't be told where a parameter ends: that slash may have been an escape inside it.
    return _DOUBT.search(form) is not None or "/" in form.partition(";")[2]


def _fold(text: str) -> str:
    """Without differences of case, of compatibility forms, of invisible marks.

    Character by character: what a pattern matched before, it matches after; and whole texts full of combining
    marks would take quadratic time to put in order.
    """
    if text.isascii():
        return text.lower()
    return "".join(map(_compatible, _visible(text))).casefold()


def _visible(text: str) -> str:
    return text if text.isascii() else "".join(map(_seen, text))


@lru_cache(4096)  # characters: one path has few different ones, and is folded in many readings
def _compatible(char: str) -> str:
    return normalize("NFKD", char)


@lru_cache(4096)
def _seen(char: str) -> str:
    return "" if category(char) == "Cf" else char


def _turn(form: str) -> str:
    return form.replace("\\", "/")


def _decode(form: str) -> str:
    return _turn(_fold(unquote(form)))


def _cut(form: str) -> str:
    return _PARAMETERS.sub("", form)


def _cut_or_not(forms: Iterable[str]) -> set[str]:
    """The forms as they are, and cut at what may end a path: not all that stands behind takes each for its end."""
    return {part for form in forms for part in (form, *(form.partition(mark)[0] for mark in ";?#"))}


def _trim(form: str) -> str:
    return _TRAILING.sub("", form)


def _collapse(form: str) -> str:
    return _SLASHES.sub("/", form)


def _unhost(form: str) -> str:
    """Without a host: what reads a path as a URL (JavaScript's, PHP's, Python's) sees one in `//host/path`."""
    return _HOST.sub("", form) or "/"


def _undot(form: str) -> str:
    """With escaped dots decoded and nothing else, as URL parsers read them when they resolve `..`."""
    return _DOT.sub(".", form)


def _resolve(form: str) -> str:
    """Without `.` and `..`, never above the root. A final one leaves a slash: it meant a folder."""
    segments = form.removeprefix("/").split("/")
    if segments[-1] in (".", ".."):
        segments.append("")
    resolved: list[str] = []
    for segment in segments:
        if segment == "..":
            del resolved[-1:]
        elif segment != ".":
            resolved.append(segment)
    return "/" + "/".join(resolved)


_STEPS: tuple[Step, ...] = (_trim, _undot, _collapse, _resolve, _unhost)


def _either_slash(pattern: str) -> tuple[str, ...]:
    """The pattern with and without a final slash, and what is left of it where a final `*` is nothing."""
    slashless = pattern.removesuffix("/")
    return (slashless, f"{slashless}/", slashless.rstrip("*").removesuffix("/"))


def _canonical(pattern: str) -> str:
    folded = re.sub(r"\*+", "*", _fold(pattern))
    return "/*" if folded == "*" else folded.removesuffix("/")


def _matcher(patterns: Iterable[str]) -> re.Pattern[str]:
    # Without patterns nothing matches.
    return re.compile("|".join(map(_translate, patterns)) or r"(?!)", re.DOTALL)


def _translate(pattern: str) -> str:
    """The pattern as a regular expression that takes linear time: what lies between two stars is looked for
    once, from the left, and never again. Taking the first place leaves the most for the rest."""
    first, *between = re.split(r"\*+", pattern)
    if not between:
        return re.escape(first)
    last = between.pop()
    found = "".join(f"(?>.*?{re.escape(part)})" for part in between)
    return f"{re.escape(first)}{found}.*{re.escape(last)}"
