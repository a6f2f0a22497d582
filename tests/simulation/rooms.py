"""The rooms that schedules run in: small, so that every limit is met soon."""

import random
from functools import cache

from tests.conftest import SECRET
from waitroom.config.settings import Settings, load


@cache
def _settings(url: str, **values: float) -> Settings:
    return load(redis_url=url, secret=SECRET, room="simulated", **values)


def draw(url: str, chance: random.Random) -> list[Settings]:
    """The settings of three processes: of one deploy, or one of them of another with a room of another size."""
    interval, count = chance.choice([(2.0, 6), (5.0, 4), (5.0, 9), (10.0, 3)])
    shape: dict[str, float] = {
        "window_interval": interval,
        "active_window_count": count,
        "claim_seconds": chance.choice([3.0, 6.0, 10.0]),
        "session_seconds": chance.choice([8.0, 15.0, 40.0]),
        "first_lease_seconds": 4.0,
        "max_session_seconds": chance.choice([0.0, 0.0, 0.0, 30.0]),
        "sync_seconds": chance.choice([0.5, 2.0, 2.0]),
        "settle_seconds": chance.choice([2.0, 5.0]),
    }
    sizes = {"window_size": chance.choice([1, 2, 3, 4]), "capacity": chance.choice([1, 2, 3, 5])}
    others = sizes
    if chance.random() < 0.2:
        others = {"window_size": chance.choice([1, 2, 4]), "capacity": chance.choice([1, 2, 4])}
    own = _settings(url, **shape, **sizes)
    return [own, own, _settings(url, **shape, **others)]


def told(settings: Settings) -> str:
    """What matters of the settings, for a schedule's story."""
    names = {"window_size", "capacity", "window_interval", "active_window_count", "claim_seconds"}
    names |= {"session_seconds", "max_session_seconds", "settle_seconds", "sync_seconds"}
    return "(" + " ".join(f"{name}={getattr(settings, name):g}" for name in sorted(names)) + ")"
