"""What is simulated: rooms, and how their visitors behave."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Scenario:
    """A room and its crowd; times in seconds.

    `no_shows` tells the share of tabs that are closed while they wait, by the time since the beginning.
    `bound` is what the share in use is of: the `capacity` or the `rate`. `absent` is how many never come, in words.
    """

    name: str
    bound: str
    absent: str
    room: dict[str, float]
    no_shows: Callable[[float], float]
    stay: float = 60.0
    background: float = 0.2
    warm_up: float = 300.0
    length: float = 1200.0
    processes: int = 2
    reach: float = 0.0
    """The share that has to be in use; 0: nothing is said."""
    changes: tuple[float, ...] = field(default=())
    """When the share of no-shows changes."""


CAPACITY: dict[str, float] = {
    "capacity": 200,
    "window_size": 50,
    "window_interval": 5,
    "active_window_count": 60,
}
"""Stays of a minute need 33 entries in ten seconds: the rate, of 100, does not bind."""
RATE: dict[str, float] = {
    "capacity": 5000,
    "window_size": 50,
    "window_interval": 10,
    "active_window_count": 30,
}
"""A stay of a minute at five entries a second: some 300 are inside."""

REACH = {0: 0.97, 30: 0.95, 60: 0.92}
STEP = 600.0
"""How long each share of no-shows lasts where it changes."""


def steady(percent: int) -> Callable[[float], float]:
    """A share of no-shows that stays as it is."""
    return lambda _: percent / 100


def changing(seconds: float) -> float:
    """None, then 60 %, then none again."""
    return 0.6 if STEP <= seconds < 2 * STEP else 0.0


def scenarios() -> dict[str, Scenario]:
    """All of them by name."""
    told = [
        Scenario(f"{bound}-{percent}", bound, f"{percent} %", room, steady(percent), reach=reach)
        for bound, room in (("capacity", CAPACITY), ("rate", RATE))
        for percent, reach in REACH.items()
    ]
    told += [
        Scenario(
            f"{bound}-changing",
            bound,
            "0, 60, 0 %",
            room,
            changing,
            warm_up=STEP / 2,
            length=2.5 * STEP,
            changes=(STEP, 2 * STEP),
        )
        for bound, room in (("capacity", CAPACITY), ("rate", RATE))
    ]
    return {scenario.name: scenario for scenario in told}


def shortened(scenario: Scenario, seconds: float) -> Scenario:
    """Cut a scenario short where it is longer, to try something."""
    return replace(scenario, warm_up=min(scenario.warm_up, seconds), length=min(scenario.length, seconds))
