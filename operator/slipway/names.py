"""Names, labels, selectors and owner references of everything that the operator makes.

One name for one thing: renderers, the store and the status all ask here.
"""

from typing import Any

from slipway.api import GROUP, KIND, VERSION

FIELD_MANAGER = "slipway"
SCALE_MANAGER = "slipway-scale"
"""Owns `spec.replicas` of a Deployment while it changes hands, so that no apply takes the field away."""

MANAGED_BY = "app.kubernetes.io/managed-by"
NAME_LABEL = f"{GROUP}/name"
REVISION_LABEL = f"{GROUP}/revision"
MANAGED_SELECTOR = f"{MANAGED_BY}=slipway"
"""What the operator lists and watches of the children's kinds."""

GRPC_PORT = 8500
REST_PORT = 8501
METRICS_PATH = "/monitoring/prometheus/metrics"
FETCH_CONTAINER = "fetch"
SERVER_CONTAINER = "server"


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


def autoscaler(name: str) -> str:
    """Return the name of the HorizontalPodAutoscaler."""
    return name


def disruption_budget(name: str) -> str:
    """Return the name of the PodDisruptionBudget."""
    return name


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
