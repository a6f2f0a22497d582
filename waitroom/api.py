"""What a room tells below the prefix: join, status, leave and window, for browsers and programs alike."""

from typing import Any

from starlette.responses import Response

from waitroom.answers import Extra, answer, json_answer, problem, store_away
from waitroom.challenges import CHALLENGE_SECONDS, worker
from waitroom.clients import SOLUTION, Clients
from waitroom.cookies import Cookies, Scope
from waitroom.cors import Cors
from waitroom.decisions import Held, HinderedError, Standing
from waitroom.guard import NOBODY, Asker
from waitroom.requests import hides_cookies
from waitroom.room import WaitingRoom
from waitroom.tickets import Credential, Proof
from waitroom.window import Place, poll_seconds

PUBLIC: Extra = [
    (b"cache-control", b"public, max-age=1"),
    (b"vary", b"Accept-Encoding"),
]

FOR_A_DAY: Extra = [(b"cache-control", b"public, max-age=86400"), (b"vary", b"Accept-Encoding")]


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
        self._clients = Clients(room.settings.trusted_proxies) if room.settings.counts_clients else None
        self._cookies = cookies

    async def _credential(self, scope: Scope) -> Credential | None:
        return await self.room.best(self._cookies.tokens(scope))

    def asker(self, scope: Scope) -> Asker:
        """Tell who sends a request, where that matters."""
        return self._clients.asker(scope) if self._clients else NOBODY

    async def join(self, scope: Scope) -> Response:
        """Give a number, or tell where the one that is held stands. Raises StoreError."""
        try:
            standing = await self.room.join(await self._credential(scope), self.asker(scope))
        except HinderedError as hindered:
            return self.hindered(scope, hindered.held)
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

    def hindered(self, scope: Scope, held: Held) -> Response:
        """Tell a program what is asked of it before it gets a number: the solution of a challenge, or time."""
        extra: Extra = [(b"retry-after", b"%d" % held.place.poll_after)]
        if held.new and held.credential and not hides_cookies(scope, self._cookies.samesite(scope)):
            extra.append(self._cookies.set(scope, self.room.tokens.sign(held.credential), held.credential))
        if held.kind == "refused":
            title = "Too many numbers were taken from this address; no more are given for a while."
            return problem(429, "too-many", title, extra=extra)
        fields = {
            "challenge": self.room.guard.challenge(),
            "expires_in": CHALLENGE_SECONDS,
            "solution_header": SOLUTION.decode().title(),
        }
        title = (
            "A number is given for the solution of this challenge (ALTCHA): send it, in base64, in the header "
            "that is named here. Or keep the cookie, wait and ask again."
        )
        return problem(403, "challenge", title, fields, extra)

    async def challenge(self, scope: Scope) -> Response:
        """Give a challenge in ALTCHA's format; besides, tell whether the browser has sent its cookie back."""
        made = self.room.guard.challenge()
        if made is None:
            return _no_challenges()
        return json_answer(200, {**made, "cookie": await self._credential(scope) is not None})

    async def worker(self, _: Scope) -> Response:
        """Serve the script that solves challenges in a worker."""
        if self.room.guard.challenges is None:
            return _no_challenges()
        return answer(200, worker(), b"text/javascript; charset=utf-8", FOR_A_DAY)

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
            "poll_after": round(poll_seconds(0, rate, settings.tempo)),
        }
        return json_answer(200, fields, PUBLIC)


def _no_challenges() -> Response:
    return problem(404, "no-challenges", "There are no challenges in this room.")
