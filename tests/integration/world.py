"""What the integration tests share: an operator as a real process, and a namespace of a real API server, in which the test
acts as the Deployment controller and the kubelet.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from dev.cluster.api_client import Api, ApiError
from dev.cluster.controlplane import ControlPlane
from dev.kit.eventually import eventually
from tests.ports import free_ports

ROOT = Path(__file__).parents[2]
CRD = ROOT / "crds" / "serving.slipway.dev_modeldeployments.yaml"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "/apis/serving.slipway.dev/v1alpha1"
COLLECTIONS = {
    "ModelDeployment": f"{GROUP}/namespaces/{{}}/modeldeployments",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "ControllerRevision": "/apis/apps/v1/namespaces/{}/controllerrevisions",
    "Service": "/api/v1/namespaces/{}/services",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Event": "/apis/events.k8s.io/v1/namespaces/{}/events",
}
CHILDREN = ("Deployment", "ControllerRevision", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget")
RESOURCES = {"requests": {"cpu": "100m", "memory": "128Mi"}}
Object = dict[str, Any]


class Operator:
    """One operator process."""

    def __init__(self, kubeconfig: Path, folder: Path, user: str, *flags: str) -> None:
        self.user = user
        self._kubeconfig = kubeconfig
        self._flags = flags
        self._log = folder / f"{user}.log"
        self._health, self._metrics = free_ports(2)
        self.path: list[Path] = []
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, ready: bool = True) -> "Operator":
        argv = [sys.executable, "-m", "slipway", f"--kubeconfig={self._kubeconfig}", *self._flags]
        argv += [
            f"--health-probe-bind-address=127.0.0.1:{self._health}",
            f"--metrics-bind-address=127.0.0.1:{self._metrics}",
        ]
        env = {name: value for name, value in os.environ.items() if not name.startswith("SLIPWAY_")}
        env["PYTHONPATH"] = os.pathsep.join(map(str, [*self.path, ROOT / "operator"]))
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, env=env, cwd=self._log.parent)
        if ready:
            eventually(self.ready, f"{self.user} is ready; its log: {self._log}", 120)
        return self

    def stop(self) -> int:
        """Terminate it; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        """Kill it without notice."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the operator ended with {self.process.poll()}:\n{self.log()[-3000:]}"
        return self.probe("/readyz") == 200

    def alive(self) -> bool:
        return self.probe("/healthz") == 200

    def probe(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._health}{path}", timeout=20) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def metrics(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics}/metrics", timeout=20) as response:
            lines = response.read().decode().splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""


class Namespace:
    """One namespace of an API server, wherever that runs."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.namespace = namespace
        self.api = api
        self.api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})

    def path(self, kind: str, name: str = "") -> str:
        collection = COLLECTIONS[kind].format(self.namespace)
        return f"{collection}/{name}" if name else collection

    def get(self, kind: str, name: str) -> Object:
        return self.api.get(self.path(kind, name))

    def find(self, kind: str, name: str) -> Object | None:
        try:
            return self.get(kind, name)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return None

    def names(self, kind: str, owner: str = "") -> set[str]:
        selector = f"?labelSelector=serving.slipway.dev/name={owner}" if owner else ""
        return {item["metadata"]["name"] for item in self.api.get(self.path(kind) + selector)["items"]}

    def create(self, name: str, **spec: Any) -> Object:
        """Create a ModelDeployment."""
        body = {
            "apiVersion": "serving.slipway.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": name},
            "spec": {"model": {"uri": "pvc://models/digits"}, "resources": RESOURCES} | spec,
        }
        assert self.api.create(self.path("ModelDeployment"), body)
        return self.get("ModelDeployment", name)

    def patch(self, name: str, **spec: Any) -> None:
        """Change the spec of a ModelDeployment."""
        self.api.patch(self.path("ModelDeployment", name), {"spec": spec})

    def status(self, name: str) -> Object:
        return self.get("ModelDeployment", name).get("status") or {}

    def condition(self, name: str, kind: str = "Ready") -> Object:
        found: list[Object] = [item for item in self.status(name).get("conditions", []) if item["type"] == kind]
        return found[0] if found else {}

    def statuses(self, name: str, since: str) -> list[Object]:
        """Return every status that was written after resource version `since`, in order, each once."""
        last = self.get("ModelDeployment", name)["metadata"]["resourceVersion"]
        found: list[Object] = []
        if since == last:
            return found
        for event in self.api.watch(self.path("ModelDeployment"), since, seconds=60):
            body = event["object"]
            if body["metadata"].get("name") == name:
                status = body.get("status") or {}
                found += [status] if not found or status != found[-1] else []
                if body["metadata"]["resourceVersion"] == last:
                    return found
        raise AssertionError(f"the watch ended before version {last} of {name}")

    def is_ready(self, name: str) -> bool:
        """Return whether Ready is True for the present generation, as `kubectl wait` sees it."""
        body = self.get("ModelDeployment", name)
        return any(
            item["type"] == "Ready"
            and item["status"] == "True"
            and item["observedGeneration"] == body["metadata"]["generation"]
            for item in body.get("status", {}).get("conditions", [])
        )

    def roll_out(self, name: str, replicas: int | None = None) -> None:
        """Act as the Deployment controller and the kubelet: every desired pod runs the present template and is ready."""
        deployment = self.get("Deployment", name)
        desired = deployment["spec"].get("replicas", 1) if replicas is None else replicas
        template = deployment["spec"]["template"]
        revision = template["metadata"]["labels"]["serving.slipway.dev/revision"]
        keep = {f"{name}-r{revision}-{number}" for number in range(desired)}
        for number in range(desired):
            self.pod(name, f"{name}-r{revision}-{number}", template)
        for old in self.names("Pod", name) - keep:
            self.api.delete(self.path("Pod", old) + "?gracePeriodSeconds=0")
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), desired)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        conditions = [
            {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "lastUpdateTime": now},
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "lastUpdateTime": now},
        ]
        generation = deployment["metadata"]["generation"]
        status = counts | {"observedGeneration": generation, "conditions": conditions}
        self.api.patch(self.path("Deployment", name) + "/status", {"status": status})

    def pod(self, owner: str, name: str, template: Object, *, ready: bool = True, **status: Any) -> None:
        metadata = {"name": name, "labels": template["metadata"]["labels"]}
        self.api.create(self.path("Pod"), {"metadata": metadata, "spec": template["spec"]})
        states = {"state": {"running": {}}, "ready": ready, "restartCount": 0, "image": "x", "imageID": "x"}
        status = status or {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}, {"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [{"name": "server"} | states],
        }
        self.api.patch(self.path("Pod", name) + "/status", {"status": status})

    def settle(self, name: str) -> None:
        """Wait for the Deployment, act on it, wait for Ready."""
        eventually(lambda: self.find("Deployment", name), f"Deployment {name}")
        eventually(lambda: self.status(name).get("updateRevision"), f"a revision of {name}")
        seen = 0

        def ready() -> bool:
            """The Deployment changes once more when the first pod has reported what it fetched: then come the others."""
            nonlocal seen
            generation = self.get("Deployment", name)["metadata"]["generation"]
            if generation != seen:
                self.roll_out(name)
                seen = generation
            return self.is_ready(name)

        eventually(ready, f"{name} is Ready: {self.status(name)}")


class World(Namespace):
    """One namespace of a control plane of these tests."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        super().__init__(plane.api(), namespace)
        self.plane = plane


def now() -> datetime:
    """Return the time that `requests` and `writes` compare with: what is visible by now was received before."""
    return datetime.now(UTC)


def requests(
    plane: ControlPlane, user: str, since: datetime, count: int = 0, *, without: str = ""
) -> list[tuple[str, str]]:
    """Return verb and resource of each finished request of a user, without the lease's, from the audit log.

    A request is logged after its effect is visible, on a busy machine much later. So `since` is compared with when a request
    was received, and the log is read until it has `count` of them: pass as many as there must be.

    Args:
        plane: whose API server.
        user: whose requests.
        since: requests that were received before are left out.
        count: how many there are at least.
        without: a resource whose requests are left out.
    """
    found: list[tuple[str, str]] = []

    def enough() -> bool:
        found[:] = [item for item in _requests(plane, user, since) if item[1] != without]
        return len(found) >= count

    eventually(enough, f"{count} requests of {user} are logged; found {found}", 30)
    return found


def _requests(plane: ControlPlane, user: str, since: datetime) -> Iterator[tuple[str, str]]:
    for event in plane.audit_events():
        if event["user"]["username"] != user or event["stage"] != "ResponseComplete" or event["verb"] == "watch":
            continue
        reference = event.get("objectRef") or {}
        resource = "/".join(part for part in (reference.get("resource", ""), reference.get("subresource", "")) if part)
        if resource != "leases" and datetime.fromisoformat(event["requestReceivedTimestamp"]) >= since:
            yield event["verb"], resource


def writes(plane: ControlPlane, user: str, since: datetime, count: int = 0) -> Counter[tuple[str, str]]:
    """Return how often a user wrote what; as with `requests`, `count` writes are waited for."""
    reading = {"get", "list", "watch"}
    found: Counter[tuple[str, str]] = Counter()

    def enough() -> bool:
        found.clear()
        found.update(item for item in requests(plane, user, since) if item[0] not in reading)
        return found.total() >= count

    eventually(enough, f"{count} writes of {user} are logged", 30)
    return found
