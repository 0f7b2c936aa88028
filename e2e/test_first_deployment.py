"""ModelDeployments that never worked, next to others that do: status words, and no neighbour is disturbed."""

from dev.kit import traffic, wait
from dev.kit.archive_server import url
from dev.kit.conditions import condition
from dev.kit.kubectl import Kubectl
from dev.kit.model_deployments import KIND, deployment, pods
from dev.kit.tiny_models import HALVES


def test_poisoned_neighbours_hold_nobody_up(namespace: Kubectl) -> None:
    bad = {
        "flag": deployment("flag", url("half_plus_two.tar.gz"), runtime={"args": {"no_such_flag": "1"}}),
        "affinity": deployment("affinity", url("half_plus_two.tar.gz"), podTemplate={"affinity": {"nodeAffinity": 1}}),
    }
    namespace.apply(*bad.values(), deployment("good", url("half_plus_two.tar.gz")))
    wait.ready(namespace, "good")
    assert traffic.predict_once(namespace, "good") == traffic.answer_of(HALVES["half_plus_two"])
    wait.refused(namespace, "flag", "UnknownFlag", "no_such_flag")
    wait.refused(namespace, "affinity", "ApplyFailed", "affinity")


def test_a_gpu_that_no_node_has(namespace: Kubectl) -> None:
    namespace.apply(deployment("accelerated", url("half_plus_two.tar.gz"), gpu={"count": 16}))
    state = wait.refused(namespace, "accelerated", "GpuUnavailable", "gpu")
    assert condition(state, "Available")["status"] == "False"
    [pod] = state["status"]["pods"]
    assert pod["state"] == "Unschedulable"


def test_mended_by_an_update(namespace: Kubectl) -> None:
    namespace.apply(deployment("mended", url("missing.tar.gz")))
    wait.refused(namespace, "mended", "FetchFailed", "404")
    namespace.apply(deployment("mended", url("half_plus_three.tar.gz")))
    wait.ready(namespace, "mended")
    assert traffic.predict_once(namespace, "mended") == traffic.answer_of(HALVES["half_plus_three"])


def test_listed_with_all_columns(namespace: Kubectl) -> None:
    namespace.apply(deployment("listed", url("half_plus_two.tar.gz")))
    wait.ready(namespace, "listed")
    header, row = namespace.run("get", "mdep").stdout.splitlines()
    assert header.split()[:7] == ["NAME", "READY", "REVISION", "TARGET", "REPLICAS", "VERSION", "AGE"]
    assert row.split()[:6] == ["listed", "True", "1", "1", "1", "1"]
    assert "mdep" in namespace.run("api-resources").stdout
    assert f"{KIND}.serving.slipway.dev/listed" in namespace.run("get", "all", "--output=name").stdout
    assert len(pods(namespace, "listed")) == 1
