"""How servers, frameworks, file systems and URL parsers read a path more kindly than it is written.

Nothing of `waitroom.paths` is used here: this is what it is compared with. Each step is one that some software in
use takes; `forms` takes them in every order, each as often as it changes something, as nobody knows what stands
behind a gate, and how many of it.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import unquote, unquote_to_bytes

MOST_FORMS = 400
"""Where a path has more, the rest is not looked at."""

Step = Callable[[str], str]


def _as_bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogatepass")


def _overlong(path: str) -> str:
    """Decode as UTF-8 decoders did that took a character in more bytes than it needs."""
    data = unquote_to_bytes(_as_bytes(path))
    for pattern in (
        rb"[\xc0\xc1][\x80-\xbf]",
        rb"\xe0[\x80\x81][\x80-\xbf]",
        rb"\xf0\x80[\x80\x81][\x80-\xbf]",
    ):
        data = re.sub(pattern, lambda found: bytes([(found[0][-2] & 1) << 6 | found[0][-1] & 0x3F]), data)
    return data.decode("utf-8", "replace")


def _resolve(path: str) -> str:
    """Take out `.` and `..` as RFC 3986, 5.2.4 does."""
    if not path.startswith("/"):
        return path
    kept: list[str] = []
    segments = path.removeprefix("/").split("/")
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join([*kept, ""] if segments[-1] in (".", "..") else kept)


def half_decoded(raw: bytes) -> str:
    """A path as it came, with only those escapes decoded that every reader takes for the letter (RFC 3986, 6.2.2.2)."""
    kept = re.sub(rb"(?i)%(?=2[ef53]|5c|3[bf]|[01][0-9a-f]|7f)", b"%25", raw)
    return unquote_to_bytes(kept).decode("utf-8", "replace")


FOLDS: dict[str, Step] = {
    "case": str.casefold,
    "compatibility forms": lambda path: unicodedata.normalize("NFKC", path),
    "invisible marks": lambda path: "".join(each for each in path if unicodedata.category(each) != "Cf"),
    "backslashes": lambda path: path.replace("\\", "/"),
}
"""What makes different letters one."""


def _fold(path: str) -> str:
    for fold in (*FOLDS.values(), *FOLDS.values()):  # folding may uncover what can be folded
        path = fold(path)
    return path


STEPS: dict[str, Step] = {
    "decoded once more": unquote,
    "decoded as Latin-1": lambda path: unquote(path, "latin-1"),
    "overlong UTF-8": _overlong,
    "%u escapes": lambda path: re.sub(r"(?i)%u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), path),
    **FOLDS,
    "escaped dots": lambda path: re.sub("(?i)%2e", ".", path),
    "slashes": lambda path: re.sub(r"/{2,}", "/", path),
    "dots": _resolve,
    "trailing dots and spaces": lambda path: re.sub(r"([^/\\\uff0f. ])[. ]+(?=[/\\\uff0f]|\Z)", r"\1", path),
    "a segment's parameters": lambda path: re.sub(r";[^/]*", "", path),
    "all after a semicolon": lambda path: path.partition(";")[0],
    "query and fragment": lambda path: re.split(r"[?#]", path, maxsplit=1)[0],
    "a host in front": lambda path: (
        re.sub(r"\A(?:[A-Za-z][A-Za-z0-9+.-]*:)?[/\\]{2,}[^/\\?#]*", "", path) or "/"
    ),
    "an end at NUL": lambda path: path.partition("\0")[0],
    "control characters": lambda path: re.sub(r"[\x00-\x1f\x7f]", "", path),
}

EACH = tuple(STEPS.values())
TOGETHER = (*(step for name, step in STEPS.items() if name not in FOLDS), _fold)
"""The same, where a site either tells all different letters apart or none: which room a path is in hangs on that."""


def forms(*paths: str, steps: Sequence[Step] = EACH) -> set[str]:
    """All forms that these paths can be brought to by any of the steps, in any order."""
    found = set(paths)
    new = list(found)
    while new and len(found) < MOST_FORMS:
        path = new.pop(0)
        for step in steps:
            form = step(path)
            if form not in found:
                found.add(form)
                new.append(form)
    return found


ROOMS = {
    "shop": (("/shop/*",), ("/shop/img/*", "/shop/*.css")),
    "vip": (("/shop/vip/*",), ("/shop/vip/terms",)),
    "sale": (("/sale/*", "/caf\u00e9"), ("/sale/img/*",)),
}
"""What each room of the tests protects and excludes; the first is the one that the plain settings name."""


def areas(found: Iterable[str]) -> set[str]:
    """The rooms whose pages are at these forms: `ROOMS` in plain words, without any pattern."""
    return {area for form in found if (area := _area(form))}


def _area(form: str) -> str | None:
    if _is_in(form, "/shop/vip"):
        return None if form == "/shop/vip/terms" else "vip"
    if _is_in(form, "/shop"):
        return (
            None
            if form.startswith("/shop/img/") or (form.endswith(".css") and form != "/shop.css")
            else "shop"
        )
    if _is_in(form, "/sale"):
        return None if form.startswith("/sale/img/") else "sale"
    return "sale" if form.removesuffix("/") in ("/caf\u00e9", "/cafe\u0301") else None


def _is_in(form: str, folder: str) -> bool:
    return form == folder or form.startswith(f"{folder}/")
