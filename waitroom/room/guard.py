"""Whether a number may be given to who asks for one: at once, against proof of work, after a wait, or not yet."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from waitroom.config.settings import Settings
from waitroom.line.tickets import Proof
from waitroom.room.challenges import CHALLENGE_SECONDS, Challenges
from waitroom.room.join_limit import JoinLimit
from waitroom.room.snapshot import Snapshot
from waitroom.store.deadlines import in_time
from waitroom.store.transitions import Store

TIMED_SECONDS = 20
"""How long who solves no challenge waits instead."""
ON_ITS_WAY_SECONDS = 10
"""How long what a proof was exchanged for may take to reach the browser: all its tabs come back with the same proof,
at the same time, and any process may answer each."""
LOOK_AGAIN_SECONDS = 2
"""After how long a tab comes back whose number may be on its way."""
TIMED_PER_MINUTE = 10
"""Most numbers of a client and minute that are given for waiting; where `join_limit` is lower, that."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for a number: the client it is counted for, and the solution of a challenge that came with it."""

    client: str = ""
    solution: str | None = None


NOBODY = Asker()
"""Where nobody counts."""


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why no number is given, and in how many seconds one may be, without a solution."""

    kind: Literal["challenge", "refused"]
    seconds: int
    is_used: bool = False
    """The proof that was shown got its number a while ago: a new one is needed, which waits anew."""


class Guard:
    """One room's, in one process."""

    def __init__(self, settings: Settings, keys: Sequence[str], store: Store, snapshot: Snapshot) -> None:
        self.challenges: Challenges | None = None
        if settings.challenges:
            self.challenges = Challenges(keys, settings.room, settings.challenge_difficulty)
        most = settings.join_limit
        self._always = settings.challenge == "always"
        self._limit = JoinLimit(most) if most and not self._always else None
        self._timed = JoinLimit(min(most or TIMED_PER_MINUTE, TIMED_PER_MINUTE))
        self._store = store
        self._counters = store.counters
        self._snapshot = snapshot

    def expected(self) -> Hindrance | None:
        """What who has shown nothing yet will be asked for, whatever else is so."""
        return Hindrance("challenge", TIMED_SECONDS) if self._always else None

    def challenge(self) -> dict[str, Any] | None:
        """Make a challenge; None where there are none in this room."""
        return self.challenges.make(self._snapshot.now()) if self.challenges else None

    async def check(self, asker: Asker, proof: Proof | None) -> Hindrance | None:
        """Tell what hinders a number from being given; None: nothing, and it is counted. Raises StoreError."""
        if self.challenges and asker.solution and await self._solved(self.challenges, asker.solution):
            return None
        if not self._always and (self._limit is None or self._limit.take(asker.client)):
            return None
        if self.challenges is None:
            assert self._limit is not None  # noqa: S101  # else the number was given just above
            return Hindrance("refused", self._limit.seconds_left(asker.client))
        return await self._waited(asker, proof)

    async def _solved(self, challenges: Challenges, solution: str) -> bool:
        slip = challenges.read(solution, self._snapshot.now())
        solved = slip is not None and await self._spend(slip.pad, slip.slot) is None
        self._counters.add("wrong_solutions", not solved)
        return solved

    async def _waited(self, asker: Asker, proof: Proof | None) -> Hindrance | None:
        """Tell how long is still to be waited; each proof waits for itself, and is used once."""
        if proof is None:
            return Hindrance("challenge", TIMED_SECONDS)
        left = proof.issued_at + TIMED_SECONDS * 1000 - self._snapshot.now()
        if left > 0:
            return Hindrance("challenge", 1 + left // 1000)
        if not self._timed.take(asker.client):
            return Hindrance("challenge", min(TIMED_SECONDS, self._timed.seconds_left(asker.client)))
        used = await self._spend(f"proof-{proof.id}", 0)
        if used is None:
            return None
        self._timed.give_back(asker.client)
        if used < ON_ITS_WAY_SECONDS:
            # Another proof in its place would replace the number, or the pass, that another tab is given just now.
            return Hindrance("challenge", LOOK_AGAIN_SECONDS)
        return Hindrance("challenge", TIMED_SECONDS, is_used=True)

    async def _spend(self, pad: str, slot: int) -> float | None:
        """Use something up, in the store, so that no other process takes it again; tells how many seconds ago it was.

        Raises StoreError.
        """
        spending = asyncio.ensure_future(self._store.spend(pad, slot, CHALLENGE_SECONDS))
        await in_time(spending, self._store.timeout_seconds)
        return spending.result()
