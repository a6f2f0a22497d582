"""`python -m tests.under_load`: joins and visitors inside at full rate while the store is killed, failed over, flushed.

Prints what was counted as Markdown, and ends with 1 where something was lost, doubled or disturbed.
"""

import argparse
import asyncio
import heapq
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests import stores
from tests.conftest import SECRET
from tests.gates import uvicorn
from tests.under_load.clients import Client
from tests.under_load.record import Joined, Record
from tests.under_load.store import Box
from waitroom.line.tickets import Pass, Ticket, Tokens
from waitroom.line.window import rank

ROOM = "load"
TOKENS = Tokens([SECRET], ROOM)
CAPACITY, ALWAYS_INSIDE, CANDIDATES = 150, 100, 60
SETTINGS = {
    "secret": SECRET,
    "room": ROOM,
    "capacity": CAPACITY,
    "window_size": CAPACITY,
    "window_interval": 1,
    "active_window_count": 600,
    "session_seconds": 60,
    "claim_seconds": 3,
    "settle_seconds": 1,
}
CONNECTIONS = 16
STAY_SECONDS = 2.0


class Crowd:
    """Visitors inside who go on, visitors who join, and those in front who come in, stay a little and leave."""

    def __init__(self, port: int, record: Record) -> None:
        self.port = port
        self.record = record
        self.over = False

    async def come_in(self) -> str:
        client = Client(self.port)
        while True:
            token = (await client.ask("GET", "/")).cookie()
            while isinstance(token and TOKENS.read(token), Pass):
                answer = await client.ask("GET", "/", token)
                client.close()
                return answer.cookie() or str(token)
            await asyncio.sleep(0.1)

    async def stay_inside(self, token: str, every: float) -> None:
        """One visitor inside who asks for a page every so often, until it is over."""
        client, record = Client(self.port), self.record
        due = time.monotonic()
        while not self.over:
            due += every
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            sent = time.monotonic()
            answer = await client.ask("GET", "/", token)
            record.admitted_seconds.append(time.monotonic() - sent)
            record.admitted += 1
            if answer.status != 200 or answer.body != b"inside":
                record.disturbed.append(f"{answer.status} {answer.body[:80]!r}")
            token = answer.cookie() or token
        client.close()

    async def join(self, every: float) -> None:
        """Newcomers over one connection, one after the other."""
        client, record = Client(self.port), self.record
        due = time.monotonic()
        while not self.over:
            due += every
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            sent = time.monotonic()
            answer = await client.ask("POST", "/_waitroom/join")
            if answer.status != 201:
                assert answer.status == 503, answer
                record.joins_held += 1
                continue
            token = json.loads(answer.body)["ticket"]
            ticket = TOKENS.read(token)
            assert isinstance(ticket, Ticket)
            record.joined.append(Joined(token, ticket, sent, time.monotonic()))
        client.close()

    async def let_the_first_in(self) -> None:
        """Those in front ask; who is let in asks again, stays a little and leaves."""
        clients, stays = [Client(self.port) for _ in range(CANDIDATES)], set[asyncio.Task[None]]()
        line: list[tuple[tuple[str, int], int]] = []
        seen = 0
        while not self.over:
            for at in range(seen, len(self.record.joined)):
                heapq.heappush(line, (rank(self.record.joined[at].ticket), at))
            seen = len(self.record.joined)
            first = [heapq.heappop(line) for _ in range(min(CANDIDATES, len(line)))]
            await asyncio.gather(*map(self._try, clients, (self.record.joined[at] for _, at in first)))
            for place in first:
                one = self.record.joined[place[1]]
                if one.entered is None:
                    heapq.heappush(line, place)
                else:
                    stays.add(asyncio.create_task(self._stay(one)))
            await asyncio.sleep(0.2)
        await asyncio.gather(*stays)

    async def _try(self, client: Client, one: Joined) -> None:
        for _ in range(2):  # twice: P5
            answer = await client.ask("GET", "/_waitroom/status", one.token)
            told = json.loads(answer.body)
            if answer.status != 200 or told["status"] != "active":
                if answer.status == 401 or told["status"] == "expired":
                    self.record.lost.append(f"{one.ticket.number}: {answer.body!r}")
                return
            session = TOKENS.read(told["pass"])
            assert isinstance(session, Pass)
            one.entered = one.entered or time.monotonic()
            one.sessions.add(session.id)
            one.latest = told["pass"]

    async def _stay(self, one: Joined) -> None:
        client = Client(self.port)
        await asyncio.sleep(STAY_SECONDS)
        one.left = time.monotonic()
        # By the pass: a store that has lost the session does not know what the ticket was used for.
        while (await client.ask("DELETE", "/_waitroom/ticket", one.latest)).status != 204:
            await asyncio.sleep(0.2)
        client.close()

    async def ask_all(self) -> None:
        """Ask for every ticket that nobody has used what it is worth."""
        left = [one for one in self.record.joined if one.entered is None]

        async def ask() -> None:
            client = Client(self.port)
            while left:
                one = left.pop()
                answer = await client.ask("GET", "/_waitroom/status", one.token)
                while answer.status == 503:
                    await asyncio.sleep(0.2)
                    answer = await client.ask("GET", "/_waitroom/status", one.token)
                if answer.status != 200 or json.loads(answer.body)["status"] == "expired":
                    self.record.lost.append(f"{one.ticket.number}: {answer.body!r}")
            client.close()

        await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))


async def run(port: int, box: Box, rounds: int, joins: int, admitted: int, pause: float) -> Record:
    record = Record(faults={"flushed": 0, "killed and restarted empty": 0, "failed over": 0})
    crowd = Crowd(port, record)
    guests = [await crowd.come_in() for _ in range(ALWAYS_INSIDE)]
    began = time.monotonic()
    tasks = [asyncio.create_task(crowd.stay_inside(guest, ALWAYS_INSIDE / admitted)) for guest in guests]
    tasks += [asyncio.create_task(crowd.join(CONNECTIONS / joins)) for _ in range(CONNECTIONS)]
    tasks.append(asyncio.create_task(crowd.let_the_first_in()))
    deeds = dict(zip(record.faults, (box.flush, box.kill, box.fail_over), strict=True))
    await asyncio.sleep(pause)
    for _ in range(rounds):
        for name, deed in deeds.items():
            await asyncio.to_thread(deed)
            record.faults[name] += 1
            print(
                f"{name}: {len(record.joined):,} numbers, {record.joins_held:,} joins held", file=sys.stderr
            )
            await asyncio.sleep(pause)
    crowd.over = True
    await asyncio.gather(*tasks)
    record.seconds = time.monotonic() - began
    await asyncio.sleep(pause)
    await crowd.ask_all()
    return record


def table(record: Record) -> str:
    times = sorted(record.admitted_seconds)
    p99 = times[int(len(times) * 0.99)] * 1000
    seconds, joins = record.seconds, len(record.joined) + record.joins_held
    rows = {
        "faults": ", ".join(f"{name} {count} times" for name, count in record.faults.items()),
        "seconds": f"{seconds:.0f}",
        "joins": f"{joins:,} ({joins / seconds:,.0f}/s)",
        "of these held while the store was away": f"{record.joins_held:,}",
        "let in and left": f"{sum(one.left is not None for one in record.joined):,}",
        "requests of visitors inside": f"{record.admitted:,} ({record.admitted / seconds:,.0f}/s)",
        "their time, median and 99 of 100": f"{statistics.median(times) * 1000:.1f} ms, {p99:.0f} ms",
        "tickets lost": len(record.lost),
        "numbers given twice": record.doubles(),
        "inversions": record.inversions(),
        "tickets with two sessions": record.double_slots(),
        f"most inside, of {CAPACITY}": record.most_inside(ALWAYS_INSIDE),
        "visitors inside who got anything but the site": len(record.disturbed),
    }
    return "\n".join(("| what | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())))


def is_good(record: Record) -> bool:
    broken = record.lost or record.doubles() or record.inversions() or record.double_slots()
    return not (broken or record.disturbed) and record.most_inside(ALWAYS_INSIDE) <= CAPACITY


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.under_load")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--joins", type=int, default=1000, help="a second")
    parser.add_argument("--admitted", type=int, default=2000, help="requests of visitors inside a second")
    parser.add_argument("--pause", type=float, default=6.0, help="seconds between two faults")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with stores.watched(folder) as them:
            box = Box(them, folder)
            try:
                with uvicorn(
                    "tests.under_load.shop:shop",
                    asked.workers,
                    ("--no-access-log", "--log-level", "warning"),
                    redis_url=them.url,
                    **SETTINGS,
                ) as server:
                    port = int(server.url.rpartition(":")[2])
                    record = asyncio.run(
                        run(port, box, asked.rounds, asked.joins, asked.admitted, asked.pause)
                    )
            finally:
                box.close()
    print(table(record))
    for trouble in [*record.lost[:5], *record.disturbed[:5]]:
        print(trouble, file=sys.stderr)
    return 0 if is_good(record) else 1


if __name__ == "__main__":
    sys.exit(main())
