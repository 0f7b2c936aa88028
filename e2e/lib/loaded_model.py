"""A model under load: how many calls at which rate, the requested state of the model, which of its pods serve.

`SLIPWAY_LOAD_CALLS` turns the short version of the load tests into the full one: at least so many calls through each
Service. `SLIPWAY_LOAD_RATE` is the rate of each generator, in calls a second.
"""

import os
from dataclasses import dataclass, field
from typing import Any

from dev.kit import traffic, wait
from dev.kit.archive_server import url
from dev.kit.kubectl import Kubectl
from dev.kit.load import control, observe
from dev.kit.model_deployments import deployment, pods
from dev.kit.tiny_models import HALVES

CALLS = int(os.environ.get("SLIPWAY_LOAD_CALLS", "0"))
FULL = CALLS > 0
RATE = float(os.environ.get("SLIPWAY_LOAD_RATE", "150" if FULL else "30"))
CHANNELS = 32 if FULL else 12
# The full version has the machine for itself; beside other tests nobody starts anything to the millisecond.
LATE_MILLIS = 250.0 if FULL else control.LATE_MILLIS
FRESH = RATE / 10

NAME = "loaded"
OLD, NEW, BAD = url("half_plus_two.tar.gz"), url("half_plus_three.tar.gz"), url("corrupt.tar.gz")
ANSWERS = {traffic.answer_of(offset) for offset in HALVES.values()}
# The autoscaler's share of a request must not be what the load itself takes.
SMALL = {"requests": {"cpu": "100m" if FULL else "20m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}


@dataclass
class Model:
    """A model in service, and its requested state."""

    kubectl: Kubectl
    replicas: int = 2
    uri: str = OLD
    extra: dict[str, Any] = field(default_factory=dict)

    def apply(self, uri: str = "") -> None:
        """Request another model, or the same with other fields."""
        self.uri = uri or self.uri
        scale = {} if "autoscaling" in self.extra else {"replicas": self.replicas}
        self.kubectl.apply(deployment(NAME, self.uri, resources=SMALL, **scale, **self.extra))

    def serve(self, uri: str) -> None:
        """Request another model and wait until it is served."""
        self.apply(uri)
        wait.ready(self.kubectl, NAME, 240)

    def scale(self, replicas: int) -> None:
        """Request another number of pods and wait until they serve."""
        self.replicas = replicas
        self.apply()
        observe.settled(self.kubectl, lambda: len(ready_pods(self.kubectl)) == replicas, f"{replicas} pods", 240)


def ready_pods(kubectl: Kubectl) -> list[str]:
    """Return the names of the pods that serve and stay."""
    return [
        pod["metadata"]["name"]
        for pod in pods(kubectl, NAME)
        if any(entry["type"] == "Ready" and entry["status"] == "True" for entry in pod["status"].get("conditions", []))
    ]
