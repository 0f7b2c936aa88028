"""What all pods of a revision serve is found by the first of them. Pure; asked by the plan.

Until that pod has told which version and digest it fetched, and the pin that hands both to the others is in the cluster, no
second pod of the revision may fetch: the source may change between the two.
"""

from slipway import render, rollout, serving
from slipway.api import ModelDeploymentSpec
from slipway.observed import Manifest, Observed, Pod
from slipway.remembered import Remembered
from slipway.render import Pin
from slipway.revisions import Record

_SURGES_ONE = 4
"""A quarter of so many pods is one pod."""


def pin(observed: Observed, name: str, record: Record, memory: Remembered) -> Pin | None:
    """Return the version and digest that all pods of a revision serve: as pinned, as remembered, as its first pod says.

    None where they are not known yet, and where the record's pods look for no pin.

    Args:
        observed: everything known.
        name: of the ModelDeployment.
        record: of the revision.
        memory: what the last status said.
    """
    if not render.wants_pin(record.template):
        return None
    if (found := render.read_pin(observed.children, name, record)) is not None:
        return found
    if (resolved := memory.resolved(record.number)) is not None:
        return Pin(*resolved)
    mine = (pod for pod in observed.pods if pod.revision == record.number)
    for pod in sorted(mine, key=lambda pod: (not pod.ready, pod.name)):
        if pod.digest is not None and pod.model_version is not None:
            return Pin(pod.model_version, pod.digest)
    return None


def under_way(observed: Observed, name: str, record: Record, stable: int | None) -> bool:
    """Tell whether only one pod of a revision may fetch: what the others must fetch is not known yet.

    It ends with the pin, and where a pod is ready without having told what it fetched. A revision that has served
    completely is past it.
    """
    if record.number == stable or not render.wants_pin(record.template):
        return False
    if render.read_pin(observed.children, name, record) is not None:
        return False
    return not any(pod.revision == record.number and _silent(pod) for pod in observed.pods)


def one_pod(spec: ModelDeploymentSpec, live: Manifest | None, stable: int | None) -> bool:
    """Tell whether a Deployment whose revision is being resolved has one pod for now, although more are wanted.

    Only one that is being created, or has had no more before: no pod is ever taken away.
    """
    begins = live is None or (stable is None and rollout.counts(live).wanted <= 1)
    return begins and serving.least(spec, live) > 1


def matters(live: Manifest | None) -> bool:
    """Tell whether a Deployment would surge by more than one pod."""
    return live is not None and rollout.counts(live).wanted > _SURGES_ONE


def _silent(pod: Pod) -> bool:
    return pod.ready and (pod.digest is None or pod.model_version is None)
