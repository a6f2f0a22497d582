"""Which credential a request carries: known at a glance, or found and verified."""

from waitroom.cookies import Cookies, Scope
from waitroom.requests import Named
from waitroom.room import WaitingRoom
from waitroom.tickets import Credential


class Carried:
    """Reads one room's credentials from requests."""

    def __init__(self, room: WaitingRoom, cookies: Cookies) -> None:
        self._room = room
        self._cookies = cookies

    def glance(self, scope: Scope, named: Named) -> tuple[Credential | None, bytes]:
        """Know a request by the one credential that it carries, verified before, and tell what its other cookies are.

        None where more has to be looked at: nearly always at a visitor's first request to this process alone.
        """
        found = self._cookies.only(scope, named)
        if found is None:
            return None, b""
        token, others = found
        return self._room.tokens.remembered(token), others

    async def read(self, scope: Scope, named: Named) -> Credential | None:
        """Tell the credential that serves its holder best, of all that a request carries."""
        known, _ = self.glance(scope, named)
        return known or await self.search(scope)

    async def search(self, scope: Scope) -> Credential | None:
        """Tell it where a glance told nothing."""
        return await self._room.best(self._cookies.tokens(scope))
