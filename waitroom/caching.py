"""Which of the site's responses shared caches could keep, so that no visitor's cookie gets into one."""

from collections.abc import Sequence

Headers = list[tuple[bytes, bytes]]

NEVER_SHARED = (b"private", b"no-store")


def is_meant_for_caches(method: str, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Tell whether a response asks caches to keep it for everyone (RFC 9111, 3)."""
    if method not in ("GET", "HEAD"):
        return False
    directives = _directives(headers)
    if directives.keys() & set(NEVER_SHARED):
        return False
    if directives.get(b"s-maxage", directives.get(b"max-age", b"0")).strip(b'"') not in (b"0", b""):
        return True
    if b"public" in directives:
        return True
    return not directives and any(
        name == b"expires" and value.strip() not in (b"0", b"-1") for name, value in headers
    )


def make_private(method: str, headers: Headers) -> Headers:
    """Keep shared caches from a response, unless it does so itself already; the rest of its wishes stay."""
    directives = _directives(headers)
    if method not in ("GET", "HEAD") or directives.keys() & set(NEVER_SHARED):
        return headers
    kept = [
        name + (b"=" + value if value else b"")
        for name, value in directives.items()
        if name not in (b"public", b"s-maxage", b"proxy-revalidate")
    ]
    others = [(name, value) for name, value in headers if name != b"cache-control"]
    return [*others, (b"cache-control", b", ".join([b"private", *kept]))]


def _directives(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name.lower() == b"cache-control":
            for directive in value.split(b","):
                key, _, argument = directive.strip().lower().partition(b"=")
                if key:
                    found[key] = argument
    return found
