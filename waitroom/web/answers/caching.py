"""Which of the site's responses shared caches could keep, so that no visitor's cookie gets into one."""

import re
from collections.abc import Sequence

Headers = list[tuple[bytes, bytes]]

_DIRECTIVE = re.compile(rb'(?:[^,"]|"[^"]*")+')

TARGETED = (b"cdn-cache-control", b"surrogate-control", b"x-accel-expires")


def is_meant_for_caches(method: str, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Tell whether a response asks caches to keep it for everyone (RFC 9111, 3)."""
    if method not in ("GET", "HEAD"):
        return False
    if any(_is_for_one_cache(name) and not _forbids(value) for name, value in headers):
        return True
    directives = _directives(headers)
    if _is_never_shared(directives):
        return False
    if directives.get(b"s-maxage", directives.get(b"max-age", b"0")).strip(b'"') not in (b"0", b""):
        return True
    if b"public" in directives:
        return True
    return not directives and any(
        name.lower() == b"expires" and value.strip() not in (b"0", b"-1") for name, value in headers
    )


def make_private(method: str, headers: Headers) -> Headers:
    """Keep shared caches from a response, unless it does so itself already; the rest of its wishes stay."""
    headers = [pair for pair in headers if not _is_for_one_cache(pair[0])]
    directives = _directives(headers)
    if method not in ("GET", "HEAD") or _is_never_shared(directives):
        return headers
    kept = [
        name + (b"=" + value if value else b"")
        for name, value in directives.items()
        if name not in (b"public", b"private", b"s-maxage", b"proxy-revalidate")
    ]
    others = [(name, value) for name, value in headers if name.lower() != b"cache-control"]
    return [*others, (b"cache-control", b", ".join([b"private", *kept]))]


def _is_never_shared(directives: dict[bytes, bytes]) -> bool:
    # `private="name"` is about that header alone: the rest may be kept.
    return b"no-store" in directives or directives.get(b"private") == b""


def _is_for_one_cache(name: bytes) -> bool:
    """Tell a header by which one kind of shared cache is told otherwise than `Cache-Control` says (RFC 9213)."""
    return name.lower().endswith(TARGETED)


def _forbids(value: bytes) -> bool:
    directives = _directives([(b"cache-control", value)])
    return _is_never_shared(directives) or b"0" in (directives.get(b"max-age"), value.strip())


def _directives(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name.lower() == b"cache-control":
            for directive in _DIRECTIVE.findall(value):
                key, _, argument = directive.strip().lower().partition(b"=")
                if key:
                    found[key] = argument
    return found
