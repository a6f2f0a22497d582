"""Proof of work in ALTCHA's format: made and checked with its library, solved by its worker in the page.

The counter that a browser has to find is chosen when the challenge is made, and the key it leads to is signed: so
checking a solution is two HMACs, however hard it was to find. PBKDF2 and not a bare hash, because browsers bring it
compiled: a program gains little over them.
"""

import hashlib
import hmac
import json
import secrets
from base64 import b64decode
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ALGORITHM = "PBKDF2/SHA-256"
COST = 1000
"""Iterations for each counter that is tried: some 0.2 ms here, and that is what making a challenge costs."""
CHALLENGE_SECONDS = 600
"""How long a challenge may take to come back solved."""
LONGEST_SOLUTION = 2048
"""Characters of the longest solution that is looked at."""
SLOTS = 256
"""Challenges of one pad: the store remembers a used one in a byte, and each pad in some two hundred."""

WORKER = "altcha-pbkdf2.js"

_PACKAGE = Path(__file__).parents[1]
WORKER_FILES = (_PACKAGE / "templates" / WORKER, _PACKAGE.parent / "templates" / WORKER)
"""Where ALTCHA's worker may be: inside the wheel, or beside the package in a checkout."""


class Slip(NamedTuple):
    """Names one challenge, so that its solution is used once: a slot of a pad of 256."""

    pad: str
    slot: int


@cache
def worker() -> bytes:
    """Read the script that solves challenges in a page's worker."""
    return next(path for path in WORKER_FILES if path.is_file()).read_bytes()


class Challenges:
    """One room's challenges; `keys` are newest first: the newest signs, each of them verifies.

    `difficulty` is the highest counter that a browser may have to try; the right one is in its upper half.
    """

    def __init__(self, keys: Sequence[str], room: str, difficulty: int) -> None:
        import altcha  # it comes with an extra, and is needed where a setting says so

        self._altcha = altcha
        self._keys = [_derived(key, room) for key in keys]
        self._difficulty = difficulty
        self._pad = ""
        self._slot = SLOTS

    def make(self, now: int) -> dict[str, Any]:
        """Make a challenge, good for `CHALLENGE_SECONDS` from `now` on (ms, the store's clock)."""
        slip = self._next_slip()
        challenge = self._altcha.create_challenge(
            ALGORITHM,
            COST,
            counter=self._difficulty - secrets.randbelow(self._difficulty // 2 + 1),
            # Not ALTCHA's `expiresAt`, which its library compares with this machine's clock.
            data={"until": now + CHALLENGE_SECONDS * 1000, "pad": slip.pad, "slot": slip.slot},
            hmac_secret=self._keys[0],
            hmac_key_secret=self._keys[0],
        )
        made: dict[str, Any] = challenge.to_dict()
        return made

    def read(self, solution: str, now: int) -> Slip | None:
        """Check a solution; None where it is wrong, of another room or too late. Never raises."""
        if len(solution) > LONGEST_SOLUTION:
            return None
        try:
            payload = self._altcha.Payload.from_dict(json.loads(b64decode(solution, validate=True)))
            if not any(self._is_right(payload, key) for key in self._keys):
                return None
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
        data: Any = payload.challenge.parameters.data  # signed, so it is as it was made
        return Slip(data["pad"], data["slot"]) if now <= data["until"] else None

    def _is_right(self, payload: Any, key: bytes) -> bool:
        return bool(self._altcha.verify_solution(payload, key, hmac_key_secret=key).verified)

    def _next_slip(self) -> Slip:
        """Number the challenges of this process: no two have a slip in common, and none asks the store for it."""
        if self._slot >= SLOTS:
            self._pad, self._slot = secrets.token_urlsafe(9), 0
        self._slot += 1
        return Slip(self._pad, self._slot - 1)


def _derived(key: str, room: str) -> bytes:
    return hmac.new(key.encode(), f"waitroom.challenge.{room}".encode(), hashlib.sha256).digest()
