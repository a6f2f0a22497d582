"""Ticket, Pass and Proof: what a visitor carries, signed and read back.

The line lives in these: the server stores none of them. Each kind and each room signs with a key of its
own, so that a ticket cannot be passed off as a pass, nor one room's ticket as another's. Times are the
store's, in whole milliseconds.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import ClassVar

from itsdangerous import BadSignature, Signer

UNCONFIRMED = "-"
"""In place of an epoch's name: no store has known of the session yet, or it may have given it up."""
LONGEST_TOKEN = 256
"""Characters of the longest token that is looked at; the longest ever signed is well below."""
HIGHEST_NUMBER = 10**15
"""The highest number that is believed: a store that has lost its own goes on from there."""
PROOF_SECONDS = 600
"""How long a proof may take to come back."""


def new_id() -> str:
    """Make an id that nobody can guess: 128 random bits."""
    return secrets.token_urlsafe(16)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A visitor's place in line."""

    KIND: ClassVar[str] = "ticket"
    generation: int
    epoch: str
    number: int
    id: str
    issued_at: int
    start: int
    """`called` when the ticket was issued: where this visitor's progress starts."""
    missed: bool = False
    """The visitor's turn before this one passed unused; the page says so."""
    expected: int = 0
    """What was told of the wait when the ticket was issued, in seconds; 0 where nothing was known."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A session in the site; `id` is the session, the same as that of the ticket it was exchanged for."""

    KIND: ClassVar[str] = "pass"
    generation: int
    epoch: str
    number: int
    id: str
    entered_at: int
    expires_at: int
    lease_ms: int
    waited_ms: int
    first: bool = False
    """A first lease: the cookie has not come back yet."""
    confirmed: str = ""
    """The epoch whose store has last known of this session; empty where it is that of the number."""

    @property
    def known_in(self) -> str:
        """The epoch whose store has last known of this session."""
        return self.confirmed or self.epoch


@dataclass(frozen=True, slots=True)
class Proof:
    """Shows, when it comes back, that the visitor's browser keeps cookies; only then a number is taken."""

    KIND: ClassVar[str] = "proof"
    id: str
    issued_at: int
    missed: bool = False


Credential = Ticket | Pass | Proof


def pass_of(ticket: Ticket, entered_at: int, expires_at: int, lease_ms: int, first: bool = False) -> Pass:
    """Exchange a ticket for a pass: the session has the ticket's id, so that claiming twice finds one session."""
    waited_ms = max(0, entered_at - ticket.issued_at)
    return Pass(
        ticket.generation,
        ticket.epoch,
        ticket.number,
        ticket.id,
        entered_at,
        expires_at,
        lease_ms,
        waited_ms,
        first,
    )


_KINDS: dict[str, type[Ticket] | type[Pass] | type[Proof]] = {
    kind.KIND[:2]: kind for kind in (Ticket, Pass, Proof)
}


def looks_like_token(text: bytes) -> bool:
    """Tell a token by its form alone, before anything is spent on its signature."""
    if len(text) > LONGEST_TOKEN:
        return False
    prefix, _, rest = text.partition(b".")
    return prefix.decode("latin-1") in _KINDS and rest.count(b".") >= 3


class Tokens:
    """Signs one room's credentials and reads them back.

    `keys` are newest first: the newest signs, each of them verifies.
    """

    def __init__(self, keys: Sequence[str], room: str) -> None:
        oldest_first = [key.encode() for key in reversed(keys)]
        self._signers = {
            prefix: Signer(
                oldest_first,
                salt=f"waitroom.{kind.KIND}.{room}".encode(),
                key_derivation="hmac",
                digest_method=hashlib.sha256,
            )
            for prefix, kind in _KINDS.items()
        }

    def sign(self, credential: Credential) -> str:
        """Write a credential as a token: letters, digits, `.`, `-` and `_` only."""
        prefix = credential.KIND[:2]
        texts = (str(int(value)) if isinstance(value, bool) else str(value) for value in astuple(credential))
        return self._signers[prefix].sign(".".join((prefix, *texts)).encode()).decode()

    def read(self, token: str) -> Credential | None:
        """Read a token back; None for whatever this room did not sign. Never raises."""
        if len(token) > LONGEST_TOKEN or not token.isascii():
            return None
        signer = self._signers.get(token[:2])
        if signer is None:
            return None
        try:
            prefix, *texts = signer.unsign(token).decode().split(".")
            return _build(_KINDS[prefix], texts)
        except (BadSignature, LookupError, ValueError, TypeError):
            return None


def _build(kind: type[Ticket] | type[Pass] | type[Proof], texts: list[str]) -> Credential | None:
    """Turn signed texts into a credential; None where its number is one that no line has.

    Raises ValueError or TypeError where the texts do not fit.

    Fields are only ever added at the end, with a default: during a rolling deploy each version reads what
    the other signed.
    """
    values = {
        field.name: text if field.type is str else field.type(int(text))  # type: ignore[operator]
        for field, text in zip(fields(kind), texts, strict=False)
    }
    if not 1 <= int(values.get("number", 1)) <= HIGHEST_NUMBER:
        return None
    return kind(**values)  # type: ignore[arg-type]  # each value was made by its field's own type
