"""What is seen of a first visit's response: whether a browser may come back with the cookie that was set in it."""

from urllib.parse import unquote, urlsplit

from starlette.types import Message, Receive, Scope

from waitroom.answers import Extra
from waitroom.relay import Asked

REDIRECTS = frozenset({301, 302, 303, 307, 308})


class FirstVisit:
    """One request of somebody who has shown no cookie yet; `keeps`: its slot is to wait for them to come back."""

    def __init__(self, scope: Scope, asked: Asked, keeps: bool) -> None:
        self._keeps = keeps
        self._is_gone = False
        self._is_told = False
        self._url = asked[1], _host(asked[2]), scope["path"]
        self._root = scope.get("root_path", "")

    def watching(self, receive: Receive) -> Receive:
        """Receive as before, and notice when the client is gone before it was told anything."""

        async def receive_on() -> Message:
            message = await receive()
            self._is_gone = self._is_gone or message["type"] == "http.disconnect"
            return message

        return receive_on

    def takes_cookie(self, status: int, headers: Extra) -> bool:
        """Tell whether the response that begins now is to carry the cookie."""
        if status in REDIRECTS and self._leads_to_another_origin(headers):
            return False
        self._is_told = not self._is_gone
        return True

    def may_return(self) -> bool:
        """Tell whether the slot is to be kept for a moment, now that the request is over."""
        return self._keeps and self._is_told

    def _leads_to_another_origin(self, headers: Extra) -> bool:
        """Tell a redirect to the same path by https or on another host: a cookie of this origin may not get there."""
        scheme, host, path = self._url
        for name, value in headers:
            if name.lower() == b"location":
                try:
                    there = urlsplit(value.decode("latin-1"))
                except ValueError:
                    return False
                origin = there.scheme or scheme, there.netloc.lower()
                is_same_path = (unquote(there.path) or "/") in (path, self._root + path)
                return bool(there.netloc) and is_same_path and origin != (scheme, host)
        return False


def _host(headers: Extra) -> str:
    return next((value.decode("latin-1").lower() for name, value in headers if name == b"host"), "")
