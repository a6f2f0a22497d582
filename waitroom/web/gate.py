"""One room's gate as ASGI sees it: a request comes, the site is called, or the visitor waits."""

import logging
import random
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import TypeGuard

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waitroom.config.settings import Settings
from waitroom.line.tickets import Credential, Pass, Ticket
from waitroom.page.pages import Pages
from waitroom.page.scenes import Facts, Scene
from waitroom.page.scenes import Kind as Shown
from waitroom.room.decisions import Admitted, Decision, Held, Uncounted
from waitroom.room.room import WaitingRoom
from waitroom.web.answers.answer import BUSY_SECONDS, Answer, Extra, answer, private_headers
from waitroom.web.answers.caching import make_private
from waitroom.web.answers.cors import Cors
from waitroom.web.answers.draining import Draining
from waitroom.web.answers.libraries import Libraries
from waitroom.web.answers.refresh import refresh
from waitroom.web.answers.release import has_command, headers_of, without_command
from waitroom.web.answers.speaking import is_for_a_range
from waitroom.web.first_visits import FirstVisit
from waitroom.web.inside import Entry, Inside
from waitroom.web.preflights import Preflights
from waitroom.web.relay import asked_of, lend, relay, relay_socket, releases, seen_as, take_back
from waitroom.web.requests.cookies import Cookies
from waitroom.web.requests.credentials import Credentials, Glance
from waitroom.web.requests.kinds import (
    Kind,
    Named,
    by_name,
    hides_cookies,
    is_cross_site,
    is_probe,
    is_safe,
    is_same_site,
    kind_of,
)
from waitroom.web.routes.api import TOO_BUSY, Api, waiting

HTML = b"text/html; charset=utf-8"
STALE_SECONDS = 15
"""By how much what a page is told may be older than what it knows: a cache may keep it that long and no longer."""
TRY_AGAIN_LATER = 1013
"""WebSocket close code: the server is overloaded (IANA's registry)."""

log: logging.Logger = logging.getLogger("waitroom")


class Gate:
    """Stands between a room's paths and the site.

    `site` is what a request goes on to: the site itself, or, on a path of several rooms, the next one's gate.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.room: WaitingRoom = WaitingRoom(settings)
        self.cookies: Cookies = Cookies(settings, self.room.counters)
        self.inside: Inside = Inside(self.room, self.cookies)
        self._pages = Pages(settings.templates)
        self._facts = Facts(
            settings.room, settings.active_seconds, settings.tempo, STALE_SECONDS + 2 * settings.sync_seconds
        )
        busy_headers = self._busy_headers = private_headers(csp=self._pages.busy_csp.encode())
        self._busy_pages, self._busy_unsent = [], []
        for each in BUSY_SECONDS:
            seconds = b"%d" % each
            retry = [(b"retry-after", seconds)]
            self._busy_pages.append((answer(503, self._pages.busy, HTML, retry, busy_headers), seconds))
            self._busy_unsent.append(answer(503, self._pages.busy_unsent, HTML, retry, busy_headers))
        self._page_headers = private_headers(csp=self._pages.csp.encode())
        self._cors = Cors(settings.cors_origins)
        self._preflights = Preflights(settings, self.room.counters)
        self.draining: Draining = Draining(settings.body_limit)
        self._libraries = Libraries(settings)
        self.api: Api = Api(self.room, self.cookies, self._cors, self._unsent)
        self.credentials: Credentials = self.api.credentials

    def is_settled(self, known: Credential | None) -> TypeGuard[Pass]:
        """Tell whether a request goes the short way: with a pass about which nothing is to be done now.

        It saves steps that would come to the same; this is what a request of somebody inside costs.
        """
        return type(known) is Pass and self.room.sessions.is_settled(known)

    async def http(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        site: ASGIApp,
        outermost: bool = True,
        glance: Glance | None = None,
    ) -> None:
        """Let one request on a protected path through, or hold it.

        The `outermost` gate of a path takes off what the site says to all of them. `glance` is what was seen of the
        request's credential already.
        """
        glance = glance or self.credentials.glance(scope)
        named = glance[0]
        kind = kind_of(scope, named)
        credential = await self.credentials.read(scope, glance)
        if kind is Kind.PREFLIGHT and credential is not None:
            kind = Kind.SCRIPT  # no browser sends one with a preflight
        if self.room.overload.turns_away(credential):
            await self._answer(self._turn_away(scope, kind), scope, kind, named, receive, send)
            return
        if kind is Kind.PREFLIGHT:
            if not await self._preflights.pass_on(scope, receive, send, site):
                await self._answer(_bare(scope), scope, kind, named, receive, send)
            return
        # The visitor may have a place all the same: nothing in the answer may replace it.
        unseen = credential is None and hides_cookies(scope, named, self.cookies.samesite(scope))
        decision: Decision | None
        if credential is None and is_probe(scope, named):
            kind = Kind.SUBRESOURCE
        if kind is Kind.SUBRESOURCE:
            decision = await self.room.decide_uncounted(credential)
        elif kind is Kind.AHEAD:
            # Shown later, it would be a page that nobody was counted for, and its parts and scripts would be held.
            admitted = await self.room.admit(credential)
            decision = admitted if isinstance(admitted, Admitted) else None
        else:
            decision = await self.room.decide(credential, self.api.asker(scope, named, credential))
        if isinstance(decision, Admitted):
            latest, must_tell = decision
            visit = None
            if latest.first and not isinstance(credential, Pass):
                keeps = not (unseen or (kind is Kind.SCRIPT and is_same_site(named)))
                visit = FirstVisit(scope, asked_of(scope), keeps)
                receive = visit.watching(receive)
            entry = Entry(latest, credential, must_tell, unseen, outermost, visit)
            await self.inside.serve(scope, scope["headers"], receive, send, site, entry)
        elif isinstance(decision, Uncounted):
            with self.room.uncounted():
                await beside([self], scope, receive, send, site, outermost)
        else:
            response = self._hold(scope, kind, decision, unseen, glance) if decision else _bare(scope)
            await self._answer(self._cors.allow(scope, response), scope, kind, named, receive, send)

    async def _answer(
        self, response: Answer, scope: Scope, kind: Kind, named: Named, receive: Receive, send: Send
    ) -> None:
        """Send an answer of the gate's own, in words that its reader knows and after the whole request."""
        response = self._libraries.worded(scope, kind, named, response)
        await self.draining.answer(response, scope, receive, send)

    # -- a visitor who waits ----------------------------------------------------------------------

    def _hold(self, scope: Scope, kind: Kind, held: Held, unseen: bool, glance: Glance) -> Answer:
        """Answer a request that has to wait, in a way its sender can make something of."""
        self.room.counters.add("unsent_requests", not is_safe(scope))
        if kind is Kind.SCRIPT and held.kind in ("challenge", "refused"):
            return self.api.hindered(scope, held)
        poll_after = b"%d" % held.place.poll_after
        extra: Extra = [(b"retry-after", poll_after)]
        if held.new and held.credential and not unseen:
            token = self.room.tokens.sign(held.credential)
            extra.append(self.cookies.set(scope, token, held.credential))
        if kind is Kind.SCRIPT:
            sent = "" if is_safe(scope) else " Your request was not passed on; send it again once you are in."
            title = "The store is away." if held.kind == "away" else "This site is full; you are in line."
            return waiting(self.settings.room, held.place, title + sent, extra)
        page = self._pages.render(self._scene(scope, held, glance))
        if not is_safe(scope):
            return answer(503, page, HTML, extra, self._page_headers)
        status = 429 if held.kind == "refused" else self.settings.status_code
        # Who goes on with a download would append a page that comes with a 200 to it.
        status = 503 if status < 300 and is_for_a_range(by_name(scope)) else status
        return answer(status, page, HTML, [*extra, refresh(scope, poll_after)], self._page_headers)

    def _unsent(self, back: str) -> Answer:
        """Show that nothing was sent, where a page library would show nothing of the answer to what was sent."""
        return answer(200, self._pages.unsent(back), HTML, (), self._busy_headers)

    def _scene(self, scope: Scope, held: Held, glance: Glance) -> Scene:
        window = self.room.snapshot.window
        credential = held.credential
        ticket = credential if isinstance(credential, Ticket) else None
        kind: Shown = held.kind
        if not is_safe(scope):
            kind = "returned" if is_cross_site(by_name(scope)) else "unsent"
        return Scene(
            kind=kind,
            place=held.place,
            facts=self._facts,
            epoch=ticket.epoch if ticket else None,
            start=ticket.start if ticket else 0,
            called=window.called if window else 0,
            missed=credential is not None and credential.missed,
            base=scope.get("root_path", "").rstrip("/") + self.settings.prefix,
            updated_at=self.room.snapshot.read_at(),
            token=self._written(ticket, glance) if ticket else "",
        )

    def _written(self, ticket: Ticket, glance: Glance) -> str:
        """Write a ticket, in the very text that came with the request where it is the same: signing costs more."""
        _, known, text, _ = glance
        return text.decode() if text is not None and known is ticket else self.room.tokens.sign(ticket)

    def _turn_away(self, scope: Scope, kind: Kind) -> Answer:
        """Answer at the least cost: this process has more to do than it can."""
        if kind is Kind.NAVIGATION:
            if not is_safe(scope):
                return random.choice(self._busy_unsent)  # noqa: S311  # when they come back is no secret
            page, seconds = random.choice(self._busy_pages)  # noqa: S311
            return page.with_headers([refresh(scope, seconds)])
        if kind is Kind.SCRIPT:
            return self._cors.allow(scope, random.choice(TOO_BUSY))  # noqa: S311
        return self._cors.allow(scope, _bare(scope))

    async def session_of(self, scope: Scope) -> Pass | None:
        """The pass that a request carries, whatever path it asks for."""
        credential = await self.credentials.read(scope)
        return credential if isinstance(credential, Pass) else None

    # -- WebSockets -------------------------------------------------------------------------------

    async def websocket(self, scope: Scope, receive: Receive, send: Send, site: ASGIApp) -> None:
        """Let one WebSocket on a protected path through, or deny it."""
        admitted = await self.room.admit(await self.credentials.read(scope))
        if admitted is None:
            self.room.counters.add("refused_sockets")
            await deny(scope, receive, send, _bare(scope))
        elif isinstance(admitted, Uncounted):
            await site(scope, receive, send)
        else:
            request = self.room.sessions.begin(admitted.latest)
            taken = lend(scope, scope["headers"], self.room.visitor(admitted.latest))
            try:
                await relay_socket(site, scope, receive, send, partial(self.room.sessions.end, request))
            finally:
                take_back(scope, taken)


async def beside(
    gates: Sequence[Gate],
    scope: Scope,
    receive: Receive,
    send: Send,
    site: ASGIApp,
    outermost: bool = True,
) -> None:
    """Pass a request on that takes no place.

    The site may release the visitor from it all the same: that ends the sessions which the request carries passes of,
    and takes nobody out of a line.
    """
    asked = asked_of(scope)
    ended: list[tuple[Gate, Pass]] = []

    async def send_told(message: Message, kept: Extra) -> None:
        seen, is_released = seen_as(asked), releases(asked, kept)
        if outermost:
            kept = without_command(kept)
        for gate in gates if is_released else ():
            if session := await gate.session_of(seen):
                ended.append((gate, session))
                kept = [*make_private(asked[0], kept), gate.cookies.clear(seen)]
        await send({**message, "headers": kept})

    def begin(message: Message) -> Awaitable[None]:
        kept = headers_of(message)
        if has_command(kept):
            return send_told(message, kept)
        return send(message if kept is message.get("headers") else {**message, "headers": kept})

    def end() -> Awaitable[None] | None:
        return _release(ended) if ended else None

    send_on, done = relay(send, begin, end)
    try:
        await site(scope, receive, send_on)
    finally:
        waits = done()
        if waits is not None:
            await waits


async def _release(ended: Sequence[tuple[Gate, Pass]]) -> None:
    for gate, session in ended:
        await gate.inside.release(session)


async def deny(scope: Scope, receive: Receive, send: Send, response: Answer) -> None:
    """Refuse a WebSocket before it is accepted, with a status where the server can send one."""
    await receive()
    if "websocket.http.response" in scope.get("extensions", {}):
        start = {"status": response.status, "headers": response.headers}
        await send({"type": "websocket.http.response.start", **start})
        await send({"type": "websocket.http.response.body", "body": response.body})
    else:
        await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": "waiting room"})


def _bare(scope: Scope) -> Answer:
    """Refuse what nobody reads; a HEAD learns no length, as the page has another (RFC 9110, 9.3.2)."""
    bare = answer(503, b"", b"text/plain; charset=utf-8", [(b"retry-after", b"5")])
    if scope.get("method") == "HEAD":
        return Answer(503, [header for header in bare.headers if header[0] != b"content-length"])
    return bare
