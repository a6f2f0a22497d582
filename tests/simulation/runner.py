"""Runs schedules, and says what came of them."""

from dataclasses import dataclass

from tests.simulation.account import BrokenPromiseError
from tests.simulation.parts import Parts
from tests.simulation.schedule import Schedule
from tests.simulation.world import Server


@dataclass(frozen=True)
class Outcome:
    """How one schedule went; `broken` names the promise, None where all were kept."""

    seed: int
    broken: str | None
    story: str
    calls: int


def run_one(server: Server, seed: int, parts: Parts, *, tells: bool = False) -> Outcome:
    """Run the schedule of a seed: the same seed and the same code make the same schedule, call by call.

    Its story is told where a promise was broken, or with `tells`.
    """
    schedule = Schedule(server, seed, parts)
    broken = None
    try:
        schedule.run()
    except BrokenPromiseError as error:
        broken = str(error)
    return Outcome(seed, broken, schedule.oracle.story() if broken or tells else "", schedule.oracle.calls)
