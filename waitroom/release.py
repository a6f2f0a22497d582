"""What the site says to the gate in the headers of its responses: `Waitroom-Command: release`."""

from starlette.types import Message

from waitroom.answers import Extra

COMMAND = b"waitroom-command"
RELEASE = b"release"


def headers_of(message: Message) -> Extra:
    """The headers of a response's start, as a list: what else a site may give might be read once only."""
    headers = message.get("headers", ())
    return headers if type(headers) is list else list(headers)


def has_command(headers: Extra) -> bool:
    """Tell whether a response says anything to the gate."""
    for name, _ in headers:  # noqa: SIM110  # any() would cost as much again, in each request
        if len(name) == len(COMMAND) and name.lower() == COMMAND:
            return True
    return False


def is_release(headers: Extra) -> bool:
    """Tell whether a response releases its visitor."""
    return any(name.lower() == COMMAND and value.strip().lower() == RELEASE for name, value in headers)


def without_command(headers: Extra) -> Extra:
    """Take the gate's header out of a response's."""
    return [pair for pair in headers if pair[0].lower() != COMMAND]
