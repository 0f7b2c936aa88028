"""`spec.runtime`: the server that runs the model."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from slipway.api.base import ApiModel, TextRule, check_text, validations


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
FLAG_VALUE_RULES = (
    TextRule(
        r"[\x00-\x1f\x7f-\x9f]",
        "spec.runtime.args: the value must not contain control characters (line breaks, tabs, NUL): remove them, "
        "no container starts with a NUL in its command line",
        forbidden=True,
    ),
)
FlagValue = Annotated[
    str,
    Field(max_length=1024, json_schema_extra=validations(*(rule.cel() for rule in FLAG_VALUE_RULES))),
    AfterValidator(lambda value: check_text(FLAG_VALUE_RULES, value)),
]


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
        dict[str, FlagValue],
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
