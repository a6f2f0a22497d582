"""`docs/gateways.md` on stale copies, with a real nginx: what replaces the waiting page, and what does not."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.conftest import SECRET
from tests.gates import API, DEADLINE_SECONDS, Server, uvicorn
from tests.nginx import cache
from tests.packaged import ROOT
from tests.waiting import until

DOC = (ROOT / "docs" / "gateways.md").read_text("utf-8")
(DOCUMENTED,) = re.findall(r"^## nginx\n\n```nginx\n(.*?)```", DOC, re.MULTILINE | re.DOTALL)
PAGE = {"Accept": "text/html"}
BRIEF = "/cached?control=public,max-age%3D1"
KEPT = "inside, for all"


@contextmanager
def behind_a_cache(store_url: str, room: str, settings: str) -> Iterator[tuple[Server, Server]]:
    """A gate with room for one, and the cache in front of it."""
    site = "tests.sites:starlette_site"
    with (
        uvicorn(site, redis_url=store_url, secret=SECRET, room=room, capacity=1) as gate,
        cache(gate, settings) as front,
    ):
        yield gate, front


@pytest.mark.parametrize(
    ("settings", "path", "replaced"),
    [
        (DOCUMENTED, BRIEF, False),
        (DOCUMENTED, f"{BRIEF},stale-if-error%3D600", False),
        ("proxy_cache_use_stale error timeout http_503;", BRIEF, True),
    ],
    ids=["as documented", "the site says stale-if-error", "http_503"],
)
def test_what_an_old_copy_replaces(
    store_url: str, room: str, settings: str, path: str, replaced: bool
) -> None:
    with (
        behind_a_cache(store_url, room, settings) as (_, front),
        httpx.Client(base_url=front.url, timeout=DEADLINE_SECONDS, headers=PAGE) as first,
        httpx.Client(base_url=front.url, timeout=DEADLINE_SECONDS, headers=PAGE) as second,
    ):
        first.get("/")  # with the pass comes a page for one alone; the next is for all, and is kept
        until(lambda: first.get(path).headers["x-cache"] == "HIT")
        told = second.get(path)
        assert told.text == KEPT, "what is kept and fresh goes out without asking the gate"

        def is_old() -> bool:
            return second.get(path).headers["x-cache"] != "HIT"

        until(is_old)
        told = second.get(path)
        assert (told.status_code, told.text == KEPT) == ((200, True) if replaced else (503, False))


@pytest.mark.parametrize(
    ("settings", "fresh"),
    [
        (DOCUMENTED + "proxy_cache_valid any 10m;", True),
        ("proxy_ignore_headers Cache-Control; proxy_cache_valid any 10m;", False),
    ],
    ids=["as documented", "against Cache-Control"],
)
def test_the_window_is_kept_no_longer_than_it_says(
    store_url: str, room: str, settings: str, fresh: bool
) -> None:
    with (
        behind_a_cache(store_url, room, settings) as (gate, front),
        httpx.Client(base_url=front.url, timeout=DEADLINE_SECONDS) as client,
    ):
        assert client.get(f"{API}/window").json()["issued"] == 0
        client.post(f"{API}/join")
        until(lambda: httpx.get(f"{gate.url}{API}/window").json()["issued"] == 1)
        if fresh:
            until(lambda: client.get(f"{API}/window").json()["issued"] == 1)
        else:
            time.sleep(1.5)  # longer than max-age: there is nothing else to wait for
            assert client.get(f"{API}/window").json()["issued"] == 0
