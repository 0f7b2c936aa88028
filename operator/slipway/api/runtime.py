"""`spec.runtime`: the server that runs the model."""

from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.base import ApiModel
from slipway.api.rules import Rule, Rules, excludes


class Batching(ApiModel):
    """Server-side batching: concurrent requests are executed together."""

    max_batch_size: Annotated[int, Field(ge=1, le=65536)] = 32
    """The most examples in one batch."""
    timeout_micros: Annotated[int, Field(ge=0, le=60_000_000)] = 1000
    """How long the first request of a batch waits for others, in microseconds."""
    max_enqueued_batches: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """How many batches may wait; requests beyond that are answered UNAVAILABLE."""
    num_batch_threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """How many batches run in parallel. Default: the number of CPUs."""


class Warmup(ApiModel):
    """Replay of the requests that the model carries in `assets.extra/tf_serving_warmup_requests`."""

    iterations: Annotated[int, Field(ge=1, le=1000)] = 1
    """How often each recorded request is replayed before the server opens its ports."""


_FLAG_NAMES = Rule(
    "self.all(flag, flag.matches('^[a-z][a-z0-9_]*$'))",
    "spec.runtime.args: a flag is named without dashes, like num_load_threads",
)
_FLAG_VALUE = excludes(
    r"[\x00-\x1f\x7f-\x9f]",
    "spec.runtime.args: the value must not contain control characters (line breaks, tabs, NUL): remove them, "
    "no container starts with a NUL in its command line",
)
FlagValue = Annotated[str, Field(max_length=1024), Rules(_FLAG_VALUE)]
_IMAGE = (
    r"^[A-Za-z0-9][A-Za-z0-9._/-]*(:[0-9]+/[A-Za-z0-9._/-]+)?(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?(@sha256:[0-9a-f]{64})?$"
)


# What the server's REST paths can carry: /v1/models/NAME:predict. Over gRPC it would take anything.
_SERVED_NAME = excludes(
    r"[/:\x00-\x1f\x7f-\x9f]|^\s|\s$|^[.][.]?$",
    "spec.runtime.modelName must not contain '/', ':' or control characters, nor begin or end with a space, nor be '.' or "
    "'..': REST clients name the model in a path",
)


class Runtime(ApiModel):
    """The server that runs the model."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(has(self.version) && has(self.image))",
            "spec.runtime.version and spec.runtime.image exclude each other: keep the one that you mean",
        ),
    )

    version: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$", max_length=32)] | None = None
    """Version of TensorFlow Serving, such as `2.20.0`. Default: the operator's."""
    image: Annotated[str, Field(pattern=_IMAGE, max_length=512)] | None = None
    """Your own image with `tensorflow_model_server`, instead of `version`."""
    model_name: Annotated[str, Field(min_length=1, max_length=200), Rules(_SERVED_NAME)] | None = None
    """Name that requests ask for, such as `half_plus_two` or `ResNet50`. Default: the name of the ModelDeployment, which is
    that of its Services in any case. A change is a new revision: during its rollout pods with either name answer, each
    only to its own."""
    batching: Batching | None = None
    """Turns server-side batching on."""
    warmup: Warmup | None = None
    """Repeats the model's own warm-up requests."""
    args: Annotated[dict[str, FlagValue], Field(max_length=48), Rules(_FLAG_NAMES)] = {}
    """Any other flag of the server by name without dashes, such as `num_load_threads: "4"`. Flags that the version
    does not know, and flags that other fields set, are refused."""
