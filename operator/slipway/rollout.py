"""What the Deployment says about the roll-out of a revision. Pure; asked by the plan and by the status.

Level-based: every answer comes from what is observed now, nothing is remembered.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from slipway import names
from slipway.api import Gpu, ModelDeploymentSpec, PodState, Reason, RolloutStrategy, parse_duration
from slipway.observed import Apply, Delete, Key, Manifest, Pod, Ref
from slipway.revisions import Record
from slipway.runtimes import gpu_resource

_HOLDS_NO_GPU = frozenset({PodState.PENDING, PodState.UNSCHEDULABLE})
_LEAST_WAIT = 1.0
_REFUSED_POD = re.compile(r'^pods? "[^"]*" is forbidden: ')
"""The name is that of one attempt and of no pod."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The numbers of a Deployment's status, and whether they speak of its present spec.

    Attributes:
        current: the Deployment controller has seen the present spec.
        wanted: pods that the Deployment should have.
        replicas: pods that there are, of any revision; those going away are not counted.
        updated: of them, those of the Deployment's pod template.
        ready: of all, those that answer.
        available: of all, those that have answered for long enough.
    """

    current: bool
    wanted: int
    replicas: int
    updated: int
    ready: int
    available: int

    @property
    def replaced(self) -> bool:
        """Whether no pod of another template is left, and none of this one is missing."""
        return self.current and self.replicas == self.updated >= self.wanted

    @property
    def complete(self) -> bool:
        """Whether all wanted pods, and no others, are there and answer."""
        return self.current and self.wanted == self.replicas == self.updated == self.ready == self.available


def live_deployment(key: Key, uid: str, children: Mapping[Ref, Manifest]) -> Manifest | None:
    """Return the Deployment, if there is one and it is this ModelDeployment's."""
    body = children.get(Ref("Deployment", names.deployment(key.name)))
    return body if body is not None and names.holder(body, key.name, uid) is None else None


def number(live: Manifest | None) -> int:
    """Return the revision of the Deployment's pod template; 0 without a Deployment."""
    return names.revision_number((live.get("spec") or {}).get("template")) if live else 0


def counts(live: Manifest) -> Counts:
    """Return the numbers of a Deployment."""
    spec, status = live.get("spec") or {}, live.get("status") or {}
    return Counts(
        current=status.get("observedGeneration", 0) >= live["metadata"].get("generation", 0),
        wanted=spec.get("replicas", 1),
        replicas=status.get("replicas", 0),
        updated=status.get("updatedReplicas", 0),
        ready=status.get("readyReplicas", 0),
        available=status.get("availableReplicas", 0),
    )


def condition(live: Manifest, kind: str) -> Manifest:
    """Return a condition of the Deployment, or an empty one."""
    conditions = (live.get("status") or {}).get("conditions") or ()
    return next((item for item in conditions if item.get("type") == kind), {})


def refusal(live: Manifest) -> str:
    """Return the API server's words where it refuses to make pods (quota, admission), or nothing.

    They stand in the Deployment's status alone: there is no pod that could tell.
    """
    found = condition(live, "ReplicaFailure")
    words = str(found.get("message") or found.get("reason") or "")
    return _REFUSED_POD.sub("", words) if found.get("status") == "True" else ""


def replicas(spec: ModelDeploymentSpec, live: Manifest | None) -> int | None:
    """Return how many pods the Deployment is told to have; None while an autoscaler owns the number."""
    if spec.autoscaling is not None:
        return None
    if spec.replicas is not None:
        return spec.replicas
    return counts(live).wanted if live else 1


def hand_over(spec: ModelDeploymentSpec, live: Manifest | None, *, begins: bool) -> int | None:
    """Return the number of pods that another manager must hold before Slipway stops sending it, or None.

    Server-side apply removes a field that its only owner stops sending; the Deployment would fall back to one pod. An
    autoscaler does nothing for a Deployment that has been scaled to zero: it is given the fewest pods.

    Args:
        spec: what the user asks for.
        live: the Deployment.
        begins: the autoscaler is not there yet.
    """
    if spec.autoscaling is None:
        return None
    least = spec.autoscaling.min_replicas
    if live is None:
        return least if least > 1 else None
    if live["metadata"].get(names.OWNS_REPLICAS):
        return counts(live).wanted or least
    return least if begins and counts(live).wanted < least else None


def scale(deployment: Manifest, replicas: int) -> Manifest:
    """Return what the other manager applies to own the number of pods of a Deployment, and nothing else."""
    metadata = deployment["metadata"]
    return {
        "apiVersion": deployment["apiVersion"],
        "kind": deployment["kind"],
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
        "spec": {"replicas": replicas},
    }


def turns(actions: Iterable[Apply | Delete]) -> bool:
    """Tell whether a Deployment that is there is to be changed."""
    return any(isinstance(act, Apply) and not act.create and act.ref.kind == "Deployment" for act in actions)


def draining(
    spec: ModelDeploymentSpec,
    record: Record,
    live: Manifest | None,
    records: Iterable[Record],
    pods: Iterable[Pod],
) -> bool:
    """Tell whether an old pod goes before a new one comes.

    `Auto` drains when the scheduler has said that no GPU is free and an old pod holds what the new one waits for, and
    goes on until the roll-out is done.
    """
    strategy = spec.rollout.strategy
    if strategy is not RolloutStrategy.AUTO:
        return strategy is RolloutStrategy.DRAIN_FIRST
    wanted = _gpu(record)
    if wanted is None or live is None or (number(live) == record.number and counts(live).complete):
        return False
    rolling = ((live.get("spec") or {}).get("strategy") or {}).get("rollingUpdate") or {}
    if rolling.get("maxSurge") == 0:
        return True
    pods = tuple(pods)
    waiting = any(
        pod.revision == record.number and pod.reason is Reason.GPU_UNAVAILABLE and not pod.failed for pod in pods
    )
    holding = {
        pod.revision
        for pod in pods
        if pod.revision != record.number and pod.state not in _HOLDS_NO_GPU and pod.reason is not Reason.EVICTED
    }
    return waiting and any(old.number in holding and _frees(old, wanted) for old in records)


def _frees(old: Record, wanted: Gpu) -> bool:
    """Tell whether a pod of an old revision holds what a new one waits for.

    Otherwise letting it go would take a pod out of service and gain nothing.
    """
    held = _gpu(old)
    if held is None:
        return False
    same_model = wanted.product is None or wanted.product == held.product
    return gpu_resource(held) == gpu_resource(wanted) and held.count >= wanted.count and same_model


def _gpu(record: Record) -> Gpu | None:
    """Return the GPUs of a pod of a revision, or None."""
    try:
        return Gpu.model_validate(record.spec.get("gpu"))
    except ValueError:
        return None


def seconds_left(spec: ModelDeploymentSpec, live: Manifest | None, record: Record, now: datetime) -> float | None:
    """Return the seconds until the roll-out under way exceeds its deadline; None if none is, or it has."""
    if live is None or number(live) != record.number or counts(live).replaced:
        return None
    try:
        since = datetime.fromisoformat(condition(live, "Progressing").get("lastUpdateTime", ""))
        left = parse_duration(spec.rollout.progress_deadline) - (now - since).total_seconds()
    except (TypeError, ValueError):
        return None
    return left + _LEAST_WAIT if left > 0 else None
