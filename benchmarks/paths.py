"""`make bench-paths`: what it takes to see which way a request goes, for plain paths and for the worst there are.

The worst are looked for: from a seed paths are put together of what servers read in more ways than one, and changed
again and again, as long as that makes them cost more. `find_worst` takes any measure of that: the command times them,
and the tests count what is done for them, which is the same on every machine.
"""

import argparse
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from waitroom.paths.owners import Owners
from waitroom.web.routing import Routing

Scope = dict[str, Any]
Measure = Callable[[Scope], float]

ROOMS = (1, 2, 10)
LENGTHS = (100, 256, 512, 1000, 3000, 8000)
EXCLUDE = ("/robots.txt", "/favicon.ico", "/.well-known/*", "*.css")
STARTS = ("/", "/shop/", "/.well-known/", "/sale1/", "/app/")
PIECES = (
    *("/", "//", "/.", "/..", "./", ".", "..", "...", "~", "*", "a", "B", "abc-def", "A.B", ";", ";x"),
    *("?", "#", "\\", "\x00", "\x7f", ".css", "/a/../", "/./", "/shop/", "/sale1/", "/checkout1", "%2e"),
    *("%2f", "%5c", "%25", "%252e", "%252f", "%25252f", "%41", "%61", "%20", "%3b", "%3f", "%23", "%ff"),
    *("%u0041", "%00", "%E3%82%AC", "%EF%BC%8F", "%E2%80%8B", "é", "ガ", "日", "й", "가", "\u3300", "ΐ"),
    *("\uff0f", "\uff0e", "\uff21", "\uff05", "\u0301", "\u0316", "\u200b", "\xad", "\ufdfa", "\ufdfb"),
    *("\U0001d400", "\ufffd", " ", " /", "/ "),
)
WORST = (
    *("/%5c.%5c%5c", "/sale1/.%20/%2e%2e%2e", "/é;x;xé%3b%3b%2e", "/A/../%252e%252e%2f;x"),
    *("/.well-known//.well-known/%5c", "//a/./b.", "/%2f..%2f", "/a. /b;c", "/////", "/../"),
    *("/%2525252541", "/a//b/../%2e", "/.well-known/%E3%82%AC%2f", "/A", "/%20 . "),
    *("/x%2f..%2fshop. /%2e", "/\\  \\  ", "/app/B...B..%2eB", "/shop/./\uff21\uff22/.\\/\xad"),
    *("/.well-known/\u200bガガ", "/.well-known/\uff0eガ/.\uff0e\\", "/??\uff21\u200b%252e"),
    *("/sale1/\ufdfaガ%252e%5c\u0301\u0316", "/ガ\\\uff0e", "/\u0301\u0316", "/\uff21"),
    *("/.well-known/B.\uff05Bΐ", "/é%252fé", "/\u200bガ\u200b\u200b", "/\u3300/./ΐ"),
)
"""What the worst that were found are made of: the beginning, and after its first letter what is repeated."""


def plain(length: int) -> str:
    """Make a path that all servers read alike."""
    return ("/shop/" + "abc-def/" * length)[: length - 1] + "x"


def repeated(beginning: str, length: int) -> str:
    """Make a path of so many characters that begins so."""
    return (beginning + beginning[1:] * length)[:length]


def asked(path: str, is_sent: bool = True, root_path: str = "") -> Scope:
    """Make the scope of a request: for the path as it is sent, or as the server has decoded it, without a raw one."""
    raw = path.encode("utf-8", "surrogateescape") if is_sent else b""
    read = unquote_to_bytes(raw).decode("utf-8", "replace") if is_sent else path
    return {"path": read, "raw_path": raw, "root_path": root_path}


def all_asked(path: str) -> Iterator[Scope]:
    """Make the scopes of all kinds of requests for a path."""
    for is_sent in (True, False):
        for root_path in ("", "/app"):
            yield asked(path, is_sent, root_path)


def ways(rooms: int, paths: str = "/shop/*") -> Routing[int]:
    """Set up so many rooms, the first with these paths."""
    further = [
        ((f"/sale{at}/*", f"*/checkout{at}"), (f"/sale{at}/img/*", f"*/img{at}.css"))
        for at in range(1, rooms)
    ]
    return Routing("/_waitroom", Owners([((paths,), EXCLUDE), *further]), list(range(rooms)))


def find_worst(
    measure: Measure, length: int, chance: random.Random, rounds: int, **how: Any
) -> tuple[float, str]:
    """Climb to a path that costs as much as can be found in so many rounds; returns the cost, too."""
    start = chance.choice(STARTS)
    pool = [chance.choice(PIECES) for _ in range(chance.choice((1, 2, 3, 5, 9)))]
    parts = [chance.choice(pool) for _ in range(length)]
    best, found = -1.0, ""
    for _ in range(rounds):
        changed = _changed(parts, chance) if found else parts
        path = (start + "".join(changed))[:length]
        if (cost := measure(asked(path, **how))) > best:
            best, found, parts = cost, path, changed
    return best, found


def _changed(parts: Sequence[str], chance: random.Random) -> list[str]:
    changed = list(parts)
    at, piece = chance.randrange(len(changed)), chance.choice(PIECES)
    kind = chance.random()
    if kind < 0.3:
        changed[at % 40] = piece
    elif kind < 0.6:
        changed[at : at + 20] = [piece] * len(changed[at : at + 20])
    elif kind < 0.8:
        changed = [piece if chance.random() < 0.3 else part for part in changed]
    else:
        changed = changed[at:] + changed[:at]
    return changed


def microseconds(found: Routing[int], scope: Scope, times: int) -> float:
    """Take the shortest of so many times."""
    shortest = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        found.find(**scope)
        shortest = min(shortest, time.perf_counter() - began)
    return shortest * 1e6


@dataclass(frozen=True)
class Figure:
    """The worst path of a length beside a plain one, in microseconds."""

    rooms: int
    length: int
    plain: float
    worst: float
    path: str

    def __str__(self) -> str:
        return (
            f"{self.rooms:>5}{self.length:>8}{self.plain:>8.1f}{self.worst:>8.1f}{self.worst / self.plain:>8.1f}"
            f"  {self.path[:60]!a}"
        )


def figures(seed: int, climbs: int, rounds: int, lengths: Sequence[int] = LENGTHS) -> Iterator[Figure]:
    """Find the worst paths of each length, with each number of rooms, in all kinds of requests."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    for rooms in ROOMS:
        for length in lengths:
            found = [
                _figure(ways(rooms, paths), rooms, length, chance, climbs, rounds)
                for paths in ("/shop/*", "/*")
            ]
            yield max(found, key=lambda figure: figure.worst / figure.plain)


def _figure(
    found: Routing[int], rooms: int, length: int, chance: random.Random, climbs: int, rounds: int
) -> Figure:
    tried = [repeated(beginning, length) for beginning in WORST]
    for root_path in ("", "/app"):
        for is_sent in (True, False):
            for _ in range(climbs):
                how = {"is_sent": is_sent, "root_path": root_path}
                tried.append(
                    find_worst(lambda scope: microseconds(found, scope, 3), length, chance, rounds, **how)[1]
                )
    base = microseconds(found, asked(plain(length)), 100)
    each = [
        (max(microseconds(found, scope, 5) for scope in all_asked(path)), path)
        for path in dict.fromkeys(tried)
    ]
    _, path = max(each)
    again = max(microseconds(found, scope, 100) for scope in all_asked(path))
    return Figure(rooms, length, base, again, path)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="make bench-paths")
    parser.add_argument("--seed", type=int, default=1, help="the same seed begins with the same paths")
    parser.add_argument("--climbs", type=int, default=6, help="of each kind of request, of each length")
    parser.add_argument("--rounds", type=int, default=80, help="changes that are tried in each climb")
    given = parser.parse_args()
    print(
        "rooms  length   plain   worst   ratio  begins with (microseconds, each of a path that is not remembered)"
    )
    for figure in figures(given.seed, given.climbs, given.rounds):
        print(figure, flush=True)


if __name__ == "__main__":
    main()
