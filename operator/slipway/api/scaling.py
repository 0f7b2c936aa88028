"""`spec.autoscaling` and `spec.rollout`: how many pods, and how a change reaches them."""

import re
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from slipway.api.base import ApiModel, TextRule, check_text, validations

DURATION_PATTERN = r"^([0-9]{1,3}h)?([0-9]{1,4}m)?([0-9]{1,5}s)?$"
DEADLINE_RULES = (
    TextRule(r"[1-9]", "spec.rollout.progressDeadline must be longer than zero: write it like 90s, 10m or 1h30m"),
)


def parse_duration(text: str) -> int:
    """Return the seconds in a duration such as `90s`, `10m` or `1h30m`; raise ValueError if it is not one."""
    match = re.fullmatch(DURATION_PATTERN, text)
    if not text or match is None:
        raise ValueError(f"{text!r} is not a duration: write it like 90s, 10m or 1h30m")
    hours, minutes, seconds = (int(part[:-1]) if part else 0 for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


class MetricType(StrEnum):
    """What an autoscaler looks at."""

    CPU = "CPU"
    MEMORY = "Memory"


class AutoscalingMetric(ApiModel):
    """One signal of the autoscaler."""

    type: MetricType
    """`CPU` or `Memory`, as a share of what the pods request."""
    target: Annotated[int, Field(ge=1, le=1000)]
    """Wanted average utilisation in percent of `resources.requests`."""


class Autoscaling(ApiModel):
    """Lets a HorizontalPodAutoscaler own the number of pods."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            {
                "rule": "self.minReplicas <= self.maxReplicas",
                "message": "spec.autoscaling.minReplicas must not be above spec.autoscaling.maxReplicas",
            }
        )
    )

    min_replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    """The fewest pods."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)]
    """The most pods."""
    metrics: Annotated[list[AutoscalingMetric], Field(min_length=1, max_length=4)] = [
        AutoscalingMetric(type=MetricType.CPU, target=70)
    ]
    """What the autoscaler looks at; the metric that asks for the most pods wins."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError("spec.autoscaling.minReplicas must not be above spec.autoscaling.maxReplicas")
        return self


class RolloutStrategy(StrEnum):
    """How pods of a new revision take over."""

    AUTO = "Auto"
    SURGE = "Surge"
    DRAIN_FIRST = "DrainFirst"


class Rollout(ApiModel):
    """How a change reaches the pods."""

    strategy: RolloutStrategy = RolloutStrategy.AUTO
    """`Surge` starts a new pod before an old one goes. `DrainFirst` lets an old pod go first, for scarce hardware.
    `Auto` surges, and when the scheduler has no GPU left for the new pod, drains one old pod first."""
    progress_deadline: Annotated[
        str,
        Field(
            pattern=DURATION_PATTERN,
            min_length=2,
            max_length=16,
            json_schema_extra=validations(*(rule.cel() for rule in DEADLINE_RULES)),
        ),
        AfterValidator(lambda text: check_text(DEADLINE_RULES, text)),
    ] = "10m"
    """How long a roll-out may stand still before it is reported as failed, such as `90s`, `10m` or `1h30m`."""
    history_limit: Annotated[int, Field(ge=1, le=100)] = 10
    """How many revisions are remembered."""
