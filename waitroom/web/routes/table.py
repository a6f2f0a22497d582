"""The gate's own routes below the prefix: which there are, for which room, and the probes, for all rooms."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from waitroom.errors import StoreError
from waitroom.web.answers.answer import Answer, problem, store_away, text_answer
from waitroom.web.requests.cookies import Scope
from waitroom.web.requests.queries import LONGEST_QUERY, MOST_FIELDS, is_too_long, values_of
from waitroom.web.routes.api import Api

Handler = Callable[[Api, Scope], Awaitable[Answer]]

OF_A_ROOM: dict[str, tuple[str, Handler]] = {
    "/join": ("POST", Api.join),
    "/status": ("GET", Api.status),
    "/ticket": ("DELETE", Api.leave),
    "/window": ("GET", Api.window),
    "/unsent": ("GET", Api.unsent),
    "/challenge": ("GET", Api.challenge),
    "/challenge.js": ("GET", Api.worker),
}
PROBES = ("/livez", "/readyz")


class Routes:
    """Answers what is asked below the prefix: for the room named by `?room=`, else for the first."""

    def __init__(self, rooms: Sequence[Api]) -> None:
        self._rooms = {api.room.settings.room: api for api in rooms}
        self._first = rooms[0]
        # As the page asks; whatever else is asked is read for what it may mean.
        self._plainly = {b"": self._first} | {
            b"room=" + name.encode(): api for name, api in self._rooms.items()
        }

    async def answer(self, scope: Scope, route: str) -> Answer:
        """Answer one request; `route` is its path below the prefix."""
        api = self._asked(scope)
        cors = (api or self._first).cors
        response = cors.preflight(scope) or await self._dispatch(scope, route, api)
        return cors.allow(scope, response)

    async def _dispatch(self, scope: Scope, route: str, api: Api | None) -> Answer:
        method, handler = OF_A_ROOM.get(route, ("GET", None))
        if handler is None and route not in PROBES:
            known = ", ".join((*OF_A_ROOM, *PROBES))
            return problem(404, "no-such-route", f"There is no such route here; there are {known}.")
        if scope["method"] != method and (scope["method"], method) != ("HEAD", "GET"):
            allowed = "GET, HEAD" if method == "GET" else method
            allow = [(b"allow", allowed.encode())]
            return problem(405, "no-such-method", f"Allowed here: {allowed}.", extra=allow)
        if handler is None:
            return text_answer(200, "alive") if route == "/livez" else await self._ready()
        if is_too_long(scope.get("query_string", b"")):
            most = f"no more than {LONGEST_QUERY} bytes and {MOST_FIELDS} fields"
            return problem(414, "query-too-long", f"A query may have {most}.")
        if api is None:
            return problem(404, "no-such-room", "There is no such room.")
        try:
            return await handler(api, scope)
        except StoreError as error:
            api.room.snapshot.lose(error)
            return store_away()

    def _asked(self, scope: Scope) -> Api | None:
        query = scope.get("query_string", b"")
        if query in self._plainly:
            return self._plainly[query]
        asked = values_of(query, "room")
        if not asked:
            return self._first
        return self._rooms.get(asked[0]) if len(asked) == 1 else None

    async def _ready(self) -> Answer:
        """Ready once a room has reached its store: an outage of another's must not take this process out."""
        reached, troubles = False, []
        await asyncio.gather(*(api.room.snapshot.fresh() for api in self._rooms.values()))
        for name, api in self._rooms.items():
            snapshot = api.room.snapshot
            reached = reached or snapshot.window is not None
            room = f" of the room {name}" if len(self._rooms) > 1 else ""
            if snapshot.window is None:
                troubles.append(f"the store{room} has not been reached yet")
            elif snapshot.away_since:
                since = snapshot.away_since.isoformat(timespec="seconds")
                troubles.append(f"the store{room} is away since {since}")
        if not reached:
            return text_answer(503, f"not ready: {'; '.join(troubles)}")
        return text_answer(200, f"ready, but {'; '.join(troubles)}" if troubles else "ready")
