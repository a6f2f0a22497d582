"""A store that is slow, refuses, or is cut off, in front of real servers: who notices what, and how it ends (P6).

Those inside notice nothing, those in line see the page with their number as of when it was known, newcomers are held;
once the fault is over all goes on, without a restart. What a store loses is another matter: see the tests of healing.
"""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from tests import stores
from tests.conftest import SECRET
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.gates import API, DEADLINE_SECONDS, Server, is_inside, join, page_data, status, uvicorn
from tests.test_counters import counted
from tests.test_store_rights import DOCUMENTED, PASSWORD, USER
from tests.waiting import until

ROOM = "faults"
LOADED_KEYS = 20_000


@dataclass
class House:
    """A gate with one visitor inside and one in line, on a store that things can be done to."""

    server: Server
    proxy: FaultProxy
    store_url: str
    """Past the proxy, as the store's owner."""
    admin: Any
    guest: httpx.Client
    waits: httpx.Client
    running: list[threading.Thread] = field(default_factory=list)

    def visitor(self) -> httpx.Client:
        return httpx.Client(base_url=self.server.url, timeout=DEADLINE_SECONDS)

    def ready(self) -> str:
        return httpx.get(f"{self.server.url}{API}/readyz", timeout=DEADLINE_SECONDS).text

    def is_away(self) -> bool:
        return "away since" in self.ready()

    def is_back(self) -> bool:
        return self.ready() == "ready\n"

    def in_background(self, *command: Any) -> None:
        """Have the store do something that takes long."""

        def run() -> None:
            with redis.Redis.from_url(self.store_url) as client, suppress(redis.RedisError):
                client.execute_command(*command)

        self.running.append(threading.Thread(target=run))
        self.running[-1].start()

    def end_connections(self) -> None:
        """Have the store end the gate's connections; the next ones meet what is set up for them."""
        self.admin.execute_command("CLIENT KILL", "USER", USER)


@contextmanager
def house(folder: Path, **settings: Any) -> Iterator[House]:
    with ExitStack() as stack:
        flags = ("--enable-debug-command", "yes", "--busy-reply-threshold", "100")
        url = stack.enter_context(stores.redis_server(folder, *flags))
        admin = stack.enter_context(redis.Redis.from_url(url, single_connection_client=True))
        admin.execute_command(*DOCUMENTED)
        proxy = stack.enter_context(fault_proxy(url))
        chosen: dict[str, Any] = {
            "room": ROOM,
            "capacity": 1,
            "sync_seconds": 0.1,
            "settle_seconds": 0.5,
            "secret": SECRET,
        }
        chosen |= {"redis_url": f"redis://{USER}:{PASSWORD}@127.0.0.1:{proxy.port}"} | settings
        server = stack.enter_context(uvicorn("tests.sites:starlette_site", **chosen))
        guest, waits = stack.enter_context(visitor(server)), stack.enter_context(visitor(server))
        here = House(server, proxy, url, admin, guest, waits)
        join(here.guest)
        until(lambda: status(here.guest).json()["status"] == "active")
        until(lambda: here.waits.get("/") and page_data(here.waits.get("/"))["number"] == 2)
        yield here
    assert "Traceback" not in server.said, server.said
    for secret in (SECRET, PASSWORD):
        assert secret not in server.said


def visitor(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("store")) as here:
        yield here


# --- what the store can do, and how it ends ------------------------------------------------------


def slow_to_answer(here: House) -> None:
    here.proxy.delay("from_store", 5)


def slow_to_hear(here: House) -> None:
    here.proxy.delay("to_store", 5)


def hears_nothing(here: House) -> None:
    here.proxy.lead_nowhere()


def refuses_connections(here: House) -> None:
    here.proxy.refuse()


def cuts_its_answers(here: House) -> None:
    here.proxy.cut_answers(after=7)


def becomes_a_replica(here: House) -> None:
    here.admin.execute_command("REPLICAOF", "127.0.0.1", 1)


def is_primary_again(here: House) -> None:
    here.admin.execute_command("REPLICAOF", "NO", "ONE")


def takes_another_password(here: House) -> None:
    here.admin.execute_command("ACL SETUSER", USER, "resetpass", ">another")
    here.end_connections()


def takes_a_right_away(here: House) -> None:
    here.admin.execute_command("ACL SETUSER", USER, "-evalsha")


def takes_the_old_password(here: House) -> None:
    here.admin.execute_command(*DOCUMENTED)


def has_no_connection_left(here: House) -> None:
    here.admin.config_set("maxclients", 1)
    here.end_connections()


def has_connections_again(here: House) -> None:
    here.admin.config_set("maxclients", 1000)


def is_busy_with_a_script(here: House) -> None:
    here.in_background("EVAL", "while true do end", 0)


def is_rid_of_the_script(here: House) -> None:
    here.admin.script_kill()


def loads_its_data(here: House) -> None:
    with here.admin.pipeline(transaction=False) as filling:
        for key in range(LOADED_KEYS):
            filling.set(f"other:{key}", "")
        filling.execute()
    here.admin.config_set("loading-process-events-interval-bytes", 1024)
    here.admin.config_set("key-load-delay", 1000)
    here.in_background("DEBUG RELOAD")


def has_loaded_its_data(here: House) -> None:
    here.admin.config_set("key-load-delay", 0)


def heal(here: House) -> None:
    here.proxy.heal()


Act = Callable[[House], None]
FAULTS: list[tuple[Act, Act]] = [
    (slow_to_answer, heal),
    (slow_to_hear, heal),
    (hears_nothing, heal),
    (refuses_connections, heal),
    (cuts_its_answers, heal),
    (becomes_a_replica, is_primary_again),
    (takes_another_password, takes_the_old_password),
    (takes_a_right_away, takes_the_old_password),
    (has_no_connection_left, has_connections_again),
    (is_busy_with_a_script, is_rid_of_the_script),
    (loads_its_data, has_loaded_its_data),
]


@pytest.mark.parametrize(("begins", "ends"), FAULTS, ids=[begins.__name__ for begins, _ in FAULTS])
def test_p6_a_store_that_fails_is_noticed_by_newcomers_alone(shop: House, begins: Act, ends: Act) -> None:
    before = status(shop.waits).json()["ahead"]
    begins(shop)
    try:
        with shop.visitor() as stranger:

            def is_noticed() -> bool:
                assert is_inside(shop.guest.get("/")), "P6"
                stranger.get("/")  # it may take somebody who needs a number
                return shop.is_away()

            until(is_noticed)
            stranger.cookies.clear()
            for _ in range(10):
                assert is_inside(shop.guest.post("/checkout", content="order")), "P6"
            held = shop.waits.get("/")
            told = page_data(held)
            assert (held.status_code, told["kind"], told["number"]) == (503, "away", 2), "P4"
            assert updated(held) <= updated(shop.waits.get("/"))
            assert "As of <time" in held.text
            assert status(shop.waits).json()["ahead"] == before
            newcomer = stranger.get("/")
            assert page_data(newcomer)["kind"] == "away"
            assert not is_inside(newcomer)
            program = stranger.post("/", headers={"Accept": "application/json"})
            assert (program.status_code, program.json()["type"]) == (503, "urn:waitroom:waiting")
            assert program.headers["content-type"] == "application/problem+json"
    finally:
        ends(shop)
    until(shop.is_back)
    for thread in shop.running:
        thread.join(DEADLINE_SECONDS)
    assert is_inside(shop.guest.get("/"))
    until(lambda: page_data(shop.waits.get("/"))["kind"] == "waiting")
    assert page_data(shop.waits.get("/"))["number"] == 2, "P4"
    window = shop.guest.get(f"{API}/window").json()
    assert window["inside"] == 1, "P1"


def updated(page: httpx.Response) -> str:
    """When what a page says was so."""
    found = re.search(r'<time id="updated" datetime="([^"]+)">', page.text)
    assert found is not None
    return found[1]


def test_a_store_that_has_forgotten_the_scripts_is_not_away(shop: House) -> None:
    shop.admin.script_flush()
    assert status(shop.waits).json()["number"] == 2
    assert shop.guest.get(f"{API}/window").json()["state"] == "queueing"
    assert shop.is_back()


def test_a_store_without_memory_goes_on_with_what_it_has_begun(shop: House) -> None:
    """Servers refuse a script's first write if it takes memory; the rooms' first ones free some, or none."""
    shop.admin.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            shop.admin.set("another", "key")
        with shop.visitor() as stranger:
            joined = join(stranger)
            assert (joined.status_code, joined.json()["status"]) == (201, "waiting")
        assert is_inside(shop.guest.get("/"))
        assert shop.is_back()
    finally:
        shop.admin.config_set("maxmemory", 0)


@pytest.mark.parametrize("how", ["in order", "reset", "half"])
def test_connections_that_end_are_made_anew(shop: House, how: str) -> None:
    """What was idle or under way is asked once more; who comes meanwhile sees at most a page."""
    shop.proxy.half_close() if how == "half" else shop.proxy.cut(reset=how == "reset")
    assert is_inside(shop.guest.get("/"))
    assert page_data(shop.waits.get("/"))["number"] == 2
    until(shop.is_back)


def test_the_faults_are_counted(shop: House) -> None:
    """After all of the above."""
    told: dict[str, int] = {}

    def are_counted() -> bool:
        told.update(counted(shop.store_url, ROOM))
        return {"store_failures", "held_without_store", "unsent_requests"} <= set(told)

    until(are_counted)
