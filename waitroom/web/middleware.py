"""Scope in, decision out: which gate a request meets, if any, and the gates' start and stop."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Unpack

from starlette.types import ASGIApp, Receive, Scope, Send

from waitroom.config.keywords import Keywords
from waitroom.config.rooms import check_together, load_rooms
from waitroom.config.settings import Settings
from waitroom.errors import SettingsError, StoreUnusableError, WaitroomError
from waitroom.paths.owners import Owners
from waitroom.web.again import PASSED, Again, vouched
from waitroom.web.answers.answer import problem
from waitroom.web.answers.draining import Draining
from waitroom.web.gate import Gate, beside, deny
from waitroom.web.lifespan import run_lifespan
from waitroom.web.requests.clients import PEER, peer_of
from waitroom.web.requests.cookies import PASSED_HEADER, Stripper, without_cookie
from waitroom.web.routes.table import Routes
from waitroom.web.routing import Routing, Way

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
        self._draining = Draining()
        self._refusal: WaitroomError | None = None
        self._started = False
        self._until_the_loop_ends: AsyncGenerator[None, None] | None = None
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
        owners = Owners([(settings.paths, settings.exclude) for settings in rooms])
        self._gates = [Gate(settings) for settings in rooms]
        self._draining = self._gates[0].draining
        self._routing = Routing(rooms[0].prefix, owners, self._gates)
        self._routes = Routes([gate.api for gate in self._gates])
        self._stripper = Stripper([gate.cookies for gate in self._gates])
        self._again = Again(self._gates)
        self._counts_clients = any(settings.counts_clients for settings in rooms)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Gate one connection."""
        kind = scope["type"]
        if kind == "http" and self._started:
            await self._http(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(scope, receive, send)
        elif kind not in ("http", "websocket"):
            # An app has to raise on what it does not know (ASGI, "Applications"); the site might serve it ungated.
            raise WaitroomError(
                f"the gate knows no connections of the type {kind!r}, so it lets none through"
            )
        elif self._refusal is not None or not (self._started or await self._starts_late()):
            await self._refuse(scope, receive, send)
        elif kind == "http":
            await self._http(scope, receive, send)
        else:
            await self._websocket(scope, receive, send)

    # -- start and stop ---------------------------------------------------------------------------

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._refusal is None:
            self._again.warn(scope)
            scope[PASSED] = (*scope.get(PASSED, ()), Way(None, self._gates, ()))
        await run_lifespan(self._app, scope, receive, send, self._start, self._stop)

    async def _start(self) -> None:
        if self._refusal is not None:
            raise self._refusal
        _need_asyncio()
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
            _need_asyncio()
            await self._start_gates()
        except WaitroomError as error:
            log.error("%s", error)  # the line says it all
            return False
        if self._until_the_loop_ends is None:
            self._until_the_loop_ends = self._stop_late()
            await anext(self._until_the_loop_ends)
        return True

    async def _stop_late(self) -> AsyncGenerator[None, None]:
        """Stop with the event loop: nobody else says when, and connections would be left open.

        A loop that ends closes the generators that were begun in it, as `asyncio.run` does.
        """
        try:
            yield
        finally:
            self._until_the_loop_ends = None
            await self._stop()

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let nobody in through a gate that could not be set up."""
        if self._refusal is not None:
            log.error("%s", self._refusal)
        response = problem(503, "not-set-up", "This site is not ready yet.")
        if scope["type"] == "websocket":
            await deny(scope, receive, send, response)
        else:
            await self._draining.answer(response, scope, receive, send)

    # -- requests ---------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        way = self._routing.of(scope)
        if way.route is not None:
            self._note_peer(scope, receive)
            response = await self._routes.answer(scope, way.route)
            await self._draining.answer(response, scope, receive, send)
            return
        if PASSED in scope:
            await self._http_again(scope, receive, send, way)
            return
        gates = self._in_the_way(scope, way)
        scope[PASSED] = (way,)
        try:
            if not gates:
                await beside(way.owners, scope, receive, send, self._site)
                return
            gate = gates[0]
            glance = gate.credentials.glance(scope)
            _, known, _, others = glance
            if len(gates) == 1 and gate.is_settled(known) and not self._stripper.finds_in(others):
                headers = without_cookie(scope["headers"], others)
                await gate.inside.serve_settled(scope, headers, receive, send, self._app, known)
                return
            if PASSED_HEADER in glance[0] and (believed := self._vouched(scope)):
                scope[PASSED] = (Way(None, believed, ()),)
                await self._http_again(scope, receive, send, way)
                return
            self._note_peer(scope, receive)
            await gate.http(scope, receive, send, self._behind(gates), glance=glance)
        finally:
            del scope[PASSED]

    def _behind(self, gates: Sequence[Gate]) -> ASGIApp:
        """What the first of these gates stands in front of: the others, then the site."""
        site: ASGIApp = self._site
        for inner in gates[:0:-1]:
            site = partial(inner.http, site=site, outermost=False)
        return site

    async def _http_again(self, scope: Scope, receive: Receive, send: Send, way: Way[Gate]) -> None:
        """Take a request that has passed another gate through those of other rooms."""
        self._again.warn(scope)
        shared = self._again.shared(scope)
        gates = [gate for gate in self._in_the_way(scope, way) if gate not in shared]
        owners = [gate for gate in way.owners if gate not in shared]
        before = scope[PASSED]
        # What the site says to a room's gates is for the one in front, too.
        outermost = not self._again.is_inner(scope)
        scope[PASSED] = (*before, way)
        try:
            if gates:
                self._note_peer(scope, receive)
                await gates[0].http(scope, receive, send, self._behind(gates), outermost)
            else:
                await beside(owners, scope, receive, send, self._site, outermost)
        finally:
            scope[PASSED] = before

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        way = self._routing.of(scope)
        before: Sequence[Way[Gate]] = scope.get(PASSED, ())
        shared = self._again.shared(scope) or self._vouched(scope)
        site: ASGIApp = self._site
        for gate in reversed(self._in_the_way(scope, way)):
            if gate not in shared:
                site = partial(gate.websocket, site=site)
        scope[PASSED] = (*before, way)
        try:
            await site(scope, receive, send)
        finally:
            scope[PASSED] = before

    def _vouched(self, scope: Scope) -> Sequence[Gate]:
        """The gates that a proxy in front has passed the request through; in a proxy nobody is believed."""
        return () if getattr(self._app, "faces_visitors", False) else vouched(scope, self._gates)

    def _in_the_way(self, scope: Scope, way: Way[Gate]) -> Sequence[Gate]:
        return () if way.rooms and self._bypass is not None and self._bypass(scope) else way.rooms

    def _note_peer(self, scope: Scope, receive: Receive) -> None:
        if self._counts_clients:
            scope[PEER] = peer_of(scope, receive)

    async def _site(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The site, which sees none of the gates' credentials."""
        given = scope["headers"]
        scope["headers"] = self._stripper.strip(given)
        try:
            await self._app(scope, receive, send)
        finally:
            scope["headers"] = given


def _listed(settings: Settings | Sequence[Settings]) -> Sequence[Settings]:
    rooms = [settings] if isinstance(settings, Settings) else list(settings)
    if not all(isinstance(room, Settings) for room in rooms):
        raise SettingsError("settings= takes Settings, or a list of them: Settings(room=…, paths=…)")
    check_together(rooms)
    return rooms


def _need_asyncio() -> None:
    """Raise WaitroomError on another kind of event loop: the store's client knows asyncio alone."""
    if not _serving():
        raise WaitroomError(
            "the gate needs asyncio and can't run on trio; with hypercorn: -k asyncio or -k uvloop"
        )


def _serving() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
