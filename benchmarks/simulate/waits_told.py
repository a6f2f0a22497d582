"""What is measured of what visitors are told of their wait."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

REACH, WIDEST, HEARD = 0.85, 0.35, 3.0
"""The share of ranges that hold the true wait, half of the widest by its middle, seconds until a call is heard of."""


@dataclass(frozen=True)
class Arrivals:
    """How visitors come: so many times as many as the room can take, by the time in seconds since the beginning."""

    name: str
    load: Callable[[float], float]
    seconds: float = 1500.0


@dataclass(frozen=True)
class Room:
    """A room, and how many it takes in a second."""

    name: str
    settings: dict[str, float]
    per_second: float
    stay: float = 60.0


@dataclass
class Figures:
    """What was told at all looks, and how it was."""

    looks: int = 0
    told: int = 0
    """Looks at which a range was shown, of visitors who were let in."""
    kept: int = 0
    """Of those, how many had the true wait in it."""
    long: int = 0
    """How many told of more than a minute."""
    long_kept: int = 0
    widths: list[float] = field(default_factory=list)
    """Of those, half of each range as a share of its middle."""
    errors: list[float] = field(default_factory=list)
    """Of the long ones: how far the true wait was from the middle, as a share of the wait."""
    climbs: int = 0
    """Ranges that ended later than the one before."""
    unsaid: int = 0
    """Of those, how many without a word that the line is slower."""
    late: list[float] = field(default_factory=list)
    """Seconds from the call to the look that heard of it, in the foreground."""
    words: int = 0
    """Looks at which the line was said to be slower or to stand still."""

    def cells(self) -> list[str]:
        """Tell the figures as a line of the table does."""
        return [
            f"{self.looks:,}",
            f"{share(self.told, self.looks):.0%}",
            f"{share(self.kept, self.told):.1%}",
            f"{self.long:,}",
            f"{share(self.long_kept, self.long):.1%}",
            f"{self.widest:.1%}",
            f"{middle(self.errors):.1%}",
            f"{share(self.words, self.looks):.0%}",
            f"{self.climbs:,}",
            f"{self.unsaid:,}",
            f"{self.heard_p99:.1f}",
            f"{max(self.late, default=math.nan):.1f}",
        ]

    @property
    def widest(self) -> float:
        """The widest half of a range that ended after more than a minute, as a share of its middle."""
        return max(self.widths, default=math.nan)

    @property
    def heard_p99(self) -> float:
        """Seconds within which all but one in a hundred heard of their call."""
        return sorted(self.late)[int(len(self.late) * 0.99)] if self.late else math.nan

    def is_reached(self) -> bool:
        """Tell whether it is as it has to be."""
        return (
            min(share(self.kept, self.told), share(self.long_kept, self.long)) >= REACH
            and self.widest <= WIDEST
            and self.unsaid == 0
            and self.heard_p99 <= HEARD
        )


def share(part: int, whole: int) -> float:
    """What part of it; not a number where there was nothing, as in a run that is too short."""
    return part / whole if whole else math.nan


def middle(samples: Sequence[float]) -> float:
    """The median; not a number where there are none."""
    return median(samples) if samples else math.nan


@dataclass(frozen=True)
class Run:
    """One room, one kind of arrivals, and what came of it."""

    room: Room
    arrivals: Arrivals
    no_shows: float
    figures: Figures
