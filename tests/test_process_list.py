"""Secrets on the command line: every user of the machine can read them there, so the gate says so."""

import json
import os
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from click.testing import CliRunner

from tests.conftest import SECRET
from tests.gates import DEADLINE_SECONDS, free_port, started
from waitroom.cli import commands as cli
from waitroom.config.environment import HANDED_DOWN, hand_down, handed_down
from waitroom.config.store_url import has_password
from waitroom.store.embedded.folders import names

WORD = "a-password-that-nobody-may-read"


@pytest.mark.parametrize(
    ("arguments", "flags", "variables"),
    [
        (["--secret", SECRET], ["--secret"], ["WAITROOM_SECRET"]),
        (["--redis-url", f"redis://:{WORD}@127.0.0.1:1"], ["--redis-url"], ["WAITROOM_REDIS_URL"]),
        (["--redis-url", f"redis://127.0.0.1:1?password={WORD}"], ["--redis-url"], ["WAITROOM_REDIS_URL"]),
        (
            ["--rooms", f"sale__secret={SECRET}", "--rooms", "sale__paths=/sale/*"],
            ["--rooms sale__secret"],
            ["WAITROOM_ROOMS__SALE__SECRET"],
        ),
        (
            ["--rooms", f"sale__redis_url=rediss://u:{WORD}@127.0.0.1:1", "--secret", SECRET],
            ["--secret", "--rooms sale__redis_url"],
            ["WAITROOM_SECRET", "WAITROOM_ROOMS__SALE__REDIS_URL"],
        ),
        (["--redis-url", "redis://user@127.0.0.1:1", "--rooms", "sale"], [], []),
    ],
)
def test_a_secret_on_the_command_line_is_warned_of_in_one_line(
    arguments: list[str], flags: list[str], variables: list[str]
) -> None:
    done = CliRunner().invoke(cli.main, ["check", *arguments])
    told = f"waitroom: {' and '.join(flags)} on the command line can be read by every user of this machine"
    assert done.stderr.count("can be read by") == len(flags[:1])
    for line in done.stderr.splitlines():
        assert line.startswith(told)
        assert f"use {' and '.join(variables)} in the environment instead" in line
    assert SECRET not in done.output
    assert WORD not in done.output


@pytest.mark.parametrize(
    "command", [["run", "tests.sites:site"], ["proxy", "http://127.0.0.1:1"], ["serve"], ["status"]]
)
def test_every_command_that_takes_a_secret_warns(command: list[str]) -> None:
    done = CliRunner().invoke(cli.main, [*command, "--redis-url", f"redis://:{WORD}@127.0.0.1:1"])
    assert done.stderr.startswith("waitroom: --redis-url on the command line can be read by every user")
    assert WORD not in done.output


def test_what_the_environment_says_is_not_warned_of() -> None:
    environment = {"WAITROOM_REDIS_URL": f"redis://:{WORD}@127.0.0.1:1", "WAITROOM_SECRET": SECRET}
    done = CliRunner().invoke(cli.main, ["check", "--capacity", "5"], env=environment)
    assert "can be read by" not in done.stderr


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("redis://:word@host", True),
        ("rediss://user:word@host:1/2?db=1", True),
        ("redis+sentinel://a:1,b:2/service?sentinel_password=x", True),
        ("rediss://host?ssl_password=x", True),
        ("unix://user:word@/a/socket", True),
        ("redis://us:er/odd@host", True),
        ("redis://user@host:1", False),
        ("redis://[::1]:6379/0", False),
        ("unix:///a/socket?db=1", False),
        ("embedded://", False),
        ("nonsense", False),
    ],
)
def test_whether_a_url_has_a_password(url: str, found: bool) -> None:
    assert has_password(url) is found


def test_what_the_workers_are_told_goes_on_to_no_program_of_the_sites() -> None:
    hand_down("shop:app", {"secret": SECRET})
    assert handed_down() == ("shop:app", {"secret": SECRET})
    assert HANDED_DOWN not in os.environ


SITE = """
import json, subprocess, sys
CODE = "import json, os; print(json.dumps(dict(os.environ)))"
async def app(scope, receive, send):
    if scope["type"] == "http":
        body = subprocess.run([sys.executable, "-c", CODE], capture_output=True).stdout
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_secret_flag_of_a_real_server_is_in_no_others_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    (tmp_path / "shop.py").write_text(SITE)
    monkeypatch.chdir(tmp_path)
    port = free_port()
    command = [sys.executable, "-m", "waitroom", "run", "shop:app", "--secret", SECRET, "--exclude", "/*"]
    with started([*command, "--port", str(port), "--workers", workers], {}, port) as server:
        seen = httpx.get(f"{server.url}/", timeout=DEADLINE_SECONDS).json()
        keeper = _keeper(server.process.pid)
        environments = [Path(f"/proc/{pid}/environ").read_text() for pid in keeper]
    assert SECRET not in json.dumps(seen)
    assert len(environments) == 3
    assert not any(SECRET in text or "WAITROOM" in text for text in environments)
    assert server.said.count("--secret on the command line can be read by every user") == 1
    assert SECRET not in server.said


def _keeper(pid: int) -> list[int]:
    """The processes of that app's embedded server, which name its folder in their command line."""
    folder = str(names(pid)[0])
    # One that is just ending has no command line, or is gone before it is asked.
    running = [(one.pid, one.info["cmdline"] or []) for one in psutil.process_iter(["cmdline"])]
    return [pid for pid, words in running if any(folder in word for word in words)]
