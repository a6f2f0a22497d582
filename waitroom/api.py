"""The gate's own routes: join, status, leave, window and the probes, for browsers and programs alike."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import Response

from waitroom.answers import Extra, answer, json_answer, problem, store_away, text_answer
from waitroom.cookies import Cookies, Scope
from waitroom.decisions import Standing
from waitroom.errors import StoreError
from waitroom.requests import hides_cookies
from waitroom.room import WaitingRoom
from waitroom.tickets import Credential, Proof
from waitroom.window import Place, poll_seconds

Handler = Callable[[Scope], Awaitable[Response]]

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
    """Answers what is asked below the prefix."""

    def __init__(self, room: WaitingRoom, cookies: Cookies) -> None:
        self._room = room
        self._cookies = cookies
        self._routes: dict[str, dict[str, Handler]] = {
            "/join": {"POST": self._join},
            "/status": {"GET": self._status},
            "/ticket": {"DELETE": self._leave},
            "/window": {"GET": self._window},
            "/livez": {"GET": self._livez},
            "/readyz": {"GET": self._readyz},
        }

    async def answer(self, scope: Scope, route: str) -> Response:
        """Answer one request; `route` is its path below the prefix."""
        handlers = self._routes.get(route)
        if handlers is None:
            known = ", ".join(self._routes)
            return problem(404, "no-such-route", f"There is no such route here; there are {known}.")
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        handler = handlers.get(method)
        if handler is None:
            allowed = ", ".join([*handlers, "HEAD"] if "GET" in handlers else handlers)
            allow = [(b"allow", allowed.encode())]
            return problem(405, "no-such-method", f"Allowed here: {allowed}.", extra=allow)
        if not self._is_this_room(scope):
            return problem(404, "no-such-room", "There is no such room.")
        try:
            return await handler(scope)
        except StoreError as error:
            self._room.snapshot.lose(error)
            return store_away()

    def _is_this_room(self, scope: Scope) -> bool:
        query = scope.get("query_string", b"").decode("latin-1")
        asked = parse_qs(query, keep_blank_values=True, errors="replace").get("room")
        return asked is None or asked == [self._room.settings.room]

    async def _credential(self, scope: Scope) -> Credential | None:
        return await self._room.best(self._cookies.tokens(scope))

    async def _join(self, scope: Scope) -> Response:
        standing = await self._room.join(await self._credential(scope))
        fields = place_fields(self._room.settings.room, standing.place)
        if standing.ticket is not None:
            fields["ticket"] = self._room.tokens.sign(standing.ticket)
        return self._tell(scope, standing, fields, 201 if standing.new else 200)

    async def _status(self, scope: Scope) -> Response:
        credential = await self._credential(scope)
        if credential is None or isinstance(credential, Proof):
            challenge = [(b"www-authenticate", b'Bearer realm="waitroom"')]
            return problem(401, "no-ticket", "A valid ticket or pass is needed.", extra=challenge)
        standing = await self._room.stand(credential)
        return self._tell(scope, standing, place_fields(self._room.settings.room, standing.place), 200)

    def _tell(self, scope: Scope, standing: Standing, fields: dict[str, Any], status: int) -> Response:
        now = self._room.snapshot.now()
        kept: Credential | None = standing.latest or (standing.ticket if standing.new else None)
        if standing.latest is not None:
            fields["pass"] = self._room.tokens.sign(standing.latest)
            fields["expires_in"] = max(0, (standing.latest.expires_at - now) // 1000)
        extra: Extra = [(b"retry-after", b"%d" % standing.place.poll_after)]
        # A number that another site's form took would replace the one that its sender has.
        if kept is not None and not (standing.new and hides_cookies(scope, self._cookies.samesite(scope))):
            extra.append(self._cookies.set(scope, self._room.tokens.sign(kept), kept))
        return json_answer(status, fields, extra)

    async def _leave(self, scope: Scope) -> Response:
        credential = await self._credential(scope)
        if credential is not None and not isinstance(credential, Proof):
            await self._room.leave(credential)
        return answer(204, b"", b"", [self._cookies.clear(scope)])

    async def _window(self, _: Scope) -> Response:
        snapshot = self._room.snapshot
        await snapshot.fresh()
        window = snapshot.window
        if window is None:
            return store_away()
        rate = window.rate_per_minute
        settings = self._room.settings
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

    async def _livez(self, _: Scope) -> Response:
        return text_answer(200, "alive")

    async def _readyz(self, _: Scope) -> Response:
        snapshot = self._room.snapshot
        await snapshot.fresh()
        if snapshot.window is None:
            return text_answer(503, "not ready: the store has not been reached yet")
        if snapshot.away_since:
            since = snapshot.away_since.isoformat(timespec="seconds")
            return text_answer(200, f"ready, but the store is away since {since}")
        return text_answer(200, "ready")
