"""Builds a pod's JSON as scheduler and kubelet write it."""

import json
from typing import Any, Self

from slipway.domain.objects import Pod
from slipway.status.pod import project

FETCHED = json.dumps({"digest": "sha256:" + "a" * 64, "version": 3, "bytes": 10, "files": 2})
START, LATER = "2026-11-22T08:00:00Z", "2026-11-22T08:05:00Z"


def ended(code: int = 1, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, "finishedAt": LATER}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


RUNNING: dict[str, Any] = {"running": {"startedAt": START}}
BACK_OFF = waiting("CrashLoopBackOff", "back-off 10s restarting failed container=server pod=digits-x_team-a(uid)")


class PodJson:
    """Builds the JSON of a pod."""

    def __init__(self) -> None:
        self.body: dict[str, Any] = {
            "metadata": {"name": "digits-x", "labels": {"serving.slipway.dev/revision": "4"}},
            "spec": {"containers": [{"name": "server", "resources": {}}]},
            "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]},
        }

    def unschedulable(self, message: str, reason: str = "Unschedulable") -> Self:
        return self.condition("PodScheduled", "False", reason=reason, message=message)

    def condition(self, kind: str, status: str, **fields: str) -> Self:
        others = [item for item in self.body["status"]["conditions"] if item["type"] != kind]
        self.body["status"]["conditions"] = [*others, {"type": kind, "status": status, **fields}]
        return self

    def gpu(self, resource: str = "nvidia.com/gpu", product: str | None = None) -> Self:
        self.body["spec"]["containers"][0]["resources"] = {"limits": {resource: "1", "memory": "1Gi"}}
        if product:
            self.body["spec"]["nodeSelector"] = {"nvidia.com/gpu.product": product}
        return self

    def selects(self, **labels: str) -> Self:
        self.body["spec"]["nodeSelector"] = labels
        return self

    def container(self, group: str, name: str, state: dict[str, Any], **fields: Any) -> Self:
        self.body["status"].setdefault(group, []).append({"name": name, "state": state, "image": "img:1", **fields})
        return self

    def fetch(self, state: dict[str, Any], **fields: Any) -> Self:
        return self.container("initContainerStatuses", "fetch", state, **fields)

    def fetched(self) -> Self:
        return self.fetch(ended(0, "Completed", FETCHED))

    def server(self, state: dict[str, Any], **fields: Any) -> Self:
        return self.container("containerStatuses", "server", state, **fields)

    def prober(self, state: dict[str, Any], **fields: Any) -> Self:
        return self.container("initContainerStatuses", "prober", state, **fields)

    def project(self) -> Pod:
        return project(self.body)


def pod() -> PodJson:
    return PodJson()


def starting(state: dict[str, Any], last: dict[str, Any] | None = None, restarts: int = 0) -> PodJson:
    """A fetched model and a server that has not answered yet."""
    return pod().fetched().server(state, started=False, ready=False, restartCount=restarts, lastState=last or {})


def serving(*, ready: bool, ready_since: str = START, **fields: Any) -> PodJson:
    built = pod().fetched().server(RUNNING, started=True, ready=ready, **fields)
    return built.condition("Ready", "True" if ready else "False", lastTransitionTime=ready_since)
