"""What is outside of waitroom: time, the store's clock and history, its contents and their copies."""

import random
from typing import Any

import redis

SECOND = 1_000_000
GRACE = 30 * SECOND
"""The store keeps a lease this much longer than its pass."""
BEGIN = 1_760_000_000 * SECOND

EMPTY = "for _, key in ipairs(KEYS) do redis.call('DEL', key) end"
COPY = """
for i = 1, #KEYS / 2 do
  redis.call('DEL', KEYS[#KEYS / 2 + i])
  redis.call('COPY', KEYS[i], KEYS[#KEYS / 2 + i])
end
"""


class Server:
    """One connection to the real store; its calls answer at once, so that no event loop is needed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = redis.Redis.from_url(url, decode_responses=True, protocol=2)
        self._connection: Any = self._client.connection_pool.get_connection()
        self._shas: dict[str, str] = {}

    def evaluate(self, script: str, keys: list[str], *arguments: str) -> Any:
        """Run a script, which is loaded when it is first met."""
        sha = self._shas.get(script)
        if sha is None:
            sha = self._shas[script] = str(self._client.script_load(script))
        self._connection.send_command("EVALSHA", sha, len(keys), *keys, *arguments)
        return self._connection.read_response()

    def close(self) -> None:
        self._client.connection_pool.release(self._connection)
        self._client.close()


class World:
    """True time, which nobody in the simulation knows, and the store's view of it. Microseconds."""

    def __init__(
        self, server: Server, chance: random.Random, keys: list[str], *, tells_history: bool
    ) -> None:
        self.server = server
        self.chance = chance
        self.true = BEGIN
        self.off = 0
        """How far the store's own clock is from true time."""
        self.jumps = 0
        self.losses = 0
        self._tells_history = tells_history
        self._history = self._seen = 1
        self._keys = keys
        self.empty()

    def store_time(self) -> int:
        return self.true + self.off

    def history(self) -> str | None:
        return f"history{self._history}" if self._tells_history else None

    def tells_loss(self) -> bool:
        """Tell whether the history that scripts see is another than at the last loss."""
        changed, self._seen = self._tells_history and self._history != self._seen, self._history
        return changed

    def jump(self, seconds: float) -> None:
        self.off += round(seconds * SECOND)
        self.jumps += 1

    def change_history(self) -> None:
        self._history += 1

    def empty(self) -> None:
        self.server.evaluate(EMPTY, self._keys)

    def keep(self, slot: int) -> None:
        """Copy the room, as a replica or a backup has it."""
        self.server.evaluate(COPY, [*self._keys, *self._copy(slot)])

    def restore(self, slot: int) -> None:
        """Put a copy in the room's place."""
        self.server.evaluate(COPY, [*self._copy(slot), *self._keys])

    def _copy(self, slot: int) -> list[str]:
        return [f"{key}-{slot}" for key in self._keys]
