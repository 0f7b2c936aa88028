"""The spec: what a user asks for.

Attribute docstrings become the descriptions that `kubectl explain` prints, so they are written for that reader.
"""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.base import ApiModel, duration
from slipway.api.gate import Gate
from slipway.api.pods import Gpu, PodTemplate, Resources
from slipway.api.rules import Rule
from slipway.api.runtime import Runtime
from slipway.api.source import ModelSource


class MetricType(StrEnum):
    """What an autoscaler measures."""

    CPU = "CPU"
    MEMORY = "Memory"


class AutoscalingMetric(ApiModel):
    """One signal of the autoscaler."""

    type: MetricType
    """`CPU` or `Memory`, relative to what the pods request."""
    target: Annotated[int, Field(ge=1, le=1000)]
    """Target for the average utilization, in percent of `resources.requests`."""


class Autoscaling(ApiModel):
    """Lets a HorizontalPodAutoscaler own the number of pods."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.minReplicas <= self.maxReplicas",
            "spec.autoscaling.minReplicas must not be above spec.autoscaling.maxReplicas",
        ),
    )

    min_replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    """The fewest pods."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)]
    """The most pods."""
    metrics: Annotated[list[AutoscalingMetric], Field(min_length=1, max_length=4)] = [
        AutoscalingMetric(type=MetricType.CPU, target=70)
    ]
    """What the autoscaler measures; the metric that needs the most pods wins."""


class RolloutStrategy(StrEnum):
    """How pods of a new revision replace those of the old one."""

    AUTO = "Auto"
    SURGE = "Surge"
    TERMINATE_FIRST = "TerminateFirst"


class OnFailure(StrEnum):
    """What happens to a revision that fails."""

    ROLLBACK = "Rollback"
    PAUSE = "Pause"


_DEADLINE = (
    "spec.rollout.progressDeadline must be at least 10s, longer than a probe takes, and at most 24h: "
    "write it like 90s, 10m or 1h30m"
)


class Rollout(ApiModel):
    """How a change reaches the pods."""

    renamed: ClassVar[dict[str, str]] = {"historyLimit": "spec.rollout.revisionHistoryLimit"}

    strategy: RolloutStrategy = RolloutStrategy.AUTO
    """`Surge` starts a new pod before an old one is terminated. `TerminateFirst` terminates an old pod first, for scarce
    hardware. `Auto` surges; when the scheduler finds no free GPU for the new pod, it terminates one old pod first."""
    progress_deadline: Annotated[str, *duration(_DEADLINE, least=10, most=86400)] = "10m"
    """How long a rollout may make no progress before it has failed, such as `90s`, `10m` or `1h30m`."""
    on_failure: OnFailure = OnFailure.ROLLBACK
    """What happens when a revision fails. `Rollback` returns to the last revision that served; the spec is not changed,
    and not tried again until it changes or `kubectl annotate mdep NAME serving.slipway.dev/retry=TEXT` requests it.
    `Pause` leaves everything as it is and waits for the same."""
    gate: Gate | None = None
    """What a pod must answer before it is Ready."""
    revision_history_limit: Annotated[int, Field(ge=1, le=100)] = 10
    """How many revisions are kept. The current, the target and a pinned revision are kept beyond it."""


_CPU_ONLY_IMAGE = r"(^|/)(tensorflow/serving|slipway/model-server)(:[^@]*)?$"


class ModelDeploymentSpec(ApiModel):
    """What to serve, and how."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(has(self.gpu) && has(self.runtime) && has(self.runtime.image) && "
            f"self.runtime.image.matches('{_CPU_ONLY_IMAGE}') && !self.runtime.image.contains('-gpu'))",
            "spec.gpu requests a GPU but spec.runtime.image is a CPU build: use its -gpu tag, or spec.runtime.version",
        ),
        Rule(
            "!has(self.autoscaling) || self.autoscaling.metrics.all(m, (m.type == 'CPU' ? 'cpu' : 'memory') in "
            "(has(self.resources) && has(self.resources.requests) ? self.resources.requests : {}))",
            "spec.autoscaling needs spec.resources.requests.cpu (for CPU) or .memory (for Memory): "
            "utilization is relative to it",
        ),
    )

    model: ModelSource
    """The model to serve."""
    runtime: Runtime = Runtime()
    """The server that runs it."""
    resources: Resources = Resources()
    """CPU and memory of the server container. GPUs are requested in `gpu`."""
    gpu: Gpu | None = None
    """GPUs of each pod."""
    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Number of pods; `kubectl scale` and autoscalers of your own set it. Ignored while `autoscaling` is set, and used
    again when that goes."""
    autoscaling: Autoscaling | None = None
    """Lets a HorizontalPodAutoscaler own the number of pods."""
    pod_template: PodTemplate = PodTemplate()
    """What is added to the pods."""
    rollout: Rollout = Rollout()
    """How a change reaches the pods."""
    pinned_revision: Annotated[int, Field(ge=1, le=9007199254740991)] | None = None
    """Serve this revision, exactly as it was, regardless of `model`, `runtime`, `resources`, `gpu`, `podTemplate` and
    `rollout.gate`. `status.history` and the ControllerRevisions `NAME-N` list the revisions."""
