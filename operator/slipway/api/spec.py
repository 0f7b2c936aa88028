"""The spec: what a user asks for.

Attribute docstrings become the descriptions that `kubectl explain` prints, so they are written for that reader.
"""

import re
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from slipway.api.base import ApiModel, Quantity, TextRule, check_text, validations

URI_RULES = (
    TextRule(
        r"^(pvc|https|http)://",
        "spec.model.uri has an unknown scheme: use pvc://CLAIM/PATH, https://HOST/FILE or http://HOST/FILE",
    ),
    TextRule(
        r"^[a-z]+://[^/?#]*@",
        "spec.model.uri must not carry credentials (user:password@): remove them, everyone who can read this resource could read them",
        forbidden=True,
    ),
    TextRule(
        r"[/\\](\.|%2[eE]){2}([/\\?#]|$)",
        "spec.model.uri must not contain '..': write the path that is meant",
        forbidden=True,
    ),
    TextRule(r"[\s\x00-\x1f\x7f]", "spec.model.uri must not contain white space or control characters", forbidden=True),
    TextRule(
        r"^(pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[^?#]*)?$|https?://[^/?#]+)",
        "spec.model.uri is incomplete: use pvc://CLAIM/PATH, https://HOST/FILE or http://HOST/FILE",
    ),
)
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


class ModelSource(ApiModel):
    """Where the model comes from."""

    uri: Annotated[
        str,
        Field(min_length=1, max_length=2048, json_schema_extra=validations(*(rule.cel() for rule in URI_RULES))),
        AfterValidator(lambda uri: check_text(URI_RULES, uri)),
    ]
    """Where the SavedModel is: `pvc://CLAIM/PATH` for a folder or an archive in a PersistentVolumeClaim of the same
    namespace, `https://HOST/FILE` or `http://HOST/FILE` for an archive (tar, tar.gz, zip). The folder or archive holds
    a SavedModel, or numeric version folders that do."""
    version: Annotated[int, Field(ge=1, le=9007199254740991)] | None = None
    """Which numeric version folder to serve. Default: the highest one that a pod finds when it starts. Set it, or
    `digest`, to be sure that all pods serve the same."""
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    """SHA-256 of the served version folder, as `sha256:HEX`. Pods that find other content refuse to start. It is what
    `cd FOLDER && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum` prints, and
    `status.history[].digest` shows."""


class Batching(ApiModel):
    """Server-side batching: requests that arrive together are run together."""

    max_batch_size: Annotated[int, Field(ge=1, le=65536)] = 32
    """The most examples that one batch holds."""
    timeout_micros: Annotated[int, Field(ge=0, le=60_000_000)] = 1000
    """How long the first request of a batch waits for others, in microseconds."""
    max_enqueued_batches: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """How many batches may wait; requests beyond that are answered UNAVAILABLE."""
    num_batch_threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """How many batches run at the same time. Default: the number of CPUs."""


class Warmup(ApiModel):
    """Replay of the requests that the model carries in `assets.extra/tf_serving_warmup_requests`."""

    iterations: Annotated[int, Field(ge=1, le=1000)] = 1
    """How often each recorded request is replayed before the server opens its ports."""


FLAG_NAME_RULE = "self.all(flag, flag.matches('^[a-z][a-z0-9_]*$'))"


class Runtime(ApiModel):
    """The server that runs the model."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            {
                "rule": "!(has(self.version) && has(self.image))",
                "message": "spec.runtime.version and spec.runtime.image exclude each other: keep the one that you mean",
            }
        )
    )

    version: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$", max_length=32)] | None = None
    """Version of TensorFlow Serving, such as `2.20.0`. Default: the operator's."""
    image: (
        Annotated[
            str,
            Field(
                pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*(:[0-9]+/[A-Za-z0-9._/-]+)?(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?(@sha256:[0-9a-f]{64})?$",
                max_length=512,
            ),
        ]
        | None
    ) = None
    """An image of your own that holds `tensorflow_model_server`, instead of `version`."""
    batching: Batching | None = None
    """Turns server-side batching on."""
    warmup: Warmup | None = None
    """Repeats the model's own warm-up requests."""
    args: Annotated[
        dict[str, Annotated[str, Field(max_length=1024)]],
        Field(
            max_length=48,
            json_schema_extra=validations(
                {
                    "rule": FLAG_NAME_RULE,
                    "message": "spec.runtime.args: a flag is named without dashes, like num_load_threads",
                }
            ),
        ),
    ] = {}
    """Any other flag of the server by name without dashes, such as `num_load_threads: "4"`. Flags that the version
    does not know, and flags that other fields set, are refused."""

    @model_validator(mode="after")
    def _one_image(self) -> Self:
        if self.version is not None and self.image is not None:
            raise ValueError(
                "spec.runtime.version and spec.runtime.image exclude each other: keep the one that you mean"
            )
        for flag in self.args:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", flag):
                raise ValueError("spec.runtime.args: a flag is named without dashes, like num_load_threads")
        return self


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
