"""Makes the connections to a store from its URL, whatever kind it is."""

import asyncio
import ssl
from typing import Any

from redis import exceptions
from redis.asyncio import (
    ConnectionPool,
    Redis,
    RedisCluster,
    Sentinel,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.cluster import PRIMARY

from waitroom.config.store_url import Address, StoreUrl, parse

CONNECTIONS = 8
"""Most connections of one process: calls that arrive together share one, so few are ever in use."""
SOCKET_SECONDS = 5.0
"""When a call is given up for good; callers give up waiting for it much sooner."""
SENTINEL_SECONDS = 1.0
"""When a sentinel is given up and the next one asked: it only has to say what it knows."""

FAILURES = (exceptions.RedisError, exceptions.RedisClusterException, OSError)
"""All that a call may raise; the client's errors about clusters are a family of their own."""

WRONG_SERVER = ("READONLY", "MASTERDOWN", "NOREPLICAS", "UNBLOCKED")
"""First words of refusals that speak of the server's role, not of the call: another server is the primary now."""

CONNECTION: dict[str, Any] = {
    "socket_timeout": SOCKET_SECONDS,
    "socket_connect_timeout": SOCKET_SECONDS,
    "decode_responses": True,
    # RESP2 needs no right but those to the commands themselves, and any server speaks it.
    "protocol": 2,
}
TO_SENTINELS: dict[str, Any] = {
    "socket_timeout": SENTINEL_SECONDS,
    "socket_connect_timeout": SENTINEL_SECONDS,
    "protocol": 2,
}
NOT_TO_SENTINELS = ("db", "username", "password", "max_connections", "timeout")


class Link:
    """The connections to one store, of one event loop.

    No more calls are under way than there are connections; the rest wait for their turn. A call whose connection
    dies is made once more on a new one, which for sentinels and clusters leads to the new primary. Where the
    store had run it already it runs twice: a claim, a renewal or leaving is the same a second time, and numbers
    that nobody was told lapse as no-shows.

    A connection outlives the role of the server that it leads to. A refusal that speaks of the role ends the
    connections, and the call, of which nothing was done, is made once more on a new one: its name is looked up
    again, so that it leads to wherever the endpoint is now.
    """

    def __init__(self, url: str) -> None:
        self.where: StoreUrl = parse(url)
        options = CONNECTION | self.where.options
        self._connections: int = options.setdefault("max_connections", CONNECTIONS)
        self._timeout_seconds: float = options.pop("timeout", SOCKET_SECONDS)
        self._turns = asyncio.Semaphore(self._connections)
        # Not after a timeout: whoever asked has given up long ago, and a store that wakes up runs both.
        ended: Any = (exceptions.ConnectionError, RuntimeError)  # the second is uvloop's, see below
        options["retry"] = Retry(NoBackoff(), 1, ended)
        self.sentinels: list[Redis] = []
        self._client: Redis | RedisCluster
        if self.where.kind == "cluster":
            # A connection that is being closed still counts there, while its place is given to the next.
            options["max_connections"] *= 2
            self._client = _Cluster(startup_nodes=_nodes(self.where), ssl=self.where.tls, **options)
        elif self.where.kind == "sentinel":
            self._client = self._by_sentinels(options)
        else:
            self._client = Redis.from_pool(_pool(self.where, options))

    def _by_sentinels(self, options: dict[str, Any]) -> Redis:
        where = self.where
        told = {name: value for name, value in where.options.items() if name not in NOT_TO_SENTINELS}
        told |= where.sentinel_options | {"ssl": where.tls, "retry": Retry(NoBackoff(), 0)}
        manager = Sentinel(where.addresses, sentinel_kwargs=TO_SENTINELS | told)  # type: ignore[no-untyped-call]
        self.sentinels = manager.sentinels
        pool = SentinelConnectionPool(where.service, manager, ssl=where.tls, **options)  # type: ignore[no-untyped-call]
        return Redis.from_pool(pool)

    async def call(self, *command: Any) -> Any:
        """Run a command that names its keys; raises one of FAILURES."""
        return await self._in_turn(*command)

    async def ask(self, key: str, *command: Any) -> Any:
        """Run a command that names no keys, on the server that holds `key`; raises one of FAILURES."""
        if isinstance(self._client, RedisCluster):
            await self._client.initialize()
            return await self._in_turn(*command, target_nodes=self._client.get_node_from_key(key))
        return await self._in_turn(*command)

    async def find(self, pattern: str) -> list[str]:
        """Find the keys of a pattern, wherever they are; raises one of FAILURES."""
        return [key async for key in self._client.scan_iter(pattern, count=1000, _type="HASH")]

    async def _in_turn(self, *command: Any, **options: Any) -> Any:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._turns.acquire()
        except TimeoutError as error:
            raise exceptions.TimeoutError(
                f"all {self._connections} connections were busy for {self._timeout_seconds:g} s"
            ) from error
        try:
            return await self._once_more_elsewhere(*command, **options)
        except RuntimeError as error:
            # uvloop's word for a connection that has ended just now, where others raise an OSError.
            raise exceptions.ConnectionError(str(error)) from error
        finally:
            self._turns.release()

    async def _once_more_elsewhere(self, *command: Any, **options: Any) -> Any:
        try:
            return await self._client.execute_command(*command, **options)
        except exceptions.ResponseError as error:
            if not is_wrong_server(error):
                raise
            await self._leave_server()
        try:
            return await self._client.execute_command(*command, **options)
        except exceptions.ResponseError as error:
            if is_wrong_server(error):
                await self._leave_server()  # the endpoint may move before the next call
            raise

    async def _leave_server(self) -> None:
        """End the connections that no call is using; the others find out by themselves."""
        if isinstance(self._client, RedisCluster):
            await self._client.aclose()  # the next call asks anew which node has which slots
        else:
            await self._client.connection_pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        """Close all connections; the next call makes them anew."""
        await self._client.aclose()
        for sentinel in self.sentinels:
            await sentinel.aclose()


def is_wrong_server(error: exceptions.ResponseError) -> bool:
    """Return whether a server refused a call because of its role, whether at once or in the midst of a script."""
    if isinstance(error, exceptions.ReadOnlyError | exceptions.MasterDownError):
        return True  # their first word is not part of their text
    return any(word in str(error) for word in WRONG_SERVER)


class _Cluster(RedisCluster):
    """A cluster's client that follows a slot on its way to a node without slots as yet."""

    def get_node(
        self, host: str | None = None, port: int | None = None, node_name: str | None = None
    ) -> ClusterNode | None:
        node = super().get_node(host, port, node_name)
        if node is None and node_name:
            # The cluster lists only nodes that have slots, and the client follows ASK to none but those.
            host, _, asked = node_name.rpartition(":")
            node = ClusterNode(host, int(asked), PRIMARY, **self.connection_kwargs)
            self.nodes_manager.set_nodes(self.nodes_manager.nodes_cache, {node.name: node})
        return node


def _nodes(where: StoreUrl) -> list[ClusterNode]:
    return [ClusterNode(host, port) for host, port in where.addresses]


def _pool(where: StoreUrl, options: dict[str, Any]) -> ConnectionPool:
    if not where.addresses:
        return ConnectionPool(connection_class=UnixDomainSocketConnection, **options)
    ((host, port),) = where.addresses
    kind = SSLConnection if where.tls else Connection
    return ConnectionPool(connection_class=kind, host=host, port=port, **options)


def _trusting() -> ssl.SSLContext:
    """For finding out what is there, whoever it is; nothing is told to it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def wants_certificate(address: Address) -> bool:
    """Whether a server there that speaks TLS refuses whoever shows no certificate.

    It may say so only after shaking hands, and a client that has begun to speak by then hears of a reset alone.
    """
    try:
        async with asyncio.timeout(SENTINEL_SECONDS):
            reader, writer = await asyncio.open_connection(*address, ssl=_trusting())
            try:
                await reader.read(1)
            finally:
                writer.transport.abort()
    except ssl.SSLError as error:
        return "CERTIFICATE_REQUIRED" in str(error)
    except (OSError, TimeoutError):
        pass
    return False


async def speaks(address: Address, *, tls: bool) -> bool:
    """Whether a server answers there as a store does, over TLS or without; who it is does not matter here."""
    context = _trusting() if tls else None
    try:
        async with asyncio.timeout(SENTINEL_SECONDS):
            reader, writer = await asyncio.open_connection(*address, ssl=context)
            try:
                if tls:
                    return True  # shaking hands is enough: what follows may want a certificate of ours
                writer.write(b"PING\r\n")
                return (await reader.readline())[:1] in (b"+", b"-")
            finally:
                writer.transport.abort()  # closing would wait for the other side
    except (OSError, TimeoutError):
        return False
