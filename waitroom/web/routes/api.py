"""What a room tells below the prefix: join, status, leave and window, for browsers and programs alike."""

import json
import random
from collections.abc import Callable
from dataclasses import replace

from waitroom.line.tickets import Credential, Proof, Ticket
from waitroom.line.window import Place, Window, poll_seconds
from waitroom.room.challenges import CHALLENGE_SECONDS, worker
from waitroom.room.decisions import AwayError, Held, HinderedError, Standing
from waitroom.room.guard import NOBODY, Asker
from waitroom.room.room import WaitingRoom
from waitroom.web.answers.answer import (
    BUSY_SECONDS,
    JSON,
    PROBLEM,
    Answer,
    Extra,
    answer,
    json_answer,
    no_content,
    problem,
    public_headers,
    store_away,
    too_busy,
)
from waitroom.web.answers.cors import Cors
from waitroom.web.answers.libraries import back_from
from waitroom.web.requests.clients import SOLUTION, Clients
from waitroom.web.requests.cookies import HEADER, Cookies, Scope
from waitroom.web.requests.credentials import Credentials
from waitroom.web.requests.kinds import Named, by_name, hides_cookies, is_of_another_site

TOO_BUSY = [too_busy(seconds) for seconds in BUSY_SECONDS]
FOR_A_SECOND = public_headers(1)
FOR_A_DAY = public_headers(86_400)
ANOTHER_SITE = (
    "A page of another site asked for a number, and none was given. "
    "WAITROOM_CORS_ORIGINS names the origins that may ask."
)
ANOTHER_HOST = (
    " If it is a page of this site, a proxy in front replaces `Host`: have it pass on the visitor's."
)
"""Where no browser has said so, and `Origin` was compared with `Host`."""
AT = b"waitroom-at"
"""The header that says as of when `/status` answers, by the store's clock in milliseconds since 1970."""


def place_members(room: str, place: Place) -> str:
    """Tell where a visitor stands, in the words of `GET /status`: members of a JSON object, written in one go, as the
    whole crowd asks for them."""
    number = "null" if place.number is None else place.number
    eta = "null" if place.eta is None else f'{{"low": {place.eta.low}, "high": {place.eta.high}}}'
    return (
        f'"room": "{room}", "status": "{place.status}", "number": {number}, "ahead": {place.ahead}, '
        f'"eta_seconds": {eta}, "poll_after": {place.poll_after}'
    )


def waiting(room: str, place: Place, title: str, extra: Extra) -> Answer:
    """Tell a program that asked for the site's own why it gets none, and where its visitor stands.

    The `status` is the place's: RFC 9457 tells readers to pass over a member of another type than theirs.
    """
    body = f'{{"type": "urn:waitroom:waiting", "title": "{title}", {place_members(room, place)}}}'
    return answer(503, body.encode(), PROBLEM, extra)


class Api:
    """One room's answers to what is asked below the prefix."""

    def __init__(
        self, room: WaitingRoom, cookies: Cookies, cors: Cors, unsent: Callable[[str], Answer]
    ) -> None:
        self.room = room
        self._unsent = unsent
        self.cors = cors
        self._clients = Clients(room.settings.trusted_proxies) if room.settings.counts_clients else None
        self._cookies = cookies
        self.credentials: Credentials = Credentials(room, cookies)
        self._told: tuple[Window, tuple[bool, int], Answer] | None = None

    def asker(self, scope: Scope, named: Named, credential: Credential | None) -> Asker:
        """Tell who sends a request, where that matters; what another site's page sends counts apart.

        Else any page that a visitor has open could use up what they may take themselves. It has no credential to send,
        and gets none: whoever shows one takes their own.
        """
        if self._clients is None:
            return NOBODY
        asker = self._clients.asker(scope)
        if credential is None and self._is_by_a_stranger(scope, named):
            return replace(asker, client=f"another site, {asker.client}")
        return asker

    def _is_by_a_stranger(self, scope: Scope, named: Named) -> bool:
        """Return whether a page of another site sends a request, and of an origin that the operator did not name."""
        return is_of_another_site(scope, named) and not self.cors.allows(scope)

    async def join(self, scope: Scope) -> Answer:
        """Give a number, or tell where the one that is held stands."""
        glance = self.credentials.glance(scope)
        credential, named = await self.credentials.read(scope, glance), glance[0]
        if credential is None and self._is_by_a_stranger(scope, named):
            hint = "" if named.get(b"sec-fetch-site") else ANOTHER_HOST
            return problem(403, "another-site", ANOTHER_SITE + hint)
        if self.room.overload.turns_away(credential):
            return random.choice(TOO_BUSY)  # noqa: S311  # when they come back is no secret
        try:
            standing = await self.room.join(credential, self.asker(scope, named, credential))
        except HinderedError as hindered:
            return self.hindered(scope, hindered.held)
        except AwayError as away:
            return self._away(scope, away.held)
        return self._tell(scope, standing, 201 if standing.new else 200, standing.ticket)

    def _away(self, scope: Scope, held: Held) -> Answer:
        """Ask a program to come back; with the proof it gets, it has a number before those who come later."""
        fields, cookie = {}, []
        if held.new and held.credential:
            fields["proof"] = token = self.room.tokens.sign(held.credential)
            if not self._hides_cookies(scope):
                cookie.append(self._cookies.set(scope, token, held.credential))
        return store_away(held.place.poll_after, fields, cookie)

    async def unsent(self, scope: Scope) -> Answer:
        """Show a person that what they sent went nowhere; page libraries are sent here."""
        return self._unsent(back_from(scope))

    async def status(self, scope: Scope) -> Answer:
        """Tell where a ticket or pass stands; asking claims. Raises StoreError."""
        credential = await self.credentials.read(scope)
        if credential is None or isinstance(credential, Proof):
            challenge = [(b"www-authenticate", b'Bearer realm="waitroom"')]
            # The page asks whether its browser sends cookies back, and how old its copy is.
            extra = [*challenge, (AT, b"%d" % self.room.snapshot.now())]
            fields = {"cookie": credential is not None}
            return problem(401, "no-ticket", "A valid ticket or pass is needed.", fields, extra)
        standing = await self.room.stand(credential)
        told = self._tell(scope, standing, 200, None)
        extra = [(AT, b"%d" % self.room.snapshot.read_at())]
        if (
            isinstance(credential, Ticket)
            and standing.place.status == "waiting"
            and self._lacks_cookie(scope)
        ):
            extra.append(self._cookies.set(scope, self.room.tokens.sign(credential), credential))
        return told.with_headers(extra)

    def _lacks_cookie(self, scope: Scope) -> bool:
        """Tell whether a page of this very site presents by header what its cookie should have carried."""
        named = by_name(scope)
        if HEADER not in named or named.get(b"sec-fetch-site", b"same-origin") != b"same-origin":
            return False
        return self._cookies.names[0] not in named.get(b"cookie", b"")

    def _tell(self, scope: Scope, standing: Standing, status: int, ticket: Ticket | None) -> Answer:
        """Tell where somebody stands; what is in the `ticket`, too, and in the pass of who is inside."""
        told, token = place_members(self.room.settings.room, standing.place), ""
        if ticket is not None:
            token = self.room.tokens.sign(ticket)
            told += f', "ticket": "{token}"'
        kept: Credential | None = ticket if standing.new else None
        if standing.latest is not None:
            kept, token = standing.latest, self.room.tokens.sign(standing.latest)
            left = max(0, standing.latest.expires_at - self.room.snapshot.now())
            told += f', "pass": "{token}", "expires_in": {left // 1000}'
        extra: Extra = [(b"retry-after", b"%d" % standing.place.poll_after)]
        # A number that another site's form took would replace the one that its sender has.
        if kept is not None and not (standing.new and self._hides_cookies(scope)):
            extra.append(self._cookies.set(scope, token, kept))
        return answer(status, f"{{{told}}}".encode(), JSON, extra)

    def _hides_cookies(self, scope: Scope) -> bool:
        return hides_cookies(scope, by_name(scope), self._cookies.samesite(scope))

    def hindered(self, scope: Scope, held: Held) -> Answer:
        """Tell a program what is asked of it before it gets a number: the solution of a challenge, or time."""
        extra: Extra = [(b"retry-after", b"%d" % held.place.poll_after)]
        if held.new and held.credential and not self._hides_cookies(scope):
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

    async def challenge(self, scope: Scope) -> Answer:
        """Give a challenge in ALTCHA's format; besides, tell whether the browser has sent its cookie back."""
        made = self.room.guard.challenge()
        if made is None:
            return _no_challenges()
        return json_answer(200, {**made, "cookie": await self.credentials.read(scope) is not None})

    async def worker(self, _: Scope) -> Answer:
        """Serve the script that solves challenges in a worker."""
        if self.room.guard.challenges is None:
            return _no_challenges()
        return answer(200, worker(), b"text/javascript; charset=utf-8", common=FOR_A_DAY)

    async def leave(self, scope: Scope) -> Answer:
        """Give up a ticket or a pass. Raises StoreError."""
        credential = await self.credentials.read(scope)
        if credential is not None and not isinstance(credential, Proof):
            await self.room.leave(credential)
        return no_content([self._cookies.clear(scope)])

    async def window(self, _: Scope) -> Answer:
        """Tell the room as everyone may see it."""
        snapshot = self.room.snapshot
        if not snapshot.is_fresh():
            await snapshot.fresh()
        window, is_away = snapshot.window, snapshot.away_since is not None
        if window is None:
            return store_away()
        # The same for everyone, until the store is read again; what is said of its absence is of this second.
        at = snapshot.now() // 1000 * 1000 if is_away else window.at
        if self._told is None or self._told[0] is not window or self._told[1] != (is_away, at):
            self._told = window, (is_away, at), self._tell_window(window, is_away, at)
        return self._told[2]

    def _tell_window(self, window: Window, is_away: bool, at: int) -> Answer:
        rate = window.rate_per_minute
        settings = self.room.settings
        fields = {
            "room": settings.room,
            "state": "away" if is_away else window.state,
            "epoch": window.epoch,
            "issued": window.issued,
            "called": window.called,
            "floor": window.floor,
            "waiting": window.waiting,
            "door": window.door,
            "left": [each.number for each in window.lowest_left if each.epoch == window.epoch],
            "inside": window.inside,
            "capacity": settings.capacity,
            "rate_per_minute": None if rate is None else round(rate, 1),
            "backlog": window.backlog,
            "poll_after": round(poll_seconds(0, rate, settings.tempo)),
            "at": at,
        }
        return answer(200, json.dumps(fields).encode(), JSON, common=FOR_A_SECOND)


def _no_challenges() -> Answer:
    return problem(404, "no-challenges", "There are no challenges in this room.")
