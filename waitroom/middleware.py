"""Scope in, decision out: the gate as ASGI sees it."""

import asyncio
import logging
from collections.abc import Callable
from typing import Literal, Unpack

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waitroom.answers import Extra, answer, problem
from waitroom.api import Api, place_fields
from waitroom.caching import is_meant_for_caches, make_private
from waitroom.cookies import HEADER, Cookies
from waitroom.cors import Cors
from waitroom.decisions import Admitted, Decision, Held, Uncounted
from waitroom.errors import SettingsError, StoreError, StoreUnusableError, WaitroomError
from waitroom.lifespan import run_lifespan
from waitroom.pages import Pages, Scene
from waitroom.paths import Paths, strip_root
from waitroom.requests import Kind, hides_cookies, is_cross_site, is_safe, kind_of
from waitroom.room import WaitingRoom
from waitroom.settings import Keywords, Settings, load
from waitroom.tickets import Credential, Pass, Proof, Ticket

COMMAND = b"waitroom-command"
RELEASE = b"release"

HTML = b"text/html; charset=utf-8"
TRY_AGAIN_LATER = 1013
"""WebSocket close code: the server is overloaded (IANA's registry)."""

log = logging.getLogger("waitroom")


class WaitingRoomMiddleware:
    """Gates an ASGI site.

    Settings come from the environment, from keywords of the same names, or whole as `settings`. `bypass` is
    asked with the scope of each request on a protected path; where it answers true the request goes on.
    Raises SettingsError where a setting is wrong.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings | None = None,
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
            self._set_up(settings or load(**keywords))
        except WaitroomError as error:
            if not _serving():
                raise
            # Raised here, inside a server's first call, it would be taken for a site without lifespan, and the
            # site would start without its gate: it is told when lifespan starts, and no request gets through.
            self._refusal = error

    def _set_up(self, settings: Settings) -> None:
        self._settings = settings
        self._prefix = settings.prefix + "/"
        self._paths = Paths(settings.paths, settings.exclude)
        self._pages = Pages(settings.templates)
        self._cookies = Cookies(settings)
        self._cors = Cors(settings.cors_origins)
        self._room = WaitingRoom(settings)
        self._api = Api(self._room, self._cookies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Gate one connection."""
        if scope["type"] == "lifespan":
            await run_lifespan(self._app, scope, receive, send, self._start, self._stop)
        elif self._refusal is not None or not (self._room.started or await self._started()):
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
        await self._room.start()
        refused = self._room.snapshot.error
        if isinstance(refused, StoreUnusableError):
            await self._room.close()
            raise refused

    async def _stop(self) -> None:
        await self._room.close()

    async def _started(self) -> bool:
        """Start with the first request, where the server runs without lifespan."""
        try:
            await self._room.start()
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
            await _deny(scope, receive, send, response)
        else:
            await response(scope, receive, send)

    # -- HTTP -------------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = strip_root(scope["path"], scope.get("root_path", ""))
        if path.startswith(self._prefix):
            route = path[len(self._prefix) - 1 :]
            response = self._cors.preflight(scope) or await self._api.answer(scope, route)
            await self._cors.allow(scope, response)(scope, receive, send)
        elif not self._is_gated(scope, path):
            await self._serve(scope, receive, send, None)
        else:
            await self._gate(scope, receive, send)

    def _is_gated(self, scope: Scope, path: str) -> bool:
        return self._paths.gated(path) and not (self._bypass is not None and self._bypass(scope))

    async def _gate(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = kind_of(scope)
        if kind is Kind.PREFLIGHT:
            await self._serve(scope, receive, send, None)
            return
        credential = await self._credential(scope)
        # The visitor may have a place all the same: nothing in the answer may replace it.
        unseen = credential is None and hides_cookies(scope, self._cookies.samesite(scope))
        decision: Decision | None
        if kind is Kind.SUBRESOURCE:
            decision = await self._room.decide_uncounted(credential)
        else:
            decision = await self._room.decide(credential)
        if isinstance(decision, Admitted):
            await self._serve(scope, receive, send, decision, credential, unseen)
        elif isinstance(decision, Uncounted):
            await self._serve(scope, receive, send, None)
        else:
            response = self._hold(scope, kind, decision, unseen) if decision else _bare()
            await self._cors.allow(scope, response)(scope, receive, send)

    async def _credential(self, scope: Scope) -> Credential | None:
        return await self._room.best(self._cookies.tokens(scope))

    # -- a visitor who is let in ------------------------------------------------------------------

    async def _serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        admitted: Admitted | None,
        presented: Credential | None = None,
        unseen: bool = False,
    ) -> None:
        """Pass a request on to the site; the response goes back as it comes, piece by piece.

        Where the visitor's cookies are `unseen`, the place ends with the request: nobody gets a cookie for it.
        """
        released = False

        async def send_on(message: Message) -> None:
            nonlocal released
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                kept = [pair for pair in headers if pair[0].lower() != COMMAND]
                if len(kept) != len(headers):
                    released = any(n.lower() == COMMAND and v.strip().lower() == RELEASE for n, v in headers)
                if released:
                    kept = self._without_cookie(scope, kept)
                elif admitted is not None and not unseen:
                    kept = self._with_pass(scope, message["status"], kept, admitted, presented)
                message = {**message, "headers": kept}
            await send(message)

        try:
            if admitted is None:
                await self._app(self._cookies.strip(scope), receive, send_on)
            else:
                with self._room.sessions.open_request(admitted.latest):
                    await self._app(self._inside(scope, admitted.latest), receive, send_on)
        finally:
            if released or (admitted and unseen):
                await self._release(admitted.latest if admitted else await self._credential(scope))

    def _inside(self, scope: Scope, latest: Pass) -> Scope:
        """What the site sees: who is there, and nothing of the gate's credentials."""
        state = {**scope.get("state", {}), "waitroom": self._room.visitor(latest)}
        return {**self._cookies.strip(scope), "state": state}

    def _with_pass(
        self, scope: Scope, status: int, headers: Extra, admitted: Admitted, presented: Credential | None
    ) -> Extra:
        """Add the pass to a response where the visitor does not have it yet."""
        latest = self._room.sessions.latest(admitted.latest)
        if latest is presented:
            return headers
        method = scope["method"]
        # What a 304 says is merged into the copy that a cache has kept for everyone.
        if not admitted.must_tell and (status == 304 or is_meant_for_caches(method, headers)):
            return headers  # a later response will take it along
        token = self._room.tokens.sign(latest)
        cookie = self._cookies.set(scope, token, latest)
        if self._cookies.came_by_header(scope):
            headers = [*headers, (HEADER, token.encode())]
        return [*make_private(method, headers), cookie]

    def _without_cookie(self, scope: Scope, headers: Extra) -> Extra:
        return [*make_private(scope["method"], headers), self._cookies.clear(scope)]

    async def _release(self, credential: Credential | None) -> None:
        if credential is None or isinstance(credential, Proof):
            return
        try:
            await self._room.leave(credential)
        except StoreError as error:
            log.info("a released slot stays taken until its lease ends: %s", error)

    # -- a visitor who waits ----------------------------------------------------------------------

    def _hold(self, scope: Scope, kind: Kind, held: Held, unseen: bool) -> Response:
        """Answer a request that has to wait, in a way its sender can make something of."""
        poll_after = b"%d" % held.place.poll_after
        extra: Extra = [(b"retry-after", poll_after)]
        if held.new and held.credential and not unseen:
            token = self._room.tokens.sign(held.credential)
            extra.append(self._cookies.set(scope, token, held.credential))
        if kind is Kind.SCRIPT:
            fields = place_fields(self._settings.room, held.place)
            sent = "" if is_safe(scope) else " Your request was not passed on; send it again once you are in."
            title = "The store is away." if held.kind == "away" else "This site is full; you are in line."
            return problem(503, "waiting", title + sent, fields, extra)
        extra.append((b"content-security-policy", self._pages.csp.encode()))
        page = self._pages.render(self._scene(scope, held))
        if not is_safe(scope):
            return answer(503, page, HTML, extra)
        return answer(self._settings.status_code, page, HTML, [*extra, (b"refresh", poll_after)])

    def _scene(self, scope: Scope, held: Held) -> Scene:
        window = self._room.snapshot.window
        credential = held.credential
        ticket = credential if isinstance(credential, Ticket) else None
        unsent: Literal["returned", "unsent"] = "returned" if is_cross_site(scope) else "unsent"
        return Scene(
            kind=held.kind if is_safe(scope) else unsent,
            place=held.place,
            room=self._settings.room,
            epoch=ticket.epoch if ticket else None,
            start=ticket.start if ticket else 0,
            called=window.called if window else 0,
            missed=credential is not None and credential.missed,
            kept_seconds=self._settings.active_seconds,
            tempo=self._settings.tempo,
            base=scope.get("root_path", "").rstrip("/") + self._settings.prefix,
            updated_at=self._room.snapshot.read_at(),
        )

    # -- WebSockets -------------------------------------------------------------------------------

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = strip_root(scope["path"], scope.get("root_path", ""))
        if not self._is_gated(scope, path):
            await self._app(self._cookies.strip(scope), receive, send)
            return
        admitted = await self._room.admit(await self._credential(scope))
        if admitted is None:
            await _deny(scope, receive, send, _bare())
            return
        if isinstance(admitted, Uncounted):
            await self._app(self._cookies.strip(scope), receive, send)
            return
        with self._room.sessions.open_request(admitted.latest):
            await self._app(self._inside(scope, admitted.latest), receive, send)


async def _deny(scope: Scope, receive: Receive, send: Send, response: Response) -> None:
    """Refuse a WebSocket before it is accepted, with a status where the server can send one."""
    await receive()
    if "websocket.http.response" in scope.get("extensions", {}):
        start = {"status": response.status_code, "headers": response.raw_headers}
        await send({"type": "websocket.http.response.start", **start})
        await send({"type": "websocket.http.response.body", "body": response.body})
    else:
        await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": "waiting room"})


def _bare() -> Response:
    return answer(503, b"", b"text/plain; charset=utf-8", [(b"retry-after", b"5")])


def _serving() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
