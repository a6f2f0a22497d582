"""Who asks for a number: forwarded addresses and solutions of challenges, from bytes."""

import base64
import json
from ipaddress import ip_address, ip_network
from pathlib import Path

from tests.conftest import SECRET
from tests.solving import solved
from waitroom.room.challenges import CHALLENGE_SECONDS, Challenges, Slip
from waitroom.web.requests.clients import PEER, Clients
from waitroom.web.requests.cookies import Scope

ROOM = "shop"
NOW = 1_760_000_000_000
DIFFICULTY = 4
CHALLENGES = Challenges([SECRET], ROOM, DIFFICULTY)

_SOLVED = Path(__file__).with_name("solutions.txt")
"""Solved once and kept, so that an input that breaks something does so again."""


def _key(solution: bytes) -> tuple[Slip, str]:
    told = json.loads(solution)
    data = told["challenge"]["parameters"]["data"]
    return Slip(data["pad"], data["slot"]), told["solution"]["derivedKey"].lower()


RIGHT, WRONG = (
    [base64.b64decode(each) for each in line.split()] for line in _SOLVED.read_text().splitlines()
)
_KEYS = dict(map(_key, RIGHT))
"""What has to be found for each challenge that was made here, and is not too late."""

SOLUTION_SEEDS = [*RIGHT, *WRONG]


def solutions(data: bytes) -> None:
    """What is accepted is one of the challenges that were made, with the key that it asks for."""
    CHALLENGES.read(data.decode("latin-1"), NOW)
    slip = CHALLENGES.read(base64.b64encode(data).decode(), NOW)
    if slip is not None:
        assert _key(data) == (slip, _KEYS[slip])
        assert CHALLENGES.read(base64.b64encode(data).decode(), NOW + CHALLENGE_SECONDS * 1000 + 1) is None


PROXIES = ("10.0.0.0/8", "2001:db8::/32")
_NOBODY, _TRUSTING = Clients([]), Clients(PROXIES)

ADDRESS_SEEDS = [
    b"198.51.100.7",
    b"203.0.113.5, 198.51.100.7:443, 10.1.1.1\n10.1.1.2",
    b"[2001:db8:1:2::3]:443, fe80::1%eth0, ::ffff:10.0.0.1",
    b"unknown, _hidden,, 10.1.1.1",
]


def addresses(data: bytes) -> None:
    """A client is what the connection says, or an address that a trusted proxy has told; never a free text."""
    headers = [(b"x-forwarded-for", value) for value in data.split(b"\n")]
    for peer in ("192.0.2.1", "10.0.0.9"):
        scope: Scope = {"type": "http", "headers": headers, PEER: peer}
        assert _NOBODY.asker(scope).client == peer
        client = _TRUSTING.asker(scope).client
        if peer == "192.0.2.1":
            assert client == peer, "no proxy that is named has told it"
        elif "/" in client:
            assert ip_network(client).prefixlen == 64
        else:
            assert ip_address(client).version == 4
            assert client == peer or client.encode() in data or b":" in data, "nobody told of it"
    # What a trusted proxy adds at the end decides, whatever was written before it.
    scope = {"type": "http", "headers": [*headers, (b"x-forwarded-for", b"198.51.100.9")], PEER: "10.0.0.9"}
    assert _TRUSTING.asker(scope).client == "198.51.100.9"


def solve() -> None:
    """Make and solve the challenges of `solutions.txt` anew: those that are right, and those that are not."""
    right = [CHALLENGES.make(NOW) for _ in range(2)]
    late = CHALLENGES.make(NOW - CHALLENGE_SECONDS * 1000 - 1)
    of_others = Challenges(["another secret " * 3], ROOM, DIFFICULTY).make(NOW)
    elsewhere = Challenges([SECRET], "sale", DIFFICULTY).make(NOW)
    lines = (map(solved, right), map(solved, (late, of_others, elsewhere)))
    _SOLVED.write_text("".join(" ".join(line) + "\n" for line in lines))


if __name__ == "__main__":
    solve()
