"""What can go wrong, as one family. Every message is one line, written for the person who reads it."""


class WaitroomError(Exception):
    """The root of every error that waitroom raises on purpose."""


class SettingsError(WaitroomError, ValueError):
    """A setting is wrong, unknown or missing: names it, its value, and what is allowed.

    `others` has what is wrong besides, a line each.
    """

    def __init__(self, message: str, *others: str) -> None:
        super().__init__(message)
        self.others = others


class StoreError(WaitroomError):
    """The store did not answer, or not in time. It may at the next try."""


class StoreUnusableError(StoreError):
    """The store answers, but will not serve as it is: wrong password, too old, no right to a command."""


class EmbeddedError(WaitroomError):
    """The embedded server could not be started: says what to install or where to look."""
