"""Visitors with real credentials, taken over the API before anything is measured; and what else they send."""

import asyncio
import json
from collections.abc import Awaitable, Callable

from benchmarks.sites import YARDSTICK, sign
from benchmarks.wrk import BenchmarkError
from tests.under_load.clients import Client, Response
from waitroom.line.tickets import LONGEST_TOKEN

API = "/_waitroom"
CONNECTIONS = 32
HEADER_BYTES = 280
"""Of the whole Cookie header: the site's own and an analyst's cookies, and the gate's among them."""
BEFORE = "_ga=GA1.1.1873920746.1760000000; theme=dark"
AFTER = "lang=en; cart=0c1d7c52"

Visit = Callable[[Client], Awaitable[str]]


def tickets(port: int, count: int) -> list[str]:
    """Take so many numbers; where a line stands, they wait."""
    return asyncio.run(_visits(port, count, _join))


def passes(port: int, count: int) -> list[str]:
    """Take so many numbers and exchange each for a pass."""

    async def enter(client: Client) -> str:
        ticket = await _join(client)
        told = json.loads((await _asked(client, "GET", f"{API}/status", ticket)).body)
        if "pass" not in told:
            raise BenchmarkError(f"a visitor who should be inside is not: {told}")
        return str(told["pass"])

    return asyncio.run(_visits(port, count, enter))


def begin_session(port: int) -> str:
    """Log in where Starlette's sessions are, and take the cookie's value."""

    async def log_in() -> str:
        client = Client(port)
        response = await client.ask("GET", "/login")
        client.close()
        return str(response.cookie())

    return asyncio.run(log_in())


async def _join(client: Client) -> str:
    return str(json.loads((await _asked(client, "POST", f"{API}/join", None)).body)["ticket"])


async def _asked(client: Client, method: str, path: str, token: str | None) -> Response:
    """Ask again while the store seems away: on a busy machine it may for a moment."""
    for _ in range(100):
        response = await client.ask(method, path, token)
        if response.status < 300:
            return response
        await asyncio.sleep(0.1)
    raise BenchmarkError(f"{method} {path} is not answered: {response.status} {response.body[:200]!r}")


async def _visits(port: int, count: int, visit: Visit) -> list[str]:
    """Let so many visit, some at a time."""
    found: list[str] = []
    left = count

    async def one_after_the_other() -> None:
        nonlocal left
        client = Client(port)
        while left:
            left -= 1
            found.append(await visit(client))
        client.close()

    await asyncio.gather(*(one_after_the_other() for _ in range(min(CONNECTIONS, count))))
    return found


# --- what they send ------------------------------------------------------------------------------


def among_others(name: str, value: str) -> str:
    """A Cookie header of HEADER_BYTES with one cookie among others; longer where that one is."""
    return _padded(f"{BEFORE}; {name}={value}; {AFTER}")


def others() -> str:
    """A Cookie header of HEADER_BYTES without a cookie of the gate's."""
    return _padded(f"{BEFORE}; {AFTER}")


def _padded(cookies: str) -> str:
    tail = "; note="
    return cookies + tail + "x" * max(0, HEADER_BYTES - len(cookies) - len(tail))


def of_the_smallest_gate(count: int) -> list[str]:
    """Cookie headers that the yardstick lets in."""
    tokens = (sign(b"visitor-%06d" % number).decode() for number in range(count))
    return [among_others(YARDSTICK.decode(), token) for token in tokens]


def forged(ticket: str) -> str:
    """A ticket of another number, never the same, under a signature that does not fit."""
    prefix, generation, epoch, number, *rest = ticket.split(".")
    return ".".join((prefix, generation, epoch, number[:3] + "{n}", *rest))


def oversized() -> str:
    """What looks like a ticket, never the same, but is far longer than any."""
    return "ti.0.0.{n}." + "x" * 12 * LONGEST_TOKEN
