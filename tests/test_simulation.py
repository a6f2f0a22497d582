"""The promises under faults (P1 to P5, P9): simulated schedules, and planted bugs that these have to find.

Many more: `make simulate-faults`.
"""

from collections.abc import Iterator

import pytest

from tests import stores
from tests.simulation.mutants import MUTANTS
from tests.simulation.parts import Mutant, RottenMutantError, parts
from tests.simulation.runner import run_one
from tests.simulation.world import Server

SCHEDULES = 500
MOST_FOR_A_BUG = 1000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A store of its own: the schedules follow each other in one room, and the scripts are many."""
    with stores.valkey(tmp_path_factory.mktemp("simulated")) as url:
        server = Server(url)
        yield server
        server.close()


def test_p1_to_p5_and_p9_hold_under_all_faults(server: Server) -> None:
    for seed in range(1, SCHEDULES + 1):
        outcome = run_one(server, seed, parts())
        assert outcome.broken is None, f"{outcome.story}\nmake simulate-faults SEED={seed} N=1"


def test_a_seed_makes_the_same_schedule_each_time(server: Server) -> None:
    planted = parts(MUTANTS[0])
    seed = found_by(server, MUTANTS[0])
    first, second = (run_one(server, seed, planted) for _ in range(2))
    assert first == second
    assert first.story


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found(server: Server, mutant: Mutant) -> None:
    assert found_by(server, mutant)


def found_by(server: Server, mutant: Mutant) -> int:
    """A seed whose schedule shows a bug."""
    planted = parts(mutant)
    for seed in range(mutant.seed, mutant.seed + MOST_FOR_A_BUG):
        if run_one(server, seed, planted).broken:
            return seed
    pytest.fail(f"{MOST_FOR_A_BUG} schedules did not find: {mutant.name}")


def test_a_mutant_whose_text_is_not_there_any_more_is_told() -> None:
    with pytest.raises(RottenMutantError, match=r"gone: found 0 times in scripts/slide\.lua"):
        parts(Mutant("gone", "scripts/slide.lua", "what was never there", ""))
