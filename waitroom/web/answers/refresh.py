"""The `Refresh` header of a page that comes back by itself: when, and to where."""

import re
from urllib.parse import quote

from waitroom.paths.patterns import strip_root
from waitroom.web.requests.cookies import Scope

LONGEST = 2000
"""Bytes of the longest reference that is written: some proxies take no more than 4 kB of headers."""

_ODD = re.compile(rb"[^!$-&(-;=?-\[\]-~]")
"""What no header needs in it as it is: quotes, spaces, backslashes, controls and all that is not ASCII."""
_WRITTEN = tuple(_ODD.sub(b"%%%02X" % code, bytes([code])) for code in range(256))
"""Each byte as it is written in a URL: there may be as many odd ones as a request has room for."""


def refresh(scope: Scope, seconds: bytes) -> tuple[bytes, bytes]:
    """Write the header that loads the very page of this request again after `seconds`."""
    reference = _reference(scope)
    if len(reference) > LONGEST:
        return b"refresh", seconds
    return b"refresh", b"%b; url=%b" % (seconds, reference)


def _reference(scope: Scope) -> bytes:
    """Refer to a request's own URL, without its fragment, in a form that cannot leave the host it came to.

    It is needed as a page whose URL has a fragment would only be scrolled to it: without a URL of its own `Refresh`
    goes to that of the page, and so does an empty one. What the browser's URL is only the browser knows, as whatever
    stands in front may have put a prefix in front of the path, or taken one away; hence a relative reference wherever
    there is one. Of what is longer than `LONGEST` no more is looked at.
    """
    if query := scope.get("query_string"):
        return b"?" + plain(query[:LONGEST])
    path, root_path = scope["path"], scope.get("root_path", "")
    if path.endswith("/") or not path:
        if strip_root(path, root_path) not in ("/", ""):
            return b"."
        # A browser at the root of a prefix may have it without the slash: `.` would lead out of it.
        root = quote(root_path.strip("/"), errors="replace")
        return f"/{root}/".encode() if root else b"/"
    sent = (scope.get("raw_path") or b"").partition(b"?")[0].rpartition(b"/")[2][:LONGEST]
    # With the dot in front a colon is no scheme's.
    return b"./" + (
        plain(sent) or quote(path.rpartition("/")[2][:LONGEST], ":@!$&+,;=", errors="replace").encode()
    )


def plain(text: bytes) -> bytes:
    """Escape in a URL what no header, and no attribute, needs in it as it is."""
    return text if _ODD.search(text) is None else b"".join(map(_WRITTEN.__getitem__, text))
