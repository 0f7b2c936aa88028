"""Names, labels, selectors and owner references of everything that the operator makes.

One name for one thing: renderers, the store and the status all ask here.
"""

import re
from collections.abc import Mapping
from typing import Any

from slipway.api import GROUP, KIND, VERSION
from slipway.observed import Ref

FIELD_MANAGER = "slipway"
SCALE_MANAGER = "slipway-scale"
"""Owns `spec.replicas` of a Deployment while it changes hands, so that no apply takes the field away."""

MANAGED_BY = "app.kubernetes.io/managed-by"
NAME_LABEL = f"{GROUP}/name"
REVISION_LABEL = f"{GROUP}/revision"
MANAGED_SELECTOR = f"{MANAGED_BY}=slipway"
"""What the operator lists and watches of the children's kinds."""
OWNS_REPLICAS = "x-slipway-owns-replicas"
"""Key in the metadata of an observed Deployment: the manager `slipway` owns `spec.replicas`. Never sent."""

GRPC_PORT = 8500
REST_PORT = 8501
METRICS_PATH = "/monitoring/prometheus/metrics"
PILOT_PORT = 8502
FETCH_CONTAINER = "fetch"
SERVER_CONTAINER = "server"
PILOT_CONTAINER = "pilot"
RETRY_ANNOTATION = f"{GROUP}/retry"
"""On a ModelDeployment: its failed spec is tried once more for each new value."""


def deployment(name: str) -> str:
    """Return the name of the Deployment."""
    return name


def service(name: str) -> str:
    """Return the name of the Service with one address."""
    return name


def headless_service(name: str) -> str:
    """Return the name of the Service that resolves to the pods."""
    return f"{name}-headless"


def revision(name: str, number: int) -> str:
    """Return the name of the ControllerRevision that records revision `number`."""
    return f"{name}-{number}"


def pin(name: str, number: int) -> str:
    """Return the name of the ConfigMap that holds the version and digest of revision `number`."""
    return f"{name}-{number}"


def autoscaler(name: str) -> str:
    """Return the name of the HorizontalPodAutoscaler."""
    return name


def disruption_budget(name: str) -> str:
    """Return the name of the PodDisruptionBudget."""
    return name


def claimed(name: str) -> tuple[Ref, ...]:
    """Return the children whose names another ModelDeployment's child can hold: `a-headless` is a Service of `a`, too."""
    return (
        Ref("Deployment", deployment(name)),
        Ref("Service", service(name)),
        Ref("Service", headless_service(name)),
        Ref("HorizontalPodAutoscaler", autoscaler(name)),
        Ref("PodDisruptionBudget", disruption_budget(name)),
    )


def selector(name: str) -> dict[str, str]:
    """Return the immutable selector: one label, so that no later release can need another."""
    return {NAME_LABEL: name}


def labels(name: str, number: int | None = None) -> dict[str, str]:
    """Return the labels of a child; with `number`, those of what belongs to one revision."""
    found = {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/component": "model-server",
        MANAGED_BY: "slipway",
        NAME_LABEL: name,
    }
    return found if number is None else found | {REVISION_LABEL: str(number)}


def owner_reference(name: str, uid: str) -> dict[str, Any]:
    """Return the reference that lets the garbage collector delete a child with its ModelDeployment."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def revision_number(body: object) -> int:
    """Return the revision that a pod or pod template carries as its label; 0 if it carries none."""
    metadata = body.get("metadata") if isinstance(body, dict) else None
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    return (digits(labels.get(REVISION_LABEL)) if isinstance(labels, dict) else None) or 0


def digits(text: object) -> int | None:
    """Return the number that a text of decimal digits is, if it is below 10^18; None for anything else."""
    return int(text) if isinstance(text, str) and re.fullmatch("[0-9]{1,18}", text) else None


def holder(body: Mapping[str, Any], name: str, uid: str) -> str | None:
    """Say who holds a child: None if this ModelDeployment does, or nobody does and the labels say it once did.

    A child whose owner reference is gone (its owner was deleted with `--cascade=orphan`, or somebody edited it) is
    taken back; anything else that holds the name is left alone, and the returned words say whose it is.
    """
    metadata = body.get("metadata") or {}
    labels = metadata.get("labels") or {}
    ours = labels.get(MANAGED_BY) == "slipway" and labels.get(NAME_LABEL) == name
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("controller"):
            if reference.get("uid") == uid:
                return None
            if reference.get("kind") == KIND and reference.get("name") == name:
                return f"a deleted {KIND} of the same name"
            return f"{reference.get('kind')} {reference.get('name')}"
    return None if ours else "somebody else"
