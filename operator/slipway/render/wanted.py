"""What the renderers of one ModelDeployment's children are told, all together."""

from dataclasses import dataclass

from slipway.api import ModelDeploymentSpec
from slipway.render.parts import Owner
from slipway.render.pins import Pin
from slipway.revisions import Record


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
        paused: nothing moves: the Deployment keeps the pods that it has, of whichever revision.
        resolving: only one pod of the revision may fetch, because what the others must fetch is not known yet: the
            Deployment surges by one pod instead of by a quarter. (Whoever decides so also creates it with one replica.)
        pin: what the revision's first pod found, or the pin that is there already; None as long as no pod has reported, and
            where `render.wants_pin` says that the record's template looks for none. It is an object from the moment when the record
            is in the cluster.
    """

    owner: Owner
    spec: ModelDeploymentSpec
    record: Record
    replicas: int | None
    draining: bool
    several: bool
    paused: bool = False
    resolving: bool = False
    pin: Pin | None = None
