"""What a query asks for, of the gate's own routes; whoever sends it may make it as long as they like."""

from urllib.parse import unquote_plus

LONGEST_QUERY = 8_192
"""Bytes of the longest that is read: one that the gate writes itself has room in it."""
MOST_FIELDS = 32
"""Fields of one that is."""


def is_too_long(query: bytes) -> bool:
    """Return whether there is more in a query than is read."""
    return len(query) > LONGEST_QUERY or query.count(b"&") >= MOST_FIELDS


def values_of(query: bytes, name: str) -> list[str]:
    """Return what a query says of that name, decoded; of one that is too long nothing."""
    if is_too_long(query):
        return []
    fields = (field.partition("=") for field in query.decode("latin-1").split("&"))
    return [unquote_plus(value, errors="replace") for key, _, value in fields if unquote_plus(key) == name]
