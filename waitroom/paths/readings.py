"""All the ways to read one path: as it is written, and as the server or framework behind might read it.

One path has many spellings, and which of them lead to the same page depends on what stands behind the gate. So
each step, from decoding to resolving `..`, is taken or left out, in any order, and what comes out is found once
for a request. Whoever sends a path chooses how much there is to find: no more is done than `MOST_WORK`. Where that
is not enough, or where nobody could be certain, nothing is known of the path, and every room takes it for its own.
"""

import re
from collections.abc import Callable, Set
from functools import lru_cache
from typing import NamedTuple
from unicodedata import is_normalized, normalize
from urllib.parse import unquote, unquote_to_bytes

MOST_ROUNDS = 3
"""How often a path may be encoded beyond what the server has decoded already; no site's link is so more often."""
LONGEST_SPELLING = 512
"""Characters of the longest path that is read in other spellings than in other letters of the same."""
LONGEST_LETTERS = 256
"""The same where not all of them are ASCII: each of these takes longer."""
MOST_WORK = 240
"""What is done for one path, in some tenths of a microsecond: see `_weight`."""

Step = Callable[[str], str]
Sent = Callable[[], str | None]

_PLAIN = re.compile(r"/[a-z0-9_~!$&'()*+,=:@./-]*")
_UNSURE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd]")
"""Control characters: some servers end the path there, some leave them out. And bytes that were not UTF-8: they may
be letters, slashes or dots in another encoding."""
_ESCAPES = re.compile("(?:%[0-9a-f]{2})+", re.IGNORECASE)
_UNICODE_ESCAPE = re.compile("%u[0-9a-f]{4}", re.IGNORECASE)
"""Some servers know it and most don't."""
_ODD_SEGMENT = re.compile(r"/(?!\.{1,2}(?:/|\Z))[. ]++(?:/|\Z)")
"""`...` and `.. `: a name, this folder, or the one above."""
_INVISIBLE = re.compile(
    "[\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    "\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0001\U000e0020-\U000e007f]"
)
"""The characters of the category Cf."""
_PARAMETERS = re.compile(r"[;?#].*", re.DOTALL)
_HOST = re.compile(r"\A//+[^/]*")
_DOT = re.compile("%2e", re.IGNORECASE)
_LONGEST_LETTER = "\ufdfa"
"""Folded, it is 18 characters; no other is more than 8."""


class Readings(NamedTuple):
    """One path's readings; `folded` and `exact` are None where nobody could be certain of them."""

    written: tuple[str, ...]
    """As it is written: as the server has decoded it, and where that makes a difference as it was sent."""
    folded: Set[str] | None
    """Without differences of case, of compatibility forms, of invisible marks."""
    exact: Set[str] | None
    """For servers to which capitals and marks make a difference."""
    work: int = 0
    """What it took to find them."""


def unsent() -> None:
    """Say of a path that it is read as the server has decoded it, and in no other way."""


def read(path: str, sent: Sent = unsent) -> Readings:
    """Find every way to read a path, and the same path as it was sent: `sent` is asked for it, and returns None where
    that makes no difference.

    Takes time in proportion to the path's length, and no more than a path of `LONGEST_SPELLING` where more than its
    letters could be read in another way. Never raises, whatever the text.
    """
    if (as_sent := sent()) is None:
        if is_plain(path):
            return Readings((path,), {path}, {path})
        if (folded := _same_but_letters(path)) is not None:
            return Readings((path,), {folded}, {path})
    written = (path,) if as_sent is None else (path, as_sent)
    search = _Search()
    try:
        exact = search.exact(written)
        return Readings(written, search.folded(), exact, search.work)
    except _UncertainError:
        return Readings(written, None, None, search.work)


def is_plain(path: str) -> bool:
    """Whether no step changes the path, so that all servers read it alike: true of most, and quick to see."""
    if not path.isascii() or "//" in path or "./" in path or path[-1:] == ".":
        return False
    return _PLAIN.fullmatch(path) is not None


def fold(text: str) -> str:
    """Without differences of case, of compatibility forms, of invisible marks.

    Character by character: what a pattern matched before, it matches after; and whole texts full of combining
    marks would take quadratic time to put in order.
    """
    if text.isascii():
        return text.lower()
    text = _visible(text)
    if not is_normalized("NFKD", text):
        # What stands between two characters keeps their marks apart.
        apart = "\0" not in text
        text = (
            normalize("NFKD", "\0".join(text)).replace("\0", "") if apart else "".join(map(_compatible, text))
        )
    return text.casefold()


def normalise(path: str) -> str:
    """The path as the most lenient server or framework might read it: every step taken.

    Decoded until stable (at most MOST_ROUNDS times), case and compatibility forms folded, backslashes turned,
    cut at parameters, freed of trailing dots and spaces, slashes collapsed, `.` and `..` resolved.
    """
    path = _turn(fold(path))
    for _ in range(MOST_ROUNDS):
        if "%" not in path:
            break
        path = _turn(fold(_unquote(path)))
    return _resolve(_collapse(_trim(_PARAMETERS.sub("", path))))


def lies_below(path: str, root: str) -> bool | None:
    """Whether the most lenient server finds a path below a root; None where that is too much to find out."""
    if is_plain(path):
        return is_below(path, normalise(root))
    if (folded := _same_but_letters(path)) is None:
        if len(path) > LONGEST_SPELLING or _is_unsure(path):
            return None
        letters = _letters(path)
        work = (_weight(path) + letters) * (MOST_ROUNDS + 1 if letters or "%" in path else 1)
        if work > MOST_WORK // 3:
            return None
        folded = normalise(path)
    return is_below(folded, normalise(root))


def is_below(path: str, root: str) -> bool:
    """Whether a path, as it is written, is a root or lies below it."""
    return path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/")


@lru_cache(2)  # one request's: it may be asked for its place below the root, and for its readings
def _same_but_letters(path: str) -> str | None:
    """The path folded, where no other step changes it: true of most, and quick to see; else None."""
    if path[:1] != "/" or _letters(path) > LONGEST_SPELLING or _has_signs(path):
        return None
    folded = fold(path)
    return None if not path.isascii() and _has_signs(folded) else folded


def _has_signs(path: str) -> bool:
    """Whether there is something in a path that a step may change, or that is a doubt."""
    if "%" in path or "//" in path or "./" in path or " /" in path or path[-1] in ". ":
        return True
    return ";" in path or "?" in path or "#" in path or "\\" in path or _is_unsure(path)


def _letters(path: str) -> int:
    """How many characters it takes long to fold, those twice that are more work; none where all are ASCII."""
    if path.isascii():
        return 0
    if len(path) > LONGEST_SPELLING:
        return len(path)
    return len(path) * (1 if path.isprintable() else 2) + 17 * path.count(_LONGEST_LETTER)


class _UncertainError(Exception):
    """There are more ways to read a path than anybody looks at, or ways that nobody knows."""


class _Search:
    """All that the steps make of some forms of a path, whichever is taken when."""

    def __init__(self) -> None:
        self.work = 0
        self._rounds: dict[str, int] = {}  # each form found, and how often it was decoded
        self._forms: list[str] = []
        self._folded: set[str] = set()

    def exact(self, written: tuple[str, ...]) -> Set[str]:
        """Take those steps to which different letters are different."""
        for form in written:
            self._add(form or "/", 0)
        for form in self._forms:  # which grow meanwhile
            self._take_steps(form)
        return set(self._forms)

    def folded(self) -> Set[str]:
        """Take all steps: who takes a backslash for a letter resolves another `..` than who does not."""
        exact = len(self._forms)
        for at, form in enumerate(self._forms):
            if at >= exact:
                self._take_steps(form)
            if "\\" in form:
                self._add(_turn(form), self._rounds[form])
            if form.isascii():
                self._folded.add(form.lower())
            elif form not in self._folded:
                self._fold(form)
        return self._folded

    def _add(self, form: str, rounds: int) -> None:
        if form not in self._rounds:
            if len(form) > LONGEST_SPELLING or form[0] != "/" or _letters(form) > LONGEST_LETTERS:
                raise _UncertainError
            self._rounds[form] = rounds
            self._forms.append(form)

    def _spend(self, work: int) -> None:
        if self.work + work > MOST_WORK:
            raise _UncertainError
        self.work += work

    def _fold(self, form: str) -> None:
        self._spend(_letters(form))
        folded = fold(form)
        self._folded.add(folded)
        for made in (_visible(form), folded):
            self._add(made, self._rounds[form])

    def _take_steps(self, form: str) -> None:
        if _is_doubtful(form):
            raise _UncertainError
        ended = form + "/"
        steps = [step for mark, step in _STEPS if mark in ended]
        is_escaped = "%" in form
        # All at once: what is not going to be finished need not be begun.
        self._spend(_weight(form) * (1 + is_escaped + len(steps)))
        rounds = self._rounds[form]
        if is_escaped:
            self._decode(form, rounds)
        for step in steps:
            self._add(step(form), rounds)

    def _decode(self, form: str, rounds: int) -> None:
        if not form.isascii():
            self._spend(8 * form.count("%"))
        if (decoded := _unquote(form)) == form:
            return
        # With `..` beside escapes it also matters which is looked at first; no honest link has both.
        if rounds == MOST_ROUNDS or "/.." in form:
            raise _UncertainError
        self._add(decoded, rounds + 1)


def _weight(form: str) -> int:
    """How much work it is to take one step: what steps look at one by one are escapes and segments."""
    return 8 + len(form) // 64 + form.count("/") + form.count("\\") + 2 * form.count("%")


def _is_doubtful(form: str) -> bool:
    if _is_unsure(form):
        return True
    if "%" in form and _UNICODE_ESCAPE.search(form):
        return True
    odd = "/..." in form or "/ " in form or "/. " in form or "/.. " in form
    if odd and _ODD_SEGMENT.search(form):
        return True
    # Before a slash it can't be told where a parameter ends: that slash may have been an escape inside it.
    return ";" in form and "/" in form.partition(";")[2]


def _is_unsure(form: str) -> bool:
    return (not form.isprintable() or "\ufffd" in form) and _UNSURE.search(form) is not None


def _unquote(form: str) -> str:
    """Decode as `unquote` does, which takes long where letters of ASCII and others take turns."""
    return unquote(form) if form.isascii() else _ESCAPES.sub(_decoded, form)


def _decoded(escapes: re.Match[str]) -> str:
    return unquote_to_bytes(escapes[0]).decode("utf-8", "replace")


def _visible(text: str) -> str:
    return text if text.isprintable() else _INVISIBLE.sub("", text)


def _compatible(char: str) -> str:
    return normalize("NFKD", char)


def _turn(form: str) -> str:
    return form.replace("\\", "/")


def _trim(form: str) -> str:
    """Without dots and spaces at a segment's end, unless it has nothing else."""
    return "/".join([segment.rstrip(". ") or segment for segment in form.split("/")])


def _collapse(form: str) -> str:
    while "//" in form:
        form = form.replace("//", "/")
    return form


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


_STEPS: tuple[tuple[str, Step], ...] = (
    ("./", _trim),
    (" /", _trim),
    ("%2", _undot),
    ("//", _collapse),
    ("/.", _resolve),
    ("//", _unhost),
    # Not all that stands behind takes each of these for a path's end.
    (";", lambda form: form.partition(";")[0]),
    ("?", lambda form: form.partition("?")[0]),
    ("#", lambda form: form.partition("#")[0]),
)
"""Each with what a form has, or a slash after it, that it changes: others need not be tried."""
