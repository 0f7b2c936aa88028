"""What is observed of one ModelDeployment, and the actions that change it: value types without behaviour.

They connect the cache (which fills `Observed`), the pure packages (which turn it into a plan and a status) and the client
(which carries the actions out).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from slipway.api import PodState, Reason

Manifest = dict[str, Any]
"""A Kubernetes object as JSON."""


class Key(NamedTuple):
    """Namespace and name of a ModelDeployment. A tuple, because dictionaries hash and compare it all the time."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Return `namespace/name`, as logs and metrics show it."""
        return f"{self.namespace}/{self.name}"


class Ref(NamedTuple):
    """Kind and name of a child, in the namespace of its ModelDeployment. A tuple for the reason that `Key` is one."""

    kind: str
    name: str

    @classmethod
    def to(cls, manifest: Manifest) -> "Ref":
        """Return the reference to an object."""
        return cls(manifest["kind"], manifest["metadata"]["name"])

    def __str__(self) -> str:
        """Return `Kind NAME`, as messages show it."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Pod:
    """What is kept of a pod; small, because there are many.

    Attributes:
        revision: number of the revision that it runs; 0 if its label is missing.
        state: stage of its life.
        reason: what is wrong, or None.
        message: what is wrong, in the words of scheduler, kubelet, fetch, server or prober.
        failed: waiting does not cure the fault (wrong image, refused download, failed load …).
        restarts: of its server; if another container fails again and again, of that one.
        model_version: version folder that fetch reported, or None.
        digest: content digest that fetch reported, or None.
        scheduled_at: when it was bound to a node, or None.
        grace_seconds: time after `scheduled_at` within which a `failed` may still pass, such as a registry out of reach.
        deletion_deadline: when its termination grace period ends; `message` then says what may hold it longer.
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
    scheduled_at: datetime | None = None
    grace_seconds: int = 0
    deletion_deadline: datetime | None = None

    @property
    def ready(self) -> bool:
        """Whether it is Ready."""
        return self.state is PodState.READY

    def severity(self) -> tuple[bool, bool, bool, str]:
        """Return the sort key that puts pods with faults first, then sorts by name."""
        return (not self.failed, self.reason is None, self.ready, self.name)


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything known of one ModelDeployment.

    Attributes:
        resource: its body, without managedFields; None when it does not exist.
        children: labelled objects of the children's kinds that carry its name, whoever owns them, plus objects that
            hold a name this ModelDeployment needs; bodies without managedFields.
        pods: its pods.
    """

    resource: Manifest | None
    children: Mapping[Ref, Manifest] = field(default_factory=dict)
    pods: tuple[Pod, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault of the spec, or a conflict, that keeps the operator from carrying it out."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply of one child.

    Attributes:
        manifest: the complete set of fields that Slipway owns on it.
        create: no such child is known: it may only be created, so that an object of another owner that has the name
            makes a conflict instead of being taken over.
        manager: field manager; `names.SCALE_MANAGER` for the hand-over of `spec.replicas`.
    """

    manifest: Manifest
    create: bool
    manager: str

    @property
    def ref(self) -> Ref:
        """The child."""
        return Ref.to(self.manifest)


@dataclass(frozen=True, slots=True)
class Delete:
    """Deletion of one child, with its uid as a precondition, so that a successor of the same name is never deleted."""

    ref: Ref
    uid: str


Action = Apply | Delete


@dataclass(frozen=True, slots=True)
class Rejection:
    """An action that the API server rejected.

    Attributes:
        ref: the child.
        reason: reason of the condition that reports it.
        message: the server's words.
    """

    ref: Ref
    reason: Reason
    message: str
