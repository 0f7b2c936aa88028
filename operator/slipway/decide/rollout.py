"""How a rollout proceeds: which pod goes first, when its deadline passes, and who owns the number of pods.

Level-based: every answer comes from what is observed now, nothing is remembered.
"""

from datetime import datetime

from slipway.api import Gpu, ModelDeploymentSpec, PodState, Reason, RolloutStrategy, parse_duration
from slipway.decide.state import State
from slipway.domain.revisions import Revision
from slipway.domain.servers import gpu_resource

_HOLDS_NO_GPU = frozenset({PodState.PENDING, PodState.UNSCHEDULABLE})
_MIN_WAIT_SECONDS = 1.0


def hand_over(state: State, spec: ModelDeploymentSpec, *, new_autoscaler: bool) -> int | None:
    """Return the number of pods that a second field manager must own before Slipway stops sending it, or None.

    Server-side apply removes a field that its only owner stops sending; the Deployment would fall back to one pod. An
    autoscaler does not act on a Deployment that is scaled to zero: it is handed over with the fewest pods.

    Args:
        state: of the ModelDeployment.
        spec: its spec.
        new_autoscaler: the autoscaler does not exist yet.
    """
    if spec.autoscaling is None:
        return None
    least, deployment = spec.autoscaling.min_replicas, state.deployment
    if deployment is None:
        return least if least > 1 else None
    if deployment.owns_replicas:
        return deployment.counts.desired or least
    return least if new_autoscaler and deployment.counts.desired < least else None


def terminate_first(state: State, spec: ModelDeploymentSpec, target: Revision) -> bool:
    """Return whether an old pod is terminated before a new one starts.

    `Auto` does so once the scheduler has found no free GPU while an old pod holds what the new one waits for, and goes on
    until the rollout is complete.
    """
    strategy, deployment = spec.rollout.strategy, state.deployment
    if strategy is not RolloutStrategy.AUTO:
        return strategy is RolloutStrategy.TERMINATE_FIRST
    needed = target.gpu
    if needed is None or deployment is None:
        return False
    if deployment.revision == target.number and deployment.counts.complete:
        return False
    if deployment.terminates_first:
        return True
    waiting = any(
        pod.revision == target.number and pod.reason is Reason.GPU_UNAVAILABLE and not pod.failed for pod in state.pods
    )
    holding = {
        pod.revision
        for pod in state.pods
        if pod.revision != target.number and pod.state not in _HOLDS_NO_GPU and pod.reason is not Reason.EVICTED
    }
    return waiting and any(old.number in holding and _frees(old.gpu, needed) for old in state.revisions)


def _frees(held: Gpu | None, needed: Gpu) -> bool:
    """Return whether a pod with the GPUs `held` would free what is needed; if not, its termination would gain nothing."""
    if held is None:
        return False
    same_product = needed.product is None or needed.product == held.product
    return gpu_resource(held) == gpu_resource(needed) and held.count >= needed.count and same_product


def seconds_to_deadline(state: State, spec: ModelDeploymentSpec, target: Revision, now: datetime) -> float | None:
    """Return the seconds until the present rollout exceeds its deadline; None if there is none, or it has."""
    deployment = state.deployment
    if deployment is None or deployment.revision != target.number or deployment.counts.replaced:
        return None
    if (progressed_at := deployment.progressed_at) is None:
        return None
    try:
        left = parse_duration(spec.rollout.progress_deadline) - (now - progressed_at).total_seconds()
    except TypeError:  # a time without a zone
        return None
    return left + _MIN_WAIT_SECONDS if left > 0 else None
