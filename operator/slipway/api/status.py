"""The status: what the operator knows, in words."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from slipway.api.base import ApiModel
from slipway.api.conditions import ConditionStatus


class Condition(ApiModel):
    """One observation, as Kubernetes' own `metav1.Condition`."""

    type: Annotated[str, Field(max_length=316)]
    """What it speaks of: Ready, Available, Progressing or RolledBack."""
    status: ConditionStatus
    """True, False or Unknown."""
    reason: Annotated[str, Field(max_length=1024)]
    """One word for programs."""
    message: Annotated[str, Field(max_length=32768)]
    """The same in words, with what to do."""
    observed_generation: Annotated[int, Field(ge=0)]
    """Generation of the spec that it speaks of."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When `status` last changed (RFC 3339, UTC)."""


class Endpoints(ApiModel):
    """Where clients reach the model inside the cluster."""

    grpc: str
    """Target of a gRPC channel, `HOST:PORT`."""
    rest: str
    """URL of the model's REST API."""
    headless: str
    """Target of a gRPC channel that balances over the pods by itself, such as `dns:///HOST:PORT` with round_robin."""


class PodState(StrEnum):
    """Where a pod is on its way."""

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
    """Where it is on its way."""
    reason: str = ""
    """One word for what is wrong; empty while nothing is."""
    message: Annotated[str, Field(max_length=4096)] = ""
    """The words of the one who said so: scheduler, kubelet, fetch, server or pilot."""
    restarts: int = 0
    """How often its server has been restarted."""


class Verdict(StrEnum):
    """How a revision fared."""

    PROGRESSING = "Progressing"
    READY = "Ready"
    FAILED = "Failed"
    SUPERSEDED = "Superseded"


class RevisionStatus(ApiModel):
    """One revision: a state of everything that is served."""

    revision: int
    """Its number; also that of the ControllerRevision `NAME-N`, which records it in full."""
    uri: str
    """Where its model comes from."""
    image: str = ""
    """Image of the server."""
    model_version: int | None = None
    """Version folder that its pods serve."""
    digest: str | None = None
    """Content digest of the model that its pods serve."""
    verdict: Verdict
    """How it fared."""
    reason: str = ""
    """Why, in one word."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Why, in words."""
    started: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = None
    """When the revision was made (RFC 3339, UTC)."""
    time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When the verdict was reached (RFC 3339, UTC)."""


class ModelDeploymentStatus(ApiModel):
    """What is served, and what is in its way."""

    observed_generation: int | None = None
    """Generation of the spec that this status speaks of."""
    revision: int | None = None
    """Revision that the spec asks for."""
    stable_revision: int | None = None
    """Last revision that served completely: what a failed one is rolled back to."""
    served_revision: int | None = None
    """Revision that the pods are being brought to: `revision`, or `stableRevision` after a rollback."""
    model_version: int | None = None
    """Version of the model that `servedRevision` serves."""
    digest: str | None = None
    """Content digest of the model that `servedRevision` serves."""
    endpoints: Endpoints | None = None
    """Where clients reach the model."""
    replicas: int | None = None
    """How many pods there are."""
    ready_replicas: int | None = None
    """How many of them answer."""
    updated_replicas: int | None = None
    """How many of them run `servedRevision`."""
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
    """The pods, those in trouble first; at most 50."""
    history: Annotated[list[RevisionStatus], Field(max_length=100)] = []
    """The revisions, newest first; at most `rollout.historyLimit`."""
