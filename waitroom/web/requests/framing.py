"""How long a request's body is, as its headers say: read leniently, and said to the site in one way (RFC 9112, 6).

Servers differ in what they let through: blanks around a length, zeros before it, the same length twice. Whatever it is,
the server has read the body by it already, so what is unclear here is only how the body goes on.
"""

from collections.abc import Iterable

from waitroom.web.requests.cookies import Scope

OWS = b" \t"
"""The blanks that may stand around a header's value (RFC 9110, 5.6.3) and are not part of it."""
MOST_DIGITS = 18
"""No body is longer; a number of thousands of digits is refused by Python."""
MOST_LENGTHS = 8
"""Lengths in one header that are compared: where the same stands there more often, it is not clear."""


def body_length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """Return the body's length in bytes; None where the headers, names in lower case, do not say one clearly."""
    lengths = set()
    for name, value in headers:
        if name == b"transfer-encoding":
            return None  # it wins over any length
        if name == b"content-length":
            lengths |= {_digits(piece.strip(OWS)) for piece in value.split(b",", MOST_LENGTHS)}
    if len(lengths) != 1:
        return None
    digits = lengths.pop()
    return None if digits is None or len(digits) > MOST_DIGITS else int(digits)


def has_body(scope: Scope) -> bool:
    """Return whether a body follows the request's headers; where nothing says so (HTTP/2), whether one may."""
    if any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"]):
        return body_length(scope["headers"]) != 0
    return scope.get("http_version", "1.1") >= "2" and scope["method"] in ("POST", "PUT", "PATCH")


def _digits(value: bytes) -> bytes | None:
    return (value.lstrip(b"0") or b"0") if value.isdigit() else None
