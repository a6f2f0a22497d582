"""The harnesses of `make fuzz-bytes`, in short: what strangers send to the pure parts raises nothing (P8)."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import SECRET
from tests.fuzzing import askers, credentials, places
from tests.fuzzing.harnesses import HARNESSES
from waitroom.line.tickets import Tokens
from waitroom.paths.owners import Owners
from waitroom.room.challenges import Challenges

Change = tuple[int, int, bytes]


def mutated(seed: bytes, changes: list[Change], longest: int) -> bytes:
    """Take out and put in some bytes here and there."""
    data = seed[:longest]
    for at, removed, added in changes:
        place = at % (len(data) + 1)
        data = data[:place] + added + data[place + removed :]
    return data[:longest]


changes = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), st.binary(max_size=4)), max_size=5)


@pytest.mark.parametrize("name", HARNESSES)
@settings(max_examples=400)
@given(st.data())
def test_p8_what_strangers_send_breaks_nothing(name: str, data: st.DataObject) -> None:
    harness = HARNESSES[name]
    seed = data.draw(st.sampled_from(harness.seeds) | st.binary(max_size=harness.longest))
    harness.run(mutated(seed, data.draw(changes), harness.longest))


@pytest.mark.parametrize("name", HARNESSES)
def test_the_harnesses_start_from_inputs_that_are_sound(name: str) -> None:
    harness = HARNESSES[name]
    assert sum(share.share for share in HARNESSES.values()) == 100
    for seed in harness.seeds:
        harness.run(seed)


def test_p8_the_harnesses_accept_what_was_signed_and_notice_what_was_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert [credentials.check_read(token) for token in credentials.GOOD[::2]] == list(credentials.CREDENTIALS)
    assert not any(map(credentials.check_read, credentials.FOREIGN))
    foreign = Tokens(["f" * 32], credentials.ROOM)
    monkeypatch.setattr(credentials, "TOKENS", foreign)
    for token in credentials.FOREIGN[len(credentials.CREDENTIALS) :]:
        with pytest.raises(AssertionError):
            credentials.check_read(token)


def test_the_harness_of_solutions_accepts_what_is_solved_and_notices_what_was_not_made_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(solution: bytes) -> object:
        return askers.CHALLENGES.read(base64.b64encode(solution).decode(), askers.NOW)

    assert all(map(read, askers.RIGHT))
    assert not any(map(read, askers.WRONG))
    monkeypatch.setattr(askers, "CHALLENGES", Challenges([SECRET], "sale", askers.DIFFICULTY))
    with pytest.raises(KeyError):
        askers.solutions(askers.WRONG[-1])


def test_the_harness_of_paths_notices_a_page_that_is_not_gated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "AREAS", Owners([(("/else",), ()) for _ in places.NAMES]))
    with pytest.raises(AssertionError):
        places.rooms(b"-r//h/shop/7")
