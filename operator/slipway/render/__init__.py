"""Turns what a user asks for into Kubernetes objects. Pure: same input, same output, nothing is changed on the way.

`template` is asked once for each revision, when its record is made; from then on the record's template is what
`desired` puts into the Deployment, so that another release of the operator restarts no pod.

Pins: `wants_pin` tells whether a template's pods look for one, `read_pin` finds the one that is there, `Wanted.pin` has it made.
"""

from slipway.observed import Manifest
from slipway.render import network, revision, scaling, workload
from slipway.render.parts import Owner
from slipway.render.pins import Pin, pin
from slipway.render.pins import read as read_pin
from slipway.render.pins import wants as wants_pin
from slipway.render.wanted import Wanted
from slipway.render.workload import template

__all__ = ["Owner", "Pin", "Wanted", "desired", "pin", "read_pin", "template", "wants_pin"]


def desired(wanted: Wanted) -> tuple[Manifest, ...]:
    """Return the children in the order in which they are applied.

    The record comes first, so that what was rolled out is never unknown; the pin before the pods that look for it;
    the autoscaler comes last, when the Deployment no longer names a number of pods.
    """
    owner, spec = wanted.owner, wanted.spec
    children = [revision.controller_revision(owner, wanted.record)]
    if wanted.pin is not None and wanted.record.uid:  # the pin belongs to the record: it waits until that is there
        children.append(pin(owner, wanted.record, wanted.pin))
    children += [*network.services(owner), workload.deployment(wanted)]
    if wanted.several:
        children.append(scaling.disruption_budget(owner))
    if spec.autoscaling is not None:
        children.append(scaling.autoscaler(owner, spec.autoscaling))
    return tuple(children)
