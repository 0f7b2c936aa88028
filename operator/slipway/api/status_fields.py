"""The status: what the operator reports."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from slipway.api.base import ApiModel, VersionNumber
from slipway.api.reasons import ConditionStatus

_TIME: dict[str, Any] = {"format": "date-time"}


class Condition(ApiModel):
    """One condition, as Kubernetes' `metav1.Condition`."""

    type: Annotated[str, Field(max_length=316)]
    """Ready, Available, Progressing or RolledBack."""
    status: ConditionStatus
    """True, False or Unknown."""
    reason: Annotated[str, Field(max_length=1024)]
    """One word for programs."""
    message: Annotated[str, Field(max_length=32768)]
    """The same in words, with what to do."""
    observed_generation: Annotated[int, Field(ge=0)]
    """Generation of the spec that it is about."""
    last_transition_time: Annotated[str, Field(json_schema_extra=_TIME)]
    """When `status` last changed (RFC 3339, UTC)."""


class Endpoints(ApiModel):
    """Where clients reach the model inside the cluster."""

    grpc: str
    """Target of a gRPC channel, `HOST:PORT`."""
    rest: str
    """URL of the model's REST API; its last part is the name that the target revision gives the model."""
    headless: str
    """Target of a gRPC channel with client-side load balancing, such as `dns:///HOST:PORT` with round_robin."""


class PodState(StrEnum):
    """Stage of a pod's life."""

    PENDING = "Pending"
    UNSCHEDULABLE = "Unschedulable"
    FETCHING = "Fetching"
    LOADING = "Loading"
    GATING = "Gating"
    READY = "Ready"
    UNHEALTHY = "Unhealthy"
    FAILED = "Failed"
    TERMINATING = "Terminating"


class PodStatus(ApiModel):
    """One pod."""

    name: str
    """Name of the pod."""
    revision: int
    """Revision that it runs."""
    state: PodState
    """Stage of its life."""
    reason: str = ""
    """What is wrong, in one word; empty while nothing is."""
    message: Annotated[str, Field(max_length=4096)] = ""
    """What is wrong, in the words of its source: scheduler, kubelet, fetch, server or prober."""
    restarts: int = 0
    """Restarts of its server."""


class Verdict(StrEnum):
    """Result of a revision's rollout."""

    PROGRESSING = "Progressing"
    READY = "Ready"
    FAILED = "Failed"
    SUPERSEDED = "Superseded"


class RevisionStatus(ApiModel):
    """One revision: a state of everything that decides what is served."""

    revision: int
    """Its number; the ControllerRevision `NAME-N` records it in full."""
    uri: str
    """Where its model comes from."""
    image: str = ""
    """Image of the server."""
    model_version: VersionNumber | None = None
    """Version folder that its pods serve, or that its first pod has fetched. A text above 9007199254740991."""
    digest: str | None = None
    """Content digest of the model that its pods serve, or that its first pod has fetched."""
    verdict: Verdict
    """Result of its rollout."""
    reason: str = ""
    """Why, in one word."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Why, in words."""
    start_time: Annotated[str, Field(json_schema_extra=_TIME)] | None = None
    """When the revision was created (RFC 3339, UTC)."""
    last_transition_time: Annotated[str, Field(json_schema_extra=_TIME)]
    """When the verdict last changed (RFC 3339, UTC)."""


class ModelDeploymentStatus(ApiModel):
    """What is served, and what prevents more."""

    observed_generation: int | None = None
    """Generation of the spec that this status is about."""
    update_revision: int | None = None
    """Revision that the spec asks for, as in a StatefulSet."""
    current_revision: int | None = None
    """Last revision that served completely; the target of a rollback."""
    target_revision: int | None = None
    """Revision to which the pods are being brought: `updateRevision`, or `currentRevision` after a rollback."""
    model_version: VersionNumber | None = None
    """Version of the model that `targetRevision` serves. A text above 9007199254740991."""
    digest: str | None = None
    """Content digest of the model that `targetRevision` serves."""
    endpoints: Endpoints | None = None
    """Where clients reach the model."""
    replicas: int | None = None
    """Number of pods."""
    ready_replicas: int | None = None
    """Pods that are Ready."""
    updated_replicas: int | None = None
    """Pods that run `targetRevision`."""
    selector: str | None = None
    """Label selector of the pods, for the scale subresource."""
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=8, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
        ),
    ] = []
    """Ready, Available, Progressing, RolledBack."""
    pods: Annotated[list[PodStatus], Field(max_length=50)] = []
    """The pods, those with faults first; at most 50."""
    history: Annotated[list[RevisionStatus], Field(max_length=100)] = []
    """The revisions, newest first; at most `rollout.revisionHistoryLimit`."""
