"""Scope in, decision out: which gate a request meets, if any, and the gates' start and stop."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Unpack

from starlette.types import ASGIApp, Receive, Scope, Send

from waitroom.answers import problem
from waitroom.areas import Areas
from waitroom.clients import PEER, peer_of
from waitroom.cookies import Stripper
from waitroom.errors import SettingsError, StoreUnusableError, WaitroomError
from waitroom.gate import Gate, beside, deny
from waitroom.lifespan import run_lifespan
from waitroom.paths import as_sent, strip_root
from waitroom.rooms import check_together, load_rooms
from waitroom.routes import Routes
from waitroom.settings import Keywords, Settings

log: logging.Logger = logging.getLogger("waitroom")


class WaitingRoomMiddleware:
    """Gates an ASGI site.

    Settings come from the environment, from keywords of the same names, or whole as `settings`: those of one
    room, or of several in a list. `bypass` is asked with the scope of each request on a protected path; where
    it answers true the request goes on. Raises SettingsError where a setting is wrong.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings | Sequence[Settings] | None = None,
        bypass: Callable[[Scope], bool] | None = None,
        **keywords: Unpack[Keywords],
    ) -> None:
        self._app = app
        self._bypass = bypass
        self._refusal: WaitroomError | None = None
        try:
            if settings is not None and keywords:
                raise SettingsError(
                    f"settings= is the whole of them: {', '.join(keywords)} can't be given beside it"
                )
            self._set_up(load_rooms(**keywords) if settings is None else _listed(settings))
        except WaitroomError as error:
            if not _serving():
                raise
            # Raised here, inside a server's first call, it would be taken for a site without lifespan, and the
            # site would start without its gate: it is told when lifespan starts, and no request gets through.
            self._refusal = error

    def _set_up(self, rooms: Sequence[Settings]) -> None:
        self._prefix = rooms[0].prefix + "/"
        self._areas = Areas([(settings.paths, settings.exclude) for settings in rooms])
        self._gates = [Gate(settings) for settings in rooms]
        self._routes = Routes([gate.api for gate in self._gates])
        self._stripper = Stripper([gate.cookies for gate in self._gates])
        self._counts_clients = any(settings.counts_clients for settings in rooms)
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Gate one connection."""
        if scope["type"] == "lifespan":
            await run_lifespan(self._app, scope, receive, send, self._start, self._stop)
        elif self._refusal is not None or not (self._started or await self._starts_late()):
            await self._refuse(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    # -- start and stop ---------------------------------------------------------------------------

    async def _start(self) -> None:
        if self._refusal is not None:
            raise self._refusal
        try:
            await self._start_gates()
            for gate in self._gates:
                if isinstance(gate.room.snapshot.error, StoreUnusableError):
                    raise gate.room.snapshot.error
        except WaitroomError:
            await self._stop()
            raise

    async def _stop(self) -> None:
        self._started = False
        for gate in self._gates:
            await gate.room.close()

    async def _start_gates(self) -> None:
        await asyncio.gather(*(gate.room.start() for gate in self._gates))
        self._started = True

    async def _starts_late(self) -> bool:
        """Start with the first request, where the server runs without lifespan."""
        try:
            await self._start_gates()
        except WaitroomError as error:
            log.error("%s", error)  # the line says it all
            return False
        return True

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let nobody in through a gate that could not be set up."""
        if self._refusal is not None:
            log.error("%s", self._refusal)
        response = problem(503, "not-set-up", "This site is not ready yet.")
        if scope["type"] == "websocket":
            await deny(scope, receive, send, response)
        else:
            await response(scope, receive, send)

    # -- requests ---------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._counts_clients:
            scope = {**scope, PEER: peer_of(scope, receive)}
        path = strip_root(scope["path"], scope.get("root_path", ""))
        if path.startswith(self._prefix):
            response = await self._routes.answer(scope, path[len(self._prefix) - 1 :])
            await response(scope, receive, send)
            return
        gates = self._gates_of(scope, path)
        if gates:
            site: ASGIApp = self._site
            for gate in gates[:0:-1]:
                site = partial(gate.http, site=site, outermost=False)
            await gates[0].http(scope, receive, send, site)
        else:
            owners = self._areas.owners_of(path) or range(len(self._gates))
            await beside([self._gates[room] for room in owners], scope, receive, send, self._site)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        site: ASGIApp = self._site
        path = strip_root(scope["path"], scope.get("root_path", ""))
        for gate in reversed(self._gates_of(scope, path)):
            site = partial(gate.websocket, site=site)
        await site(scope, receive, send)

    def _gates_of(self, scope: Scope, path: str) -> list[Gate]:
        rooms = set(self._areas.rooms_of(path))
        if sent := as_sent(scope.get("raw_path") or b""):
            rooms.update(self._areas.rooms_of(strip_root(sent, scope.get("root_path", ""))))
        gates = [self._gates[room] for room in sorted(rooms)]
        return [] if gates and self._bypass is not None and self._bypass(scope) else gates

    async def _site(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The site, which sees none of the gates' credentials."""
        await self._app(self._stripper.strip(scope), receive, send)


def _listed(settings: Settings | Sequence[Settings]) -> Sequence[Settings]:
    rooms = [settings] if isinstance(settings, Settings) else list(settings)
    if not all(isinstance(room, Settings) for room in rooms):
        raise SettingsError("settings= takes Settings, or a list of them: Settings(room=…, paths=…)")
    check_together(rooms)
    return rooms


def _serving() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
