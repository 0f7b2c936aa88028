"""The local provider on this machine: what runs in it, what a second `up` costs, what is left when it is gone."""

import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from dev.cluster import binaries, fake_gpus, state
from dev.cluster.nodes import cgroups, namespaces
from dev.cluster.nodes.network import Network
from dev.cluster.paths import kubeconfig_path, state_dir
from dev.cluster.processes import running_pid, wait_until
from dev.errors import DevError
from dev.kit.eventually import eventually
from dev.shell import run

if TYPE_CHECKING:
    from tests.dev.cluster.conftest import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NAME = "cluster-test"
WORKLOAD = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      securityContext: {runAsUser: 1234, runAsNonRoot: true}
      containers:
        - name: probe
          image: slipway/probe:1
          args: [serve]
          resources: {requests: {cpu: 10m}}
          volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""


@pytest.fixture(scope="module")
def web(cluster: "Cluster") -> "Cluster":
    """The cluster with two probes that serve behind a Service, and a volume."""
    cluster.kubectl("apply", "--filename=-", stdin=WORKLOAD)
    cluster.kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=90s")
    # The pods are there; that the node's rules and the DNS know both of them follows.
    wait_until(lambda: len(heard(cluster)) == 2, "answers of both pods", timeout=60, poll=1)
    return cluster


def heard(cluster: "Cluster") -> set[str]:
    """What the Service answers a pod that asks it a dozen times; nothing while the pod cannot reach it."""
    try:
        return {inside(cluster, "get", "http://web/") for _ in range(12)}
    except DevError:
        return set()


def inside(cluster: "Cluster", *words: str) -> str:
    """What the probe answers, asked in one of the pods."""
    return cluster.kubectl("exec", "deployment/web", "--", "/probe", *words).strip()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())


def service_address(cluster: "Cluster") -> str:
    return cluster.kubectl("get", "service", "web", "--output=jsonpath={.spec.clusterIP}")


def test_the_versions_are_the_truth(cluster: "Cluster") -> None:
    expected = binaries.version("kubelet")
    assert json.loads(cluster.kubectl("version", "--output=json"))["serverVersion"]["gitVersion"] == expected
    assert cluster.kubectl("get", "nodes", "--output=jsonpath={.items[*].status.nodeInfo.kubeletVersion}") == expected


def test_a_second_up_starts_nothing(cluster: "Cluster") -> None:
    pids = {file.name: file.read_text() for file in (state_dir(NAME) / "run").glob("*.pid")}
    said = cluster.up()
    assert not any("started again" in line for line in said)
    assert {file.name: file.read_text() for file in (state_dir(NAME) / "run").glob("*.pid")} == pids


def test_pods_find_services_by_name(web: "Cluster") -> None:
    address = service_address(web)
    for name in ("web", "web.default", "web.default.svc.cluster.local"):
        assert inside(web, "resolve", name) == f"[{address}]"
    # Also a pod that reaches itself through the Service; by chance a dozen answers come from one pod in 2000 runs once.
    wait_until(lambda: len(heard(web)) == 2, "answers of both pods", timeout=60)


def test_names_outside_do_not_exist_and_say_so(web: "Cluster") -> None:
    with pytest.raises(DevError, match="no such host"):  # not a time-out, as where nobody answers
        inside(web, "resolve", "registry.example")


def test_the_host_reaches_services_and_pods(web: "Cluster") -> None:
    assert get(f"http://{service_address(web)}/").startswith("hello from web-")
    pod = web.kubectl("get", "pods", "--selector=app=web", "--output=jsonpath={.items[0].status.podIP}")
    assert get(f"http://{pod}:8080/").startswith("hello from web-")


class Host(BaseHTTPRequestHandler):
    """What pods find under the host's name."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello from the host")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def host_server(web: "Cluster") -> Iterator[int]:
    assert web.provider.kubeconfig().exists()
    record = state.load(NAME)
    assert record is not None
    server = ThreadingHTTPServer((str(Network(record.index).host), 0), Host)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_pods_reach_the_host_by_name(web: "Cluster", host_server: int) -> None:
    assert inside(web, "get", f"http://host.slipway.internal:{host_server}/") == "200 hello from the host"


def test_claims_get_volumes_that_any_user_can_write_to(web: "Cluster") -> None:
    inside(web, "write", "/data/file")
    assert inside(web, "read", "/data/file") == "written by uid 1234"


def test_a_volume_goes_with_its_claim(web: "Cluster") -> None:
    pod = (
        "{apiVersion: v1, kind: Pod, metadata: {name: short}, spec: {restartPolicy: Never, containers: [{name: p, image: "
        "'slipway/probe:1', args: [write, /d/f], volumeMounts: [{name: d, mountPath: /d}]}], volumes: [{name: d, "
        "ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}}}]}}"
    )
    folders = state_dir(NAME) / "volumes"
    before = set(folders.iterdir())
    web.kubectl("apply", "--filename=-", stdin=pod)
    web.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/short", "--timeout=60s")
    assert len(set(folders.iterdir()) - before) == 1
    web.kubectl("delete", "pod", "short")
    wait_until(lambda: set(folders.iterdir()) == before, "the volume's end", timeout=60, poll=0.5)


def test_logs_and_port_forward(web: "Cluster") -> None:
    assert "serving on :8080" in web.kubectl("logs", "deployment/web")
    kubectl = [str(binaries.ensure("kubectl")), "--kubeconfig", str(kubeconfig_path(NAME))]
    forward = subprocess.Popen([*kubectl, "port-forward", "deployment/web", ":8080"], stdout=subprocess.PIPE, text=True)
    try:
        assert forward.stdout is not None
        found = re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline())
        assert found is not None
        assert get(f"http://127.0.0.1:{found.group(1)}/").startswith("hello from web-")
    finally:
        forward.send_signal(signal.SIGINT)
        forward.wait()
        assert forward.stdout is not None
        forward.stdout.close()


def test_loading_an_image_twice_imports_it_once(cluster: "Cluster", probe_archive: Path) -> None:
    cluster.said.clear()
    cluster.provider.load([str(probe_archive)])
    assert "already there" in cluster.said[-1]


def test_loading_what_is_no_image(cluster: "Cluster", tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_text("hello")
    with pytest.raises(DevError, match="is not an image archive"):
        cluster.provider.load([str(tmp_path / "image.tar")])


def test_an_autoscaler_gets_cpu_metrics_and_scales(web: "Cluster") -> None:
    web.kubectl("create", "deployment", "busy", "--image=slipway/probe:1", "--", "/probe", "burn")
    web.kubectl("set", "resources", "deployment/busy", "--requests=cpu=50m", "--limits=cpu=100m")
    web.kubectl("autoscale", "deployment/busy", "--cpu=50%", "--min=1", "--max=2")
    web.kubectl("wait", "--for=jsonpath={.spec.replicas}=2", "deployment/busy", "--timeout=110s")
    web.kubectl("delete", "deployment/busy", "hpa/busy")


def kill(pid_file: Path) -> None:
    """Ends a daemon as a crash would, and waits until it is gone."""
    pid = running_pid(pid_file)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: running_pid(pid_file) is None, f"the end of {pid_file.stem}", timeout=60)


def gpu_pod(name: str) -> str:
    spec = {"containers": [{"name": "p", "image": "slipway/probe:1", "args": ["serve"],
                            "resources": {"limits": {"nvidia.com/gpu": "1"}}}],
            "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}}  # fmt: skip
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


def test_fake_gpus_are_real_to_the_scheduler_and_survive_the_kubelet(cluster: "Cluster") -> None:
    config = str(kubeconfig_path(NAME))
    fake_gpus.apply(config, "", fake_gpus.Gpus(1), cluster.said.append)
    cluster.kubectl("apply", "--filename=-", stdin=gpu_pod("first"))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/first", "--timeout=60s")
    cluster.kubectl("apply", "--filename=-", stdin=gpu_pod("second"))
    cluster.kubectl("wait", "--for=condition=PodScheduled=false", "pod/second", "--timeout=60s")
    why = '--output=jsonpath={.status.conditions[?(@.type=="PodScheduled")].message}'
    assert "Insufficient nvidia.com/gpu" in cluster.kubectl("get", "pod", "second", why)

    kill(state_dir(NAME) / "run" / "kubelet.pid")
    assert any("started again: kubelet" in line for line in cluster.up())
    capacity = "--output=jsonpath={.items[0].status.capacity.nvidia\\.com/gpu}"
    assert cluster.kubectl("get", "nodes", capacity) == "1"
    cluster.kubectl("delete", "pod", "first", "second", "--grace-period=1")
    fake_gpus.apply(config, "", None, cluster.said.append)
    assert cluster.kubectl("get", "nodes", capacity) == ""


def test_every_daemon_killed_at_once_is_repaired_and_pods_go_on(web: "Cluster") -> None:
    kept = "--output=jsonpath={.items[*].metadata.name}{.items[*].status.containerStatuses[*].restartCount}"
    pods = web.kubectl("get", "pods", "--selector=app=web", kept)
    for file in (state_dir(NAME) / "run").glob("*.pid"):
        kill(file)
    assert any("started again" in line for line in web.up())
    assert web.kubectl("get", "pods", "--selector=app=web", kept) == pods
    assert get(f"http://{service_address(web)}/").startswith("hello from web-")
    eventually(lambda: not [each for each in web.provider.status() if not each.good], "all is well again")


def test_namespaces_lost_as_in_a_reboot_are_made_again(web: "Cluster") -> None:
    record = state.load(NAME)
    assert record is not None
    namespaces.kill_marked(state_dir(NAME))
    cgroups.remove(NAME)
    namespaces.Namespaces(state_dir(NAME), Network(record.index)).remove()
    web.up()
    web.kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=90s")

    def answers() -> bool:
        try:
            return get(f"http://{service_address(web)}/").startswith("hello from web-")
        except OSError:
            return False

    wait_until(answers, "an answer from a restarted pod", timeout=90, poll=0.5)


NOTHING: dict[str, list[str]] = {
    "processes": [],
    "mounts": [],
    "links": [],
    "routes": [],
    "groups": [],
    "files": [],
}


def traces() -> dict[str, list[str]]:
    """Everything on this machine that a cluster of our name could leave, by kind."""
    mark = f"slipway/{NAME}"
    own = [index for index in range(16) if namespaces.linked_cluster(Network(index).device) == NAME]
    ranges = [str(item) for index in own for item in Network(index).ranges()]
    return {
        "processes": [str(pid) for pid in namespaces.marked_processes(state_dir(NAME)) | cgroups.processes(NAME)],
        "mounts": [point for point in namespaces.mount_points() if mark in point],
        "links": [f"slipway{index}" for index in own],
        "routes": [line for line in namespaces.foreign_routes() if any(item in line for item in ranges)],
        "groups": [str(folder) for folder in Path("/sys/fs/cgroup").glob(f"**/slipway-{NAME}")],
        "files": [str(path) for path in (state_dir(NAME),) if path.exists()],
    }


def host() -> dict[str, object]:
    """What a cluster must never change outside its namespaces, however many others run."""
    settings = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward")
    return {
        "rules": re.sub(r"\[\d+:\d+\]|^#.*$", "", run(["iptables-save"]), flags=re.MULTILINE),
        "settings": [Path("/proc/sys", setting).read_text() for setting in settings],
        "folders": [sorted(p.name for p in Path(f).glob("*")) for f in ("/etc/cni", "/run/netns", "/var/log")],
        "sockets": sorted(str(path) for path in Path("/run/containerd").glob("**/*")),
    }


def test_down_leaves_nothing(web: "Cluster") -> None:
    """Last in this file: the cluster is gone afterwards. `host()` is compared with what it is without the cluster."""
    during, found = host(), traces()
    assert all(found.values()), found  # the search finds each kind of thing while it is there
    pids = found["processes"]
    index = next(i for i in range(16) if namespaces.linked_cluster(Network(i).device) == NAME)
    web.provider.down()
    assert traces() == NOTHING
    assert host() == during
    assert not any(str(item) in line for item in Network(index).ranges() for line in namespaces.foreign_routes())
    assert not any(_alive(pid) for pid in pids)


def test_down_of_nothing_is_quiet(cluster: "Cluster") -> None:
    cluster.provider.down()
    assert not state_dir(NAME).exists()


def test_down_needs_no_record(cluster: "Cluster") -> None:
    cluster.up()
    (state_dir(NAME) / "cluster.json").unlink()
    cluster.provider.down()
    assert traces() == NOTHING


def _alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
