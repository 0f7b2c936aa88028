"""The end state of a ModelDeployment as plain values, in which two runs that went the same way are equal.

What differs between runs by its nature is taken out: times, identities, resource versions, generated names, restart
counts of failing containers. Revisions are counted from the run's own beginning.
"""

import re
from dataclasses import dataclass
from typing import Any

from dev.kit.model_namespace import Namespace, Object

KINDS = ("Deployment", "ControllerRevision", "ConfigMap", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget")
_DROPPED = frozenset(
    {
        "annotations",  # the Deployment controller's own number of its ReplicaSet
        "creationTimestamp",
        "generation",
        "lastTransitionTime",
        "managedFields",
        "observedGeneration",
        "resourceVersion",
        "startTime",
        "uid",
    }
)
_NUMBERS = frozenset({"revision", "updateRevision", "currentRevision", "targetRevision"})
REVISION_LABEL = "serving.slipway.dev/revision"


@dataclass(frozen=True)
class Frame:
    """Whose state it is, and from which revision its numbers count."""

    name: str
    base: int = 0

    def normal(self, value: Any, key: str = "") -> Any:
        """Return a value without what differs by its nature; `key` is the field that holds it."""
        if isinstance(value, dict):
            return {name: self.normal(item, name) for name, item in sorted(value.items()) if name not in _DROPPED}
        if isinstance(value, list):
            return [self.normal(item, key) for item in value]
        if key in _NUMBERS and isinstance(value, int):
            return f"+{value - self.base}"
        if key == "restarts":
            return 0
        return self._words(value, key) if isinstance(value, str) else value

    def forgotten(self, child: Object) -> bool:
        """Tell whether a child is the record or pin of an old revision: it goes when the last pod of that has gone."""
        number = child["metadata"].get("labels", {}).get(REVISION_LABEL)
        return number is not None and int(number) < self.base

    def _words(self, text: str, key: str) -> str:
        if key == REVISION_LABEL:
            return f"+{int(text) - self.base}"

        def count(found: re.Match[str]) -> str:
            return f"{found[1]}+{int(found[2]) - self.base}"

        name = re.escape(self.name)
        text = re.sub(rf"\b{name}-[0-9a-f]{{6,10}}-[a-z0-9]{{5}}\b", f"{self.name}-POD", text)
        text = re.sub(rf"(\b{name}-|[Rr]evisions? |--revision=|serving\.slipway\.dev/retry=)(\d+)\b", count, text)
        text = re.sub(r"\bround-\d+", "round", text)
        return re.sub(r"\b\d+(?= (times|restarts|s\b|m\b|seconds))", "#", text)


def take(world: Namespace, name: str, base: int) -> dict[str, Any]:
    """Return what there is of a ModelDeployment: its status, its children, its living pods."""
    frame = Frame(name, base)
    found: dict[str, Any] = {"status": frame.normal(_status(world.status(name)))}
    for kind in KINDS:
        for child in owned(world, kind, name):
            if frame.forgotten(child):
                continue
            key = f"{kind} {frame.normal(child['metadata']['name'])}"
            found[key] = frame.normal(
                {field: item for field, item in child.items() if field != "status"} | _owner(child)
            )
    found["pods"] = sorted(str(frame.normal(_pod(pod))) for pod in living(world, name))
    return found


def differences(wanted: Any, found: Any, path: str = "") -> list[str]:
    """Return where two states differ, one line each."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        keys = sorted({*wanted, *found})
        return [line for key in keys for line in differences(wanted.get(key), found.get(key), f"{path}/{key}")]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        pairs = enumerate(zip(wanted, found, strict=True))
        return [line for index, (old, new) in pairs for line in differences(old, new, f"{path}/{index}")]
    return [] if wanted == found else [f"{path}: wanted {wanted!r}, found {found!r}"]


def living(world: Namespace, name: str) -> list[Object]:
    """Return the pods that are not on their way out."""
    items = world.api.get(world.path("Pod") + f"?labelSelector=serving.slipway.dev/name={name}")["items"]
    return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]


def _status(status: Object) -> Object:
    """Return the status without the pods: those on their way out stay for as long as they please."""
    return {field: value for field, value in status.items() if field not in {"pods", "history"}} | {
        "history": status.get("history", [])[:3]
    }


def owned(world: Namespace, kind: str, name: str) -> list[Object]:
    """Return the children of a kind."""
    selector = f"?labelSelector=serving.slipway.dev/name={name}"
    return list(world.api.get(world.path(kind) + selector)["items"])


def _owner(child: Object) -> Object:
    owners = child["metadata"].get("ownerReferences", [])
    return {"metadata": child["metadata"] | {"ownerReferences": [f"{item['kind']} {item['name']}" for item in owners]}}


def _pod(pod: Object) -> Object:
    ready = [item["status"] for item in pod["status"].get("conditions", []) if item["type"] == "Ready"]
    return {"labels": {REVISION_LABEL: pod["metadata"]["labels"][REVISION_LABEL]}, "ready": ready == ["True"]}
