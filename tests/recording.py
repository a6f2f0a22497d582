"""A room as a version leaves it in the store, written down: `python -m tests.recording tests/recorded/0.1.json`.

Later versions have to go on with what earlier ones wrote. Each release adds its recording and changes none.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from tests.stores import valkey
from waitroom.config.settings import Settings, load
from waitroom.line.tickets import Ticket, Tokens, pass_of
from waitroom.store.transitions import Store

SECRET = "the key that all recordings are signed with"
ROOM = "recorded"
SECOND = 1_000_000
BEGIN = 1_800_000_000 * SECOND
END = BEGIN + 93 * SECOND
"""When the recording ends: anna has left, ben and dora are inside, carl is at the door, emil waits."""
NAMES = ("anna", "ben", "carl", "dora", "emil")


def settings_of(url: str) -> Settings:
    return load(
        redis_url=url, secret=SECRET, room=ROOM, capacity=2, session_seconds=300, first_lease_seconds=200
    )


class Clock:
    """The store's clock, moved by hand."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


async def live_through(store: Store, clock: Clock) -> dict[str, Ticket]:
    """Bring a room of two into every state that it keeps something of."""
    joins = [("enter", "anna"), ("first", "ben"), ("number", "carl"), ("number", "dora"), ("number", "emil")]
    window, joined = await store.join(joins)
    tickets = {
        id: Ticket(window.generation, window.epoch, told.number, id, window.at, told.start)
        for (_, id), told in zip(joins, joined, strict=True)
    }
    clock.now = BEGIN + SECOND
    await store.leave([tickets["anna"]])  # carl is called, and does not come in time
    clock.now = BEGIN + 92 * SECOND
    await store.sync(-1)  # so dora is called
    clock.now = END
    _, answers = await store.claim([(tickets["dora"], True), (tickets["carl"], True)])
    assert [answer.outcome for answer in answers] == ["active", "door"]
    return tickets


async def written(client: Redis) -> dict[str, Any]:
    """All keys with their kinds and contents, as plain data."""
    found: dict[str, Any] = {}
    for key in sorted(map(str, await client.keys("*"))):
        kind = await client.type(key)
        if kind == "hash":
            found[key] = [kind, dict(sorted((await client.hgetall(key)).items()))]
        elif kind == "zset":
            pairs: list[Any] = await client.zrange(key, 0, -1, withscores=True)
            found[key] = [kind, [[name, f"{score:.0f}"] for name, score in pairs]]
        else:
            found[key] = [kind, await client.lrange(key, 0, -1)]
    return found


async def put_back(client: Redis, keys: dict[str, Any]) -> None:
    for key, (kind, content) in keys.items():
        if kind == "hash":
            await client.hset(key, mapping=content)
        elif kind == "zset":
            await client.zadd(key, {name: float(score) for name, score in content})
        else:
            await client.rpush(key, *content)


async def record(url: str) -> dict[str, Any]:
    clock = Clock(BEGIN)
    settings = settings_of(url)
    store = Store(url, settings, clock)
    tickets = await live_through(store, clock)
    await store.close()
    tokens = Tokens(settings.secret, ROOM)
    ben = pass_of(tickets["ben"], BEGIN // 1000, (BEGIN + 200 * SECOND) // 1000, 200_000, True)
    async with Redis.from_url(url, decode_responses=True) as client:
        keys = await written(client)
    signed = {name: tokens.sign(ticket) for name, ticket in tickets.items()}
    return {"tickets": signed, "pass": tokens.sign(ben), "keys": keys}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, valkey(Path(folder)) as store_url:
        text = json.dumps(asyncio.run(record(store_url)), indent=1)
    Path(sys.argv[1]).write_text(f"{text}\n", "utf-8")
