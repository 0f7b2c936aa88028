"""Which model version and content a revision serves: its first pod finds out, and a pin hands it to all later pods.

Until that pod has reported and the pin is in the cluster, no second pod of the revision may fetch: the source may change
between the two.
"""

from slipway.api import ModelDeploymentSpec
from slipway.decide.state import State, least_replicas
from slipway.domain.objects import Pod
from slipway.domain.revisions import Pin, Revision

_SURGES_ONE = 4
"""A quarter of this number of pods is one pod."""


def pin(state: State, revision: Revision) -> Pin | None:
    """Return what all pods of a revision serve: as pinned, as recorded, or as its first pod reports.

    None while it is unknown, and if the revision's pods use no pin.
    """
    if not revision.uses_pin:
        return None
    if (found := state.pins.get(revision.number) or state.recorded.pin(revision.number)) is not None:
        return found
    mine = (pod for pod in state.pods if pod.revision == revision.number)
    for pod in sorted(mine, key=lambda pod: (not pod.ready, pod.name)):
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
    """Return whether a Deployment with an unresolved revision has one pod for now, although more are desired.

    Only if it is new, or never had more: no pod is ever removed for it.
    """
    deployment = state.deployment
    begins = deployment is None or (state.current is None and deployment.counts.desired <= 1)
    return begins and least_replicas(spec, deployment) > 1


def surges_by_several(state: State) -> bool:
    """Return whether a rollout of the live Deployment would start more than one new pod at once."""
    return state.deployment is not None and state.deployment.counts.desired > _SURGES_ONE


def _reported_nothing(pod: Pod) -> bool:
    return pod.ready and (pod.digest is None or pod.model_version is None)
