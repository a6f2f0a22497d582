"""The demo: the shop served for real, and the crowd let loose on it."""

import asyncio
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from demo_app.crowd import Crowd, Temper, held_for
from demo_app.edition import Edition, SoldOut
from demo_app.guests import Guests
from demo_app.shop import create_app, in_words
from tests.waiting import until

ROOT = Path(__file__).parent.parent
DEADLINE = 30.0


@dataclass(frozen=True)
class Visitor:
    room: str
    number: int
    session: str
    waited_seconds: float


class Doorkeeper:
    """Stands where the gate stands: two waiting pages for each new cookie, then in. Notes what it saw."""

    def __init__(self, app: ASGIApp, pages: int = 2) -> None:
        self.app = app
        self.pages = pages
        self.asked: dict[str, int] = {}
        self.requests: list[tuple[str, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        self.requests.append((scope["method"], scope["path"]))
        cookie = dict(scope["headers"]).get(b"cookie", b"").decode()
        name = cookie.removeprefix("place=") or f"guest-{len(self.asked) + 1}"
        self.asked[name] = self.asked.get(name, 0) + 1
        if self.asked[name] <= self.pages:
            headers = [(b"refresh", b"0"), (b"retry-after", b"0"), (b"x-robots-tag", b"noindex")]
            headers.append((b"set-cookie", f"place={name}".encode()))
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": b"Please wait"})
            return
        number = int(name.rpartition("-")[2])
        scope.setdefault("state", {})["waitroom"] = Visitor("default", number, name, 72.4)
        await self.app(scope, receive, send)


@contextmanager
def serving(app: ASGIApp, port: int = 0) -> Iterator[str]:
    """Serve `app` with uvicorn, on a free port unless told; yields the base URL."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="error", ws="none", loop="asyncio", timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: server.started or not thread.is_alive())
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def visit() -> Iterator[httpx.Client]:
    """A browser in the shop, without a gate."""
    with serving(create_app(Edition(size=3))) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


@pytest.fixture
def pass_holder() -> Iterator[httpx.Client]:
    """A browser in the shop, let in as number 1."""
    with (
        serving(Doorkeeper(create_app(), pages=0)) as url,
        httpx.Client(base_url=url, trust_env=False, headers={"Cookie": "place=guest-1"}) as client,
    ):
        yield client


# -- the shop ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/checkout", "/thanks", "/inside", "/bye"])
def test_every_page_stands_by_itself(visit: httpx.Client, path: str) -> None:
    response = visit.get(path)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "private, no-cache"
    assert "waitroom-command" not in response.headers
    assert "<script" not in response.text
    # Nothing is loaded from anywhere: links stay on the site, and pictures and styles are in the page.
    loaded = re.findall(r'(?:href|src|action)="([^"]*)"', response.text)
    assert all(re.match(r"/(?!/)|data:", address) for address in loaded)


def test_the_till_sells_and_redirects(visit: httpx.Client) -> None:
    order_id = re.search(r'name="order" value="([^"]+)"', visit.get("/checkout").text)
    assert order_id
    form = {"order": order_id[1], "name": "Ada", "words": "Take your time", "pieces": "2"}
    sold = visit.post("/checkout", data=form)
    assert (sold.status_code, sold.headers["location"]) == (303, f"/thanks?order={order_id[1]}")
    again = visit.post("/checkout", data=form)
    assert again.headers["location"] == sold.headers["location"]
    receipt = visit.get(sold.headers["location"]).text
    assert "Thank you, Ada" in receipt
    assert "No. 1 and 2 of 3" in receipt
    assert "1 of 3 left" in visit.get("/").text


def test_the_receipt_is_for_its_buyer(visit: httpx.Client) -> None:
    sold = visit.post("/checkout", data={"name": "Ada"})
    order_id = parse_qs(urlsplit(sold.headers["location"]).query)["order"][0]
    assert len(order_id) >= 16
    assert "Ada" not in visit.get("/thanks?order=1").text


def test_the_till_stays_open_when_there_are_too_few(visit: httpx.Client) -> None:
    assert visit.post("/checkout", data={"name": "Ada", "pieces": "2"}).status_code == 303
    too_many = visit.post("/checkout", data={"name": "Boris", "pieces": "2"})
    assert too_many.status_code == 409
    assert "Only 1 left" in too_many.text
    assert 'value="Boris"' in too_many.text
    assert visit.post("/checkout", data={"name": "Boris"}).status_code == 303
    late = visit.post("/checkout", data={"name": "Chiara"})
    assert late.status_code == 409
    assert "The last one has just been sold" in late.text
    assert "Sold out" in visit.get("/").text


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({}, "who it is for"),
        ({"name": "   "}, "who it is for"),
        ({"name": "x" * 61}, "has 61 letters"),
        ({"name": "Ada", "words": "x" * 25}, "has 25 letters"),
        ({"name": "Ada", "pieces": "0"}, "between 1 and 2"),
        ({"name": "Ada", "pieces": "²"}, "between 1 and 2"),
    ],
)
def test_a_wrong_form_is_asked_for_again(visit: httpx.Client, form: dict[str, str], said: str) -> None:
    response = visit.post("/checkout", data=form)
    assert response.status_code == 422
    assert said in response.text
    assert "3 of 3 left" in visit.get("/").text


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"name=" + b"x" * 9000, 413), (b"a=1&" * 30, 400), (b"name=\xff\xfe&order=../x", 303)],
)
def test_an_odd_body_is_no_error_of_the_shop(visit: httpx.Client, body: bytes, status: int) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = visit.post("/checkout", content=body, headers=headers)
    assert response.status_code == status
    assert "../x" not in response.headers.get("location", "")


def test_what_a_visitor_writes_is_shown_and_not_run(visit: httpx.Client) -> None:
    nasty = "<script>alert('1')</script>"
    sold = visit.post("/checkout", data={"name": nasty, "words": '"><b>'})
    receipt = visit.get(sold.headers["location"]).text
    assert "&lt;script&gt;" in receipt
    wrong = visit.post("/checkout", data={"name": nasty, "words": '"' * 25}).text
    missing = visit.get("/<script>").text
    for page in (receipt, wrong, missing):
        assert "<script" not in page
        assert '"><b>' not in page


def test_a_page_that_is_not_there(visit: httpx.Client) -> None:
    missing = visit.get("/cheaper")
    assert missing.status_code == 404
    assert "Nothing on this shelf" in missing.text
    assert visit.delete("/checkout").status_code == 405


def test_without_a_gate_nobody_is_counted(visit: httpx.Client) -> None:
    assert "The door stands open" in visit.get("/inside").text
    assert "You came in" not in visit.get("/").text


def test_who_is_inside(pass_holder: httpx.Client) -> None:
    pass_holder.get("/", headers={"Cookie": "place=guest-7"})
    pass_holder.get("/checkout")
    page = pass_holder.get("/inside").text
    assert '<meta http-equiv="refresh" content="5">' in page
    rows = re.findall(r"<tr.*?><td>(\d+).*?</td><td>(.*?)</td><td>(.*?)</td>", page)
    assert rows == [("7", "1 min 12 s", "at the hourglass"), ("1", "1 min 12 s", "looking around")]
    assert page.count(">you<") == 1
    assert "guest-" not in page  # a session's id is its own affair
    assert "number 1 after 1 min 12 s" in page


def test_leaving_asks_the_gate_to_let_go(pass_holder: httpx.Client) -> None:
    asked = pass_holder.get("/bye")
    assert "waitroom-command" not in asked.headers
    left = pass_holder.post("/bye")
    assert left.status_code == 200
    assert left.headers["waitroom-command"] == "release"
    seen = pass_holder.get("/inside", headers={"Cookie": "place=guest-2"}).text
    assert "1 seen in the last minute" in seen


def test_an_edition_comes_back_after_a_rest() -> None:
    now = 0.0
    edition = Edition(size=2, rest_seconds=60, clock=lambda: now, remember=1)
    first = edition.sell("a", "Ada", "", 1)
    assert edition.sell("a", "Ada", "", 1) is first
    edition.sell("b", "Boris", "", 1)
    with pytest.raises(SoldOut):
        edition.sell("c", "Chiara", "", 1)
    assert edition.order("a") is None  # only so many are remembered
    now = 60.0
    assert edition.left == 2
    assert edition.sell("c", "Chiara", "", 2).last == 2


def test_the_guest_book_forgets() -> None:
    now = 0.0
    guests = Guests(keep_seconds=60, limit=2, clock=lambda: now)
    for number in (3, 2, 1):
        guests.see(Visitor("default", number, str(number), 0), "looking")
    assert [guest.number for guest in guests.inside()] == [2, 1]
    now = 40.0
    guests.see(Visitor("default", 2, "2", 0), "buying")
    now = 70.0
    assert [(guest.number, guest.doing) for guest in guests.inside()] == [(2, "buying")]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "no time at all"),
        (48, "48 s"),
        (59.6, "1 min"),
        (72.4, "1 min 12 s"),
        (7200, "2 h"),
        (7500, "2 h 5 min"),
    ],
)
def test_lengths_of_time_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


# -- the crowd --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (200, {}, None),
        (404, {}, None),
        (503, {"Refresh": "1", "Retry-After": "7"}, 1.0),
        (202, {"Refresh": "2.5; url=/", "Retry-After": "7"}, 2.5),
        (503, {"Retry-After": "7"}, 7.0),
        (429, {"Retry-After": "100000"}, 60.0),
        (503, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, 5.0),
        (503, {}, 5.0),
    ],
)
def test_which_page_is_a_waiting_page(status: int, headers: dict[str, str], seconds: float | None) -> None:
    assert held_for(httpx.Response(status, headers=headers)) == seconds


def test_the_same_seed_brings_the_same_people() -> None:
    def people(seed: int) -> list[Temper]:
        chance = random.Random(seed)
        return [Temper.draw(chance) for _ in range(200)]

    assert people(1) == people(1)
    assert people(1) != people(2)
    assert {temper.patience for temper in people(1)} == {None, 1, 2, 3, 4, 5}


async def test_the_crowd_waits_browses_buys_and_leaves() -> None:
    keeper = Doorkeeper(create_app(Edition(size=10_000)))

    async def hurry(seconds: float) -> None:
        await asyncio.sleep(seconds / 100)

    with serving(keeper) as url:
        crowd = Crowd(url, random.Random(7), hurry)
        task = asyncio.create_task(crowd.gather(waiting=20, most=40))
        wanted = {
            ("GET", "/"),
            ("GET", "/inside"),
            ("POST", "/checkout"),
            ("GET", "/thanks"),
            ("POST", "/bye"),
        }
        deadline = time.monotonic() + DEADLINE
        while not wanted <= set(keeper.requests) or 1 not in keeper.asked.values():
            assert time.monotonic() < deadline
            assert crowd.outside >= 0
            assert 0 <= crowd.inside <= 40
            await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])
    assert (crowd.outside, crowd.inside) == (0, 0)
    assert max(keeper.asked.values()) > 2  # they kept their cookies, and so came in


@contextmanager
def running_crowd(url: str) -> Iterator[subprocess.Popen[str]]:
    order = [sys.executable, "-m", "demo_app.crowd", "--url", url, "--seed", "7", "--waiting", "10"]
    with subprocess.Popen(
        order, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as crowd:
        try:
            yield crowd
        finally:
            crowd.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_crowd_goes_without_a_word(number: signal.Signals) -> None:
    keeper = Doorkeeper(create_app(), pages=2)
    with serving(keeper) as url, running_crowd(url) as crowd:
        until(lambda: 3 in keeper.asked.values())
        crowd.send_signal(number)
        said, _ = crowd.communicate(timeout=DEADLINE)
        assert (crowd.returncode, said) == (0, "")


def test_the_crowd_outlives_the_server() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with running_crowd(f"http://127.0.0.1:{port}") as crowd:
        for _ in range(2):
            keeper = Doorkeeper(create_app())
            with serving(keeper, port):
                until(lambda seen=keeper.asked: len(seen) >= 3 or crowd.poll() is not None)  # type: ignore[misc]
        assert crowd.poll() is None
        crowd.terminate()
        said, _ = crowd.communicate(timeout=DEADLINE)
        assert (crowd.returncode, said) == (0, "")


def test_the_crowd_goes_with_its_parent() -> None:
    code = (
        "import subprocess, sys, time\n"
        "crowd = subprocess.Popen([sys.executable, '-m', 'demo_app.crowd', '--url', sys.argv[1]])\n"
        "print(crowd.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    keeper = Doorkeeper(create_app())
    with serving(keeper) as url:
        order = [sys.executable, "-c", code, url]
        with subprocess.Popen(order, cwd=ROOT, text=True, stdout=subprocess.PIPE) as parent:
            assert parent.stdout
            crowd = int(parent.stdout.readline())
            until(lambda: keeper.asked)
            parent.kill()
            until(lambda: not alive(crowd))


def alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
