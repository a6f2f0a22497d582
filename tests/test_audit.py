"""The audit of the dependencies: it fails where a hole is known, and says so where it could not look."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.gates import free_port

ROOT = Path(__file__).parent.parent
REQUIREMENTS = ROOT / "deploy" / "requirements.txt"


@contextmanager
def database(holes: dict[str, str], status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """A database on the loopback that knows these holes, by package; with it, the names that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["content-length"])))
            name = query["package"]["name"]
            asked.append(name)
            told: dict[str, Any] = {}
            if name in holes:
                affected = [{"package": query["package"]}]
                told = {"vulns": [{"id": holes[name], "summary": "a hole", "affected": affected}]}
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query", asked
        finally:
            server.shutdown()
            thread.join()


def audit(url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.audit", str(REQUIREMENTS), "--database", url]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_a_known_hole_fails_the_audit() -> None:
    with database({"starlette": "PYSEC-0000-1"}) as (url, _):
        done = audit(url)
    assert done.returncode == 1
    assert "PYSEC-0000-1" in done.stdout
    assert "starlette" in done.stdout


def test_without_holes_all_that_the_image_installs_was_looked_up() -> None:
    with database({}) as (url, asked):
        done = audit(url)
    assert (done.returncode, done.stdout) == (0, "")
    assert "No known vulnerabilities found" in done.stderr
    assert {"starlette", "uvicorn", "redis", "itsdangerous", "pydantic", "click", "aiohttp"} <= set(asked)


def test_offline_it_says_so_in_a_line_and_passes() -> None:
    with database({}, status=403) as (refusing, _):
        for url in (f"http://127.0.0.1:{free_port()}/v1/query", refusing):
            done = audit(url)
            assert (done.returncode, done.stderr) == (0, "")
            (line,) = done.stdout.splitlines()
            assert line.startswith(f"audit: nothing was audited, as {url} can't be asked from here: ")
