"""What a process remembers of its room, which every call to the store brings along: the store may have lost it."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from waitroom.line.tickets import Pass, Ticket

MOST_TOLD = 16
"""Epochs, of those the store has not heard of, that are told of at a time."""

Elapsed = Callable[[], float]
"""Seconds that have passed on this machine since some moment, by a clock that nobody sets."""


@dataclass(slots=True)
class _Told:
    """What the signed tickets and passes of one epoch say: each was true once."""

    issued: int
    called: int
    generation: int


class Evidence:
    """The highest values that this process ever saw; views merge by taking the greater.

    `elapsed` measures the time since the store last told its own; None where tests move the store's clock.
    """

    def __init__(self, elapsed: Elapsed | None = time.monotonic) -> None:
        self._elapsed = elapsed
        self._clock = self._read_at = 0.0
        self._generation = 1
        self._over = ""
        self._epochs: dict[str, tuple[int, int, int]] = {}
        self._inside = self._entered = 0
        self._told: dict[str, _Told] = {}
        self.failed: bool = False
        """The last call failed: nobody could come in meanwhile, if the others' did too."""

    def learn(
        self,
        clock: int,
        generation: int,
        over: str,
        epochs: Sequence[Sequence[Any]],
        inside: int,
        entered: int,
    ) -> None:
        """Take over what the store answered; `clock` in microseconds."""
        if clock >= self._clock:
            self._clock, self._inside, self._entered = clock, inside, entered
            self._read_at = self._elapsed() if self._elapsed else 0.0
        self._generation = max(self._generation, generation)
        self._over = max(self._over, over)
        for name, *numbers in epochs:
            seen = self._epochs.get(name, (0, 0, 0))
            issued, called, floor = map(max, seen, map(int, numbers))
            self._epochs[name] = issued, called, floor
        for name in [name for name in self._epochs if name <= self._over]:
            del self._epochs[name]
        for name in [name for name, told in self._told.items() if self._covers(name, told)]:
            del self._told[name]

    def hear(self, credential: Ticket | Pass) -> None:
        """Take over what a signed credential says, where it goes beyond what is remembered."""
        called = credential.number if isinstance(credential, Pass) else credential.start
        said = _Told(credential.number, called, credential.generation)
        if self._covers(credential.epoch, said):
            return
        known = self._told.setdefault(credential.epoch, said)
        known.issued = max(known.issued, said.issued)
        known.called = max(known.called, said.called)
        known.generation = max(known.generation, said.generation)
        if len(self._told) > MOST_TOLD:
            del self._told[min(self._told)]

    def text(self) -> str:
        """Write it down as the scripts read it."""
        memory: dict[str, Any] = {
            "generation": self._generation,
            "epochs": [(name, *self._epochs[name]) for name in sorted(self._epochs)],
            "inside": self._inside,
            "entered": self._entered,
            "failed": self.failed,
            "told": [
                (name, told.issued, told.called, 0, told.generation) for name, told in self._told.items()
            ],
        }
        if self._clock:
            memory["clock"] = self._clock
            if self._elapsed:
                memory["expected"] = self._clock + round((self._elapsed() - self._read_at) * 1e6)
        return json.dumps(memory)

    def _covers(self, name: str, said: _Told) -> bool:
        if said.generation > self._generation:
            return False
        issued, called, _ = self._epochs.get(name, (0, 0, 0))
        return name <= self._over or (issued >= said.issued and called >= said.called)
