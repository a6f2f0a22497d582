"""Supervisors that end their workers before they start the next: the embedded server, and the line in it, stay."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.gates import API, DEADLINE_SECONDS, Server, serving, status
from tests.test_embedded import children_of
from tests.waiting import until
from waitroom.store.embedded.server import running

SITE = "tests.sites:starlette_site"
GUNICORN = f"gunicorn --worker-class asgi --workers 1 {SITE}"
GRANIAN = f"granian --interface asgi --workers 1 {SITE}"


def reload(server: Server) -> None:
    """Let the supervisor replace its workers, as an operator does."""
    server.process.send_signal(signal.SIGHUP)


def kill_worker(server: Server) -> None:
    for worker in workers_of(server):
        os.kill(worker, signal.SIGKILL)


def ask_often(server: Server) -> None:
    """Use the worker up."""
    for _ in range(30):
        httpx.get(f"{server.url}{API}/livez", timeout=DEADLINE_SECONDS)


def change_code(server: Server) -> None:
    Path("watched.py").touch()


def serves(process: int) -> bool:
    """Tell a process that serves from multiprocessing's resource tracker, and from one that has just ended."""
    try:
        return b"resource_tracker" not in Path(f"/proc/{process}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def workers_of(server: Server) -> set[int]:
    return set(filter(serves, children_of(server.process.pid)))


@pytest.mark.parametrize(
    ("line", "replace"),
    [
        (GUNICORN, reload),
        (GUNICORN, kill_worker),
        (f"{GUNICORN} --max-requests 20", ask_often),
        (GRANIAN, reload),
        (f"{GRANIAN} --respawn-failed-workers", kill_worker),
        (f"uvicorn --workers 2 {SITE}", kill_worker),
        (f"uvicorn --reload --reload-dir . --app-dir {Path.cwd()} {SITE}", change_code),
    ],
    ids=[
        "gunicorn HUP",
        "gunicorn killed",
        "max-requests",
        "granian HUP",
        "granian killed",
        "killed",
        "reload",
    ],
)
def test_p4_the_line_outlives_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, replace: Callable[[Server], None]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    Path("watched.py").touch()
    with (
        serving(line, capacity=1) as server,
        httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS) as inside,
        httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS) as waiting,
    ):
        assert inside.get("/").status_code == 200
        assert inside.get("/").status_code == 200
        number = waiting.post(f"{API}/join").json()["number"]
        before = workers_of(server)
        replace(server)
        until(lambda: workers_of(server) and not workers_of(server) & before, "the workers are others")
        until(lambda: is_ready(server), "they serve")
        assert inside.get("/").status_code == 200, "P6: nobody is put out"
        told = status(waiting)
        assert (told.status_code, told.json()["number"], told.json()["status"]) == (200, number, "waiting")
    until(lambda: not [home for home in running() if tmp_path in home.parents], "nothing is left behind")


def is_ready(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}{API}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
