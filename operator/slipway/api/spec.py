"""The spec: what a user asks for.

Attribute docstrings become the descriptions that `kubectl explain` prints, so they are written for that reader.
"""

import re
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from slipway.api.base import ApiModel, validations
from slipway.api.podtemplate import Gpu, PodTemplate, Resources
from slipway.api.rollout import Rollout
from slipway.api.runtime import Runtime
from slipway.api.scaling import Autoscaling
from slipway.api.source import ModelSource

_CPU_ONLY_IMAGE = r"(^|/)(tensorflow/serving|slipway/model-server)(:[^@]*)?$"


class ModelDeploymentSpec(ApiModel):
    """What should be served, and how."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            {
                "rule": "!(has(self.gpu) && has(self.runtime) && has(self.runtime.image) && "
                f"self.runtime.image.matches('{_CPU_ONLY_IMAGE}') && !self.runtime.image.contains('-gpu'))",
                "message": "spec.gpu asks for a GPU but spec.runtime.image is a CPU build: use its -gpu tag, or spec.runtime.version",
            },
            {
                "rule": "!has(self.autoscaling) || self.autoscaling.metrics.all(m, (m.type == 'CPU' ? 'cpu' : 'memory') in "
                "(has(self.resources) && has(self.resources.requests) ? self.resources.requests : {}))",
                "message": "spec.autoscaling needs spec.resources.requests.cpu (for CPU) or .memory (for Memory): utilisation is measured against it",
            },
        )
    )

    model: ModelSource
    """The model to serve."""
    runtime: Runtime = Runtime()
    """The server that runs it."""
    resources: Resources = Resources()
    """CPU and memory of the server container."""
    gpu: Gpu | None = None
    """GPUs of each pod."""
    replicas: Annotated[int, Field(ge=0, le=1000)] | None = None
    """How many pods. Without it one pod is made at first, and the running count is kept afterwards. Not looked at while
    `autoscaling` is set."""
    autoscaling: Autoscaling | None = None
    """Lets a HorizontalPodAutoscaler own the number of pods."""
    pod_template: PodTemplate = PodTemplate()
    """What is added to the pods."""
    rollout: Rollout = Rollout()
    """How a change reaches the pods."""
    pinned_revision: Annotated[int, Field(ge=1, le=9007199254740991)] | None = None
    """Serve this revision, exactly as it was, whatever `model`, `runtime`, `resources`, `gpu`, `podTemplate` and
    `rollout.gate` say. `status.history` and the ControllerRevisions `NAME-N` show which there are."""

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        image = self.runtime.image
        if self.gpu is not None and image is not None and re.search(_CPU_ONLY_IMAGE, image) and "-gpu" not in image:
            raise ValueError(
                "spec.gpu asks for a GPU but spec.runtime.image is a CPU build: use its -gpu tag, or spec.runtime.version"
            )
        for metric in self.autoscaling.metrics if self.autoscaling else []:
            if metric.type.value.lower() not in self.resources.requests:
                raise ValueError(
                    "spec.autoscaling needs spec.resources.requests.cpu (for CPU) or .memory (for Memory): "
                    "utilisation is measured against it"
                )
        return self
