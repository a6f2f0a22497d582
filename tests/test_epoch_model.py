"""The scheme that heals a room, as a model, in a small bound; `make model` goes further."""

import pytest

from tests.models.__main__ import DESIGNS, LIMITS, Case, run
from tests.models.inside import Sessions
from tests.models.line import Line

MOST = 20_000
SMALL = (
    Case("the line, wholly", Line(joins=1, faults=1)),
    Case("the line, INFO forbidden", Line(joins=1, faults=1, history=False, tells_first=True)),
    Case("those inside, wholly", Sessions(capacity=1, lease=2, entries=2, faults=1)),
    Case("the line as it is searched at length", Line(), MOST),
    Case("those inside, likewise", Sessions(), MOST),
)


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.words)
def test_nobody_loses_a_place_whatever_the_store_loses(case: Case) -> None:
    """P1, P3, P4: within the bound, no order of joins, calls, losses and deaths leads anywhere wrong."""
    found = run(case)
    assert not found.wrong, "\n".join(found.trace)
    assert found.complete or found.states >= MOST


@pytest.mark.parametrize("case", DESIGNS + LIMITS, ids=lambda case: case.words)
def test_the_model_can_tell_a_wrong_design(case: Case) -> None:
    """What is simpler goes wrong, and so does what cannot be promised: each has a way there."""
    found = run(case)
    assert found.wrong
    assert len(found.trace) == found.depth
