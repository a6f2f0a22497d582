"""What the gate, and all that it uses, writes into a log that is told everything: nobody's token, cookie or address."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from tests import stores
from tests.conftest import SECRET
from tests.gates import (
    API,
    DEADLINE_SECONDS,
    Server,
    bearer,
    is_inside,
    join,
    page_data,
    status,
    told_by_the_store,
    uvicorn,
)
from tests.waiting import until
from waitroom.line.tickets import Ticket, Tokens, new_id

ROOM = "logged"
ADDRESS = "203.0.113.77"
"""Of all visitors, as the proxy in front tells it; the server's own, which it prints at its start, is another."""
EVERYTHING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(levelname)s %(name)s %(message)s"}},
    "handlers": {"err": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["err"], "level": "DEBUG"},
}


class Given:
    """Visitors, and all that was given to them or came from them and is nobody else's business."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.texts = {SECRET, ADDRESS}

    def visitor(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.server.url,
            timeout=DEADLINE_SECONDS,
            headers={"X-Forwarded-For": ADDRESS, "User-Agent": "Nosy/7.7"},
            event_hooks={"response": [self.note]},
        )

    def note(self, response: httpx.Response) -> None:
        response.read()
        for cookie in response.headers.get_list("set-cookie"):
            self.keep(cookie.partition("=")[2].partition(";")[0])
        if response.headers.get("content-type", "").endswith("json") and response.content:
            for name in ("ticket", "pass"):
                self.keep(response.json().get(name, ""))

    def keep(self, token: str) -> None:
        """Neither the token may turn up nor its signature, nor the id in it."""
        if token:
            self.texts |= {token, token.rpartition(".")[2]}
            credential = Tokens([SECRET], ROOM).read(token)
            if credential:
                self.texts.add(credential.id)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    with stores.redis_server(tmp_path) as url:
        yield url


def lives_through(given: Given, store: str) -> None:
    """Come in, wait, ask, be called, leave; bring what is forged and broken; see the store go."""
    with given.visitor() as inside, given.visitor() as waiting, given.visitor() as nosy:
        until(lambda: is_inside(inside.get("/?private=word")))
        until(lambda: inside.get("/").headers.get("set-cookie") is None)
        until(lambda: 'id="data"' in waiting.get("/").text and page_data(waiting.get("/"))["number"])
        ticket = str(next(iter(waiting.cookies.values())))
        assert status(nosy, headers=bearer(ticket)).json()["status"] == "waiting"
        forged = Tokens([SECRET[::-1]], ROOM).sign(Ticket(1, "e", 1, new_id(), 1, 0))
        for token in (forged, f"{ticket[:-2]}xx", "ti.1.2.3.4.5.6.no-signature", "\xff" * 40, "x" * 70_000):
            given.keep(token)
            nosy.get("/", headers={b"Cookie": f"waitroom-{ROOM}={token}".encode("latin-1")})
            nosy.get(f"{API}/status", headers={b"Authorization": f"Bearer {token}".encode("latin-1")})
            nosy.cookies.clear()
        join(nosy)
        assert told_by_the_store(lambda: inside.delete(f"{API}/ticket")).status_code == 204
        until(lambda: is_inside(waiting.get("/")))
        nosy.post("/checkout", content="card=4111")
        with redis.Redis.from_url(store) as client:
            client.shutdown(nosave=True)
        until(lambda: "away" in nosy.get(f"{API}/readyz").text)
        assert is_inside(waiting.get("/"))
        assert waiting.delete(f"{API}/ticket").status_code == 503
        nosy.get("/")


def test_p8_a_log_that_is_told_everything_names_nobody(store: str, tmp_path: Path) -> None:
    config = tmp_path / "logging.json"
    config.write_text(json.dumps(EVERYTHING))
    settings: dict[str, Any] = {"redis_url": store, "secret": SECRET, "room": ROOM, "capacity": 1}
    arguments = ("--factory", "--no-access-log", "--log-config", str(config))
    with uvicorn("tests.sites:plain_site", arguments=arguments, **settings) as server:
        given = Given(server)
        lives_through(given, store)
    assert "DEBUG waitroom" in server.said, "it is told everything"
    assert "those inside go on" in server.said
    assert len(given.texts) > 20
    assert [text for text in given.texts if text in server.said] == []
    for theirs in ("private=word", "Nosy/7.7", "4111", f"waitroom-{ROOM}="):
        assert theirs not in server.said


def test_p8_no_token_is_in_the_servers_own_log_of_requests(store: str) -> None:
    """It tells addresses and URLs; what is secret is in none of the gate's URLs, and the pages lead to none."""
    settings: dict[str, Any] = {"redis_url": store, "secret": SECRET, "room": ROOM, "capacity": 1}
    with uvicorn("tests.sites:plain_site", arguments=("--factory",), **settings) as server:
        given = Given(server)
        lives_through(given, store)
    assert '"GET / HTTP/1.1" 503' in server.said
    given.texts.remove(ADDRESS)
    assert [text for text in given.texts if text in server.said] == []


def test_p8_what_everybody_is_told_of_a_room_is_numbers_alone(store: str) -> None:
    """`/window` and the probes: nothing that could name a visitor."""
    settings: dict[str, Any] = {"redis_url": store, "secret": SECRET, "room": ROOM, "capacity": 1}
    with uvicorn("tests.sites:plain_site", arguments=("--factory",), **settings) as server:
        given = Given(server)
        with given.visitor() as inside, given.visitor() as waiting:
            until(lambda: is_inside(inside.get("/")))
            join(waiting)
            told = waiting.get(f"{API}/window").json()
            words = {name for name, value in told.items() if isinstance(value, str)}
            assert words == {"room", "state", "epoch"}
            numbers = told.pop("left")
            assert {type(value) for value in (*told.values(), *numbers)} <= {str, int, float, type(None)}
            for route in ("window", "livez", "readyz"):
                shown = waiting.get(f"{API}/{route}").text
                assert [text for text in given.texts if text in shown] == []
