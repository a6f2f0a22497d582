"""What the site says to the gate in the headers of its responses: `Waitroom-Command: release`."""

from collections.abc import Iterable

from waitroom.answers import Extra

COMMAND = b"waitroom-command"
RELEASE = b"release"


def take_command(headers: Iterable[tuple[bytes, bytes]]) -> tuple[Extra, bool]:
    """Take the gate's header out of a response's; with what is left goes whether it releases the visitor."""
    said = list(headers)
    kept = [pair for pair in said if pair[0].lower() != COMMAND]
    if len(kept) == len(said):
        return kept, False
    return kept, any(name.lower() == COMMAND and value.strip().lower() == RELEASE for name, value in said)
