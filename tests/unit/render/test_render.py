"""What holds for every rendered pod, and the formula by which it leaves service. Whole manifests are in tests/golden."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.domain import names
from slipway.domain.objects import Apply, Manifest
from slipway.render import termination
from slipway.render.gpu import PRODUCT_LABEL
from tests.kit.builders import Model, World

GOLDEN = Path(__file__).parents[2] / "golden"
LOCAL_VOLUMES = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
OS, ARCH = "kubernetes.io/os", "kubernetes.io/arch"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/input.yaml"))


def children(body: Manifest | Model) -> dict[str, list[Manifest]]:
    found: dict[str, list[Manifest]] = {}
    for action in World(body).plan().actions:
        if not isinstance(action, Apply) or action.manager != names.FIELD_MANAGER:
            continue
        manifest = action.manifest
        found.setdefault(manifest["kind"], []).append(manifest)
    return found


def pod(body: Manifest | Model) -> Manifest:
    template: Manifest = children(body)["Deployment"][0]["spec"]["template"]
    return template


def containers(body: Manifest | Model) -> tuple[Manifest, Manifest]:
    spec = pod(body)["spec"]
    return spec["initContainers"][0], spec["containers"][0]


def flags(body: Manifest | Model) -> dict[str, str]:
    return dict(argument.removeprefix("--").split("=", 1) for argument in containers(body)[1]["args"])


def read(case: str) -> Any:
    return yaml.safe_load((GOLDEN / case / "input.yaml").read_text())


@pytest.mark.parametrize("case", CASES)
def test_every_pod_keeps_the_restricted_standard(case: str) -> None:
    spec = pod(read(case))["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 65532
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec.get("automountServiceAccountToken") is (None if "serviceAccountName" in spec else False)
    for container in (*spec["initContainers"], *spec["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
    kinds = {next(iter(set(volume) - {"name"})) for volume in spec["volumes"]}
    assert kinds <= {"emptyDir", "persistentVolumeClaim", "configMap"}


@pytest.mark.parametrize("case", CASES)
def test_an_autoscaler_may_move_every_pod(case: str) -> None:
    """The cluster autoscaler keeps a node for every local volume that this annotation does not name."""
    found = pod(read(case))
    local = [volume["name"] for volume in found["spec"]["volumes"] if {"emptyDir", "hostPath"} & volume.keys()]
    assert set(local) <= set(found["metadata"]["annotations"][LOCAL_VOLUMES].split(","))
    assert len(local) >= 2


def test_what_an_autoscaler_may_do_can_be_said_otherwise() -> None:
    for annotations in ({LOCAL_VOLUMES: "model,tmp,istio-data"}, {LOCAL_VOLUMES: ""}):
        assert annotations.items() <= pod(Model().pods(annotations=annotations))["metadata"]["annotations"].items()
    kept = pod(Model().pods(annotations={"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}))
    assert kept["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"


@pytest.mark.parametrize("case", CASES)
def test_every_pod_asks_for_linux(case: str) -> None:
    assert pod(read(case))["spec"]["nodeSelector"][OS] == "linux"


@pytest.mark.parametrize(
    ("image", "asked", "selector"),
    [
        (None, {}, {OS: "linux", ARCH: "amd64"}),
        ("registry.example/hub/tensorflow/serving:2.19.0-gpu", {}, {OS: "linux", ARCH: "amd64"}),
        ("docker.io/tensorflow/serving@sha256:" + "a" * 64, {}, {OS: "linux", ARCH: "amd64"}),
        ("slipway/model-server:2.20.0", {}, {OS: "linux"}),
        ("registry.example/tensorflow/serving-arm:1", {}, {OS: "linux"}),
        (None, {"disk": "ssd", ARCH: "arm64"}, {OS: "linux", ARCH: "arm64", "disk": "ssd"}),
        (None, {ARCH: "", "spot": ""}, {OS: "linux", "spot": ""}),
        (None, {ARCH: "", OS: ""}, None),
    ],
)
def test_pods_ask_for_what_their_image_needs_of_a_node(
    image: str | None, asked: dict[str, str], selector: dict[str, str] | None
) -> None:
    model = Model().pods(nodeSelector=asked)
    found = pod(model.spec(runtime={"image": image}) if image else model)["spec"]
    assert found.get("nodeSelector") == selector


@pytest.mark.parametrize("case", CASES)
def test_every_child_is_labelled_and_owned(case: str) -> None:
    body = read(case)
    name = body["metadata"]["name"]
    for kind, manifests in children(body).items():
        for manifest in manifests:
            number = 1 if kind == "ControllerRevision" else None
            assert manifest["metadata"]["labels"] == names.labels(name, number)
            assert manifest["metadata"]["namespace"] == "team-a"
            [owner] = manifest["metadata"]["ownerReferences"]
            assert (owner["uid"], owner["controller"]) == (body["metadata"]["uid"], True)
    for label, value in names.labels(name, 1).items():
        assert pod(body)["metadata"]["labels"][label] == value


@pytest.mark.parametrize("case", CASES)
def test_selectors_are_one_label_that_never_changes(case: str) -> None:
    found = children(read(case))
    selector = {"serving.slipway.dev/name": read(case)["metadata"]["name"]}
    assert found["Deployment"][0]["spec"]["selector"] == {"matchLabels": selector}
    assert all(service["spec"]["selector"] == selector for service in found["Service"])
    for budget in found.get("PodDisruptionBudget", []):
        assert budget["spec"]["selector"] == {"matchLabels": selector}


def test_the_sleep_outlasts_every_client_that_may_still_send() -> None:
    age = 1.1 * termination.AGE_SECONDS
    through_service = termination.PROPAGATION_SECONDS + age
    # An answer of the DNS that was old already, and the pause before the next question.
    by_itself = termination.PROPAGATION_SECONDS + termination.DNS_SECONDS + termination.RESOLVER_SECONDS
    assert age <= termination.RESOLVER_SECONDS  # within that pause a connection ends, and the client asks again
    assert termination.sleep_seconds() >= max(through_service, by_itself)
    assert (
        termination.grace_seconds() == termination.sleep_seconds() + termination.CALL_SECONDS + termination.STOP_SECONDS
    )


def test_a_longer_age_makes_the_sleep_longer_and_a_shorter_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = termination.sleep_seconds()
    monkeypatch.setattr(termination, "AGE_SECONDS", 10)
    assert termination.sleep_seconds() == usual
    monkeypatch.setattr(termination, "AGE_SECONDS", 100)
    assert termination.sleep_seconds() == termination.PROPAGATION_SECONDS + termination.DNS_SECONDS + 110


def test_pods_are_created_with_the_sleep() -> None:
    _, server = containers(Model())
    spec = pod(Model())["spec"]
    assert server["lifecycle"] == {"preStop": {"sleep": {"seconds": termination.sleep_seconds()}}}
    assert spec["terminationGracePeriodSeconds"] == termination.grace_seconds()
    sent = dict(item.split("=") for item in flags(Model())["grpc_channel_arguments"].split(","))
    assert sent["grpc.max_connection_age_ms"] == str(termination.AGE_SECONDS * 1000)
    assert int(sent["grpc.max_connection_age_grace_ms"]) >= termination.CALL_SECONDS * 1000
    # The drop-in's own limit lies within what is left of the grace period, with time to end.
    environment = {entry["name"]: entry["value"] for entry in server["env"]}
    allowed = float(environment["MODEL_SERVER_SHUTDOWN_SECONDS"])
    assert termination.CALL_SECONDS <= allowed < termination.grace_seconds() - termination.sleep_seconds()


@pytest.mark.parametrize(("deadline", "seconds"), [("90s", 600), ("10m", 600), ("1h30m", 5400)])
def test_loading_may_take_as_long_as_the_rollout(deadline: str, seconds: int) -> None:
    probe = containers(Model().rollout(progressDeadline=deadline))[1]["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == seconds


@pytest.mark.parametrize(("version", "how"), [("2.14.1", "tcpSocket"), ("2.15.0", "grpc"), ("2.20.0", "grpc")])
def test_probes_ask_what_the_version_can_answer(version: str, how: str) -> None:
    model = Model().spec(runtime={"version": version})
    _, server = containers(model)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server[probe][how] == {"port": 8500}
    assert ("enable_grpc_healthcheck_service" in flags(model)) == (how == "grpc")


def test_a_server_that_hangs_gets_no_sleep() -> None:
    _, server = containers(Model())
    for probe in ("startupProbe", "livenessProbe"):
        assert server[probe]["terminationGracePeriodSeconds"] == termination.STOP_SECONDS < termination.sleep_seconds()
    assert "terminationGracePeriodSeconds" not in server["readinessProbe"]  # refused there by the API server


@pytest.mark.parametrize(
    ("uri", "claim", "source"),
    [
        ("pvc://models", "models", "/source"),
        ("pvc://models/", "models", "/source"),
        ("pvc://my.claim/a/b/", "my.claim", "/source/a/b"),
        ("pvc://models/with%20space", "models", "/source/with space"),
    ],
)
def test_a_volume_is_mounted_for_fetch_alone_and_read_only(uri: str, claim: str, source: str) -> None:
    fetch, server = containers(Model(uri=uri))
    volume = next(volume for volume in pod(Model(uri=uri))["spec"]["volumes"] if volume["name"] == "source")
    assert volume["persistentVolumeClaim"] == {"claimName": claim, "readOnly": True}
    assert f"--source={source}" in fetch["args"]
    assert {"name": "source", "mountPath": "/source", "readOnly": True} in fetch["volumeMounts"]
    assert "source" not in {mount["name"] for mount in server["volumeMounts"]}
    assert {"name": "model", "mountPath": "/models", "readOnly": True} in server["volumeMounts"]


def test_a_download_needs_no_volume() -> None:
    fetch, _ = containers(Model(uri="https://models.example.org/digits.tar"))
    assert not any(argument.startswith("--source") for argument in fetch["args"])
    assert {volume["name"] for volume in pod(Model(uri="https://x/y"))["spec"]["volumes"]} == {"model", "tmp"}


def test_what_kubernetes_would_expand_arrives_as_it_was_written() -> None:
    """In a container's arguments Kubernetes reads `$$` as `$` and replaces `$(NAME)`."""
    fetch, _ = containers(Model(uri="https://x/$(HOME)/$$/$"))
    sent = next(argument for argument in fetch["args"] if argument.startswith("--uri="))
    assert re.sub(r"\$\$", "$", sent) == "--uri=https://x/$(HOME)/$$/$"
    assert not re.search(r"(?<!\$)(\$\$)*\$\(", sent)


def test_a_flag_appears_once() -> None:
    model = Model().args(max_num_load_retries="3", enable_profiler="true")
    _, server = containers(model)
    assert len(server["args"]) == len(flags(model))
    assert (flags(model)["max_num_load_retries"], flags(model)["enable_profiler"]) == ("3", "true")


def test_fetch_requests_no_more_than_the_server() -> None:
    resources = {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "4Gi"}}
    fetch, server = containers(Model().spec(resources=resources, gpu={"count": 2}))
    assert fetch["resources"] == resources
    assert server["resources"]["limits"] == {"memory": "4Gi", "nvidia.com/gpu": "2"}
    assert containers(Model())[0]["resources"]["requests"]


def test_gpu_memory() -> None:
    def env(model: Model) -> dict[str, str]:
        return {item["name"]: item["value"] for item in containers(model)[1]["env"]}

    growing, shared = Model().gpu(), Model().gpu(memoryFraction=0.25)
    assert env(growing)["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert "per_process_gpu_memory_fraction" not in flags(growing)
    assert "TF_FORCE_GPU_ALLOW_GROWTH" not in env(shared)
    assert flags(shared)["per_process_gpu_memory_fraction"] == "0.25"


def test_a_gpu_of_another_maker_brings_nothing_of_nvidia() -> None:
    model = Model().gpu(resourceName="amd.com/gpu")
    spec = pod(model)["spec"]
    assert "tolerations" not in spec
    assert PRODUCT_LABEL not in spec["nodeSelector"]
    assert containers(model)[1]["resources"]["limits"] == {"amd.com/gpu": "1"}


@pytest.mark.parametrize(
    ("model", "there"),
    [
        (Model(), False),
        (Model().replicas(0), False),
        (Model().replicas(1), False),
        (Model().replicas(2), True),
        (Model().autoscaling(1, 1), False),
        (Model().autoscaling(1, 2), True),
    ],
)
def test_a_budget_where_there_can_be_more_than_one_pod(model: Model, there: bool) -> None:  # noqa: FBT001
    assert ("PodDisruptionBudget" in children(model)) is there
