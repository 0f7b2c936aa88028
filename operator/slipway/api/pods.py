"""`spec.resources`, `spec.gpu` and `spec.podTemplate`: what shapes the pods."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from slipway.api.base import ApiModel, Quantity
from slipway.api.rules import Rule, Rules


class Resources(ApiModel):
    """CPU and memory of a container."""

    requests: Annotated[dict[str, Quantity], Field(max_length=8)] = {}
    """What the scheduler reserves: `cpu`, `memory`, `ephemeral-storage`."""
    limits: Annotated[dict[str, Quantity], Field(max_length=8)] = {}
    """The most that the container may use."""


class Gpu(ApiModel):
    """GPUs of each pod. Sets resource, node selector, toleration, image and memory fraction together."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(has(self.mig) && has(self.resourceName))",
            "spec.gpu.mig and spec.gpu.resourceName exclude each other: mig already names an NVIDIA resource",
        ),
    )

    count: Annotated[int, Field(ge=1, le=16)] = 1
    """Number of GPUs (or MIG slices) per pod."""
    product: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$", max_length=63)] | None = None
    """GPU model, as in the node label `nvidia.com/gpu.product`, such as `NVIDIA-A100-SXM4-80GB`."""
    memory_fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """Fraction of the GPU's memory that the server allocates. Default: it allocates what it needs, growing."""
    mig: Annotated[str, Field(pattern=r"^[1-7]g\.[0-9]+gb(\.me)?$", max_length=32)] | None = None
    """MIG profile, such as `1g.10gb`; the resource becomes `nvidia.com/mig-1g.10gb`."""
    resource_name: (
        Annotated[
            str,
            Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$", max_length=128),
        ]
        | None
    ) = None
    """Extended resource to request instead of `nvidia.com/gpu`, such as `amd.com/gpu`. Choose node selector and image
    yourself (`podTemplate.nodeSelector`, `runtime.image`)."""


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
_RESERVED_LABELS = Rule(
    "self.all(key, !key.matches('^(serving[.]slipway[.]dev|app[.]kubernetes[.]io)/') && key != 'pod-template-hash')",
    "spec.podTemplate.labels: serving.slipway.dev/*, app.kubernetes.io/* and pod-template-hash are set by Slipway and "
    "Kubernetes: choose another key",
)


class PodTemplate(ApiModel):
    """What may be added to the pods; everything else in a pod belongs to Slipway."""

    labels: Annotated[dict[str, LabelValue], Field(max_length=32), Rules(_RESERVED_LABELS)] = {}
    """Labels added to the pods."""
    annotations: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=32)] = {}
    """Annotations added to the pods. Slipway's `cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes`, which names
    the pods' own temporary volumes, can be replaced."""
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=32)] = {}
    """Labels that a node must have. Slipway adds `kubernetes.io/os: linux`, and `kubernetes.io/arch: amd64` for
    `tensorflow/serving`. Set another value, or an empty one to add no such label."""
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
    fetch_resources: Resources | None = None
    """CPU and memory of the init container `fetch`, which brings the model. Default: the operator's, which are those of
    `spec.resources` unless the administrator has changed them. An empty object leaves them to the namespace's LimitRange."""
    prober_resources: Resources | None = None
    """CPU and memory of the sidecar `prober`, which checks the gate. Default: the operator's. An empty object leaves them to
    the namespace's LimitRange."""
