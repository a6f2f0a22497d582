"""The manifests: rendered by kubectl, held against Kubernetes' own schemas, and against what the app serves."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from tests import stores
from tests.conftest import SECRET
from tests.gates import API, DEADLINE_SECONDS, Server, bearer, free_port, is_inside, join, status, uvicorn
from tests.images import ROOT, Image, only, stages
from tests.visits import visitor
from tests.waiting import until
from waitroom import __version__
from waitroom.cli.commands import main
from waitroom.config.settings import Settings

K8S = ROOT / "k8s"
ALL = ["base", "overlays/local", "overlays/external-redis", "overlays/sidecar"]
WITH_REDIS = ["base", "overlays/local", "overlays/sidecar"]
OLDEST = "1.30.0"
"""The first Kubernetes that knows all that the manifests use; docs/kubernetes.md names it."""
NAMES = {f"WAITROOM_{name.upper()}" for name in Settings.model_fields}
PASSWORD = "a-password-for-tests"

Object = dict[str, Any]
_rendered: dict[Path, list[Object]] = {}


def render(folder: Path) -> list[Object]:
    """What `kubectl apply -k` would send."""
    if folder not in _rendered:
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            stores.missing("kubectl")
        done = subprocess.run(
            [str(kubectl), "kustomize", folder], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        _rendered[folder] = list(yaml.safe_load_all(done.stdout))
    return _rendered[folder]


class Manifests(NamedTuple):
    """What one kustomization renders."""

    name: str
    objects: list[Object]

    def of(self, kind: str) -> list[Object]:
        return [found for found in self.objects if found["kind"] == kind]

    def one(self, kind: str, name: str = "waitroom") -> Object:
        """The object of that name, but for the hash behind it."""
        pattern = re.compile(re.escape(name) + r"(-[a-z0-9]{10})?")
        (found,) = [found for found in self.of(kind) if pattern.fullmatch(found["metadata"]["name"])]
        return found

    @property
    def workloads(self) -> list[Object]:
        return self.of("Deployment") + self.of("StatefulSet")

    @property
    def gate(self) -> Object:
        return container(self.one("Deployment"), "gate")

    @property
    def redis(self) -> Object:
        return container(self.one("StatefulSet", "waitroom-redis"), "redis")


def container(workload: Object, name: str) -> Object:
    (found,) = [found for found in pod(workload)["containers"] if found["name"] == name]
    return dict(found)


def pod(workload: Object) -> Object:
    return dict(workload["spec"]["template"]["spec"])


def labels(workload: Object) -> dict[str, str]:
    return dict(workload["spec"]["template"]["metadata"]["labels"])


def selects(selector: dict[str, str], found: dict[str, str]) -> bool:
    return bool(selector) and selector.items() <= found.items()


def flag(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


@pytest.fixture(params=ALL)
def manifests(request: pytest.FixtureRequest) -> Manifests:
    return Manifests(request.param, render(K8S / request.param))


@pytest.fixture(params=WITH_REDIS)
def with_redis(request: pytest.FixtureRequest) -> Manifests:
    return Manifests(request.param, render(K8S / request.param))


# -- the objects ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
def test_kubernetes_knows_every_field(manifests: Manifests, version: str) -> None:
    for found in manifests.objects:
        kubernetes_validate.validate(found, version, strict=True)


def test_every_object_says_what_it_belongs_to(manifests: Manifests) -> None:
    for found in manifests.objects:
        if found["kind"] == "Namespace":
            assert found["metadata"]["name"] == "waitroom"
            assert found["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        elif found["kind"] != "ConfigMap":
            assert found["metadata"]["labels"]["app.kubernetes.io/part-of"] == "waitroom"
        if found["kind"] != "Namespace":
            assert found["metadata"]["namespace"] == "waitroom"


def test_what_refers_to_pods_finds_them(manifests: Manifests) -> None:
    pods = [labels(workload) for workload in manifests.workloads]
    for workload in manifests.workloads:
        assert selects(workload["spec"]["selector"]["matchLabels"], labels(workload))
        for spread in pod(workload).get("topologySpreadConstraints", []):
            assert selects(spread["labelSelector"]["matchLabels"], labels(workload))
    for service in manifests.of("Service"):
        assert len([True for found in pods if selects(service["spec"]["selector"], found)]) == 1
    for budget in manifests.of("PodDisruptionBudget"):
        assert selects(budget["spec"]["selector"]["matchLabels"], labels(manifests.one("Deployment")))
    for policy in manifests.of("NetworkPolicy"):
        assert [found for found in pods if selects(policy["spec"]["podSelector"]["matchLabels"], found)]
    for scaler in manifests.of("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        assert manifests.one(target["kind"], target["name"])["apiVersion"] == target["apiVersion"]
        assert all(
            "cpu" in each["resources"]["requests"] for each in pod(manifests.one("Deployment"))["containers"]
        )
    for stateful in manifests.of("StatefulSet"):
        assert manifests.one("Service", stateful["spec"]["serviceName"])


def test_the_base_is_three_replicas_that_stay() -> None:
    base = Manifests("base", render(K8S / "base"))
    spec = base.one("Deployment")["spec"]
    assert spec["replicas"] == 3
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert base.one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    scaler = base.one("HorizontalPodAutoscaler")
    assert (scaler["apiVersion"], scaler["spec"]["minReplicas"]) == ("autoscaling/v2", 3)
    assert {spread["topologyKey"] for spread in pod(base.one("Deployment"))["topologySpreadConstraints"]} == {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    }


def test_a_local_cluster_gets_one_small_pod() -> None:
    local = Manifests("local", render(K8S / "overlays/local"))
    assert local.one("Deployment")["spec"]["replicas"] == 1
    assert local.of("HorizontalPodAutoscaler") + local.of("PodDisruptionBudget") == []
    assert local.one("ConfigMap")["data"]["WAITROOM_COOKIE_SECURE"] == "auto", "it is reached over plain http"


def test_with_a_store_that_is_there_already_none_is_deployed() -> None:
    external = Manifests("external", render(K8S / "overlays/external-redis"))
    assert external.of("StatefulSet") == []
    assert [found["metadata"]["name"] for found in external.of("Service")] == ["waitroom"]
    (url,) = [entry for entry in external.gate["env"] if entry["name"] == "WAITROOM_REDIS_URL"]
    reference = {"secretKeyRef": {"name": "waitroom", "key": "WAITROOM_REDIS_URL"}}
    assert url == {"name": "WAITROOM_REDIS_URL", "valueFrom": reference}
    assert "REDIS_PASSWORD" not in [entry["name"] for entry in external.gate["env"]]


# -- what the pods may do -------------------------------------------------------------------------


def test_pods_have_no_more_rights_than_they_need(manifests: Manifests) -> None:
    for workload in manifests.workloads:
        spec = pod(workload)
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for each in spec["containers"]:
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert set(each["resources"]["requests"]) == {"cpu", "memory"}
            assert "memory" in each["resources"]["limits"]


def test_the_gate_runs_as_the_images_user_and_can_write_to_tmp_alone(manifests: Manifests) -> None:
    spec = pod(manifests.one("Deployment"))
    user = spec["securityContext"]
    assert f"{user['runAsUser']}:{user['runAsGroup']}" == only(stages()[-1], "USER")
    assert [mount["mountPath"] for mount in manifests.gate["volumeMounts"]] == ["/tmp"]


def test_images_are_of_one_exact_version(manifests: Manifests) -> None:
    assert manifests.gate["image"] == f"waitroom:{__version__}"
    for workload in manifests.workloads:
        for each in pod(workload)["containers"]:
            assert each["name"] == "gate" or re.search(r":[\w.-]+@sha256:[0-9a-f]{64}$", each["image"])


def test_nothing_secret_is_written_down(manifests: Manifests) -> None:
    assert manifests.of("Secret") == []
    for workload in manifests.workloads:
        for each in pod(workload)["containers"]:
            for entry in each.get("env", []):
                if re.search("SECRET|PASSWORD|TOKEN", entry["name"]):
                    assert entry["valueFrom"]["secretKeyRef"]["name"] == "waitroom"
                    assert "value" not in entry
                elif re.search("URL|AUTH", entry["name"]):
                    assert "value" not in entry or "$(REDIS_PASSWORD)" in entry["value"]


def test_a_password_is_named_before_it_is_used(with_redis: Manifests) -> None:
    """Kubernetes puts into `$(…)` only what stands above it."""
    for each in (with_redis.gate, with_redis.redis):
        names = [entry["name"] for entry in each["env"]]
        for entry in each["env"]:
            if "$(REDIS_PASSWORD)" in entry.get("value", ""):
                assert names.index("REDIS_PASSWORD") < names.index(entry["name"])


def test_policies_let_through_what_is_needed_and_nothing_else(manifests: Manifests) -> None:
    denied = manifests.one("NetworkPolicy", "waitroom-default-deny")["spec"]
    assert "ingress" not in denied
    assert "egress" not in denied
    assert all(selects(denied["podSelector"]["matchLabels"], labels(found)) for found in manifests.workloads)
    gate = manifests.one("NetworkPolicy")["spec"]
    (port,) = [port["containerPort"] for port in manifests.gate["ports"]]
    assert [each["port"] for rule in gate["ingress"] for each in rule["ports"]] == [port]
    outwards = {each["port"] for rule in gate["egress"] for each in rule["ports"]}
    assert outwards - {6380, 26379} == {53, 6379}


def test_the_store_hears_the_gate_alone(with_redis: Manifests) -> None:
    spec = with_redis.one("NetworkPolicy", "waitroom-redis")["spec"]
    (rule,) = spec["ingress"]
    (peer,) = rule["from"]
    assert selects(peer["podSelector"]["matchLabels"], labels(with_redis.one("Deployment")))
    assert not selects(
        peer["podSelector"]["matchLabels"], labels(with_redis.one("StatefulSet", "waitroom-redis"))
    )
    assert [each["port"] for each in rule["ports"]] == [with_redis.redis["ports"][0]["containerPort"]]
    assert "egress" not in spec
    assert spec["policyTypes"] == ["Ingress", "Egress"]


# -- what the app is told, and serves -------------------------------------------------------------


def test_every_variable_is_one_that_the_app_reads(manifests: Manifests) -> None:
    told = [entry["name"] for entry in manifests.gate["env"]]
    (source,) = manifests.gate["envFrom"]
    config = manifests.one("ConfigMap")
    assert source == {"configMapRef": {"name": config["metadata"]["name"]}}, "with the hash of its values"
    told += config["data"]
    assert {name for name in told if name.startswith("WAITROOM_")} <= NAMES
    assert set(told) - NAMES <= {"REDIS_PASSWORD", "FORWARDED_ALLOW_IPS"}
    assert {"WAITROOM_SECRET", "WAITROOM_REDIS_URL"} <= set(told)
    # Else Kubernetes would add WAITROOM_PORT and WAITROOM_SERVICE_HOST, which stop the start.
    assert pod(manifests.one("Deployment"))["enableServiceLinks"] is False


def test_the_service_leads_to_the_port_that_the_gate_listens_to(manifests: Manifests) -> None:
    (port,) = manifests.gate["ports"]
    assert port == {"name": "http", "containerPort": int(flag(manifests.gate["args"], "--port"))}
    assert flag(manifests.gate["args"], "--host") == "0.0.0.0"
    (entry,) = manifests.one("Service")["spec"]["ports"]
    assert entry["targetPort"] == port["name"]
    named = [
        port["name"] for each in pod(manifests.one("Deployment"))["containers"] for port in each["ports"]
    ]
    assert named.count("http") == 1


def test_a_pod_has_the_time_that_it_takes_to_leave(manifests: Manifests) -> None:
    spec = pod(manifests.one("Deployment"))
    leaving = manifests.gate["lifecycle"]["preStop"]["sleep"]["seconds"]
    open_requests = int(flag(manifests.gate["args"], "--timeout-graceful-shutdown"))
    assert leaving > 0
    assert leaving + open_requests < spec["terminationGracePeriodSeconds"]
    for each in spec["containers"]:
        if each["name"] != "gate":  # the site answers until the gate has passed on its last request
            site = each["lifecycle"]["preStop"]["sleep"]["seconds"]
            assert leaving + open_requests <= site < spec["terminationGracePeriodSeconds"]


def test_arguments_are_those_of_the_command_line(manifests: Manifests) -> None:
    name, *arguments = manifests.gate["args"]
    context = main.commands[name].make_context(name, list(arguments))
    assert (context.params["host"], context.params["port"]) == ("0.0.0.0", 8000)


def test_probes_ask_for_routes_that_there_are(manifests: Manifests) -> None:
    paths = {name: probe["httpGet"]["path"] for name, probe in probes(manifests.gate)}
    assert paths == {
        "startupProbe": f"{API}/readyz",
        "readinessProbe": f"{API}/readyz",
        "livenessProbe": f"{API}/livez",
    }
    assert {probe["httpGet"]["port"] for _, probe in probes(manifests.gate)} == {"http"}
    assert "WAITROOM_PREFIX" not in manifests.one("ConfigMap")["data"], "the paths begin with the default one"


def probes(each: Object) -> list[tuple[str, Object]]:
    return [
        (name, each[name]) for name in ("startupProbe", "readinessProbe", "livenessProbe") if name in each
    ]


# -- the same, running ----------------------------------------------------------------------------


@contextmanager
def store(manifests: Manifests, folder: Path, port: int) -> Iterator[int]:
    """The store as its pod runs it: its own command and file, with another port and folder. Yields its process id."""
    binary = shutil.which("redis-server")
    if binary is None:
        stores.missing("redis-server")
    config = manifests.one("ConfigMap", "waitroom-redis")["data"]["redis.conf"]
    (folder / "redis.conf").write_text(config.replace("dir /data", f"dir {folder}"))
    places = {"redis-server": str(binary), "/etc/redis/redis.conf": f"{folder}/redis.conf"}
    command = [
        places.get(word, word).replace("$(REDIS_PASSWORD)", PASSWORD) for word in manifests.redis["command"]
    ]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL
    )
    try:
        stores.await_server(f"redis://:{PASSWORD}@127.0.0.1:{port}/0")
        yield process.pid
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait()


def environment(manifests: Manifests, port: int) -> dict[str, Any]:
    """What the gate's container finds, with the secrets in their places."""
    secrets = {"WAITROOM_SECRET": SECRET, "REDIS_PASSWORD": PASSWORD}
    found = dict(manifests.one("ConfigMap")["data"])
    for entry in manifests.gate["env"]:
        found[entry["name"]] = entry.get("value") or secrets[entry["name"]]
    url = found["WAITROOM_REDIS_URL"].replace("$(REDIS_PASSWORD)", PASSWORD)
    return {**found, "WAITROOM_REDIS_URL": url.replace("waitroom-redis:6379", f"127.0.0.1:{port}")}


def ask(server: Server, probe: Object) -> httpx.Response:
    return httpx.get(server.url + probe["httpGet"]["path"], timeout=DEADLINE_SECONDS)


def test_the_pods_answer_their_probes_with_and_without_the_store(image: Image, tmp_path: Path) -> None:
    base = Manifests("base", render(K8S / "base"))
    port = free_port()
    with (
        store(base, tmp_path, port) as pid,
        image.running(*base.gate["args"], **environment(base, port)) as gate,
    ):
        for _, probe in probes(base.gate):
            assert ask(gate, probe).status_code == 200
        assert httpx.get(f"{gate.url}{API}/window", timeout=DEADLINE_SECONDS).json()["capacity"] == 500
        os.kill(pid, signal.SIGSTOP)
        assert ask(gate, base.gate["livenessProbe"]).text == "alive\n"
        deadline = time.monotonic() + DEADLINE_SECONDS
        while "the store is away" not in (ready := ask(gate, base.gate["readinessProbe"])).text:
            assert time.monotonic() < deadline, ready.text
        assert ready.status_code == 200, "an outage does not take every pod out at once"
    assert "Traceback" not in gate.said


def test_the_line_is_on_the_volume(image: Image, tmp_path: Path) -> None:
    base = Manifests("base", render(K8S / "base"))
    settings = environment(base, port := free_port())
    with (
        store(base, tmp_path, port),
        image.running(*base.gate["args"], **settings) as gate,
        visitor(gate) as one,
    ):
        ticket = join(one).json()
        assert ticket["number"] == 1
    with (
        store(base, tmp_path, port),
        image.running(*base.gate["args"], **settings) as gate,
        visitor(gate) as two,
    ):
        assert join(two).json()["number"] == 2
        two.cookies.clear()

        def is_active() -> bool:
            again = status(two, headers=bearer(ticket["ticket"])).json()
            assert again["number"] == 1
            return bool(again["status"] == "active")

        until(is_active, "the line goes on: a store that was restarted may have lost something")


def test_the_stores_probe_tells_whether_it_answers_and_nothing_is_evicted(tmp_path: Path) -> None:
    base = Manifests("base", render(K8S / "base"))
    command = base.redis["readinessProbe"]["exec"]["command"]
    with store(base, tmp_path, port := free_port()):
        here = [command[0], "-p", str(port), *command[1:]]
        assert run(here, REDISCLI_AUTH=PASSWORD).returncode == 0
        assert run(here, REDISCLI_AUTH="wrong").returncode != 0
        kept = run([*here[:-1], "config", "get", "maxmemory-policy"], REDISCLI_AUTH=PASSWORD)
        assert "noeviction" in kept.stdout
    assert run(here, REDISCLI_AUTH=PASSWORD).returncode != 0


def run(command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_as_a_sidecar_the_gate_stands_in_front_of_the_site(image: Image, tmp_path: Path) -> None:
    sidecar = Manifests("sidecar", render(K8S / "overlays/sidecar"))
    site = container(sidecar.one("Deployment"), "site")
    command, upstream, *flags = sidecar.gate["args"]
    assert upstream == f"http://127.0.0.1:{site['ports'][0]['containerPort']}"
    with (
        store(sidecar, tmp_path, port := free_port()),
        uvicorn("tests.sites:starlette_site", exclude="/*") as upstream_server,
        image.running(command, upstream_server.url, *flags, **environment(sidecar, port)) as gate,
        visitor(gate) as inside,
    ):
        until(lambda: is_inside(inside.get("/")))
        for _, probe in probes(sidecar.gate):
            assert ask(gate, probe).status_code == 200


# -- the documentation ----------------------------------------------------------------------------


def test_the_overlay_in_the_documentation_renders(tmp_path: Path) -> None:
    """Copied beside the others, as a reader would."""
    text = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
    files = dict(re.findall(r"```yaml\n# (k8s/overlays/shop/\S+)\n(.*?)```", text, re.DOTALL))
    assert set(files) == {"k8s/overlays/shop/kustomization.yaml", "k8s/overlays/shop/shop.yaml"}
    shutil.copytree(K8S, tmp_path / "k8s")
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(content)
    shop = Manifests("shop", render(tmp_path / "k8s/overlays/shop"))
    for found in shop.objects:
        kubernetes_validate.validate(found, OLDEST, strict=True)
    assert shop.gate["image"] == "registry.example/shop:2.4.0"
    assert shop.gate["args"][:2] == ["run", "shop:app"]
    assert shop.one("ConfigMap")["data"]["WAITROOM_CAPACITY"] == "2000"
    assert {found["metadata"].get("namespace", "shop") for found in shop.objects} == {"shop"}
    assert "replicas" not in shop.one("Deployment")["spec"]
