"""Spellings of protected paths as they go over the wire: from a seed, always the same."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Respelling = Callable[[bytes, random.Random], bytes]

TARGETS = (
    b"/shop",
    b"/shop/",
    b"/shop/7",
    b"/shop/cart/pay",
    b"/shop/vip",
    b"/shop/vip/7",
    b"/shop/img",
    b"/sale/7",
    b"/sale",
    "/caf\u00e9".encode(),
)
BESIDE = (
    b"/pub",
    b"/shop/img",
    b"/sale/img",
    b"/shop/vip/terms",
    b"/x",
    b"/shop",
    b"/sale",
    b"//h",
    b"/a.css",
)
"""Folders that `..` leads out of; some of them are excluded, some are another room's."""

HOSTS = (
    *(b"shop", b"127.0.0.1", b"shop:80", b"pub", b"h/pub", b"h/pub?", b"h#", b"@", b"[", b"[::1]", b""),
    *(b"h/shop/img/..", b"h\\pub", b"h:port", b"\xff", b"a b", b"shop, pub"),
)
LOOK_ALIKES = {
    **{
        ord("/"): "\uff0f\u2044\u2215\u29f8\\",
        ord("."): "\uff0e\u2024\u3002",
        ord("s"): "\u017f\uff53\u0455S",
    },
    **{ord("h"): "\uff48\u210eH\u04bb", ord("o"): "\uff4f\u043e\u00ba\u03bfO", ord("p"): "\uff50\u0440P"},
    **{ord("e"): "\uff45\u0435E", ord("a"): "\u00aa\uff41\u0430A", ord("c"): "\u217d\uff43\u0441C"},
    **{ord("l"): "\uff4c\u217cL", ord("v"): "\u2174\uff56V", ord("i"): "\u2170\u0131\u0130I"},
}
MARKS = "\u200b\u200d\u00ad\u2060\ufeff\u0301\u00a0"
ENDINGS = (
    *(b"/", b"//", b"/.", b"/..", b"/./", b"/x/..", b".", b"..", b"...", b"%20", b"%20.", b"+", b"~", b"%2f"),
    *(
        b";",
        b";v=1",
        b";/",
        b";.css",
        b"%3b.css",
        b"%00",
        b"%00.css",
        b"%0a",
        b"%09",
        b"%0d%0a",
        b".css",
        b"%5c",
    ),
    *(
        b"?",
        b"?x",
        b"?/../pub",
        b"%3f",
        b"%3f.css",
        b"#",
        b"#x",
        b"%23.css",
        b"%ff",
        b"%c0%ae",
        b"::$DATA",
        b"\\",
    ),
    *(
        b"%",
        b"%2",
        b"%zz",
        b"%u002f",
        b"%25",
        b"/%2e",
        b"/%2e%2e",
        b"/%252e%252e/",
        b"\x00",
        b"\t",
        b"\xff",
        b"*",
    ),
)
UPWARDS = (
    *(
        b"/..",
        b"/..",
        b"/%2e%2e",
        b"/.%2e",
        b"/%252e%252e",
        b"/..%2f..",
        b"/..%5c..",
        b"\\..",
        b"/..;",
        b"/..;x=1",
    ),
    *(b"/x/../..", b"/./..", b"//..", b"%2f..", b"%5c..", b"/%c0%ae%c0%ae", b"/%u002e%u002e", b"/%e2%80%a5"),
    *(
        b"/..%00",
        b"/..%20",
        b"/.. ",
        b"/...",
        b"/.%e2%80%8b.",
        b"/%EF%BC%8E%EF%BC%8E",
        b"%efb%bc%8f..",
        b"?/..",
    ),
)
OVERLONG = {b"/": (b"%c0%af", b"%e0%80%af", b"%f0%80%80%af"), b".": (b"%c0%ae", b"%e0%80%ae")}


def _escape(data: bytes, chance: random.Random) -> bytes:
    return b"".join((b"%%%02x" if chance.random() < 0.5 else b"%%%02X") % byte for byte in data)


def _somewhere(change: Callable[[bytes, random.Random], bytes]) -> Respelling:
    """Change one byte or a few in a row."""

    def respell(path: bytes, chance: random.Random) -> bytes:
        at = chance.randrange(len(path))
        to = min(len(path), at + chance.choice((1, 1, 1, 2, 5)))
        return path[:at] + change(path[at:to], chance) + path[to:]

    return respell


def _separators(path: bytes, chance: random.Random) -> bytes:
    new = chance.choice(
        (b"//", b"/./", b"/x/../", b"\\", b"%2f", b"%5c", b"%252F", b";a=b/", b".%20/", b"/;/", b"///")
    )
    return path.replace(b"/", new, chance.choice((1, -1)))


def _look_alike(part: bytes, chance: random.Random) -> bytes:
    text = part.decode("utf-8", "replace")
    new = "".join(chance.choice(LOOK_ALIKES.get(ord(char), char)) for char in text).encode()
    return new if chance.random() < 0.1 else _escape(new, chance)


def _mark(part: bytes, chance: random.Random) -> bytes:
    return _escape(chance.choice(MARKS).encode(), chance) + part


def _overlong(path: bytes, chance: random.Random) -> bytes:
    old, new = chance.choice(list(OVERLONG.items()))
    return path.replace(old, chance.choice(new), chance.choice((1, -1)))


def _from_beside(path: bytes, chance: random.Random) -> bytes:
    folder = chance.choice(BESIDE)
    count = folder.count(b"/") + chance.choice((0, 0, 0, 1, -1))
    return folder + b"".join(chance.choice(UPWARDS) for _ in range(count)) + path


def _in_between(path: bytes, chance: random.Random) -> bytes:
    at = chance.choice([index for index in range(len(path)) if path[index] == 0x2F] or [0])
    return path[:at] + chance.choice(ENDINGS) + path[at:]


RESPELLINGS: tuple[Respelling, ...] = (
    _somewhere(_escape),
    _somewhere(_escape),
    _somewhere(lambda part, chance: _escape(part, chance).replace(b"%", b"%25")),
    _somewhere(lambda part, _: part.swapcase()),
    _somewhere(_look_alike),
    _somewhere(_mark),
    _somewhere(
        lambda part, chance: part + bytes([chance.choice(b'\x00\x01\x09\x0b\x7f\x80\xa0\xad\xff "<>^`{|}\\')])
    ),
    _separators,
    _separators,
    _overlong,
    _from_beside,
    _from_beside,
    _in_between,
    lambda path, chance: path + chance.choice(ENDINGS),
    lambda path, chance: path + chance.choice(ENDINGS),
    lambda path, chance: (
        chance.choice((b"/", b"//h", b"/\\h", b"/%2fh", b"/.", b"/%2e", b"/;", b"/../..", b"")) + path
    ),
    lambda path, chance: path.replace(b"%", b"%25", chance.choice((1, -1))),
    lambda path, _: path.upper(),
    lambda path, _: path.title(),
)


@dataclass(frozen=True)
class Spelling:
    """One request line and its `Host`."""

    method: bytes
    target: bytes
    host: bytes


def spellings(seed: int, count: int) -> Iterator[Spelling]:
    """Make so many, no two of them the same, all of them from the seed."""
    chance = random.Random(seed)
    made: set[Spelling] = set()
    while len(made) < count:
        spelling = _spelling(chance)
        if spelling not in made:
            made.add(spelling)
            yield spelling


def _spelling(chance: random.Random) -> Spelling:
    path = chance.choice(TARGETS)
    for _ in range(chance.choice((0, 1, 1, 2, 2, 3, 4, 6))):
        path = chance.choice(RESPELLINGS)(path, chance)
    path = path.replace(b"\r", b"%0d").replace(b"\n", b"%0a")  # they would end the request line
    host = b"shop" if chance.random() < 0.7 else chance.choice(HOSTS)
    form = chance.random()
    if form < 0.06:
        scheme = chance.choice((b"http://", b"HTTP://", b"https://", b"//", b"http:/", b"ftp://"))
        path = scheme + chance.choice((*HOSTS, b"shop", b"pub/..")) + path
    elif form < 0.07:
        path = path[1:]
    return Spelling(b"GET" if chance.random() < 0.9 else b"POST", path, host)
