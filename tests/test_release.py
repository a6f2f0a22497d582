"""A release: one version everywhere, and files that whoever builds them gets byte for byte."""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tomllib
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

from tests.packaged import NOT_SOURCE, ROOT, Published, build, built
from tests.stores import missing
from waitroom import __version__

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
FIXED = 1_580_601_600
"""The moment that the build backend writes where none is asked for: 2020-02-02."""


def digest(file: Path) -> tuple[str, str]:
    return file.name, hashlib.sha256(file.read_bytes()).hexdigest()


def metadata(wheel: Path) -> dict[str, list[str]]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        parsed = HeaderParser().parsestr(archive.read(name).decode())
    return {key: parsed.get_all(key, []) for key in parsed}


# --- the version -------------------------------------------------------------------------------


def test_the_version_is_one(published: Published) -> None:
    """The command's is held to it with the wheel, in test_wheel.py."""
    assert "version" not in PROJECT
    assert metadata(published.wheel)["Version"] == [__version__]
    assert published.sdist.name == f"waitroom-{__version__}.tar.gz"


def test_the_changelogs_newest_entry_is_this_version_or_what_comes_after() -> None:
    """Released versions in falling order, each with its day; above them what is not released yet."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    released = [re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - \d{4}-\d\d-\d\d", line) for line in headings]
    assert all(released[1:]), headings
    assert released[0] or headings[0] == "[Unreleased]"
    versions = [tuple(map(int, found.groups())) for found in released if found]
    assert versions == sorted(versions, reverse=True)
    if released[0]:
        assert headings[0].startswith(f"[{__version__}] ")
    elif versions:
        assert versions[0] <= Version(__version__).release


# --- the files ---------------------------------------------------------------------------------


def copy(folder: Path, mtime: int, modes: tuple[int, int]) -> Path:
    """A checkout as somebody else has it: other times, other rights."""
    shutil.copytree(ROOT, folder, ignore=NOT_SOURCE)
    for path in [folder, *folder.rglob("*")]:
        runs = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(modes[1] if runs else modes[0])
        os.utime(path, (mtime, mtime))
    return folder


def test_whoever_builds_it_gets_the_same_bytes(tmp_path: Path) -> None:
    """Two checkouts with other times, rights, names, zones and hash seeds."""
    mine = copy(tmp_path / "mine", 1_000_000_000, (0o644, 0o755))
    theirs = copy(tmp_path / "some where else", 1_700_000_001, (0o660, 0o770))
    first = built(mine, tmp_path / "1", 0o022, {"TZ": "UTC", "PYTHONHASHSEED": "1", "LC_ALL": "C"})
    other = {"TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "2", "LC_ALL": "C.UTF-8", "HOME": str(tmp_path)}
    second = built(theirs, tmp_path / "2", 0o077, other)
    assert digest(first.sdist) == digest(second.sdist)
    assert digest(first.wheel) == digest(second.wheel)


def test_the_wheel_of_the_sdist_is_the_wheel_of_the_tree(published: Published, tmp_path: Path) -> None:
    with tarfile.open(published.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (tree,) = tmp_path.iterdir()
    build(tree, tmp_path / "out", "--wheel")
    (wheel,) = (tmp_path / "out").iterdir()
    assert digest(wheel) == digest(published.wheel)


def test_the_files_tell_nothing_of_who_built_them(published: Published) -> None:
    with tarfile.open(published.sdist) as archive:
        told = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in archive.getmembers()}
    moment = int(os.environ.get("SOURCE_DATE_EPOCH", FIXED))
    assert told <= {(moment, 0, 0, "", "", 0o644), (moment, 0, 0, "", "", 0o755)}
    with zipfile.ZipFile(published.wheel) as archive:
        rights = {info.external_attr >> 16 & 0o777 for info in archive.infolist()}
        times = {info.date_time for info in archive.infolist()}
    assert rights == {0o644}
    assert len(times) == 1


def tracked() -> set[str]:
    """What git has, or would take."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        missing("a checkout with git")
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others"]
    command += ["--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    return {name for name in listed.split("\0") if (ROOT / name).is_file()}


def test_the_sdist_is_the_repository(published: Published) -> None:
    """All that is in it, so that who packs it can run its tests, and nothing that git ignores."""
    with tarfile.open(published.sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()} - {"PKG-INFO"}
    assert held == tracked()


def test_the_wheel_holds_the_package_and_nothing_else(published: Published) -> None:
    with zipfile.ZipFile(published.wheel) as archive:
        held = set(archive.namelist())
    info = f"waitroom-{__version__}.dist-info"
    inside = {name for name in tracked() if name.startswith("waitroom/")}
    forced = {f"waitroom/{name}" for name in tracked() if name.startswith(("templates/", "demo_app/"))}
    about = {
        f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }
    assert held == inside | forced | about
    assert "waitroom/py.typed" in held


# --- the Pythons it is for ---------------------------------------------------------------------


def test_the_pythons_named_are_those_it_is_tested_on(published: Published) -> None:
    told = metadata(published.wheel)
    named = [line.rpartition(" ")[2] for line in told["Classifier"] if re.search(r":: 3\.\d+$", line)]
    assert named == PYTHONS
    assert told["Requires-Python"] == [f">={PYTHONS[0]}"]
    assert workflow("ci")["jobs"]["test"]["strategy"]["matrix"]["python"] == PYTHONS


def workflow(name: str) -> dict[str, Any]:
    text = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text("utf-8")
    read: dict[str, Any] = yaml.safe_load(text)
    return read


def test_the_workflow_runs_what_a_contributor_runs() -> None:
    """`.ci/run` and nothing beside it, with the Python of the matrix."""
    job = workflow("ci")["jobs"]["test"]
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands[-1] == "bash .ci/run"
    assert job["container"]["image"] == "python:${{ matrix.python }}-trixie"
    assert job["env"]["PYTHON"] == "/usr/local/bin/python3"


@pytest.mark.parametrize("name", ["ci", "audit", "release"])
def test_workflows_may_do_no_more_than_they_must(name: str) -> None:
    told = workflow(name)
    assert told["permissions"] == {"contents": "read"}
    granted = {key: job.get("permissions") for key, job in told["jobs"].items() if "permissions" in job}
    assert granted == ({"publish": {"id-token": "write"}} if name == "release" else {})
    assert all("timeout-minutes" in job for job in told["jobs"].values())
    used = [step["uses"] for job in told["jobs"].values() for step in job["steps"] if "uses" in step]
    assert used
    assert all(re.search(r"@[0-9a-f]{40}$", action) for action in used), "a tag can be moved"
