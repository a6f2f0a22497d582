"""What is read of every request: its path, and the gate's cookie among others."""

from typing import Any

import pytest

from benchmarks.micro.timing import Benchmark
from benchmarks.paths import ROOMS, asked, plain, repeated, ways
from benchmarks.servers import SECRET
from benchmarks.visitors import among_others, others
from waitroom.config.settings import load
from waitroom.line.tickets import Ticket, Tokens
from waitroom.paths.owners import Owners
from waitroom.paths.patterns import Paths
from waitroom.web.requests.cookies import Cookies, Stripper

PATTERNS = ("/checkout/*", "/account/*", "/api/orders/*")
SETTINGS = load(redis_url="redis://localhost", secret=SECRET, room="shop")
TOKEN = Tokens([SECRET], "shop").sign(
    Ticket(1, "0123456789abcdef0123-x", 4711, "A" * 22, 1_760_000_000_000, 0)
)


def scope(cookie: str) -> dict[str, Any]:
    headers = [(b"host", b"shop.example"), (b"accept", b"text/html"), (b"cookie", cookie.encode())]
    return {"type": "http", "scheme": "http", "method": "GET", "path": "/shop", "headers": headers}


@pytest.mark.parametrize("path", ["/checkout/cart", "/about/us", "/Checkout//%63art/../pay;a=b"])
def test_path(benchmark: Benchmark, path: str) -> None:
    paths = Paths(PATTERNS, ("/robots.txt",))
    assert benchmark(paths.gated, path) is (path != "/about/us")


def test_every_path_is_protected(benchmark: Benchmark) -> None:
    assert benchmark(Paths(("/*",), ("/robots.txt",)).gated, "/shop/item/4711")


def test_areas_of_two_rooms(benchmark: Benchmark) -> None:
    areas = Owners([(("/checkout/*",), ()), (("/*",), ())])
    assert benchmark(areas.rooms_of, "/checkout/cart")


def test_cookie_among_others(benchmark: Benchmark) -> None:
    assert benchmark(Cookies(SETTINGS).tokens, scope(among_others("waitroom-shop", TOKEN))) == [TOKEN]


def test_no_cookie_of_ours(benchmark: Benchmark) -> None:
    assert benchmark(Cookies(SETTINGS).tokens, scope(others())) == []


def test_cookie_taken_off(benchmark: Benchmark) -> None:
    stripper = Stripper([Cookies(SETTINGS)])
    stripped = benchmark(stripper.strip, scope(among_others("waitroom-shop", TOKEN))["headers"])
    assert TOKEN not in str(stripped)


@pytest.mark.parametrize("rooms", ROOMS)
@pytest.mark.parametrize("length", [100, 500, 8000])
@pytest.mark.parametrize(
    "beginning", ["plain", "/é%252f\u200b", "/.%20/%2e%2e%2e", "/%5c.%5c%5c", "/a//b/../ガ;c"]
)
def test_worst_paths(benchmark: Benchmark, rooms: int, length: int, beginning: str) -> None:
    scope = asked(plain(length) if beginning == "plain" else repeated(beginning, length))
    found = ways(rooms)
    assert benchmark(lambda: found.find(**scope)).route is None
