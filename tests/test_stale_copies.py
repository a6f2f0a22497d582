"""`docs/gateways.md` on stale copies, with a real nginx: what replaces the waiting page, and what does not."""

import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests import stores
from tests.conftest import SECRET
from tests.gates import API, DEADLINE_SECONDS, Server, free_port, started, uvicorn
from tests.packaged import ROOT
from tests.waiting import until

CACHE = """
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/cache keys_zone=all:1m inactive=1h;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {gate};
            proxy_set_header Host $http_host;
            proxy_cache all;
            add_header X-Cache $upstream_cache_status always;
            {settings}
        }}
    }}
}}
"""
DOC = (ROOT / "docs" / "gateways.md").read_text("utf-8")
(DOCUMENTED,) = re.findall(r"^## nginx\n\n```nginx\n(.*?)```", DOC, re.MULTILINE | re.DOTALL)
PAGE = {"Accept": "text/html"}
BRIEF = "/cached?control=public,max-age%3D1"
KEPT = "inside, for all"


@contextmanager
def nginx(gate: Server, settings: str) -> Iterator[Server]:
    binary = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if binary is None:
        stores.missing("nginx")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="waitroom-test-") as folder:
        Path(folder).chmod(0o755)  # as root nginx gives its workers to another user
        config = Path(folder, "nginx.conf")
        config.write_text(CACHE.format(folder=folder, port=port, gate=gate.url, settings=settings))
        command = [str(binary), "-e", "stderr", "-g", "daemon off;", "-c", str(config)]
        with started(command, {}, port) as server:
            yield server


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
        uvicorn(
            "tests.sites:starlette_site", redis_url=store_url, secret=SECRET, room=room, capacity=1
        ) as gate,
        nginx(gate, settings) as cache,
        httpx.Client(base_url=cache.url, timeout=DEADLINE_SECONDS, headers=PAGE) as first,
        httpx.Client(base_url=cache.url, timeout=DEADLINE_SECONDS, headers=PAGE) as second,
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
        uvicorn(
            "tests.sites:starlette_site", redis_url=store_url, secret=SECRET, room=room, capacity=1
        ) as gate,
        nginx(gate, settings) as cache,
        httpx.Client(base_url=cache.url, timeout=DEADLINE_SECONDS) as client,
    ):
        assert client.get(f"{API}/window").json()["issued"] == 0
        client.post(f"{API}/join")
        until(lambda: httpx.get(f"{gate.url}{API}/window").json()["issued"] == 1)
        if fresh:
            until(lambda: client.get(f"{API}/window").json()["issued"] == 1)
        else:
            time.sleep(1.5)  # longer than max-age: there is nothing else to wait for
            assert client.get(f"{API}/window").json()["issued"] == 0
