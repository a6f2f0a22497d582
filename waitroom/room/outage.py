"""What a room decides while its store is away, and for one poll after its return."""

import time
from collections.abc import Callable
from dataclasses import replace

from waitroom.config.settings import Settings
from waitroom.line.counters import Counters
from waitroom.line.positions import Positions, status_of
from waitroom.line.tickets import PROOF_SECONDS, UNCONFIRMED, Credential, Pass, Proof, Ticket, new_id, pass_of
from waitroom.line.window import rank
from waitroom.room.decisions import Admitted, Decision, Held, Uncounted
from waitroom.room.snapshot import GRACE_MS, Snapshot

FRESH_MS = PROOF_SECONDS * 1000 / 2
"""Age up to which a proof is left as it is: it has to live until the store is back."""


class Outage:
    """One room's, as one process lives through it."""

    def __init__(
        self,
        settings: Settings,
        snapshot: Snapshot,
        positions: Positions,
        counters: Counters,
        lend: Callable[[Pass], None],
    ) -> None:
        self._settings = settings
        self._snapshot = snapshot
        self._positions = positions
        self._counters = counters
        self._lend = lend

    def is_on(self) -> bool:
        """Tell whether the store is away."""
        return self._snapshot.away_since is not None

    def is_open(self) -> bool:
        """Tell whether the store is away and the operator wants the gate to be open then."""
        if not (self.is_on() and self._settings.on_store_failure == "open"):
            return False
        self._counters.add("let_in_without_store")
        return True

    def decide(self, credential: Credential | None) -> Decision:
        """Decide about a request from the last snapshot alone."""
        if self.is_open():
            return Uncounted()
        lent = self._lent(credential) if isinstance(credential, Ticket) else None
        return lent or self.keep(credential)

    def keep(self, credential: Credential | None) -> Held:
        """Hold a visitor with what they have; who has nothing gets proof of having been here before others."""
        if isinstance(credential, Ticket):
            return self.hold(credential)
        if isinstance(credential, Pass) and self._snapshot.now() - credential.expires_at <= GRACE_MS:
            return self.hold(None)  # it seems to be over, but only the store can tell
        # Whoever was inside and is held now gets a number as soon as the others who are.
        self._snapshot.grace.is_owed = True
        if isinstance(credential, Proof) and abs(self._snapshot.now() - credential.issued_at) <= FRESH_MS:
            return self.hold(credential)
        return self.hold(self._proof(), new=True)

    def hold(self, credential: Ticket | Proof | None, new: bool = False) -> Held:
        """Hold a visitor where they are, as of the last snapshot."""
        self._counters.add("held_without_store")
        ticket = credential if isinstance(credential, Ticket) else None
        return Held("away", self._positions.without_store(ticket, self._snapshot.window), credential, new)

    def goes_first(self, proof: Proof | None) -> bool:
        """Tell whether whoever asks for a number may have it now.

        For one poll after the store's return numbers go only to those who were held meanwhile.
        """
        returned_at = self._snapshot.returned_at()
        if returned_at is None or not self._snapshot.grace.is_on(time.monotonic()):
            return True
        return proof is not None and proof.issued_at <= returned_at

    def hold_back(self, proof: Proof | None, missed: bool) -> Held:
        """Hold a newcomer until those who were held before have their numbers."""
        return self.hold(proof or self._proof(missed), new=proof is None)

    def _proof(self, missed: bool = False) -> Proof:
        return Proof(new_id(), self._snapshot.now(), missed)

    def _lent(self, ticket: Ticket) -> Admitted | None:
        """Let in a called visitor for whom there was a place when the store was seen last, for a while after that.

        Only as many numbers as there were places; the store hears of it when it is back.
        """
        window, now = self._snapshot.window, self._snapshot.now()
        if window is None or window.sure is None or window.settling:
            return None
        lowest, highest = window.sure
        if not lowest <= rank(ticket) <= highest:
            return None
        if ticket.id in self._snapshot.ended:
            return None  # it was used, and left
        is_sure = now < window.at + self._settings.claim_seconds * 1000 / 2
        if not is_sure or status_of(ticket, window) != "active":
            return None
        self._counters.add("lent_places")
        session = self._settings.session_seconds
        lease_ms = round(min(session, self._settings.max_session_seconds or session) * 1000)
        lent = replace(pass_of(ticket, now, now + lease_ms, lease_ms), confirmed=UNCONFIRMED)
        self._lend(lent)
        return Admitted(lent, must_tell=True)
