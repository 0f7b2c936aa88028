"""A local cluster of two nodes: pods on both, routed between them, a node that is drained, lost, cut off and repaired."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from dev.cluster import binaries, state
from dev.cluster.nodes import cgroups, namespaces
from dev.cluster.nodes.network import Network
from dev.cluster.nodes.node import folder
from dev.cluster.paths import kubeconfig_path, state_dir
from dev.cluster.processes import running_pid, wait_until
from dev.cluster.providers.local import Local
from dev.errors import DevError
from dev.shell import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NAME = "cluster-nodes"
FIRST, SECOND = f"{NAME}-node", f"{NAME}-node-2"
SPREAD = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
WORKLOAD = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "topologySpreadConstraints": [SPREAD | {"maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway"}],
                "containers": [{"name": "probe", "image": "slipway/probe:1", "args": ["serve"]}],
            },
        },
    },
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
}


def kubectl(*words: str, stdin: object = None) -> str:
    """Output of kubectl; DevError when it fails."""
    text = None if stdin is None else json.dumps(stdin)
    return run([binaries.ensure("kubectl"), "--kubeconfig", kubeconfig_path(NAME), *words], stdin=text, timeout=120)


def pods() -> dict[str, dict[str, str]]:
    """Name and address of the serving pods, by node."""
    found = json.loads(kubectl("get", "pods", "--selector=app=web", "--output=json"))["items"]
    return {
        pod["spec"]["nodeName"]: {"name": pod["metadata"]["name"], "address": pod["status"]["podIP"]} for pod in found
    }


def two_are_ready() -> bool:
    """Tell whether there are two pods, and both serve. The Deployment may still say so of those that are gone."""
    found = json.loads(kubectl("get", "pods", "--selector=app=web", "--output=json"))["items"]
    conditions = [entry for pod in found for entry in pod["status"].get("conditions", [])]
    ready = [entry for entry in conditions if entry["type"] == "Ready" and entry["status"] == "True"]
    return len(found) == 2 == len(ready)


def heard(pod: str) -> set[str]:
    """Names of the pods that answer a pod through the Service; none while its node does not know the Service."""
    try:
        return {kubectl("exec", pod, "--", "/probe", "get", "http://web/").split()[-1] for _ in range(12)}
    except DevError:
        return set()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())


def ready(node: str) -> str:
    path = '--output=jsonpath={.status.conditions[?(@.type=="Ready")].status}'
    return kubectl("get", "node", node, path)


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What the provider said."""
    return []


@pytest.fixture(scope="module")
def nodes(probe_archive: Path, said: list[str]) -> Iterator[Local]:
    """A cluster that began with one node and grew; needs root. It is removed at the end, whatever happened."""
    if os.geteuid() != 0:
        pytest.skip("a local cluster needs root")
    try:
        Local(NAME, said.append).up()
        provider = Local(NAME, said.append, nodes=2)
        provider.up()
        provider.load([str(probe_archive)])
        kubectl("apply", "--filename=-", stdin=WORKLOAD)
        kubectl("apply", "--filename=-", stdin=SERVICE)
        kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=90s")
        yield Local(NAME, said.append)
    finally:
        Local(NAME, said.append).down()


def test_pods_run_on_both_nodes_and_the_host_reaches_them(nodes: Local) -> None:
    found = pods()
    assert set(found) == {FIRST, SECOND}
    for pod in found.values():
        assert get(f"http://{pod['address']}:8080/").startswith(f"hello from {pod['name']}")
    assert IPv4Address(found[SECOND]["address"]) in nodes_network(2).pods


def nodes_network(number: int) -> Network:
    """The share of one node."""
    record = state.load(NAME)
    assert record is not None
    return Network(record.index, number)


def test_from_either_node_a_service_reaches_pods_on_both(nodes: Local) -> None:
    found = {pod["name"] for pod in pods().values()}
    for asking in found:
        wait_until(lambda pod=asking: found <= heard(pod), f"answers to {asking}", timeout=60, poll=1)  # type: ignore[misc]
    assert "serving on :8080" in kubectl("logs", pods()[SECOND]["name"])
    address = kubectl("get", "service", "web", "--output=jsonpath={.spec.clusterIP}")
    assert len({get(f"http://{address}/") for _ in range(16)}) == 2


def test_up_again_starts_nothing_and_keeps_the_number_of_nodes(nodes: Local, said: list[str]) -> None:
    said.clear()
    nodes.up()
    assert not any("started again" in line for line in said)
    assert SECOND in said[-1]
    with pytest.raises(DevError, match="has 2 nodes, more than 1"):
        Local(NAME, said.append, nodes=1).up()


def test_a_drain_moves_pods_to_the_other_node(nodes: Local) -> None:
    kubectl("drain", SECOND, "--timeout=90s")
    wait_until(two_are_ready, "a pod in the place of the one that went", timeout=90, poll=0.5)
    assert set(pods()) == {FIRST}
    kubectl("uncordon", SECOND)
    kubectl("delete", "pod", "--selector=app=web")
    wait_until(two_are_ready, "pods in the place of both", timeout=90, poll=0.5)
    assert set(pods()) == {FIRST, SECOND}


def test_a_node_without_its_kubelet_is_lost_and_its_pods_go_on(nodes: Local, said: list[str]) -> None:
    pod = pods()[SECOND]
    assert nodes.lose(2) == SECOND
    assert running_pid(folder(NAME, 2) / "run" / "kubelet.pid") is None
    assert any(not fact.good and fact.subject == f"kubelet ({SECOND})" for fact in nodes.status())
    wait_until(lambda: ready(SECOND) == "Unknown", "the node to be missed", timeout=90, poll=0.5)
    assert get(f"http://{pod['address']}:8080/").startswith(f"hello from {pod['name']}")
    said.clear()
    nodes.up()
    assert f"started again: kubelet ({SECOND})" in said
    assert ready(SECOND) == "True"


def test_a_node_that_is_cut_off_answers_nobody_until_it_is_repaired(nodes: Local) -> None:
    pod = pods()[SECOND]
    nodes.lose(2, cut=True)
    with pytest.raises(OSError, match=r"timed out|No route to host|unreachable"):
        get(f"http://{pod['address']}:8080/")
    nodes.up()
    assert get(f"http://{pod['address']}:8080/").startswith(f"hello from {pod['name']}")


def test_the_first_node_cannot_be_lost_nor_one_that_is_not_there(nodes: Local) -> None:
    with pytest.raises(DevError, match="control plane"):
        nodes.lose(1)
    with pytest.raises(DevError, match="no node 3"):
        nodes.lose(3)


def test_a_command_inside_the_second_node(nodes: Local) -> None:
    told = subprocess.run(nodes.inside(["ip", "-4", "address"], 2), capture_output=True, text=True, check=True).stdout
    assert f"{nodes_network(2).node}/30" in told


def test_down_leaves_nothing_of_the_second_node(nodes: Local) -> None:
    """Last in this file: the cluster is gone afterwards."""
    ranges = [str(part) for part in nodes_network(2).ranges()]
    assert any(part in line for part in ranges for line in namespaces.host_routes())
    nodes.down()
    assert not namespaces.marked_processes(state_dir(NAME)) | cgroups.processes(NAME)
    assert not [point for point in namespaces.mount_points() if f"slipway/{NAME}" in point]
    assert not [line for line in namespaces.host_routes() if ranges[0] in line or ranges[2] in line]
    assert not state_dir(NAME).exists()
