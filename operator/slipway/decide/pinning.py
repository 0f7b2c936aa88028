"""Which model version and content a revision serves: its first Ready pod decides, and a pin hands it to all later pods.

Content that no pod has served yet is no pin: half a copy, or a model that does not load, would be refused to change for the
rest of the revision's life. Until the first pod is Ready and the pin is in the cluster, no second pod of the revision may
fetch: the source may change between the two.
"""

from slipway.api import ModelDeploymentSpec
from slipway.decide.state import State, least_replicas
from slipway.domain.objects import Pod
from slipway.domain.revisions import Pin, Revision


def pin(state: State, revision: Revision) -> Pin | None:
    """Return what all pods of a revision serve: as pinned, as recorded, or as a Ready pod of it has reported.

    None while no pod has been Ready, and if the revision's pods use no pin.
    """
    if not revision.uses_pin:
        return None
    if (found := state.pins.get(revision.number) or state.recorded.pin(revision.number)) is not None:
        return found
    serving = (pod for pod in state.pods if pod.revision == revision.number and pod.ready)
    for pod in sorted(serving, key=lambda pod: pod.name):
        if pod.digest is not None and pod.model_version is not None:
            return Pin(pod.model_version, pod.digest)
    return None


def unresolved(state: State, revision: Revision) -> bool:
    """Return whether only one pod of a revision may fetch, because it is unknown what the others must fetch.

    It ends with the pin, and when a pod is Ready that has reported nothing. The current revision is past it.
    """
    if revision.number == state.current or not revision.uses_pin or revision.number in state.pins:
        return False
    return not any(pod.revision == revision.number and _reported_nothing(pod) for pod in state.pods)


def starts_with_one(state: State, spec: ModelDeploymentSpec) -> bool:
    """Return whether a Deployment is held at one pod until its revision is resolved, although more are desired.

    Only if it is new, or never had more: no pod is ever removed for it.
    """
    deployment = state.deployment
    begins = deployment is None or (state.current is None and deployment.counts.desired <= 1)
    return begins and least_replicas(spec) > 1


def several_follow(state: State) -> bool:
    """Return whether a rollout of the live Deployment starts more pods after the first."""
    return state.deployment is not None and state.deployment.counts.desired > 1


def _reported_nothing(pod: Pod) -> bool:
    return pod.ready and (pod.digest is None or pod.model_version is None)
