"""What a list of excluded paths adds up to: with a `+` in front it adds to those that are there without it.

`+/webhooks/*,/static/*` is the list it would replace, and these two. The `+` may be repeated in front of each entry;
one that comes only later is refused, because the list would replace and add at once.
"""

from collections.abc import Sequence

from waitroom.errors import SettingsError
from waitroom.paths.patterns import check_pattern

DEFAULT_EXCLUDE = ("/robots.txt", "/favicon.ico", "/.well-known/*")
ADDS = "+"


class ExclusionsError(SettingsError):
    """Says what is wrong with the signs of a list."""


def adds(entries: Sequence[str]) -> bool:
    """Whether a list adds to another; raises ExclusionsError where it does not say which."""
    signed = [entry.startswith(ADDS) for entry in entries]
    if any(signed) and not signed[0]:
        raise ExclusionsError(
            f"with a {ADDS} in front of its first entry the whole list adds to what is excluded already, without one "
            f"it replaces that; it cannot do both"
        )
    return any(signed)


def patterns(entries: Sequence[str]) -> tuple[str, ...]:
    """The entries without their signs; raises SettingsError for one that is not a pattern."""
    found = tuple(entry.removeprefix(ADDS).strip() for entry in entries)
    for pattern in found:
        check_pattern(pattern)
    return found


def together(inherited: Sequence[str], entries: Sequence[str]) -> tuple[str, ...]:
    """All that is excluded: the entries, and before them what they add to; each pattern once.

    Raises SettingsError for what `adds` or `patterns` refuses.
    """
    before = inherited if adds(entries) else ()
    return tuple(dict.fromkeys((*before, *patterns(entries))))
