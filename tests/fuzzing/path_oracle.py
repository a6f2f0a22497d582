"""Spellings of protected paths against real servers: no page is reached without a pass for its room."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from tests.fuzzing.lenient import ROOMS
from tests.fuzzing.spellings import Spelling
from tests.fuzzing.wire import Answer, answers
from tests.gates import API, DEADLINE_SECONDS, Server, bearer, serving, told_by_the_store

SITE = "tests.fuzzing.open_site:site"
SERVERS = {
    "uvicorn, httptools": f"uvicorn --http httptools --log-level warning --factory {SITE}",
    "uvicorn, h11": f"uvicorn --http h11 --log-level warning --factory {SITE}",
    "granian": f"granian --interface asgi --log-level warning --factory {SITE}",
    "hypercorn": f"hypercorn {SITE}()",
}
DRESSES: dict[str, tuple[bytes, list[bytes], int]] = {
    "preflight": (
        b"OPTIONS",
        [b"Origin: https://a.example", b"Access-Control-Request-Method: GET"],
        10,
    ),
    "question of no origin": (b"OPTIONS", [b"Access-Control-Request-Method: GET"], 20),
    "part": (b"GET", [b"Sec-Fetch-Dest: image"], 10),
    "prefetch": (b"GET", [b"Sec-Purpose: prefetch"], 10),
}
"""What else a request may say that it is, and how many spellings say so: every tenth, or fewer. None carries a pass,
and nobody waits in front of the full rooms."""
CARRIED: dict[tuple[str, ...], int] = {(): 1, ("sale",): 10, ("shop",): 10, tuple(ROOMS): 10}
"""The passes that are sent along, and with each how many spellings: every one, or every tenth.

With none, and with another room's, nothing opens; with all of them it shows which spellings the site understands.
"""
REFUSALS = {0, 400, 404, 405, 414, 431, 503}
LONG_SECONDS = 86_400


@dataclass
class Outcome:
    """What came of the spellings on one server."""

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    public: int = 0
    """Answered by the site without a pass, as none of its readings is protected."""
    understood: int = 0
    """Of a protected page, for the site: it was reached with all passes."""
    wrong: list[str] = field(default_factory=list)


@contextmanager
def open_site(
    line: str, store_url: str, secret: str, room: str
) -> Iterator[tuple[Server, Path, dict[str, str]]]:
    """Run the site on a server, its rooms full; yields also where it writes down what was reached, and the passes."""
    with tempfile.TemporaryDirectory(prefix="waitroom-fuzz-") as folder:
        settings: dict[str, Any] = {
            "redis_url": store_url,
            "secret": secret,
            "capacity": 1,
            "session_seconds": LONG_SECONDS,
        }
        settings |= {"first_lease_seconds": LONG_SECONDS, "room": f"{room}-shop", **_paths("", "shop")}
        for name in ("vip", "sale"):
            settings |= _paths(f"rooms__{room}-{name}__", name)
        with (
            _environment(folder),
            serving(line, **settings) as server,
        ):
            passes = {name: _take_place(server, f"{room}-{name}") for name in ROOMS}
            yield server, Path(folder, "reached"), passes


def _paths(prefix: str, name: str) -> dict[str, str]:
    protect, exclude = ROOMS[name]
    return {f"{prefix}paths": ",".join(protect), f"{prefix}exclude": ",".join(exclude)}


@contextmanager
def _environment(folder: str) -> Iterator[None]:
    os.environ["FUZZ_FOLDER"] = folder
    try:
        yield
    finally:
        del os.environ["FUZZ_FOLDER"]


def _take_place(server: Server, room: str) -> str:
    """Take the one place of a room; returns the pass."""
    with httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS) as client:
        ticket = told_by_the_store(lambda: client.post(f"{API}/join?room={room}")).json()["ticket"]
        client.cookies.clear()
        asked = f"{API}/status?room={room}"
        token: str = told_by_the_store(lambda: client.get(asked, headers=bearer(ticket))).json()["pass"]
        return token


def judge(server: Server, reached: Path, passes: dict[str, str], tried: Sequence[Spelling]) -> Outcome:
    """Send all spellings, each with each of `CARRIED`; what is wrong is told by number, from 0."""
    outcome = Outcome()
    port = int(server.url.rpartition(":")[2])
    for carried, step in CARRIED.items():
        numbers = range(0, len(tried), step)
        requests = (_request(tried[number], number, carried, passes) for number in numbers)
        for number, answer in zip(numbers, answers(port, requests), strict=True):
            outcome.sent += 1
            _judge_one(outcome, answer, carried, f"{number} with {carried}: {tried[number]}")
    for name, (method, headers, step) in DRESSES.items():
        numbers = range(0, len(tried), step)
        dressed = (
            _request(replace(tried[number], method=method), number, (), passes, headers) for number in numbers
        )
        for number, answer in zip(numbers, answers(port, dressed), strict=True):
            outcome.sent += 1
            what = f"{number} as a {name}: {tried[number]}"
            if name == "preflight" and answer.status in (200, 503) and b"reached" not in answer.headers:
                # The site was asked, or the inner of two rooms refused: only what a browser needs comes back.
                if answer.body:
                    outcome.wrong.append(f"{what} brought back {answer.body!r}")
            else:
                _judge_one(outcome, answer, (), what)
    if reached.exists():
        outcome.wrong += reached.read_text().splitlines()
    return outcome


def _judge_one(outcome: Outcome, answer: Answer, carried: tuple[str, ...], what: str) -> None:
    outcome.statuses[answer.status] += 1
    found = set(answer.headers.get(b"reached", b"").decode().split())
    if found - set(carried):
        outcome.wrong.append(f"{what} reached {sorted(found)}")
    from_site = b"reached" in answer.headers
    if answer.status not in REFUSALS and not from_site:
        outcome.wrong.append(f"{what} was answered {answer.status}")
    if answer.status == 503 and b"x-robots-tag" not in answer.headers:
        outcome.wrong.append(f"{what} got a 503 that is not the gate's")
    if not carried and from_site:
        outcome.public += 1
    if set(carried) == set(ROOMS) and found:
        outcome.understood += 1


def _request(
    spelling: Spelling,
    number: int,
    carried: tuple[str, ...],
    passes: dict[str, str],
    dress: Sequence[bytes] = (),
) -> bytes:
    lines = [
        spelling.method + b" " + spelling.target + b" HTTP/1.1",
        b"Host: " + spelling.host,
        b"Accept: application/json",
        b"X-Number: %d" % number,
        b"X-Passes: " + " ".join(carried).encode(),
        *(b"Waitroom-Pass: " + passes[name].encode() for name in carried),
        *dress,
        *([b"Content-Length: 0"] if spelling.method == b"POST" else []),
    ]
    return b"\r\n".join([*lines, b"", b""])
