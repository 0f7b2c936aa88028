"""The Deployment of the target revision."""

from slipway.api import parse_duration
from slipway.domain import names
from slipway.domain.objects import Manifest
from slipway.render.inputs import RenderInput

_REPLICASETS_KEPT = 2
_SURGE = {"maxSurge": "25%", "maxUnavailable": 0}
_ONE_BY_ONE = {"maxSurge": 1, "maxUnavailable": 0}
_TERMINATE_FIRST = {"maxSurge": 0, "maxUnavailable": 1}
_PIN_SECONDS = 30
"""How long a rollout waits after its first pod is Ready, for the pin that the next pod has to find: as long as an operator
takes that is started anew. With the pin the wait ends."""


def deployment(given: RenderInput) -> Manifest:
    """Return the Deployment."""
    owner, rollout = given.owner, given.spec.rollout
    rolling = _TERMINATE_FIRST if given.terminate_first else _ONE_BY_ONE if given.one_by_one else _SURGE
    deadline = parse_duration(rollout.progress_deadline)
    spec: Manifest = {
        "selector": {"matchLabels": names.selector(owner.key.name)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": dict(rolling)},
        # Sent in either case, like `paused` below.
        "minReadySeconds": min(_PIN_SECONDS, deadline // 2) if given.one_by_one else 0,
        "progressDeadlineSeconds": deadline,
        "revisionHistoryLimit": _REPLICASETS_KEPT,
        # Sent in either case: a field that is no longer sent is not compared, and a Deployment would stay paused.
        "paused": given.paused,
        "template": given.revision.template,
    }
    if given.replicas is not None:
        spec["replicas"] = given.replicas
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": owner.metadata(names.deployment(owner.key.name)),
        "spec": spec,
    }


def scale(deployment: Manifest, replicas: int) -> Manifest:
    """Return what the second field manager applies to co-own the replicas of a Deployment, and nothing else."""
    metadata = deployment["metadata"]
    return {
        "apiVersion": deployment["apiVersion"],
        "kind": deployment["kind"],
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
        "spec": {"replicas": replicas},
    }
