"""ModelDeployments as the tests write them, and what is read out of the cluster about them."""

from typing import Any

from dev.kit.kubectl import Kubectl, Manifest

KIND = "modeldeployment"
RESOURCES = {"requests": {"cpu": "50m", "memory": "400Mi"}, "limits": {"memory": "1Gi"}}
CHILD_KINDS = (
    "deployments",
    "services",
    "controllerrevisions",
    "horizontalpodautoscalers",
    "poddisruptionbudgets",
)


def deployment(name: str, uri: str, **spec: Any) -> Manifest:
    """Return a ModelDeployment; keyword arguments are fields of the spec, `model` is merged into the address."""
    model = {"uri": uri} | spec.pop("model", {})
    return {
        "apiVersion": "serving.slipway.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {"model": model, "resources": RESOURCES} | spec,
    }


def selector(name: str) -> str:
    """Return the label selector of everything that belongs to a ModelDeployment."""
    return f"serving.slipway.dev/name={name}"


def children(kubectl: Kubectl, name: str) -> dict[str, Manifest]:
    """Return the children by `Kind/name`."""
    found = kubectl.items(",".join(CHILD_KINDS), selector(name))
    return {f"{item['kind']}/{item['metadata']['name']}": item for item in found}


def pods(kubectl: Kubectl, name: str) -> list[Manifest]:
    """Return the pods that are not on their way out."""
    return [pod for pod in kubectl.items("pods", selector(name)) if "deletionTimestamp" not in pod["metadata"]]


def uids(objects: list[Manifest]) -> set[str]:
    """Return the identities of objects."""
    return {item["metadata"]["uid"] for item in objects}
