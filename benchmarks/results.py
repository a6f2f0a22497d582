"""What was measured, as it is kept in a JSON file."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple


class Spread(NamedTuple):
    """The median of some samples, and the least and the most of them."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, samples: list[float]) -> "Spread":
        """Of all of them; none is left out."""
        return cls(median(samples), min(samples), max(samples))

    def overlaps(self, other: "Spread") -> bool:
        """Tell whether there is a value that both might have had."""
        return self.least <= other.most and other.least <= self.most

    def text(self, digits: int = 1) -> str:
        """Write it as a cell of a table."""
        return f"{self.median:,.{digits}f} ({self.least:,.{digits}f}–{self.most:,.{digits}f})"


@dataclass
class Cost:
    """What one request of a case took, one sample for each repeat.

    `gate` and `store` are microseconds of CPU, `calls` scripts run by the store, `rate` requests in a second.
    """

    server: str
    case: str
    baseline: str
    gate: list[float] = field(default_factory=list)
    store: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)

    @property
    def whole(self) -> list[float]:
        """The gate's and the store's share together."""
        return [gate + store for gate, store in zip(self.gate, self.store, strict=True)]


@dataclass
class Latency:
    """How long admitted requests took while so many polled; microseconds, one sample for each repeat."""

    server: str
    polling: int
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)


@dataclass
class Waiting:
    """What a line of one length costs; bytes, and microseconds of CPU for each poll."""

    waiting: int
    keys: int
    """Bytes of the room's keys."""
    used: int
    """Bytes that the store used more than when it was empty."""
    sorted_set: int
    """Bytes of a sorted set with a member for each who waits."""
    status: list[float] = field(default_factory=list)
    window: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)


@dataclass
class Flash:
    """How many came at once and what they met, one sample for each repeat; times are seconds from `connect()`.

    `gate`, `store` and `calls` are those of Cost, for each number taken; `memory` is the most bytes that the gate's
    processes had before the crowd, `grown` how many more they had with it.
    """

    server: str
    flags: str
    connections: int
    seconds: float
    """In which their connections were opened."""
    again: bool
    """Whether each who had a number went on asking."""
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    longest: list[float] = field(default_factory=list)
    p99_sent: list[float] = field(default_factory=list)
    """From the sending of the request."""
    answered: list[float] = field(default_factory=list)
    """From the first connection to the last answer."""
    gate: list[float] = field(default_factory=list)
    store: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    grown: list[int] = field(default_factory=list)
    resent: list[int] = field(default_factory=list)
    """Connections for which the kernel had to send something again, as the server's queue was full."""
    refused: list[int] = field(default_factory=list)
    """Answers other than a number."""
    lost: list[int] = field(default_factory=list)
    """Numbers that the store gave and nobody got."""
    busiest: list[float] = field(default_factory=list)
    """The longest that an answer may have lain unread in the client."""


@dataclass
class Results:
    """One run."""

    machine: dict[str, str]
    settings: dict[str, Any]
    costs: list[Cost] = field(default_factory=list)
    latencies: list[Latency] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    flashes: list[Flash] = field(default_factory=list)

    def cost(self, server: str, case: str) -> Cost | None:
        """Find what a case took on a server."""
        return next((one for one in self.costs if (one.server, one.case) == (server, case)), None)

    def baseline(self, cost: Cost) -> Cost:
        """Find what the bare app took in the same repeats."""
        found = self.cost(cost.server, cost.baseline)
        if found is None:
            raise ValueError(f"{cost.case} was measured without its baseline")
        return found

    def write(self, path: Path) -> None:
        """Keep it."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")

    @classmethod
    def read(cls, path: Path) -> "Results":
        """Read what `write` has kept."""
        told = json.loads(path.read_text("utf-8"))
        return cls(
            told["machine"],
            told["settings"],
            [Cost(**one) for one in told["costs"]],
            [Latency(**one) for one in told["latencies"]],
            [Waiting(**one) for one in told["waiting"]],
            [Flash(**one) for one in told.get("flashes", [])],
        )


def ratios(samples: list[float], baseline: list[float]) -> list[float]:
    """Divide, repeat by repeat: what troubled the machine then troubled both."""
    return [one / other for one, other in zip(samples, baseline, strict=True)]


def differences(samples: list[float], baseline: list[float]) -> list[float]:
    """Subtract, repeat by repeat."""
    return [one - other for one, other in zip(samples, baseline, strict=True)]
