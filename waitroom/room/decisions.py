"""What a room decides about a request, and what it tells about a credential."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from waitroom.errors import WaitroomError
from waitroom.line.tickets import Pass, Proof, Ticket
from waitroom.line.window import Place

Kind = Literal["waiting", "door", "first", "away", "challenge", "refused"]


class Visitor(NamedTuple):
    """Who is inside, as the site sees it in `scope["state"]["waitroom"]`."""

    room: str
    number: int
    session: str
    waited_seconds: float


class Admitted(NamedTuple):
    """The visitor may go on; `must_tell`: the pass has to reach the visitor with this very response."""

    latest: Pass
    must_tell: bool


@dataclass(frozen=True, slots=True)
class Uncounted:
    """The request may go on without a place: nobody waits, or the operator opens the gate without a store."""


class Held(NamedTuple):
    """The visitor waits; `new` tells that the credential is another than the one that came."""

    kind: Kind
    place: Place
    credential: Ticket | Proof | None
    new: bool


Decision = Admitted | Uncounted | Held


class HinderedError(WaitroomError):
    """Who asked for a number outright gets none yet; `held` tells why, and what would help."""

    def __init__(self, held: Held) -> None:
        super().__init__(f"no number yet: {held.kind}")
        self.held = held


class AwayError(WaitroomError):
    """Who asked for a number outright gets none before the store is back, and has given those who were held meanwhile
    theirs; `held` is what they wait with."""

    def __init__(self, held: Held) -> None:
        super().__init__("no number yet: the store is away, or was until just now")
        self.held = held


class Standing(NamedTuple):
    """What the API tells about a credential; `latest` is there while the visitor is inside."""

    place: Place
    ticket: Ticket | None
    latest: Pass | None
    new: bool = False
