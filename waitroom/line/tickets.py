"""Ticket, Pass and Proof: what a visitor carries, signed and read back.

The line lives in these: the server stores none of them. Each kind and each room signs with a key of its
own, so that a ticket cannot be passed off as a pass, nor one room's ticket as another's. Times are the
store's, in whole milliseconds.
"""

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, ClassVar

from itsdangerous import Signer
from itsdangerous.signer import SigningAlgorithm

UNCONFIRMED = "-"
"""In place of an epoch's name: no store has known of the session yet, or it may have given it up."""
LONGEST_TOKEN = 256
"""Characters of the longest token that is looked at; the longest ever signed is well below."""
HIGHEST_NUMBER = 10**15
"""The highest number that is believed: a store that has lost its own goes on from there."""
PROOF_SECONDS = 600
"""How long a proof may take to come back."""
MOST_VERIFIED = 16_384
"""Tokens whose signature a process remembers to be good: of `LONGEST_TOKEN` at most, so some ten megabytes."""
_SIGNATURE = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
"""32 bytes in the one way in which they are written: decoders read many others, which would all be remembered."""


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
KINDS = Ticket, Pass, Proof
_PREFIXES = frozenset(kind.KIND[:2].encode() for kind in KINDS)


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


def ticket_of(first: Pass) -> Ticket:
    """Find the ticket in a first visit's pass: where its slot was given back, it is as good as one that was called."""
    return Ticket(
        first.generation,
        first.epoch,
        first.number,
        first.id,
        first.entered_at - first.waited_ms,
        first.number,
    )


class _Kind:
    """How one kind of credential is written: its fields in order, with dots between.

    Fields are only ever added at the end, with a default: during a rolling deploy each version reads what
    the other signed.
    """

    def __init__(self, made: type[Ticket] | type[Pass] | type[Proof]) -> None:
        types = {field.name: field.type for field in fields(made)}
        self._made = made
        self._values = attrgetter(*types)
        self._form = ".".join([made.KIND[:2], *("%s" if kind is str else "%d" for kind in types.values())])
        readers: dict[Any, Callable[[str], object]] = {str: str, int: int, bool: lambda text: bool(int(text))}
        self._readers = [readers[kind] for kind in types.values()]

    def write(self, credential: Credential) -> bytes:
        return (self._form % self._values(credential)).encode()

    def read(self, texts: Sequence[str]) -> Credential | None:
        """Turn signed texts into a credential; None where its number is one that no line has.

        Raises ValueError or TypeError where the texts do not fit.
        """
        values = [read(text) for read, text in zip(self._readers, texts, strict=False)]
        credential: Credential = self._made(*values)  # type: ignore[arg-type]  # each by its field's own type
        if not isinstance(credential, Proof) and not 1 <= credential.number <= HIGHEST_NUMBER:
            return None
        return credential


def looks_like_token(text: bytes) -> bool:
    """Tell a token by its form alone, before anything is spent on its signature."""
    if len(text) > LONGEST_TOKEN:
        return False
    prefix, _, rest = text.partition(b".")
    return prefix in _PREFIXES and rest.count(b".") >= 3


class _Hmac(SigningAlgorithm):
    """HMAC with SHA-256 (RFC 2104), of which what depends on the key alone is done once, as its section 4 has it."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._begun = {key: (_padded(key, 0x36), _padded(key, 0x5C)) for key in keys}

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        begun, ended = self._begun[key]
        inner, outer = begun.copy(), ended.copy()
        inner.update(value)
        outer.update(inner.digest())
        return outer.digest()


def _padded(key: bytes, pad: int) -> "hashlib._Hash":
    """Hash a key, filled up to a block of SHA-256 and mixed with `pad`; raises ValueError for a longer one."""
    if len(key) > 64:
        raise ValueError("a longer key is to be hashed first")
    return hashlib.sha256(bytes(byte ^ pad for byte in key.ljust(64, b"\0")))


class Tokens:
    """Signs one room's credentials and reads them back.

    `keys` are newest first: the newest signs, each of them verifies.
    """

    def __init__(self, keys: Sequence[str], room: str) -> None:
        self._kinds = {kind.KIND[:2]: _Kind(kind) for kind in KINDS}
        self._signers = {kind.KIND[:2]: _signer(keys, f"waitroom.{kind.KIND}.{room}") for kind in KINDS}
        self._vouchers = _signer(keys, f"waitroom.passed.{room}")
        # Oldest first. Whether a credential has run out is for whoever reads it to ask, each time.
        self._verified: dict[str, Credential] = {}

    def sign(self, credential: Credential) -> str:
        """Write a credential as a token: letters, digits, `.`, `-` and `_` only."""
        prefix = credential.KIND[:2]
        return self._signers[prefix].sign(self._kinds[prefix].write(credential)).decode()

    def remembered(self, token: str) -> Credential | None:
        """Give what a token says, where it was verified before."""
        return self._verified.get(token)

    def read(self, token: str) -> Credential | None:
        """Read a token back; None for whatever this room did not sign. Never raises.

        A token is verified once and then remembered; of what is refused nothing is.
        """
        return self._verified.get(token) or self._verify(token)

    def vouch(self, text: bytes) -> bytes:
        """Sign what one gate says to another of the same room."""
        return self._vouchers.get_signature(text)

    def is_vouched(self, text: bytes, signature: bytes) -> bool:
        """Tell whether a gate of this room has signed a text. Never raises."""
        return self._vouchers.verify_signature(text, signature)

    def _verify(self, token: str) -> Credential | None:
        if len(token) > LONGEST_TOKEN or not token.isascii():
            return None
        signed, _, signature = token.rpartition(".")
        signer = self._signers.get(token[:2])
        if signer is None or not _SIGNATURE.fullmatch(signature):
            return None
        if not signer.verify_signature(signed, signature):
            return None
        try:
            kind, *texts = signed.split(".")
            credential = self._kinds[kind].read(texts)
        except (LookupError, ValueError, TypeError):
            return None
        # A proof comes back once, and anybody may have as many as they like.
        if credential is not None and not isinstance(credential, Proof):
            if len(self._verified) >= MOST_VERIFIED:
                del self._verified[next(iter(self._verified))]
            self._verified[token] = credential
        return credential


def _signer(keys: Sequence[str], salt: str) -> Signer:
    """Make a signer whose keys are derived now, not for each token."""
    derived = [
        Signer(key, salt, key_derivation="hmac", digest_method=hashlib.sha256).derive_key()
        for key in reversed(keys)
    ]
    return Signer(derived, key_derivation="none", algorithm=_Hmac(derived))
