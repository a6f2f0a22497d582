"""What a process remembers of its room, and tells with every call (P4)."""

import json
from typing import Any

import pytest

from waitroom.line.tickets import Pass, Ticket
from waitroom.store.evidence import MOST_TOLD, Evidence

FIRST, SECOND, THIRD = (f"{stamp:016d}-aaaaaa" for stamp in (1, 2, 3))


def told(memory: Evidence) -> dict[str, Any]:
    text: dict[str, Any] = json.loads(memory.text())
    return text


def ticket(number: int, epoch: str = FIRST, start: int = 0, generation: int = 1) -> Ticket:
    return Ticket(generation, epoch, number, "id", 0, start)


def a_pass(number: int, epoch: str = FIRST) -> Pass:
    return Pass(1, epoch, number, "id", 0, 1, 1, 0)


def test_who_was_told_nothing_has_nothing_to_tell() -> None:
    assert told(Evidence()) == {
        "generation": 1,
        "epochs": [],
        "inside": 0,
        "entered": 0,
        "failed": False,
        "told": [],
    }


def test_views_merge_by_the_greater_in_any_order() -> None:
    memory = Evidence(None)
    views = [
        (10, 1, "", [(FIRST, 5, 3, 1)], 3, 2),
        (30, 2, "", [(FIRST, 7, 7, 2), (SECOND, 9, 8, 7)], 4, 1),
        (20, 1, "", [(FIRST, 6, 4, 4)], 5, 5),
    ]
    for view in views:
        memory.learn(*view)
    assert told(memory) | {"failed": False} == {
        "generation": 2,
        "epochs": [[FIRST, 7, 7, 4], [SECOND, 9, 8, 7]],
        "inside": 4,
        "entered": 1,
        "failed": False,
        "told": [],
        "clock": 30,
    }


def test_epochs_that_are_over_are_forgotten() -> None:
    memory = Evidence(None)
    memory.learn(1, 1, "", [(FIRST, 5, 5, 5), (SECOND, 6, 6, 5)], 0, 0)
    memory.hear(ticket(9))
    memory.learn(2, 1, FIRST, [(SECOND, 6, 6, 5)], 0, 0)
    assert told(memory)["epochs"] == [[SECOND, 6, 6, 5]]
    assert told(memory)["told"] == []
    memory.hear(ticket(9))
    assert told(memory)["told"] == []


@pytest.mark.parametrize(
    ("credential", "expected"),
    [
        (ticket(5), None),
        (ticket(5, start=3), None),
        (a_pass(3), None),
        (ticket(6), [FIRST, 6, 0, 0, 1]),
        (ticket(5, start=4), [FIRST, 5, 4, 0, 1]),
        (a_pass(4), [FIRST, 4, 4, 0, 1]),
        (ticket(1, SECOND), [SECOND, 1, 0, 0, 1]),
        (ticket(1, generation=2), [FIRST, 1, 0, 0, 2]),
    ],
)
def test_a_credential_is_told_where_it_goes_beyond_what_is_remembered(
    credential: Ticket | Pass, expected: list[object] | None
) -> None:
    memory = Evidence(None)
    memory.learn(1, 1, "", [(FIRST, 5, 3, 1)], 0, 0)
    memory.hear(credential)
    assert told(memory)["told"] == ([expected] if expected else [])


def test_what_the_store_has_taken_over_is_told_no_more() -> None:
    memory = Evidence(None)
    for credential in (ticket(6), ticket(9, start=2), a_pass(4), ticket(1, SECOND), ticket(2, generation=3)):
        memory.hear(credential)
    assert told(memory)["told"] == [[FIRST, 9, 4, 0, 3], [SECOND, 1, 0, 0, 1]]
    memory.learn(1, 1, "", [(FIRST, 9, 4, 0), (SECOND, 1, 0, 0)], 0, 0)
    assert told(memory)["told"] == [[FIRST, 9, 4, 0, 3]], "a later generation is news still"
    memory.learn(2, 3, "", [], 0, 0)
    assert told(memory)["told"] == []


def test_of_many_lost_epochs_the_latest_are_told() -> None:
    memory = Evidence(None)
    names = [f"{stamp:016d}-aaaaaa" for stamp in range(MOST_TOLD + 3)]
    for name in names:
        memory.hear(ticket(1, name))
    assert sorted(name for name, *_ in told(memory)["told"]) == names[3:]


def test_p9_the_time_that_should_be_is_the_stores_and_what_has_passed_since() -> None:
    passed = [100.0]
    memory = Evidence(lambda: passed[0])
    memory.learn(1_000_000, 1, "", [], 0, 0)
    passed[0] += 2.5
    assert (told(memory)["clock"], told(memory)["expected"]) == (1_000_000, 3_500_000)
    memory.learn(900_000, 1, "", [], 0, 0)
    assert told(memory)["expected"] == 3_500_000, "an answer that came late says nothing of the time"
