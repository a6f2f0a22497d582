"""The Dockerfile as the tests read it, and its build stage replayed in a folder: no container engine is needed."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from tests import stores
from tests.gates import Server, free_port, started

ROOT = Path(__file__).parent.parent
TOOLS = Path(sys.executable).parent
"""Where the tools of the `dev` group are."""

Instruction = tuple[str, str]


def instructions() -> list[Instruction]:
    """The Dockerfile's instructions, each on one line, in order."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line)]


def stages() -> list[list[Instruction]]:
    """The instructions of each stage, beginning with its FROM."""
    found: list[list[Instruction]] = []
    for instruction in instructions():
        if instruction[0] == "FROM":
            found.append([])
        if found:
            found[-1].append(instruction)
    return found


def only(stage: list[Instruction], word: str) -> str:
    """What the one instruction of that name says."""
    (rest,) = [rest for found, rest in stage if found == word]
    return rest


def variables(stage: list[Instruction]) -> dict[str, str]:
    return dict(pair.split("=", 1) for word, rest in stage if word == "ENV" for pair in rest.split())


def at(arguments: Sequence[str], port: int) -> list[str]:
    """Put the loopback address and a free port into the place of those that a container has to itself."""
    words = list(arguments)
    for flag, value in (("--host", "127.0.0.1"), ("--port", str(port))):
        if flag in words:
            words[words.index(flag) + 1] = value
    return words


def python_for_all() -> str:
    """A Python that the container's user can run: one below root's home would be closed to it."""
    if os.geteuid() != 0:
        return sys.executable
    done = subprocess.run(
        ["/usr/bin/python3", "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], check=False
    )
    if done.returncode != 0:
        stores.missing("a /usr/bin/python3 of version 3.11 or newer, for a user that is not root,")
    return "/usr/bin/python3"


def sent_to_the_builder(path: str) -> bool:
    """Whether .dockerignore lets a path of the Dockerfile through: everything is shut out but what it names."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert lines[1] == "*"
    return any(fnmatch(path, line[1:]) for line in lines if line.startswith("!"))


@dataclass
class Image:
    """What the last stage would hold."""

    home: Path
    """Stands in for /opt/waitroom."""

    def command(self, *arguments: str) -> list[str]:
        """ENTRYPOINT with CMD, or with arguments in its place."""
        stage = stages()[-1]
        entry = json.loads(only(stage, "ENTRYPOINT"))
        return [str(self.home / "bin" / entry[0]), *(arguments or json.loads(only(stage, "CMD")))]

    def environment(self, scratch: Path) -> dict[str, str]:
        """What the container's processes find, with a folder in the place of /tmp."""
        own = variables(stages()[-1])
        places = {"PATH": f"{self.home}/bin:/usr/bin:/bin", "HOME": str(scratch), "TMPDIR": str(scratch)}
        return {**own, **places, "PYTHONPATH": ""}

    def is_healthy(self, environment: dict[str, str]) -> bool:
        """Run the HEALTHCHECK's command."""
        _, _, command = only(stages()[-1], "HEALTHCHECK").partition(" CMD ")
        words = [word.replace("/opt/waitroom", str(self.home)) for word in json.loads(command)]
        return subprocess.run(words, env=environment, capture_output=True, check=False).returncode == 0

    @contextmanager
    def running(self, *arguments: str, site: Path | None = None, **settings: Any) -> Iterator[Server]:
        """Run the command as the container's user; all that it may write to is its /tmp."""
        port = free_port()
        scratch = Path(tempfile.mkdtemp(prefix="waitroom-test-"))
        wrapped = self.command(*at(arguments, port))
        if os.geteuid() == 0:
            user, _, group = only(stages()[-1], "USER").partition(":")
            os.chown(scratch, int(user), int(group))
            wrapped = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--", *wrapped]
        try:
            address = {"UVICORN_HOST": "127.0.0.1", "UVICORN_PORT": str(port)}
            environment = {**self.environment(scratch), **settings, **address}
            with started(wrapped, environment, port, cwd=site or Path("/")) as server:
                yield server
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    """Replay the build stage: its COPY and RUN lines as they stand, in a folder that any user can read."""
    folder = Path(tempfile.mkdtemp(prefix="waitroom-test-"))
    folder.chmod(0o755)
    source, home = folder / "src", folder / "waitroom"
    source.mkdir()
    try:
        (build,) = [stage for stage in stages() if stage[0][1].endswith(" AS build")]
        for word, rest in build:
            if word == "COPY" and not rest.startswith("--from"):
                _copy(source, *rest.split())
            elif word == "RUN":
                _run(source, home, rest, variables(build))
        yield Image(home)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(source: Path, *words: str) -> None:
    *paths, target = words
    for path in paths:
        assert sent_to_the_builder(path), f"{path} is not sent to the builder"
        into = source / (path if target == "./" else target)
        into.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, into, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / path, into)


def _run(source: Path, home: Path, line: str, own: dict[str, str]) -> None:
    command = re.sub(r"--mount=\S+\s*", "", line).replace("/opt/waitroom", str(home))
    python = {"UV_PYTHON": python_for_all(), "PATH": f"{TOOLS}:/usr/bin:/bin"}
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=source,
        env={**os.environ, **own, **python},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
