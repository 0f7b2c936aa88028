"""Turns what a user asks for into Kubernetes objects. Pure: same input, same output, nothing is changed on the way.

`template` is asked once for each revision, when its record is made; from then on the record's template is what
`desired` puts into the Deployment, so that another release of the operator restarts no pod.
"""

from dataclasses import dataclass

from slipway.api import ModelDeploymentSpec
from slipway.observed import Manifest
from slipway.render import network, revision, scaling, workload
from slipway.render.parts import Owner
from slipway.render.workload import template
from slipway.revisions import Record

__all__ = ["Owner", "Wanted", "desired", "template"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Everything that decides what the children look like.

    Attributes:
        owner: the ModelDeployment.
        spec: what it asks for.
        record: the revision that it serves.
        replicas: how many pods; None while an autoscaler owns the number.
        draining: the roll-out lets an old pod go first.
        several: there can be more than one pod.
    """

    owner: Owner
    spec: ModelDeploymentSpec
    record: Record
    replicas: int | None
    draining: bool
    several: bool


def desired(wanted: Wanted) -> tuple[Manifest, ...]:
    """Return the children in the order in which they are applied.

    The record comes first, so that what was rolled out is never unknown; the autoscaler comes last, when the Deployment
    no longer names a number of pods.
    """
    owner, spec = wanted.owner, wanted.spec
    children = [
        revision.controller_revision(owner, wanted.record),
        *network.services(owner),
        workload.deployment(owner, spec, wanted.record.template, replicas=wanted.replicas, draining=wanted.draining),
    ]
    if wanted.several:
        children.append(scaling.disruption_budget(owner))
    if spec.autoscaling is not None:
        children.append(scaling.autoscaler(owner, spec.autoscaling))
    return tuple(children)
