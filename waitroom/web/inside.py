"""A visitor who is let in: their request goes on to the site, and the response goes back as it comes."""

import logging
from collections.abc import Awaitable
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waitroom.errors import StoreError
from waitroom.line.tickets import Credential, Pass
from waitroom.room.room import WaitingRoom
from waitroom.web.answers.answer import Extra
from waitroom.web.answers.caching import is_meant_for_caches, make_private
from waitroom.web.answers.release import has_command, headers_of, is_plain, without_command
from waitroom.web.first_visits import FirstVisit
from waitroom.web.relay import Asked, WayBack, asked_of, lend, relay, releases, seen_as, take_back
from waitroom.web.requests.cookies import HEADER, Cookies

log: logging.Logger = logging.getLogger("waitroom")


class Entry(NamedTuple):
    """How a request got in, and what its response has to do with that."""

    latest: Pass
    """The session's newest pass."""
    presented: Credential | None
    """What came with the request."""
    must_tell: bool = False
    """Whether the pass has to reach the visitor with this very response, where they presented another."""
    unseen: bool = False
    """The visitor's cookies are hidden from us: nobody gets one, and the place ends with the request."""
    outermost: bool = True
    """No other gate stands outside: what the site says to the gate is taken off."""
    visit: FirstVisit | None = None
    """What is seen of a first visit says whether its slot is kept for a moment."""


class Inside:
    """Passes the requests of one room's visitors inside on to the site."""

    def __init__(self, room: WaitingRoom, cookies: Cookies) -> None:
        self._room = room
        self._cookies = cookies

    async def serve(
        self, scope: Scope, headers: Extra, receive: Receive, send: Send, site: ASGIApp, entry: Entry
    ) -> None:
        """Pass a visitor's request on to the site, which sees these `headers`; the response goes back as it comes,
        piece by piece.
        """
        request = self._room.sessions.begin(entry.latest)
        send_on, done = self._way_back(asked_of(scope), send, request, entry)
        taken = lend(scope, headers, self._room.visitor(entry.latest))
        try:
            await site(scope, receive, send_on)
        finally:
            take_back(scope, taken)
            waits = done()
            if waits is not None:
                await waits

    async def serve_settled(
        self, scope: Scope, headers: Extra, receive: Receive, send: Send, site: ASGIApp, used: Pass
    ) -> None:
        """Serve somebody inside about whose pass nothing is to be done, as `serve` does, at less cost.

        A response that says something to the gate, or has more to it than a start and a body, goes the longer way back.
        """
        sessions, asked = self._room.sessions, asked_of(scope)
        request = sessions.begin(used)
        is_over = False
        longer: WayBack | None = None

        def send_on(message: Message) -> Awaitable[None]:
            nonlocal is_over, longer
            if longer is None:
                kind = message["type"]
                if kind == "http.response.body":
                    if not (is_over or message.get("more_body")):
                        is_over = True
                        sessions.end(request)
                    return send(message)
                if kind == "http.response.start" and is_plain(message) and sessions.latest(used) is used:
                    return send(message)
                longer = self._way_back(asked, send, request, Entry(used, used))
            return longer[0](message)

        taken = lend(scope, headers, self._room.visitor(used))
        try:
            await site(scope, receive, send_on)
        finally:
            take_back(scope, taken)
            if longer is None and not is_over:
                sessions.end(request)
            waits = longer[1]() if longer else None
            if waits is not None:
                await waits

    def _way_back(self, asked: Asked, send: Send, request: object, entry: Entry) -> WayBack:
        """Make what a response goes back by, and what is called when the site is done; see `serve` and `relay`."""
        latest, presented, must_tell, unseen, outermost, visit = entry
        released = False

        def begin(message: Message) -> Awaitable[None]:
            nonlocal released
            kept = headers_of(message)
            if has_command(kept):
                released = releases(asked, kept)
                kept = without_command(kept) if outermost else kept
            if unseen:
                pass  # also released: the cookie that would be taken away is of another session
            elif released:
                kept = [*make_private(asked[0], kept), self._cookies.clear(seen_as(asked))]
            elif visit is None or visit.takes_cookie(message["status"], kept):
                kept = self._with_pass(asked, message["status"], kept, latest, presented, must_tell)
            return send(message if kept is message.get("headers") else {**message, "headers": kept})

        def end() -> Awaitable[None] | None:
            self._room.sessions.end(request)
            keeps = visit is not None and visit.end()
            if released and not unseen:
                return self.release(latest)
            if visit is not None:
                self._room.ended_visits.add(latest.id, keeps)
            return None

        return relay(send, visit.looking_first(begin) if visit else begin, end)

    def _with_pass(
        self,
        asked: Asked,
        status: int,
        headers: Extra,
        admitted: Pass,
        presented: Credential | None,
        must_tell: bool,
    ) -> Extra:
        """Add the pass to a response where the visitor does not have it yet."""
        latest = self._room.sessions.latest(admitted)
        if latest is presented:
            return headers
        method = asked[0]
        # What a 304 says is merged into the copy that a cache has kept for everyone.
        if not must_tell and (status == 304 or is_meant_for_caches(method, headers)):
            return headers  # a later response will take it along
        token = self._room.tokens.sign(latest)
        scope = seen_as(asked)
        cookie = self._cookies.set(scope, token, latest)
        if self._cookies.came_by_header(scope):
            headers = [*headers, (HEADER, token.encode())]
        return [*make_private(method, headers), cookie]

    async def release(self, session: Pass) -> None:
        """End a session, as the site has said."""
        try:
            await self._room.leave(session)
        except StoreError as error:
            log.info("a released slot stays taken until its lease ends: %s", error)
