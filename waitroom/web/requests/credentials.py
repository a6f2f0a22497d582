"""Which credential a request carries: known at a glance, or found and verified."""

from waitroom.line.tickets import LONGEST_TOKEN, Credential
from waitroom.room.room import WaitingRoom
from waitroom.web.requests.cookies import HEADER, Cookies, Scope
from waitroom.web.requests.kinds import Named, by_name

Glance = tuple[Named, Credential | None, bytes | None, bytes]
"""A request's headers by their names, its credential where that is known, and what the one cookie of the gate's has in
it, and the others are, where there is one; a plain tuple, as each request makes one."""


class Credentials:
    """Reads one room's credentials from requests."""

    def __init__(self, room: WaitingRoom, cookies: Cookies) -> None:
        self._room = room
        self._cookies = cookies

    def glance(self, scope: Scope) -> Glance:
        """Know a request by the one credential that it carries, if that was verified before."""
        named = by_name(scope)
        found = self._cookies.only(scope, named)
        if found is None:
            return named, None, None, b""
        token, others = found
        known = self._room.tokens.remembered(token.decode("latin-1")) if len(token) <= LONGEST_TOKEN else None
        return named, known, token, others

    async def read(self, scope: Scope, glance: Glance | None = None) -> Credential | None:
        """Tell the credential that serves its holder best, of all that a request carries."""
        named, known, token, _ = glance or self.glance(scope)
        if known is not None:
            return known
        if token is not None:
            return self._room.read(token.decode("latin-1")) if self._cookies.is_likely(token) else None
        if b"cookie" in named or HEADER in named or b"authorization" in named:
            return await self._room.best(self._cookies.tokens(scope))
        return None
