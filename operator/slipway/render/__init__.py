"""Renders the children of a ModelDeployment as Kubernetes objects. Pure: the same input gives the same output.

`pod_template` is rendered once for each revision, when it is created; from then on `children` puts the recorded template into the
Deployment, so a new release of the operator restarts no pod.
"""

from slipway.domain.objects import Manifest
from slipway.render import autoscaling, deployment, revision_objects, services
from slipway.render.inputs import RenderInput
from slipway.render.podtemplate import pod_template

__all__ = ["RenderInput", "children", "pod_template"]


def children(given: RenderInput) -> tuple[Manifest, ...]:
    """Return the children in the order in which they are applied.

    The ControllerRevision comes first, so that every pod template that runs is recorded; the pin before the pods that read
    it; the autoscaler last, when the Deployment no longer sets a number of pods.
    """
    owner, spec = given.owner, given.spec
    found = [revision_objects.controller_revision(owner, given.revision)]
    if given.pin is not None and given.revision.uid:  # the ControllerRevision owns the pin, so it must exist first
        found.append(revision_objects.pin(owner, given.revision, given.pin))
    found += [*services.services(owner), deployment.deployment(given)]
    if given.several:
        found.append(autoscaling.disruption_budget(owner))
    if spec.autoscaling is not None:
        found.append(autoscaling.autoscaler(owner, spec.autoscaling))
    return tuple(found)
