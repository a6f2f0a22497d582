"""What the site says to the gate in the headers of its responses: `Waitroom-Command: release`."""

from collections.abc import Iterable

from waitroom.answers import Extra

COMMAND = b"waitroom-command"
RELEASE = b"release"


def is_release(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Tell whether a response releases its visitor."""
    return any(name.lower() == COMMAND and value.strip().lower() == RELEASE for name, value in headers)


def without_command(headers: Iterable[tuple[bytes, bytes]]) -> Extra:
    """Take the gate's header out of a response's."""
    return [pair for pair in headers if pair[0].lower() != COMMAND]
