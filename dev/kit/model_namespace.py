"""A namespace of an API server with ModelDeployments, read and changed through plain requests.

Where no controller manager and kubelet run, `Namespace.roll_out` acts in their place.
"""

import time
from http import HTTPStatus
from typing import Any

from dev.cluster.api_client import Api, ApiError
from dev.kit.eventually import eventually
from dev.repository import ROOT

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


class Namespace:
    """One namespace of an API server, wherever that runs."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.namespace = namespace
        self.api = api
        self.api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})

    def path(self, kind: str, name: str = "") -> str:
        """Return the path of a collection, or of an object in it."""
        collection = COLLECTIONS[kind].format(self.namespace)
        return f"{collection}/{name}" if name else collection

    def get(self, kind: str, name: str) -> Object:
        """Return an object."""
        return self.api.get(self.path(kind, name))

    def find(self, kind: str, name: str) -> Object | None:
        """Return an object, or None if it does not exist."""
        try:
            return self.get(kind, name)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return None

    def names(self, kind: str, owner: str = "") -> set[str]:
        """Return the names of the objects of a kind; with `owner`, of those of one ModelDeployment."""
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
        """Return the status of a ModelDeployment."""
        return self.get("ModelDeployment", name).get("status") or {}

    def condition(self, name: str, kind: str = "Ready") -> Object:
        """Return a condition of a ModelDeployment; empty if it has none."""
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
            self.pod(f"{name}-r{revision}-{number}", template)
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

    def pod(self, name: str, template: Object, *, ready: bool = True, **status: Any) -> None:
        """Create a pod of a template with a status: that of a running pod, unless its fields are given."""
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
