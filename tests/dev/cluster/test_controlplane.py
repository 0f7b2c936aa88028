"""A control plane starts in seconds, keeps its address over restarts, tells users apart, and leaves nothing."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster import binaries, cli, controlplane
from dev.cluster.controlplane import ControlPlane, Nodes, Options
from dev.cluster.ports import listens
from dev.cluster.processes import wait_until
from dev.cluster.simulated_nodes import node_object
from dev.errors import DevError
from dev.shell import run

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    options = Options(controller_manager=True, scheduler=True, kwok=Nodes(count=3, pods=20), audit=True)
    with ControlPlane(options) as started:
        yield started


def kubectl(config: Path, *words: str) -> str:
    return run([binaries.ensure("kubectl"), "--kubeconfig", config, *words])


def test_server_and_client_tell_their_version(plane: ControlPlane) -> None:
    versions = json.loads(kubectl(plane.kubeconfig(), "version", "--output=json"))
    expected = binaries.version("kube-apiserver")
    assert versions["serverVersion"]["gitVersion"] == expected
    assert versions["clientVersion"]["gitVersion"] == expected


def test_users_are_who_they_say_and_may_what_they_were_granted(plane: ControlPlane) -> None:
    alice = plane.kubeconfig(user="alice", groups=["team"])
    who = json.loads(kubectl(alice, "auth", "whoami", "--output=json"))["status"]["userInfo"]
    assert who["username"] == "alice"
    assert "team" in who["groups"]
    with pytest.raises(DevError, match="forbidden"):
        kubectl(alice, "get", "pods")
    kubectl(plane.kubeconfig(), "create", "rolebinding", "team-view", "--clusterrole=view", "--group=team")
    # The authorizer hears of a binding a moment after it was made.
    wait_until(lambda: may_list_pods(alice), "the rights of the binding", timeout=60)
    assert "No resources" in kubectl(alice, "get", "pods", "--output=wide") or kubectl(alice, "get", "pods") == ""


def may_list_pods(config: Path) -> bool:
    try:
        return kubectl(config, "auth", "can-i", "list", "pods").strip() == "yes"
    except DevError:  # it says no
        return False


def test_pods_run_on_simulated_nodes(plane: ControlPlane) -> None:
    admin = plane.kubeconfig()
    kubectl(admin, "create", "deployment", "web", "--image=web:1", "--replicas=30")
    # Not its condition Available: three quarters of the pods are enough for that.
    kubectl(admin, "wait", "--for=jsonpath={.status.availableReplicas}=30", "deployment/web", "--timeout=60s")
    pods = json.loads(kubectl(admin, "get", "pods", "--selector=app=web", "--output=json"))["items"]
    assert {pod["spec"]["nodeName"] for pod in pods} == {"node-0", "node-1", "node-2"}
    assert len({pod["status"]["podIP"] for pod in pods}) == 30


def test_the_audit_log_tells_who_asked_what(plane: ControlPlane) -> None:
    bob = plane.kubeconfig(user="bob", groups=["system:masters"])
    kubectl(bob, "create", "configmap", "audited")

    def found() -> list[tuple[str, str, int]]:
        return [
            (event["verb"], event["objectRef"]["resource"], event["responseStatus"]["code"])
            for event in plane.audit_events()
            if event["user"]["username"] == "bob" and event.get("objectRef", {}).get("name") == "audited"
        ]

    wait_until(lambda: bool(found()), "the line of the request", timeout=60)  # written after the answer was sent
    assert found() == [("create", "configmaps", 201)]


def test_address_and_data_survive_restarts(plane: ControlPlane) -> None:
    admin, url = plane.kubeconfig(), plane.url
    kubectl(admin, "create", "configmap", "kept")
    plane.restart_apiserver()
    assert plane.url == url
    assert "kept" in kubectl(admin, "get", "configmap", "kept")
    plane.stop_etcd()
    plane.start_etcd()
    assert "kept" in kubectl(admin, "get", "configmap", "kept")


def test_a_stopped_server_refuses_until_it_is_started(plane: ControlPlane) -> None:
    plane.stop_apiserver()
    port = int(plane.url.rpartition(":")[2])
    assert not listens("127.0.0.1", port)
    with pytest.raises(DevError, match="kube-apiserver is not running"):
        plane.stop_apiserver()
    plane.start_apiserver()
    assert listens("127.0.0.1", port)


def test_a_named_context_is_used_copied_and_forgotten(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig()))
    monkeypatch.setenv("SLIPWAY_STATE", str(tmp_path))
    assert cli.main(["up", "--context", "slipway-plane"]) == 0
    own = Path(capsys.readouterr().out.strip().removeprefix("export KUBECONFIG="))
    assert "node-0" in kubectl(own, "get", "nodes")
    assert cli.main(["status"]) == 0
    assert "node-2" in capsys.readouterr().out
    assert cli.main(["gpu", "node-1", "--count", "4"]) == 0
    capacity = "--output=jsonpath={.status.capacity.nvidia\\.com/gpu}"
    assert kubectl(own, "get", "node", "node-1", capacity) == "4"
    assert cli.main(["gpu", "node-1", "--off"]) == 0
    assert kubectl(own, "get", "node", "node-1", capacity) == ""
    assert cli.main(["up", "--context", "production"]) == 1
    assert cli.main(["gpu"]) == 1
    assert "the cluster has 3 nodes" in capsys.readouterr().err
    assert cli.main(["down"]) == 0
    assert not own.exists()
    assert "node-0" in kubectl(plane.kubeconfig(), "get", "nodes")


def test_without_an_audit_log_asking_for_it_is_an_error_and_nothing_is_left() -> None:
    with ControlPlane() as small:
        pids = [small.pid(component) for component in ("etcd", "kube-apiserver")]
        with pytest.raises(DevError, match=r"Options\(audit=True\)"):
            list(small.audit_events())
        # Pods are accepted although nobody makes service accounts.
        kubectl(small.kubeconfig(), "run", "lonely", "--image=web:1")
    assert not small.folder.exists()
    assert all(pid is not None and not Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_wrong_flag_is_reported_with_the_servers_words() -> None:
    with pytest.raises(DevError, match=r"kube-apiserver ended(.|\n)*unknown flag: --no-such-flag"):
        ControlPlane(Options(apiserver_flags=("--no-such-flag",))).__enter__()


def test_what_a_killed_owner_left_is_swept(tmp_path: Path) -> None:
    script = "import os; from dev.cluster.controlplane import *; p = ControlPlane().__enter__(); p.kubeconfig(); print(p.folder, p.pid('etcd'), flush=True); os.kill(os.getpid(), 9)"
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    killed = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    folder, pid = killed.stdout.split()
    assert killed.returncode == -9
    assert Path(f"/proc/{pid}").exists()
    sweep = "from dev.cluster.controlplane import sweep; print(sweep())"
    assert run([sys.executable, "-c", sweep], env={**env, "PYTHONPATH": str(ROOT)}).strip() == "1"
    assert not Path(folder).exists()
    assert controlplane.sweep() == 0


def test_nodes_have_what_they_are_said_to_have() -> None:
    nodes = Nodes(cpu="8", memory="16Gi", pods=10, labels={"zone": "a"}, extended={"nvidia.com/gpu": "4"})
    node = node_object("n", nodes)
    assert node["status"]["capacity"] == {"cpu": "8", "memory": "16Gi", "pods": "10", "nvidia.com/gpu": "4"}
    assert node["metadata"]["labels"]["zone"] == "a"
