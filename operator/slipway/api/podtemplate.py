"""`spec.resources`, `spec.gpu` and `spec.podTemplate`: what shapes the pods."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from slipway.api.base import ApiModel, Quantity, validations


class Resources(ApiModel):
    """CPU and memory of the server container. GPUs are asked for in `gpu`."""

    requests: Annotated[dict[str, Quantity], Field(max_length=8)] = {}
    """What the scheduler sets aside: `cpu`, `memory`, `ephemeral-storage`."""
    limits: Annotated[dict[str, Quantity], Field(max_length=8)] = {}
    """What the container may use at most."""


class Gpu(ApiModel):
    """GPUs of each pod. Sets resource, node selector, toleration, image and memory fraction together."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            {
                "rule": "!(has(self.mig) && has(self.resourceName))",
                "message": "spec.gpu.mig and spec.gpu.resourceName exclude each other: mig names an NVIDIA resource by itself",
            }
        )
    )

    count: Annotated[int, Field(ge=1, le=16)] = 1
    """How many GPUs (or MIG slices) a pod gets."""
    product: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$", max_length=63)] | None = None
    """Model of the GPU, as the node label `nvidia.com/gpu.product` names it, such as `NVIDIA-A100-SXM4-80GB`."""
    memory_fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the GPU's memory that the server takes. Default: it takes what it needs, growing."""
    mig: Annotated[str, Field(pattern=r"^[1-7]g\.[0-9]+gb(\.me)?$", max_length=32)] | None = None
    """MIG profile, such as `1g.10gb`; the resource becomes `nvidia.com/mig-1g.10gb`."""
    resource_name: (
        Annotated[
            str,
            Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$", max_length=128),
        ]
        | None
    ) = None
    """Extended resource to ask for instead of `nvidia.com/gpu`, such as `amd.com/gpu`. Node selector and image are then
    yours to choose (`podTemplate.nodeSelector`, `runtime.image`)."""

    @model_validator(mode="after")
    def _one_resource(self) -> Self:
        if self.mig is not None and self.resource_name is not None:
            raise ValueError(
                "spec.gpu.mig and spec.gpu.resourceName exclude each other: mig names an NVIDIA resource by itself"
            )
        return self


class Toleration(ApiModel):
    """A taint that the pods tolerate."""

    key: Annotated[str, Field(max_length=316)] | None = None
    """Key of the taint; empty with operator Exists tolerates every taint."""
    operator: Literal["Exists", "Equal"] | None = None
    """`Exists` or `Equal` (default)."""
    value: Annotated[str, Field(max_length=63)] | None = None
    """Value of the taint, with `Equal`."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """`NoSchedule`, `PreferNoSchedule` or `NoExecute`; default: all."""
    toleration_seconds: int | None = None
    """How long a NoExecute taint is tolerated, in seconds."""


class LocalObjectReference(ApiModel):
    """The name of an object in the same namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the object."""


OpaqueObject = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")]
RESERVED_LABELS = (r"^(serving\.slipway\.dev|app\.kubernetes\.io)/", "pod-template-hash")


class PodTemplate(ApiModel):
    """What may be added to the pods; everything else in a pod belongs to Slipway."""

    labels: Annotated[
        dict[str, LabelValue],
        Field(
            max_length=32,
            json_schema_extra=validations(
                {
                    "rule": "self.all(key, !key.matches('^(serving[.]slipway[.]dev|app[.]kubernetes[.]io)/') && key != 'pod-template-hash')",
                    "message": "spec.podTemplate.labels: serving.slipway.dev/*, app.kubernetes.io/* and pod-template-hash are set by Slipway and Kubernetes",
                }
            ),
        ),
    ] = {}
    """Labels added to the pods."""
    annotations: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=32)] = {}
    """Annotations added to the pods."""
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=32)] = {}
    """Labels that a node must have."""
    tolerations: Annotated[list[Toleration], Field(max_length=32)] = []
    """Taints that the pods tolerate."""
    affinity: OpaqueObject | None = None
    """Affinity of the pods, as in a Pod."""
    priority_class_name: Annotated[str, Field(max_length=253)] | None = None
    """PriorityClass of the pods."""
    topology_spread_constraints: Annotated[list[OpaqueObject], Field(max_length=8)] = []
    """How the pods spread over zones and nodes, as in a Pod."""
    service_account_name: Annotated[str, Field(max_length=253)] | None = None
    """ServiceAccount of the pods, in the same namespace. No token is mounted unless one is named."""
    image_pull_secrets: Annotated[list[LocalObjectReference], Field(max_length=8)] = []
    """Secrets of the same namespace for pulling images."""

    @model_validator(mode="after")
    def _labels_not_reserved(self) -> Self:
        for key in self.labels:
            if re.match(RESERVED_LABELS[0], key) or key == RESERVED_LABELS[1]:
                raise ValueError(f"spec.podTemplate.labels: {key} is set by Slipway or Kubernetes: choose another key")
        return self
