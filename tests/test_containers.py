"""The Dockerfile, compose.yaml and the load balancer's configuration, held against what they run."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import yaml
from packaging.requirements import Requirement
from websockets.sync.client import connect

from tests import stores
from tests.conftest import SECRET
from tests.gates import API, DEADLINE_SECONDS, Server, free_port, is_inside, join, page_data, started
from tests.images import ROOT, TOOLS, Image, instructions, only, stages, variables
from tests.nginx import nginx
from tests.visits import visitor
from tests.waiting import until
from waitroom import __version__
from waitroom.config.settings import Settings

PINNED = re.compile(r"^[\w./-]+:[\w.-]*\d[\w.-]*@sha256:[0-9a-f]{64}$")
NAMES = {f"WAITROOM_{name.upper()}" for name in Settings.model_fields}

SHOP = """
async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "inside"})
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"inside"})
"""


def cookie(cookies: httpx.Cookies) -> dict[str, str]:
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}


# -- the Dockerfile -------------------------------------------------------------------------------


def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run(
        [TOOLS / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_every_image_is_pinned_by_digest() -> None:
    arguments = dict(rest.split("=", 1) for word, rest in instructions() if word == "ARG")
    bases = [stage[0][1].split()[0] for stage in stages()]
    named = [arguments[base[2:-1]] if base.startswith("${") else base for base in bases]
    assert len(named) == 3
    assert [name for name in named if not PINNED.match(name)] == []


def test_it_runs_without_a_shell_and_without_root() -> None:
    last = stages()[-1]
    assert json.loads(only(last, "ENTRYPOINT")) == ["waitroom"]
    assert isinstance(json.loads(only(last, "CMD")), list)
    assert isinstance(json.loads(only(last, "HEALTHCHECK").partition(" CMD ")[2]), list)
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", only(last, "USER"))
    assert only(last, "STOPSIGNAL") == "SIGTERM"
    assert "RUN" not in [word for word, _ in last], "nothing is built in the stage that is kept"


def test_what_it_installs_is_what_the_package_asks_for() -> None:
    """`make lock` writes the list; here it is held against pyproject.toml, without asking an index."""
    lines = (ROOT / "deploy" / "requirements.txt").read_text("utf-8")
    pinned = dict(re.findall(r"^([\w.-]+)==([\w.]+)", lines, re.MULTILINE))
    assert lines.count("==") >= len(pinned)
    assert all(
        "--hash=sha256:" in block for block in re.split(r"^(?=[\w.-]+==)", lines, flags=re.MULTILINE)[1:]
    )
    assert "://" not in lines, "no index, no file of somebody's machine"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        wanted += extra
    more = (ROOT / "deploy" / "requirements.in").read_text("utf-8").splitlines()
    wanted += [line for line in more if line and not line.startswith("#")]
    for requirement in map(Requirement, wanted):
        if requirement.name != "waitroom":
            assert requirement.specifier.contains(pinned[requirement.name]), f"{requirement}: run `make lock`"


def test_as_it_stands_it_serves_the_routes(image: Image) -> None:
    """No argument, no setting, a user without a name or a home, and nothing to write to but /tmp."""
    with image.running() as server, visitor(server) as client:
        assert client.get(f"{API}/readyz").text == "ready\n"
        assert join(client).status_code == 201
    assert "Traceback" not in server.said


def test_it_listens_to_the_world_outside_the_container() -> None:
    assert variables(stages()[-1])["UVICORN_HOST"] == "0.0.0.0"
    assert only(stages()[-1], "EXPOSE") == "8000"


def test_it_runs_the_site_that_is_put_into_it(image: Image) -> None:
    with tempfile.TemporaryDirectory(prefix="waitroom-test-") as folder:
        Path(folder).chmod(0o755)
        Path(folder, "shop.py").write_text(SHOP)
        with image.running("run", "shop:app", site=Path(folder)) as server, visitor(server) as inside:
            until(lambda: inside.get("/").text == "inside")
            address = server.url.replace("http", "ws") + "/socket"
            with connect(address, additional_headers=cookie(inside.cookies)) as socket:
                assert socket.recv(DEADLINE_SECONDS) == "inside", "the image can speak WebSocket"


def test_it_shows_the_demo(image: Image) -> None:
    with image.running("demo", "--host", "0.0.0.0", "--port", "8000") as server:
        assert httpx.get(f"{server.url}{API}/window", timeout=DEADLINE_SECONDS).json()["room"] == "demo"


def test_its_health_is_the_processes_alone(image: Image, tmp_path: Path) -> None:
    port = free_port()
    with stores.redis_server(tmp_path, "--port", str(port)) as url, redis.Redis.from_url(url) as client:
        store = int(client.info("server")["process_id"])
        settings: dict[str, Any] = {
            "WAITROOM_REDIS_URL": f"redis://127.0.0.1:{port}/0",
            "WAITROOM_SECRET": SECRET,
        }
        with image.running(**settings) as server:
            assert image.is_healthy(server.environment)
            assert not image.is_healthy({**server.environment, "WAITROOM_PREFIX": "/line"}), (
                "not served there"
            )
            try:
                os.kill(store, signal.SIGSTOP)
                assert image.is_healthy(server.environment), "the store is away, the process is not"
            finally:
                os.kill(store, signal.SIGCONT)
        assert not image.is_healthy(server.environment), "nothing listens any more"


# -- compose --------------------------------------------------------------------------------------

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_its_services_have_no_more_rights_than_they_need(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "build" in service or PINNED.match(service["image"])
    assert set(service["networks"]) <= set(COMPOSE["networks"])


def test_two_replicas_stand_behind_one_port() -> None:
    assert SERVICES["gate"]["deploy"]["replicas"] == 2
    assert SERVICES["gate"]["image"] == f"waitroom:{__version__}"
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]
    listens = re.search(r"listen (\d+);", SHIPPED)
    assert listens is not None
    assert SERVICES["proxy"]["ports"] == [f"127.0.0.1:8000:{listens[1]}"]
    assert "server gate:8000;" in SHIPPED
    assert only(stages()[-1], "EXPOSE") == "8000"


def test_its_settings_are_real_and_its_key_is_not_in_it() -> None:
    settings = SERVICES["gate"]["environment"]
    assert {name for name in settings if name.startswith("WAITROOM_")} <= NAMES
    assert settings["WAITROOM_SECRET"].startswith("${WAITROOM_SECRET:?")
    assert settings["WAITROOM_REDIS_URL"] == "redis://:${REDIS_PASSWORD}@redis:6379/0"
    assert COMPOSE["x-password"].startswith("${REDIS_PASSWORD:?")


def test_the_proxys_address_alone_is_believed_and_nobody_else_is_given_it() -> None:
    (address,) = {
        SERVICES["gate"]["environment"][name] for name in ("FORWARDED_ALLOW_IPS", "WAITROOM_TRUSTED_PROXIES")
    }
    assert SERVICES["proxy"]["networks"] == {"front": {"ipv4_address": address}}
    (pool,) = COMPOSE["networks"]["front"]["ipam"]["config"]
    subnet, dynamic = ip_network(pool["subnet"]), ip_network(pool["ip_range"])
    assert ip_address(address) in subnet
    assert ip_address(pool["gateway"]) in subnet
    assert dynamic.subnet_of(subnet)  # type: ignore[arg-type]
    assert not {ip_address(address), ip_address(pool["gateway"])} & set(dynamic)
    assert address != pool["gateway"], "by which the users of the machine come"
    assert subnet.is_private


def test_its_gate_starts_with_its_command_and_settings(image: Image) -> None:
    settings = {
        **SERVICES["gate"]["environment"],
        "WAITROOM_SECRET": SECRET,
        "WAITROOM_REDIS_URL": "embedded://",
    }
    with image.running(*SERVICES["gate"]["command"], **settings) as server, visitor(server) as client:
        window = client.get(f"{API}/window").json()
        assert window["capacity"] == int(settings["WAITROOM_CAPACITY"])
        until(lambda: "hourglass" in client.get("/").text)
        # As from the machine, past the proxy.
        lies = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"}
        passed_by = httpx.post(f"{server.url}{API}/join", headers=lies, timeout=DEADLINE_SECONDS)
        assert "__Host-" not in passed_by.headers["set-cookie"], "nobody but the proxy is believed"


def test_its_store_keeps_everything(tmp_path: Path) -> None:
    """And nobody reads it without the password: every user of the machine can reach its port."""
    word = "a-password"
    _, *flags = [word if flag == COMPOSE["x-password"] else flag for flag in SERVICES["redis"]["command"]]
    assert SERVICES["redis"]["environment"] == {"REDISCLI_AUTH": COMPOSE["x-password"]}
    with stores.redis_server(tmp_path, *flags) as url:
        with redis.Redis.from_url(url) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        with redis.Redis.from_url(url, password=word) as client:
            kept = client.config_get("appendonly", "maxmemory-policy", "save")
        assert kept == {"appendonly": "yes", "maxmemory-policy": "noeviction", "save": ""}
        health = [*SERVICES["redis"]["healthcheck"]["test"][1:]]
        command = [health[0], "-s", url.removeprefix("unix://"), *health[1:]]
        for environment, status in (({"REDISCLI_AUTH": word}, 0), ({}, 1)):
            asked = subprocess.run(command, env={**os.environ, **environment}, check=False)
            assert asked.returncode == status


# -- the load balancer ----------------------------------------------------------------------------

SHIPPED = (ROOT / "deploy" / "nginx.conf").read_text("utf-8")


@contextmanager
def balanced(*gates: Server) -> Iterator[str]:
    """A real nginx with the shipped configuration; only addresses and folders are others."""
    servers = " ".join(f"server {gate.url.removeprefix('http://')};" for gate in gates)

    def configured(folder: str, port: int) -> str:
        config = SHIPPED.replace("server gate:8000;", servers)
        return config.replace("listen 8000;", f"listen 127.0.0.1:{port};").replace("/tmp/", f"{folder}/")

    with nginx(configured) as server:
        yield server.url


@pytest.fixture
def replicas(store_url: str, room: str) -> Iterator[list[Server]]:
    """Two gates that share a store, with room for one visitor."""
    with ExitStack() as stack:
        yield [stack.enter_context(replica(store_url, room)) for _ in range(2)]


@contextmanager
def replica(store_url: str, room: str) -> Iterator[Server]:
    port = free_port()
    settings = {"WAITROOM_REDIS_URL": store_url, "WAITROOM_SECRET": SECRET, "WAITROOM_ROOM": room}
    command = [sys.executable, "-m", "waitroom", "run", "tests.sites:site", "--capacity", "1"]
    with started([*command, "--port", str(port)], settings, port) as server:
        yield server


def test_behind_it_a_visitor_keeps_its_place_whichever_replica_answers(
    replicas: list[Server],
) -> None:
    """And 503 is an answer: it is neither asked for a second time nor held against the replica."""
    with (
        balanced(*replicas) as url,
        httpx.Client(base_url=url, timeout=DEADLINE_SECONDS) as inside,
        httpx.Client(base_url=url, timeout=DEADLINE_SECONDS) as waiting,
    ):
        for _ in range(4):
            until(lambda: is_inside(inside.get("/a")))
        answers = [waiting.get("/b") for _ in range(20)]
        assert {answer.status_code for answer in answers} == {503}
        assert len({page_data(answer)["number"] for answer in answers[1:]}) == 1
        logged = [replica.printed().count('"GET /b HTTP/1.1" 503') for replica in replicas]
        assert sum(logged) == 20
        assert all(logged)

        address = url.replace("http", "ws") + "/socket"
        with connect(address, additional_headers=cookie(inside.cookies)) as socket:
            socket.send("hello")
            assert socket.recv(DEADLINE_SECONDS) == "heard hello"

        replicas[0].process.kill()
        replicas[0].process.wait()
        for _ in range(4):
            assert is_inside(inside.get("/a"))
            assert page_data(waiting.get("/b"))["number"] == page_data(answers[1])["number"]
