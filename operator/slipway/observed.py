"""What is known of one ModelDeployment at one moment, and what is to be done about it: value types, no behaviour.

They are the seam between the store (which fills `Observed`), the pure rooms (which turn it into a `Plan` and a status)
and the cluster room (which carries the plan out).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from slipway.api import PodState, Reason

Manifest = dict[str, Any]
"""A Kubernetes object as JSON."""


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Which ModelDeployment."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Return `namespace/name`, as logs and metrics show it."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """Which child, within the namespace of its ModelDeployment."""

    kind: str
    name: str

    def __str__(self) -> str:
        """Return `Kind NAME`, as messages show it."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Pod:
    """What matters of a pod; small, because there are many.

    Attributes:
        revision: number of the revision that it runs; 0 if its label is missing.
        state: where it is on its way.
        reason: what is wrong, or None.
        message: the words of scheduler, kubelet, fetch, server or pilot; empty while nothing is wrong.
        failed: the trouble is one that waiting does not cure by itself (wrong image, refused download, failed load …).
        restarts: how often its server has been restarted; where another container ends again and again, how often that.
        model_version: version folder that fetch reported, or None.
        digest: content digest that fetch reported, or None.
        scheduled: when it got its node, or None.
        patience: seconds after `scheduled` before which a `failed` may still pass: a registry may be out of reach for a moment.
        due: when its grace period ends, while it is terminating; `message` says then what may hold it longer.
    """

    name: str
    revision: int
    state: PodState
    reason: Reason | None = None
    message: str = ""
    failed: bool = False
    restarts: int = 0
    model_version: int | None = None
    digest: str | None = None
    scheduled: datetime | None = None
    patience: int = 0
    due: datetime | None = None

    @property
    def ready(self) -> bool:
        """Tell whether it answers."""
        return self.state is PodState.READY


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything known of one ModelDeployment.

    Attributes:
        resource: its body, without managedFields; None when it is gone.
        children: labelled objects of the children's kinds that carry its name, whoever owns them, plus objects that
            hold a name this ModelDeployment needs; bodies without managedFields.
        pods: its pods.
    """

    resource: Manifest | None
    children: Mapping[Ref, Manifest] = field(default_factory=dict)
    pods: tuple[Pod, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that keeps the resource from what it asks for."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply of one child.

    Attributes:
        manifest: the complete set of fields that Slipway owns on it.
        create: the child does not exist yet as far as is known: it may only be created, so that an object of somebody
            else that holds the name makes a conflict instead of being taken over.
        manager: field manager; `names.SCALE_MANAGER` for the hand-over of `spec.replicas`.
    """

    manifest: Manifest
    create: bool
    manager: str

    @property
    def ref(self) -> Ref:
        """Which child."""
        return Ref(self.manifest["kind"], self.manifest["metadata"]["name"])


@dataclass(frozen=True, slots=True)
class Delete:
    """Deletion of one child, by uid and resourceVersion-free precondition, so that a successor is never hit."""

    ref: Ref
    uid: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done now, in order, and what the status should know of the decision.

    Attributes:
        actions: in order; empty when all is as it should be.
        revision: number of the revision that is asked for, by the spec or by a pin; None while the spec is invalid.
        problem: why the spec cannot be carried out (invalid, name conflict), or None.
        wake_after: seconds until the decision should be taken again without an event; None for never.
        draining: the roll-out gives up an old pod first.
        scaled: replicas the Deployment should have, or None while an autoscaler owns the number.
        served: number of the revision that the Deployment is brought to; after a rollback another one than `revision`.
        paused: the failed revision is left as it is, and waits for the user.
        stable: number of the last revision that served completely, the present moment included; None before the first.
        failed: the revision that is asked for has failed, and a status that was written says so.
        pinned: the revision that is asked for is so by its number.
        throttled: the Deployment has one pod, although more are wanted, until that pod has told what it fetched.
    """

    actions: tuple[Apply | Delete, ...] = ()
    revision: int | None = None
    problem: Problem | None = None
    wake_after: float | None = None
    draining: bool = False
    scaled: int | None = None
    served: int | None = None
    paused: bool = False
    stable: int | None = None
    failed: bool = False
    pinned: bool = False
    throttled: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """An action that the API server refused.

    Attributes:
        ref: the child.
        reason: in the vocabulary of conditions.
        message: the server's words.
    """

    ref: Ref
    reason: Reason
    message: str
