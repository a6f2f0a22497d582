"""What is said where the URL and the server don't fit: one line that names it and what to do."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import exceptions

from tests import stores
from tests.conftest import SECRET
from tests.gates import free_port, free_ports, lifespan
from tests.sites import site
from tests.stores import LOOPBACK, Certified, Clustered, Watched
from waitroom.config.settings import load
from waitroom.errors import SettingsError, StoreError, StoreUnusableError
from waitroom.store.connections import Link
from waitroom.store.first_contact import diagnosed
from waitroom.store.transitions import Store
from waitroom.web.middleware import WaitingRoomMiddleware

PASSWORD = "hunter2-hunter2"


async def said_of(url: str, room: str = "shop", *, unusable: bool = True) -> str:
    """Reach for a store; what the error says, after the store's name."""
    store = Store(url, load(redis_url=url, secret=SECRET, room=room))
    try:
        with pytest.raises(StoreError) as raised:
            await store.look()
    finally:
        await store.close()
    said = str(raised.value)
    assert isinstance(raised.value, StoreUnusableError) == unusable, said
    assert "\n" not in said
    for secret in (PASSWORD, stores.STORE_PASSWORD, stores.SENTINEL_PASSWORD):
        assert secret not in said
    return said


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server; host:port."""
    port = free_port()
    with stores.running(
        stores.shipped_valkey(), tmp_path_factory.mktemp("single"), "--port", str(port), "--bind", LOOPBACK
    ):
        stores.await_server(f"redis://{LOOPBACK}:{port}")
        yield f"{LOOPBACK}:{port}"


@pytest.fixture(scope="module")
def sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One sentinel, which alone may not choose another primary."""
    with stores.watched(tmp_path_factory.mktemp("sentinel"), sentinels=1) as them:
        yield them


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clustered]:
    with stores.clustered(tmp_path_factory.mktemp("cluster"), stores.shipped_valkey()) as them:
        yield them


# --- one kind for the other --------------------------------------------------------------------

TO_CLUSTER = "is a node of a cluster: use redis+cluster:// in place of redis://"
TO_SENTINEL = "is a sentinel: use redis+sentinel://host:port/service"


async def test_a_node_of_a_cluster_is_no_single_server(cluster: Clustered) -> None:
    node = f"{LOOPBACK}:{next(iter(cluster.nodes))}"
    assert await said_of(f"redis://{node}") == f"the store at redis://{node} {TO_CLUSTER}"


async def test_a_node_that_tells_nothing_of_itself_is_known_by_where_it_sends(cluster: Clustered) -> None:
    owner = cluster.owner("shop")
    other = next(port for port in cluster.nodes if port != owner)
    with cluster.node(other) as node:
        node.execute_command("ACL SETUSER", "silent", "on", f">{PASSWORD}", "~*", "+@all", "-info")
    said = await said_of(f"redis://silent:{PASSWORD}@{LOOPBACK}:{other}")
    assert said == f"the store at redis://{LOOPBACK}:{other} {TO_CLUSTER}"


@pytest.mark.parametrize("database", ["", "/1"])
async def test_a_sentinel_is_no_single_server(sentinel: Watched, database: str) -> None:
    (port,) = sentinel.sentinel_ports
    said = await said_of(f"redis://:{stores.SENTINEL_PASSWORD}@{LOOPBACK}:{port}{database}")
    assert said.startswith(f"the store at redis://{LOOPBACK}:{port}{database} {TO_SENTINEL}")


async def test_a_single_server_is_no_cluster(single: str) -> None:
    said = await said_of(f"redis+cluster://{single}")
    assert said == (
        f"the store at redis+cluster://{single} is no node of a cluster: "
        "use redis:// for a single server, redis+sentinel:// for sentinels"
    )


async def test_a_sentinel_is_no_cluster(sentinel: Watched) -> None:
    (port,) = sentinel.sentinel_ports
    said = await said_of(f"redis+cluster://:{stores.SENTINEL_PASSWORD}@{LOOPBACK}:{port}")
    assert "is no node of a cluster: use" in said


async def test_a_single_server_and_a_node_are_no_sentinels(single: str, cluster: Clustered) -> None:
    for address in (single, f"{LOOPBACK}:{next(iter(cluster.nodes))}"):
        assert await said_of(f"redis+sentinel://{address}/shop") == (
            f"the store at redis+sentinel://{address}/shop is no sentinel: "
            "use redis:// for a single server, redis+cluster:// for a cluster"
        )


async def test_a_database_that_is_not_there(single: str) -> None:
    assert "has no database of that number" in await said_of(f"redis://{single}/99")


# --- sentinels ---------------------------------------------------------------------------------


async def test_a_service_that_the_sentinels_do_not_know(sentinel: Watched) -> None:
    said = await said_of(sentinel.url.replace("/shop", "/shoop"))
    assert said == (
        f"the sentinels at redis+sentinel://{LOOPBACK}:{sentinel.sentinel_ports[0]}/shoop "
        "know no service 'shoop': they know shop"
    )


async def test_a_sentinel_that_watches_nothing(tmp_path: Path) -> None:
    (tmp_path / "conf").touch()
    port = free_port()
    flags = (str(tmp_path / "conf"), "--port", str(port), "--bind", LOOPBACK, "--sentinel")
    with stores.running(stores.system_redis(), tmp_path, *flags):
        stores.await_server(f"redis://{LOOPBACK}:{port}")
        said = await said_of(f"redis+sentinel://{LOOPBACK}:{port}/shop")
    assert said == f"the sentinels at redis+sentinel://{LOOPBACK}:{port}/shop know no service at all"


@pytest.mark.parametrize("options", ["", f"?sentinel_password={PASSWORD}"])
async def test_sentinels_with_another_password(sentinel: Watched, options: str) -> None:
    said = await said_of(sentinel.url.partition("?")[0] + options)
    assert "the sentinels at redis+sentinel://" in said
    assert "behind the ? as sentinel_username and sentinel_password" in said


async def test_a_store_behind_sentinels_with_another_password(sentinel: Watched) -> None:
    hosts = sentinel.url.partition("@")[2]
    said = await said_of(f"redis+sentinel://:{PASSWORD}@{hosts}")
    assert "refused the user or password of WAITROOM_REDIS_URL" in said


async def test_sentinels_that_are_away() -> None:
    port = free_port()
    said = await said_of(f"redis+sentinel://{LOOPBACK}:{port}/shop", unusable=False)
    assert said.startswith(
        f"the store at redis+sentinel://{LOOPBACK}:{port}/shop can't be reached: Error 111"
    )


async def test_sentinels_without_a_primary(tmp_path: Path) -> None:
    with stores.watched(tmp_path, sentinels=1) as them:
        them.primary.kill()
        with them.sentinel(them.sentinel_ports[0]) as client:
            stores.until(
                lambda: "s_down" in client.sentinel_masters()[stores.SERVICE]["flags"], "it is missed"
            )
        said = await said_of(them.url, unusable=False)
    assert said.endswith("can't be reached: no sentinel names a primary just now")


async def test_a_cluster_that_is_away() -> None:
    url = "redis+cluster://" + ",".join(f"{LOOPBACK}:{port}" for port in free_ports(2))
    assert (await said_of(url, unusable=False)).startswith(f"the store at {url} can't be reached: Error 111")


# --- TLS ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return stores.certify(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def private(certified: Certified, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that speaks TLS alone, with a certificate for this machine; host:port."""
    with stores.tls_server(tmp_path_factory.mktemp("private"), certified) as address:
        yield address


async def looks(url: str) -> None:
    store = Store(url, load(redis_url=url, secret=SECRET, room="shop"))
    assert await store.look() == {}
    await store.close()


async def test_a_store_over_tls(private: str, certified: Certified) -> None:
    await looks(f"rediss://{private}?ssl_ca_certs={certified.ca}")
    await looks(f"rediss://{private}?ssl_cert_reqs=none")


async def test_an_authority_that_nobody_knows(private: str, tmp_path: Path) -> None:
    other = stores.certify(tmp_path)
    for options in ("", f"?ssl_ca_certs={other.ca}"):
        said = await said_of(f"rediss://{private}{options}")
        assert said.startswith(f"the store at rediss://{private} has a certificate that doesn't verify (")
        assert said.endswith(
            "name the authority that signed it with ssl_ca_certs=/path/to/ca.pem behind the ?"
        )


@pytest.mark.parametrize("name", ["redis.example", "127.0.0.2"])
async def test_a_certificate_for_another_name(tmp_path: Path, name: str) -> None:
    certified = stores.certify(tmp_path, name)
    with stores.tls_server(tmp_path, certified) as address:
        said = await said_of(f"rediss://{address}?ssl_ca_certs={certified.ca}")
        assert said.startswith(f"the store at rediss://{address} has a certificate for another name (")
        port = address.partition(":")[2]
        by_name = await said_of(f"rediss://localhost:{port}?ssl_ca_certs={certified.ca}")
        assert "has a certificate for another name (" in by_name
        await looks(f"rediss://{address}?ssl_ca_certs={certified.ca}&ssl_check_hostname=no")


async def test_a_certificate_out_of_its_time(tmp_path: Path) -> None:
    certified = stores.certify(tmp_path, expired=True)
    with stores.tls_server(tmp_path, certified) as address:
        said = await said_of(f"rediss://{address}?ssl_ca_certs={certified.ca}")
    assert "has a certificate out of its time (certificate has expired): renew it" in said


async def test_a_server_that_wants_a_certificate_of_ours(tmp_path: Path) -> None:
    certified = stores.certify(tmp_path)
    with stores.tls_server(tmp_path, certified, "--tls-auth-clients", "yes") as address:
        url = f"rediss://{address}?ssl_ca_certs={certified.ca}"
        await looks(f"{url}&ssl_certfile={certified.certificate}&ssl_keyfile={certified.key}")
        said = await said_of(url)
        # Whoever has begun to speak by then hears of a reset alone, and asks once more.
        asked = str(await diagnosed(exceptions.ConnectionError("reset"), url, Link(url)))
    assert asked.endswith(said)
    assert (
        "wants a certificate of its clients: name one with ssl_certfile and its key with ssl_keyfile" in said
    )


async def test_tls_where_there_is_none_and_the_other_way_round(
    private: str, single: str, certified: Certified
) -> None:
    assert await said_of(f"redis://:{PASSWORD}@{private}") == (
        f"the store at redis://{private} speaks TLS on {private}: use rediss:// there"
    )
    url = f"rediss://{single}?ssl_ca_certs={certified.ca}&socket_connect_timeout=1"
    assert await said_of(url) == (
        f"the store at rediss://{single} speaks no TLS on {single}: use redis:// there"
    )
    url = f"redis+cluster://{private}"
    assert await said_of(url) == f"the store at {url} speaks TLS on {private}: use rediss+cluster:// there"
    url = f"redis+sentinel://{private}/shop"
    assert await said_of(url) == f"the store at {url} speaks TLS on {private}: use rediss+sentinel:// there"


async def test_a_cluster_over_tls(tmp_path: Path, certified: Certified) -> None:
    with stores.clustered(tmp_path, stores.system_redis(), certified=certified) as them:
        await looks(f"{them.url}?ssl_ca_certs={certified.ca}")
        assert "has a certificate that doesn't verify (" in await said_of(them.url)
        node = f"rediss://{LOOPBACK}:{next(iter(them.nodes))}"
        for database in ("", "/1"):
            assert await said_of(f"{node}{database}?ssl_ca_certs={certified.ca}") == (
                f"the store at {node}{database} is a node of a cluster: "
                "use rediss+cluster:// in place of rediss://"
            )


async def test_sentinels_over_tls(private: str, certified: Certified, tmp_path: Path) -> None:
    port = free_port()
    lines = [
        *("tls-replication yes", "port 0", f"tls-port {port}", "tls-auth-clients no"),
        *(f"tls-cert-file {certified.certificate}", f"tls-key-file {certified.key}"),
        *(f"tls-ca-cert-file {certified.ca}", f"sentinel monitor shop {private.replace(':', ' ')} 1"),
    ]
    (tmp_path / "conf").write_text("\n".join([*lines, ""]))
    with stores.running(stores.system_redis(), tmp_path, str(tmp_path / "conf"), "--sentinel"):
        stores.await_server(f"rediss://{LOOPBACK}:{port}?ssl_cert_reqs=none")
        url = f"rediss+sentinel://{LOOPBACK}:{port}/shop"
        await looks(f"{url}?ssl_ca_certs={certified.ca}")
        assert "has a certificate that doesn't verify (" in await said_of(url)


@pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
def test_files_that_are_not_there_are_told_by_the_settings(option: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=rf"not allowed: {option} names no file that is there; allowed: "):
        load(redis_url=f"rediss://host?{option}={tmp_path}/none.pem", secret=SECRET)


def test_files_that_will_not_do_are_told_by_the_settings(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    with pytest.raises(SettingsError, match="its ssl options, or the files they name, can't be used"):
        load(redis_url=f"rediss://host?ssl_ca_certs={tmp_path}/empty.pem", secret=SECRET)


# --- and then ----------------------------------------------------------------------------------


def test_the_command_line_ends_with_3(single: str) -> None:
    command = [sys.executable, "-m", "waitroom", "serve", "--redis-url", f"redis+cluster://{single}"]
    done = subprocess.run(
        command,
        env={**os.environ, "WAITROOM_SECRET": SECRET},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.startswith(
        f"waitroom: the store at redis+cluster://{single} is no node of a cluster: "
    )
    assert done.stderr.count("\n") == 1


async def test_the_sites_start_is_stopped(single: str) -> None:
    gate = WaitingRoomMiddleware(site, redis_url=f"redis+cluster://{single}", secret=SECRET)
    async with lifespan(gate) as sent:
        assert sent[0]["type"] == "lifespan.startup.failed"
        assert "is no node of a cluster: use redis:// for a single server" in sent[0]["message"]
