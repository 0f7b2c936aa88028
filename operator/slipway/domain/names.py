"""Names, labels, selectors and owner references of everything that the operator creates.

Renderers, cache and status take them from here, so that each thing has one name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway.api import API_VERSION, GROUP, KIND
from slipway.domain.objects import Key, Ref

FIELD_MANAGER = "slipway"
SCALE_MANAGER = "slipway-scale"
"""Owns `spec.replicas` of a Deployment during a hand-over, so that no apply removes the field."""
OWNER_MANAGER = "slipway-owner"
"""Owns the owner of a ControllerRevision that was taken back. Its data is not sent, and so stays as it is to the byte."""

MANAGED_BY = "app.kubernetes.io/managed-by"
NAME_LABEL = f"{GROUP}/name"
REVISION_LABEL = f"{GROUP}/revision"
MANAGED_SELECTOR = f"{MANAGED_BY}=slipway"
"""Label selector of the children's informers."""
OWNS_REPLICAS = "x-slipway-owns-replicas"
"""Key in the metadata of a cached Deployment: the field manager `slipway` owns `spec.replicas`. Never sent."""

MAX_REVISION = 2**53 - 1
"""Highest number of a revision: JSON does not carry larger numbers exactly."""

GRPC_PORT = 8500
REST_PORT = 8501
METRICS_PATH = "/monitoring/prometheus/metrics"
PROBER_PORT = 8502
FETCH_CONTAINER = "fetch"
SERVER_CONTAINER = "server"
PROBER_CONTAINER = "prober"
RETRY_ANNOTATION = f"{GROUP}/retry"
"""On a ModelDeployment: each new value makes the operator try a failed spec once more."""


def deployment(name: str) -> str:
    """Return the name of the Deployment."""
    return name


def service(name: str) -> str:
    """Return the name of the ClusterIP Service."""
    return name


def headless_service(name: str) -> str:
    """Return the name of the headless Service."""
    return f"{name}-headless"


def revision(name: str, number: int) -> str:
    """Return the name of the ControllerRevision of revision `number`."""
    return f"{name}-{number}"


def pin(name: str, number: int, uid: str) -> str:
    """Return the name of the ConfigMap with model version and digest of revision `number`.

    The beginning of the ModelDeployment's uid is part of it: pods read the pin by its name, and must neither find that of an
    earlier ModelDeployment of the same name nor an object of somebody else.
    """
    return f"{former_pin(name, number)}-{uid.partition('-')[0]}"


def former_pin(name: str, number: int) -> str:
    """Return the name that pins had in release 0.1; recorded pod templates still read them."""
    return f"{name}-{number}"


def autoscaler(name: str) -> str:
    """Return the name of the HorizontalPodAutoscaler."""
    return name


def disruption_budget(name: str) -> str:
    """Return the name of the PodDisruptionBudget."""
    return name


def contended(name: str) -> tuple[Ref, ...]:
    """Return the children whose names a child of another ModelDeployment can have: `a-headless` is also a Service of `a`."""
    return (
        Ref("Deployment", deployment(name)),
        Ref("Service", service(name)),
        Ref("Service", headless_service(name)),
        Ref("HorizontalPodAutoscaler", autoscaler(name)),
        Ref("PodDisruptionBudget", disruption_budget(name)),
    )


def selector(name: str) -> dict[str, str]:
    """Return the immutable pod selector: a single label, which no later release needs to change."""
    return {NAME_LABEL: name}


def labels(name: str, number: int | None = None) -> dict[str, str]:
    """Return the labels of a child; with `number`, of one that belongs to a revision."""
    found = {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/component": "model-server",
        MANAGED_BY: "slipway",
        NAME_LABEL: name,
    }
    return found if number is None else found | {REVISION_LABEL: str(number)}


@dataclass(frozen=True, slots=True)
class Owner:
    """The ModelDeployment that owns the children."""

    key: Key
    uid: str

    def metadata(self, name: str, number: int | None = None) -> dict[str, Any]:
        """Return a child's metadata; with `number`, of one that belongs to a revision."""
        reference = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": self.key.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }
        return {
            "name": name,
            "namespace": self.key.namespace,
            "labels": labels(self.key.name, number),
            "ownerReferences": [reference],
        }

    def controls(self, body: Mapping[str, Any]) -> bool:
        """Return whether this ModelDeployment is the controller of an object."""
        references = (body.get("metadata") or {}).get("ownerReferences") or ()
        return any(reference.get("controller") and reference.get("uid") == self.uid for reference in references)

    def foreign(self, body: Mapping[str, Any]) -> str | None:
        """Return the owner of a child in words if it is not this ModelDeployment, else None.

        A child without a controller (its owner was deleted with `--cascade=orphan`, or somebody edited it) is adopted if
        its labels name this ModelDeployment.
        """
        metadata = body.get("metadata") or {}
        for reference in metadata.get("ownerReferences") or ():
            if reference.get("controller"):
                if reference.get("uid") == self.uid:
                    return None
                if reference.get("kind") == KIND and reference.get("name") == self.key.name:
                    return f"a deleted {KIND} of the same name"
                return f"{reference.get('kind')} {reference.get('name')}"
        found = metadata.get("labels") or {}
        ours = found.get(MANAGED_BY) == "slipway" and found.get(NAME_LABEL) == self.key.name
        return None if ours else "another owner"


def revision_number(body: object) -> int:
    """Return the revision in the label of a pod or pod template; 0 if it has none."""
    metadata = body.get("metadata") if isinstance(body, dict) else None
    found = metadata.get("labels") if isinstance(metadata, dict) else None
    return (digits(found.get(REVISION_LABEL)) if isinstance(found, dict) else None) or 0


def digits(text: object) -> int | None:
    """Return the number in a text of decimal digits, if it can be a revision's; None for anything else."""
    number = int(text) if isinstance(text, str) and re.fullmatch("[0-9]{1,16}", text) else None
    return None if number is None or number > MAX_REVISION else number
