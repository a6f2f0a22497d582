"""What a room tells below the prefix: join, status, leave and window, for browsers and programs alike."""

from typing import Any

from starlette.responses import Response

from waitroom.answers import Extra, answer, json_answer, problem, store_away
from waitroom.cookies import Cookies, Scope
from waitroom.cors import Cors
from waitroom.decisions import Standing
from waitroom.requests import hides_cookies
from waitroom.room import WaitingRoom
from waitroom.tickets import Credential, Proof
from waitroom.window import Place, poll_seconds

PUBLIC: Extra = [
    (b"cache-control", b"public, max-age=1"),
    (b"vary", b"Accept-Encoding"),
]


def place_fields(room: str, place: Place) -> dict[str, Any]:
    """Tell where a visitor stands, in the words of `GET /status`."""
    return {
        "room": room,
        "status": place.status,
        "number": place.number,
        "ahead": place.ahead,
        "eta_seconds": None if place.eta is None else {"low": place.eta.low, "high": place.eta.high},
        "poll_after": place.poll_after,
    }


class Api:
    """One room's answers to what is asked below the prefix."""

    def __init__(self, room: WaitingRoom, cookies: Cookies, cors: Cors) -> None:
        self.room = room
        self.cors = cors
        self._cookies = cookies

    async def _credential(self, scope: Scope) -> Credential | None:
        return await self.room.best(self._cookies.tokens(scope))

    async def join(self, scope: Scope) -> Response:
        """Give a number, or tell where the one that is held stands. Raises StoreError."""
        standing = await self.room.join(await self._credential(scope))
        fields = place_fields(self.room.settings.room, standing.place)
        if standing.ticket is not None:
            fields["ticket"] = self.room.tokens.sign(standing.ticket)
        return self._tell(scope, standing, fields, 201 if standing.new else 200)

    async def status(self, scope: Scope) -> Response:
        """Tell where a ticket or pass stands; asking claims. Raises StoreError."""
        credential = await self._credential(scope)
        if credential is None or isinstance(credential, Proof):
            challenge = [(b"www-authenticate", b'Bearer realm="waitroom"')]
            return problem(401, "no-ticket", "A valid ticket or pass is needed.", extra=challenge)
        standing = await self.room.stand(credential)
        return self._tell(scope, standing, place_fields(self.room.settings.room, standing.place), 200)

    def _tell(self, scope: Scope, standing: Standing, fields: dict[str, Any], status: int) -> Response:
        now = self.room.snapshot.now()
        kept: Credential | None = standing.latest or (standing.ticket if standing.new else None)
        if standing.latest is not None:
            fields["pass"] = self.room.tokens.sign(standing.latest)
            fields["expires_in"] = max(0, (standing.latest.expires_at - now) // 1000)
        extra: Extra = [(b"retry-after", b"%d" % standing.place.poll_after)]
        # A number that another site's form took would replace the one that its sender has.
        if kept is not None and not (standing.new and hides_cookies(scope, self._cookies.samesite(scope))):
            extra.append(self._cookies.set(scope, self.room.tokens.sign(kept), kept))
        return json_answer(status, fields, extra)

    async def leave(self, scope: Scope) -> Response:
        """Give up a ticket or a pass. Raises StoreError."""
        credential = await self._credential(scope)
        if credential is not None and not isinstance(credential, Proof):
            await self.room.leave(credential)
        return answer(204, b"", b"", [self._cookies.clear(scope)])

    async def window(self, _: Scope) -> Response:
        """Tell the room as everyone may see it."""
        snapshot = self.room.snapshot
        await snapshot.fresh()
        window = snapshot.window
        if window is None:
            return store_away()
        rate = window.rate_per_minute
        settings = self.room.settings
        fields = {
            "room": settings.room,
            "state": "away" if snapshot.away_since else window.state,
            "epoch": window.epoch,
            "issued": window.issued,
            "called": window.called,
            "floor": window.floor,
            "waiting": window.waiting,
            "inside": window.inside,
            "capacity": settings.capacity,
            "rate_per_minute": None if rate is None else round(rate, 1),
            "poll_after": round(poll_seconds(0, settings.tempo)),
        }
        return json_answer(200, fields, PUBLIC)
