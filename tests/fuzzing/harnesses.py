"""All harnesses by name, each with the inputs it starts from: what atheris runs at length, and the tests in short."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.fuzzing import askers, credentials, messages, places


@dataclass(frozen=True)
class Harness:
    """`run` raises where something is wrong; `longest` is the most bytes that are worth trying.

    `share` is how much of a long run it gets, in per cent: the quick ones get more.
    """

    run: Callable[[bytes], None]
    seeds: Sequence[bytes]
    longest: int
    share: int


HARNESSES = {
    "tokens": Harness(credentials.tokens, credentials.TOKEN_SEEDS, 320, 44),
    "cookies": Harness(credentials.cookies, credentials.COOKIE_SEEDS, 400, 5),
    "paths": Harness(places.paths, places.PATH_SEEDS, 16, 1),
    "rooms": Harness(places.rooms, places.ROOM_SEEDS, 16, 1),
    "requests": Harness(messages.requests, messages.REQUEST_SEEDS, 400, 18),
    "queries": Harness(messages.queries, messages.QUERY_SEEDS, 200, 18),
    "forwarding": Harness(messages.forwarding, messages.FORWARDING_SEEDS, 400, 7),
    "solutions": Harness(askers.solutions, askers.SOLUTION_SEEDS, 1400, 3),
    "addresses": Harness(askers.addresses, askers.ADDRESS_SEEDS, 200, 3),
}
