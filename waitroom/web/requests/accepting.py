"""What the sender of a request can read, by its `Accept`, and whether what it sends can come from a form."""

from collections.abc import Iterator
from enum import Enum, auto
from functools import lru_cache

MOST_KEPT = 256
"""Values of `Accept` whose meaning is remembered."""
LONGEST_KEPT = 256
"""Bytes of the longest of them."""
LONGEST_READ = 512
"""Bytes of an `Accept` that are looked at; no browser says half as much, and anybody may send a megabyte."""
MOST_ENTRIES = 32
"""Types in it that are."""
MOST_PARAMETERS = 4
"""Parameters of each that are; the weight mostly is the only one."""
PAGES = frozenset({b"text/html", b"application/xhtml+xml"})
PARTS = (b"image/", b"font/", b"audio/", b"video/", b"application/font", b"application/x-font")
"""How the types begin that pages are made of."""
PARTS_NAMED = frozenset(
    {
        b"text/css",
        b"text/javascript",
        b"application/javascript",
        b"application/x-javascript",
        b"application/manifest+json",
        b"text/vtt",
    }
)
FORMS = frozenset({b"application/x-www-form-urlencoded", b"multipart/form-data", b"text/plain"})
"""All that a form of HTML can be sent as."""


class Wish(Enum):
    """What somebody would read best."""

    PAGE = auto()
    PART = auto()
    """Something that pages are made of: an image, a style sheet."""
    DATA = auto()
    """What only programs read: JSON, a feed, a stream of events."""
    ANY = auto()
    """It does not say."""


def wish_of(accept: bytes) -> Wish:
    """Compare the weights in an `Accept` in lower case; where HTML is as good as another, HTML it is.

    What is named counts for more than `*/*`: every browser names HTML where it wants a page.
    """
    if not accept:
        return Wish.ANY
    return _usual_wish(accept) if len(accept) <= LONGEST_KEPT else _wish_of(accept)


@lru_cache(MOST_KEPT)  # browsers and programs of one kind say the same
def _usual_wish(accept: bytes) -> Wish:
    return _wish_of(accept)


def _wish_of(accept: bytes) -> Wish:
    best = {Wish.PAGE: 0.0, Wish.PART: 0.0, Wish.DATA: 0.0}
    for media, weight in accepted(accept):
        if not media.endswith(b"/*") or media.startswith(PARTS):
            wish = _wish(media)
            best[wish] = max(best[wish], weight)
    page, part, data = best.values()
    if page:
        return Wish.DATA if data > page else Wish.PAGE
    if not part and not data:
        return Wish.ANY
    return Wish.DATA if data > part else Wish.PART


def _wish(media: bytes) -> Wish:
    if media in PAGES:
        return Wish.PAGE
    return Wish.PART if media in PARTS_NAMED or media.startswith(PARTS) else Wish.DATA


def accepted(accept: bytes) -> Iterator[tuple[bytes, float]]:
    """Read the types in an `Accept` in lower case and their weights, from 0 to 1; what is no type is passed over.

    Whoever says more than there is a bound for has not said the rest.
    """
    *entries, last = accept[:LONGEST_READ].split(b",", MOST_ENTRIES)
    if len(entries) < MOST_ENTRIES and len(accept) <= LONGEST_READ:
        entries.append(last)  # else it may have been cut off, within a word or a weight
    for entry in entries:
        media, *parameters = (part.strip() for part in entry.split(b";", MOST_PARAMETERS + 1))
        if b"/" in media:
            yield media, _weight(parameters[:MOST_PARAMETERS])


def _weight(parameters: list[bytes]) -> float:
    for parameter in parameters:
        if parameter.startswith(b"q="):
            try:
                return min(1.0, max(0.0, float(parameter[2:])))
            except ValueError:
                return 0.0
    return 1.0


def is_body_of_a_program(content_type: bytes) -> bool:
    """Tell whether a body of this type, in lower case, cannot come from a form."""
    media = content_type.partition(b";")[0].strip()
    return bool(media) and media not in FORMS
