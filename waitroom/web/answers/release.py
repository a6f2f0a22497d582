"""What the site says to the gate in the headers of its responses: `Waitroom-Command: release`.

`Clear-Site-Data` for cookies says the same: browsers obey it after they have taken the cookies of that very response,
so that none could be set that stays.
"""

from starlette.types import Message

from waitroom.web.answers.answer import Extra

COMMAND = b"waitroom-command"
RELEASE = b"release"
CLEARING = b"clear-site-data"
CLEARED = (b'"cookies"', b'"*"')
_SAYING = (COMMAND, CLEARING)
_LENGTHS = frozenset(map(len, _SAYING))


def headers_of(message: Message) -> Extra:
    """The headers of a response's start, as a list: what else a site may give might be read once only."""
    headers = message.get("headers", ())
    return headers if type(headers) is list else list(headers)


def has_command(headers: Extra) -> bool:
    """Tell whether a response may say anything to the gate."""
    for name, _ in headers:  # noqa: SIM110  # any() would cost as much again, in each request
        if len(name) in _LENGTHS and name.lower() in _SAYING:
            return True
    return False


def is_plain(message: Message) -> bool:
    """Tell whether a response's start says nothing to the gate, as far as can be seen at a glance."""
    headers = message.get("headers")
    return type(headers) is list and "trailers" not in message and not has_command(headers)


def is_release(headers: Extra, is_nobodys: bool) -> bool:
    """Tell whether a response releases its visitor.

    One that `is_nobodys` does not by the gate's header: nobody has gone to that page. The browser has thrown
    the cookies away all the same where it was told to.
    """
    return any(
        value.strip().lower() == RELEASE and not is_nobodys
        if (lowered := name.lower()) == COMMAND
        else lowered == CLEARING and any(kind.strip().lower() in CLEARED for kind in value.split(b","))
        for name, value in headers
    )


def without_command(headers: Extra) -> Extra:
    """Take the gate's header out of a response's."""
    return [pair for pair in headers if pair[0].lower() != COMMAND]
