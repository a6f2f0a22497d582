"""Tokens, signed and read back."""

import pytest

from benchmarks.micro.timing import Benchmark
from benchmarks.servers import SECRET
from waitroom.line.tickets import Credential, Pass, Proof, Ticket, Tokens, new_id

EPOCH = "0123456789abcdef0123-x"
AT = 1_760_000_000_000
KEYS = [SECRET, SECRET[::-1]]
CREDENTIALS: list[Credential] = [
    Ticket(1, EPOCH, 4711, new_id(), AT, 0),
    Pass(1, EPOCH, 4711, new_id(), AT, AT + 300_000, 300_000, 60_000),
    Proof(new_id(), AT),
]
each_kind = pytest.mark.parametrize("credential", CREDENTIALS, ids=lambda one: one.KIND)


@each_kind
def test_sign(benchmark: Benchmark, credential: Credential) -> None:
    assert benchmark(Tokens(KEYS, "shop").sign, credential)


@each_kind
def test_read(benchmark: Benchmark, credential: Credential) -> None:
    tokens = Tokens(KEYS, "shop")
    assert benchmark(tokens.read, tokens.sign(credential)) == credential


def test_read_by_the_older_key(benchmark: Benchmark) -> None:
    token = Tokens(KEYS[1:], "shop").sign(CREDENTIALS[0])
    assert benchmark(Tokens(KEYS, "shop").read, token) == CREDENTIALS[0]


def test_read_forged(benchmark: Benchmark) -> None:
    tokens = Tokens(KEYS, "shop")
    assert benchmark(tokens.read, tokens.sign(CREDENTIALS[0])[:-3] + "AAA") is None
