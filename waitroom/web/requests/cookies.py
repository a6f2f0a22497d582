"""The gate's credentials as HTTP carries them: read from a request, kept from the site, set on a response."""

import re
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from itertools import islice
from typing import Any

from waitroom.config.settings import Settings
from waitroom.line.counters import Counters
from waitroom.line.tickets import PROOF_SECONDS, Credential, Proof, looks_like_token

MOST_COOKIES = 8
"""Tokens of one request that are verified: whoever can set cookies for the site could send many."""
PLACE_SECONDS = 30 * 86_400
"""How long a browser keeps a ticket or a pass. Longer than either may last: only the store knows, as an open
socket renews a pass without the browser hearing of it."""

HEADER = b"waitroom-pass"
PASSED_HEADER = b"waitroom-passed"
"""How a gate in a proxy says to one behind it whom it has let pass; signed with the room's secret."""
OURS = (HEADER, PASSED_HEADER)
"""The headers that the site does not see."""

Scope = MutableMapping[str, Any]
Headers = Iterable[tuple[bytes, bytes]]


class Cookies:
    """Where one room's credentials are found and put."""

    def __init__(self, settings: Settings, counters: Counters | None = None) -> None:
        self._settings = settings
        self._counters = counters or Counters()
        plain = f"{settings.cookie_name}-{settings.room}"
        # A browser sends __Host- cookies only to the host that set them, and never takes them over http.
        self._name = plain.encode()
        self._secure_name = self._name if settings.cookie_domain else b"__Host-" + self._name
        self.names: tuple[bytes, bytes] = (self._name, self._secure_name)
        self._pair, self._secure_pair = (
            re.compile(rb"(?:\A|;)\s*%b\s*=([^;]*)" % re.escape(name)) for name in self.names
        )
        self._mark, self._secure_mark = (name + b"=" for name in self.names)
        self._rests: dict[bool, bytes] = {}
        self._is_always_secure = settings.cookie_secure == "always"
        self._secure_schemes = ("https", "wss") if settings.cookie_secure == "auto" else ()

    def is_secure(self, scope: Scope) -> bool:
        """Tell whether this request's cookies carry `Secure`."""
        return self._is_always_secure or scope.get("scheme") in self._secure_schemes

    def samesite(self, scope: Scope) -> str:
        """Tell the `SameSite` of this request's cookies; browsers drop a `None` that is not `Secure`."""
        samesite = self._settings.cookie_samesite
        return "lax" if samesite == "none" and not self.is_secure(scope) else samesite

    def tokens(self, scope: Scope) -> list[str]:
        """Find the request's tokens, unverified: in the cookie, in `Waitroom-Pass`, as a bearer's."""
        name, pair = self._name, self._pair
        if self.is_secure(scope):
            name, pair = self._secure_name, self._secure_pair
        found: list[bytes] = []
        bearers: list[bytes] = []
        for header, value in scope["headers"]:
            if header == b"cookie" and name in value:
                found += [each[1].strip().strip(b'"') for each in pair.finditer(value)]
            elif header == HEADER:
                found.append(value.strip())
            elif header == b"authorization" and value[:7].lower() == b"bearer ":
                bearers.append(value[7:].strip())  # may be the site's own
        if not (found or bearers):
            return []
        ours = list(filter(self.is_likely, found))
        ours += filter(looks_like_token, bearers)
        likely = dict.fromkeys(token.decode("latin-1") for token in ours)
        self._counters.add("surplus_tokens", max(0, len(likely) - MOST_COOKIES))
        return list(islice(likely, MOST_COOKIES))

    def is_likely(self, found: bytes) -> bool:
        """Tell whether what was found is worth verifying; what is not is counted."""
        is_likely = looks_like_token(found)
        self._counters.add("malformed_tokens", not is_likely)
        return is_likely

    def only(self, scope: Scope, named: Mapping[bytes, bytes]) -> tuple[bytes, bytes] | None:
        """Find what the one cookie of the gate's has in it, where a request carries that alone and as browsers do, and
        what is left of the `Cookie` header; None where `tokens` has to look closer. `named` are the headers by their
        names.
        """
        cookie = named.get(b"cookie")
        if cookie is None or HEADER in named or len(named) < len(scope["headers"]):
            return None
        if b"authorization" in named and _is_token(b"authorization", named[b"authorization"]):
            return None
        before, found, after = cookie.partition(self._secure_mark if self.is_secure(scope) else self._mark)
        token, ended, behind = after.partition(b";")
        if not found or before[-2:] not in (b"", b"; ") or (ended and behind[:1] != b" "):
            return None
        if self._name in before or self._name in behind:
            return None
        return token.strip().strip(b'"'), before + behind[1:] if behind[1:] else before[:-2]

    def came_by_header(self, scope: Scope) -> bool:
        """Tell whether the client keeps its credential itself, and gets a renewed one by header too."""
        return any(header == HEADER or _is_token(header, value) for header, value in scope["headers"])

    def set(self, scope: Scope, token: str, credential: Credential) -> tuple[bytes, bytes]:
        """Write the `Set-Cookie` header for a credential."""
        return self._header(scope, token, PROOF_SECONDS if isinstance(credential, Proof) else PLACE_SECONDS)

    def clear(self, scope: Scope) -> tuple[bytes, bytes]:
        """Write the `Set-Cookie` header that takes the cookie away."""
        return self._header(scope, "", 0)

    def _header(self, scope: Scope, value: str, seconds: int) -> tuple[bytes, bytes]:
        mark = self._secure_mark if self.is_secure(scope) else self._mark
        return b"set-cookie", b"%b%b; Path=/; Max-Age=%d%b" % (
            mark,
            value.encode(),
            seconds,
            self._rest(scope),
        )

    def _rest(self, scope: Scope) -> bytes:
        secure = self.is_secure(scope)
        rest = self._rests.get(secure)
        if rest is None:
            parts = ["", "HttpOnly", f"SameSite={self.samesite(scope).capitalize()}"]
            parts += ["Secure"] if secure else []
            parts += [f"Domain={self._settings.cookie_domain}"] if self._settings.cookie_domain else []
            rest = self._rests[secure] = "; ".join(parts).encode()
        return rest


class Stripper:
    """Keeps all rooms' credentials from the site."""

    def __init__(self, rooms: Sequence[Cookies]) -> None:
        names = b"|".join(re.escape(name) for room in rooms for name in room.names)
        # Looked for as a whole: a header may have any number of pairs, and the site's are none of the gate's business.
        self._pair = re.compile(rb"(?:\A|;)\s*(?:%b)\s*(?:=[^;]*)?(?=;|\Z)" % names)
        # A name with `__Host-` in front contains the plain one.
        self._plain = {room.names[0] for room in rooms}

    def finds_in(self, cookie: bytes) -> bool:
        """Tell whether a cookie of the gate's may be in a `Cookie` header."""
        for name in self._plain:  # noqa: SIM110  # any() would cost as much again, in each request
            if name in cookie:
                return True
        return False

    def strip(self, given: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Take the gate's credentials out of a request's headers; the very list where it carries none."""
        for header, value in given:
            if self._is_ours(header, value):
                return self._stripped(given)
        return given

    def _stripped(self, given: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        headers = []
        for header, value in given:
            if header == b"cookie":
                value = self._without_ours(value)
                if not value:
                    continue
            elif header in OURS or _is_token(header, value):
                continue
            headers.append((header, value))
        return headers

    def _is_ours(self, header: bytes, value: bytes) -> bool:
        if header == b"cookie":
            return self.finds_in(value)
        return header in OURS or _is_token(header, value)

    def _without_ours(self, cookie: bytes) -> bytes:
        return self._pair.sub(b"", cookie).strip(b"; ")


def without_cookie(given: Headers, others: bytes) -> list[tuple[bytes, bytes]]:
    """Put the `others` in the place of a request's cookies, where it has one `Cookie` header."""
    headers = [pair if pair[0] != b"cookie" else (b"cookie", others) for pair in given]
    if not others:
        headers.remove((b"cookie", others))
    return headers


def _is_token(header: bytes, value: bytes) -> bool:
    """Tell a bearer's token of the gate by its form; the site's own `Authorization` is left alone."""
    if header != b"authorization" or value[:7].lower() != b"bearer ":
        return False
    return looks_like_token(value[7:].strip())
