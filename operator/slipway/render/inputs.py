"""Input of the renderers."""

from dataclasses import dataclass

from slipway.api import ModelDeploymentSpec
from slipway.domain.names import Owner
from slipway.domain.revisions import Pin, Revision


@dataclass(frozen=True, slots=True)
class RenderInput:
    """Everything that decides what the children look like.

    Attributes:
        owner: the ModelDeployment.
        spec: its spec.
        revision: the target revision.
        replicas: number of pods; None while an autoscaler owns it.
        terminate_first: the rollout terminates an old pod before it starts a new one.
        several: there can be more than one pod.
        paused: the Deployment keeps the pods that it has, of whichever revision.
        one_by_one: the Deployment surges by one pod instead of by a quarter, and waits a moment after each, so that only
            one pod fetches before the revision has a pin.
        pin: model version and digest of the revision; None while no pod has been Ready, or if its pods use no pin.
    """

    owner: Owner
    spec: ModelDeploymentSpec
    revision: Revision
    replicas: int | None
    terminate_first: bool
    several: bool
    paused: bool = False
    one_by_one: bool = False
    pin: Pin | None = None
