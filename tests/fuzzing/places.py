"""Paths and rooms from bytes: nothing raises, and whatever any lenient reader would take for a page is gated."""

from urllib.parse import unquote

from tests.fuzzing.lenient import ROOMS, TOGETHER, areas, forms, half_decoded
from waitroom.paths.owners import Owners
from waitroom.paths.patterns import Paths, as_sent, strip_root
from waitroom.paths.readings import normalise

AREAS = Owners(list(ROOMS.values()))
NAMES = tuple(ROOMS)
ALONE = {name: Paths(*ROOMS[name]) for name in NAMES}
EVERYTHING = Paths(["/*"], ["/pub/*", "*.css"])
LONGEST = 160
"""Letters of a path whose readings are all looked at."""

PIECES = (
    *("/", "/", "/", "/", "/", "shop", "shop", "vip", "sale", "caf\xe9", "cafe\u0301", "img", "pub", "x"),
    *("..", "..", ".", "...", "%2e", "%2f", "%25", "%252e", "%252f", "%5c", "\\", ";", "?", "#", "%3b"),
    *("%3f", "%23", "%00", "\x00", "%20", "S", "H", "O", "P", "Shop", "%53", "%73", "%2573", "\u200b"),
    *("\xad", "\uff53", "\uff0f", "\u2025", "\u2024", "\u017f", "%c5%bf", ".css", "//", "/x/../", "/./"),
    *("..;", ";v=1", "%c0%af", "%c0%ae", "%e0%80%af", "%u002f", "%u002e", "%ff", "\ufffd", "\udce9", "\t"),
    *("ter", "terms", ".", ".\xa0", "\u212a", "http:", "//h/", "%09", "%0a", "\n", "%", "%2", "%%", "@"),
    *(":", "&", "=", "+", "~", "!", "\u0455", "\u2044", "\u2215", "app", "/app/", "\u0130", "\xdf"),
    *("\ufb01", "%c3%a9", "%e9"),
)
"""What paths are made of, and what is used to hide it."""


def path_of(data: bytes) -> str:
    """A path of pieces, or just the bytes as a server may have decoded them."""
    mode, rest = data[:1], data[1:]
    if mode == b"r":
        return rest.decode("latin-1")
    if mode == b"u":
        return rest.decode("utf-8", "surrogateescape")
    return "/" + "".join(PIECES[code % len(PIECES)] for code in rest)


def paths(data: bytes) -> None:
    """P8: one room's paths, each room's by itself."""
    path = path_of(data)
    free = [name for name, alone in ALONE.items() if not alone.gated(path)]
    if free and len(path) <= LONGEST:
        assert not areas(forms(path)) & set(free), path
    if not EVERYTHING.gated(path):
        assert path.startswith("/pub/") or path.endswith(".css"), path
    assert normalise(path).startswith("/")


def rooms(data: bytes) -> None:
    """P8: several rooms; whose page a path may be has to admit, and whoever is in none of them gets nothing.

    The path is decoded as a server does, and what stands behind may read it before or after.
    """
    root = "/app" * (data[:1] == b"m")
    raw = root + path_of(data[1:])
    below = strip_root(unquote(raw), root)
    spelt = [below]
    came = raw.encode("utf-8", "replace")
    if sent := as_sent(came):
        spelt.append(strip_root(sent, root))
    asked = {NAMES[at] for path in spelt for at in AREAS.rooms_of(path)}
    if len(raw) <= LONGEST and len(asked) < len(NAMES):
        read = [path for path in (below, half_decoded(came).removeprefix(root)) if path.startswith("/")]
        reached = areas(forms(*read, steps=TOGETHER))
        assert reached <= asked, (raw, reached, asked)
        if not asked:
            assert not areas(forms(*read)), raw
    for path in spelt:
        gating = {rule.room for rule in AREAS.rules_of(path) if not rule.excludes}
        assert gating >= set(AREAS.rooms_of(path))
    assert AREAS.judge(below).owners >= set(AREAS.rooms_of(below))


def _seed(*pieces: str) -> bytes:
    return bytes(PIECES.index(piece) for piece in pieces)


_PATHS = [
    _seed("shop", "/", "x"),
    _seed("shop", "/", "vip", "/", "terms"),
    _seed("pub", "/x/../", "..", "/", "shop", "/"),
    _seed("sale", "/", "img", "/", "..", "/", "x"),
    _seed("pub", "\\", "x", "/", "..", "/", "shop"),
    _seed("pub", "\uff0f", "x", "/", "..", "/", "shop"),
    _seed("/", "x", "/", "shop"),
    _seed("%252e", "%252e", "%5c", "S", "H", "O", "P"),
    _seed("café", ";v=1"),
    _seed("shop", "/", "img", "/", "%2e", "%2e", "/", "vip"),
]
PATH_SEEDS = [
    *(b"p" + seed for seed in _PATHS),
    b"r/shop/x",
    b"u/caf\xc3\xa9/\xff",
    b"r/pub/" + b"../" * 30 + b"shop",
    b"r/" + b"%25" * 20 + b"73hop",
    b"r//h/shop",
    b"r" + b"/A" * 1500,
]
ROOM_SEEDS = [mode + seed for seed in PATH_SEEDS for mode in (b"m", b"-")]
