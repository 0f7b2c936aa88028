"""`spec.autoscaling`: who owns the number of pods."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from slipway.api.base import ApiModel, validations


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
