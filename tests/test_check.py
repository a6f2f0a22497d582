"""`waitroom check` on real stores: what it finds, what it says to programs, and its exit status."""

import json
import re
import socket
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests import stores
from tests.test_check_settings import GOOD
from tests.test_cli import waitroom, within
from waitroom.check import store as checking
from waitroom.check.store import StoreReport, _findings, check_store
from waitroom.cli.commands import main
from waitroom.config.settings import load
from waitroom.errors import EmbeddedError
from waitroom.store.transitions import SCRIPTS, read_script

CALL = re.compile(r"redis\.call\(\s*'(\w+)'")
ALL_COMMANDS = sorted({name.lower() for script in SCRIPTS for name in CALL.findall(read_script(script))})


def checked(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = within("check", "--json", *arguments)
    assert "Traceback" not in done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, document


def on(url: str, room: str) -> list[str]:
    return ["--redis-url", url, "--secret", GOOD, "--room", room]


def test_a_good_store_is_described_and_left_as_it_was(every_store_url: str, room: str) -> None:
    status, told = checked(
        "/", "/robots.txt", "--forwarded-allow-ips", "10.0.0.1", *on(every_store_url, room)
    )
    assert (status, told["ok"]) == (0, True)
    (store,) = told["stores"]
    assert (store["maxmemory_policy"], store["missing_rights"]) == ("noeviction", [])
    assert store["latency_ms"] > 0
    assert abs(store["clock_offset_ms"]) < 5000
    assert [url["treatment"] for url in told["urls"]] == ["gated", "excluded"]
    assert told["urls"][0]["rules"] == [{"room": room, "pattern": "/*"}]
    assert told["rooms"][0] == {
        "room": room,
        "paths": ["/*"],
        "exclude": ["/robots.txt", "/favicon.ico", "/.well-known/*"],
        "store": store["store"],
    }
    with stores.admin(every_store_url) as client:
        assert list(client.scan_iter(f"waitroom:{{{room}}}:*")) == []


def test_the_rights_that_are_tried_are_those_of_the_scripts() -> None:
    text = (files("waitroom.store") / "scripts" / "rights.lua").read_text("utf-8")
    assert sorted({name.lower() for name in re.findall(r"may\('(\w+)'", text)}) == ALL_COMMANDS


@pytest.mark.parametrize("denied", [ALL_COMMANDS, ["zadd"], ["hdel", "lpop", "zrem"]])
def test_missing_rights_are_all_told_and_nothing_is_left(
    any_store_url: str, room: str, denied: list[str]
) -> None:
    user = f"checks-{room}"
    rights = ["+@all", *(f"-{command}" for command in denied)]
    with stores.admin(any_store_url) as client:
        client.execute_command("ACL", "SETUSER", user, "on", ">pass", "~waitroom:*", *rights)
        url = f"unix://{user}:pass@{any_store_url.removeprefix('unix://')}"
        done = within("check", *on(url, room))
        assert done.returncode == 3
        # Where what takes away is denied, what writes is not tried: it would stay.
        tried = set(denied) if "zadd" in denied and len(denied) == 1 else {"hdel", "lpop", "zrem"}
        (said,) = re.findall(r"this user may not call (.*?);", done.stdout)
        assert tried <= set(said.split(", ")) <= set(denied)
        assert list(client.scan_iter(f"waitroom:{{{room}}}:*")) == []
        client.execute_command("ACL", "DELUSER", user)


def test_a_user_who_may_not_ask_for_anything_else_is_told_what_is_not_known(
    any_store_url: str, room: str
) -> None:
    user = f"quiet-{room}"
    with stores.admin(any_store_url) as client:
        client.execute_command("ACL", "SETUSER", user, "on", ">pass", "~waitroom:*", "+@all", "-info")
        url = f"unix://{user}:pass@{any_store_url.removeprefix('unix://')}"
        status, told = checked(*on(url, room))
        client.execute_command("ACL", "DELUSER", user)
    assert status == 0
    assert [told["stores"][0][fact] for fact in ("version", "persistent")] == [None, None]
    assert "this user may not call INFO" in str(told["findings"])


def test_a_store_that_forgets_is_warned_of(tmp_path: Path, room: str) -> None:
    with stores.redis_server(tmp_path, "--maxmemory-policy", "allkeys-lru") as url:
        status, told = checked("/", *on(url, room))
        said = " ".join(finding["message"] for finding in told["findings"] if finding["level"] == "warning")
        assert (status, "allkeys-lru" in said, "append-only" in said) == (0, True, True)
        strict = within("check", "--strict", "/", *on(url, room))
        assert strict.returncode == 1
    with stores.redis_server(tmp_path, "--appendonly", "yes") as url:
        status, told = checked("/", *on(url, room))
        assert told["stores"][0]["persistent"] is True
        done = within("check", "--strict", "/", "--forwarded-allow-ips", "::1", *on(url, room))
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "ok         nothing is wrong")


def test_a_store_that_is_away_has_status_3(room: str) -> None:
    done = within("check", *on("redis://127.0.0.1:1", room))
    assert done.returncode == 3
    assert re.search(
        r"^error +redis://127.0.0.1:1: the store at .* can't be reached", done.stdout, re.MULTILINE
    )
    assert GOOD not in done.stdout


def test_a_full_store_and_one_that_only_reads_are_told_as_what_they_are(tmp_path: Path, room: str) -> None:
    with stores.redis_server(tmp_path) as url, stores.admin(url) as client:
        client.config_set("maxmemory", "100kb")
        done = within("check", "/", *on(url, room))
        assert (done.returncode, "used memory > 'maxmemory'" in done.stdout) == (3, True), done.stdout
        client.config_set("maxmemory", "0")
        client.replicaof("127.0.0.1", 1)
        done = within("check", "/", *on(url, room))
        assert (done.returncode, "read only replica" in done.stdout) == (3, True), done.stdout
        assert "may not call" not in done.stdout


def test_rights_are_tried_for_each_room(any_store_url: str, room: str) -> None:
    user = f"one-{room}"
    with stores.admin(any_store_url) as client:
        client.execute_command("ACL", "SETUSER", user, "on", ">pass", f"~waitroom:{{{room}}}:*", "+@all")
        url = f"unix://{user}:pass@{any_store_url.removeprefix('unix://')}"
        assert within("check", "/", *on(url, room)).returncode == 0
        done = within("check", "/", "--rooms", "sale__paths=/sale", *on(url, room))
        client.execute_command("ACL", "DELUSER", user)
    assert (done.returncode, "to access" in done.stdout) == (3, True), done.stdout


def test_a_store_that_hangs_is_given_up(room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "PATIENCE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        url = f"redis://127.0.0.1:{hangs.getsockname()[1]}"
        done = CliRunner().invoke(main, ["check", "/", *on(url, room)])
    assert (done.exit_code, "does not answer within 0.2 s" in done.output) == (3, True), done.output


@pytest.mark.parametrize("host", ["a" * 70 + ".example", "a%00b", "b..c"])
def test_a_host_that_cannot_be_looked_up_is_told(host: str, room: str) -> None:
    done = within("check", "/", "--redis-url", f"redis://{host}", "--room", room, WAITROOM_SECRET=GOOD)
    assert (done.returncode, done.stderr) == (2, "")
    assert "a host is no name that can be looked up" in done.stdout


def test_a_service_needs_no_paths() -> None:
    assert within("check", "--rooms", "sale__capacity=1").returncode == 2
    assert within("check", "--rooms", "sale__capacity=1", "--service").returncode == 0


def test_each_store_of_several_rooms_is_tried_once(store_url: str, room: str) -> None:
    rooms = ("a__paths=/a", "b__paths=/b", "b__redis_url=redis://127.0.0.1:1")
    flags = [part for setting in rooms for part in ("--rooms", setting)]
    status, told = checked(*on(store_url, room), *flags)
    assert status == 3
    assert [store["latency_ms"] is None for store in told["stores"]] == [False, True]
    assert [entry["room"] for entry in told["rooms"]] == [room, "a", "b"]


def test_wrong_settings_are_all_told_with_status_2() -> None:
    status, told = checked("--capacity", "many", "--paths", "shop", "--secret", "short")
    assert (status, told["ok"]) == (2, False)
    messages = [finding["message"] for finding in told["findings"]]
    assert [message.partition("=")[0] for message in messages] == [
        "WAITROOM_SECRET",
        "WAITROOM_PATHS",
        "WAITROOM_CAPACITY",
    ]
    status, told = checked("nonsense", "/")
    assert (status, [url["url"] for url in told["urls"]], len(told["stores"])) == (2, ["/"], 1)
    assert within("check", "--rooms", "x").returncode == 2
    assert within("check", WAITROOM_CAPACTY="1", WAITROOM_PATH="/").stdout.count("no such setting") == 2


def test_the_embedded_store_is_tried_and_ends() -> None:
    done = waitroom("check", "--json", "/")
    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert told["stores"][0]["latency_ms"] > 0
    assert [finding["about"] for finding in told["findings"]] == ["embedded://", "FORWARDED_ALLOW_IPS"]


async def test_without_a_server_to_embed_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise EmbeddedError("there is no server to embed")

    monkeypatch.setattr(checking, "share", fail)
    report, (finding,) = await check_store([load()])
    assert (report.latency_ms, finding.level, finding.message) == (
        None,
        "error",
        "there is no server to embed",
    )


def test_slow_stores_and_far_clocks_are_told() -> None:
    found = _findings(
        StoreReport("redis://far", version="8.0", latency_ms=80.5, clock_offset_ms=-7200_000), 0.25
    )
    assert [finding.level for finding in found] == ["warning", "note"]
    assert "answers in 80.5 ms; a call is given up after 250 ms" in found[0].message
    assert "its clock is -7200.0 s off" in found[1].message
    assert (
        _findings(StoreReport("redis://near", version="8.0", latency_ms=0.5, clock_offset_ms=900), 0.25) == []
    )


def test_proxies_are_also_taken_from_the_servers_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.1")
    done = CliRunner().invoke(main, ["check", "--paths", "/shop", "https://shop.example/", "/shop"])
    assert "FORWARDED_ALLOW_IPS" not in done.output
    assert done.exit_code == 0
    assert "free       https://shop.example/\ngated      /shop  by room default, rule /shop\n" in done.output
