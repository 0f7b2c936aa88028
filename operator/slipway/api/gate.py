"""`spec.rollout.gate`: what a pod must answer before it is Ready."""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from slipway.api.base import ApiModel, TextRule, check_text, validations
from slipway.api.durations import duration
from slipway.api.source import uri_rules

_FIELD = "spec.rollout.gate"


class Metric(StrEnum):
    """What the pilot measures."""

    ACCURACY = "accuracy"
    TOP_K_ACCURACY = "topKAccuracy"
    MATCHES = "matches"
    MEAN_ABSOLUTE_ERROR = "meanAbsoluteError"
    MEAN_SQUARED_ERROR = "meanSquaredError"
    MAX_ABSOLUTE_ERROR = "maxAbsoluteError"
    LOSS = "loss"
    P50_LATENCY_MILLIS = "p50LatencyMillis"
    P99_LATENCY_MILLIS = "p99LatencyMillis"


SHARES = (Metric.ACCURACY, Metric.TOP_K_ACCURACY, Metric.MATCHES)
"""Metrics between 0 and 1 that are bounded from below; the others are bounded from above."""
LATENCIES = (Metric.P50_LATENCY_MILLIS, Metric.P99_LATENCY_MILLIS)
BOUND_PATTERN = r"^(>=|<=) ?[0-9]{1,15}([.][0-9]{1,15})?([eE][-+]?[0-9]{1,2})?$"
_KNOWN = ", ".join(Metric)
_UNKNOWN = f"{_FIELD}: unknown metric: use {_KNOWN}"
_DIRECTION = (
    f"{_FIELD}: {', '.join(SHARES)} are bounded from below, like '>=0.95', all other metrics from above, like '<=50'"
)
_RANGE = f"{_FIELD}: the bound of {', '.join(SHARES)} must be above 0 and at most 1: any other holds always or never"
_NEVER = f"{_FIELD}: a latency of 0 ms is never reached: write a bound above it"
_TWICE = f"{_FIELD}: two checks are of the same signature and output: put their metrics into one"
_ONE_SOURCE = f"{_FIELD}.golden: exactly one of configMap, uri and path says where the golden set is"
_ONLY_CONFIG_MAP = f"{_FIELD}.golden.key is a key of a ConfigMap: it needs golden.configMap"
_ONLY_URI = f"{_FIELD}.golden.digest is that of a downloaded file: it needs golden.uri"
_PATH_RULES = (
    TextRule(r"^[^/]", f"{_FIELD}.golden.path is relative to the model's version folder: it must not start with '/'"),
    TextRule(
        r"(^|/)[.][.](/|$)", f"{_FIELD}.golden.path must not contain '..': write the path that is meant", forbidden=True
    ),
    TextRule(
        r"^[A-Za-z0-9._/-]+$", f"{_FIELD}.golden.path may hold letters, digits, '.', '_', '-' and '/' and nothing else"
    ),
)
_NUMBER = "double(self[m].substring(2).trim())"
_SHARES = "[" + ", ".join(f"'{metric}'" for metric in SHARES) + "]"
_LATENCIES = "[" + ", ".join(f"'{metric}'" for metric in LATENCIES) + "]"
_WELL_FORMED = f"self[m].matches('{BOUND_PATTERN}')"
_METRIC_RULES = (
    {"rule": f"self.all(m, m in [{', '.join(repr(str(metric)) for metric in Metric)}])", "message": _UNKNOWN},
    {"rule": f"self.all(m, (m in {_SHARES}) == self[m].startsWith('>='))", "message": _DIRECTION},
    {
        "rule": f"self.all(m, !(m in {_SHARES} && {_WELL_FORMED}) || ({_NUMBER} > 0.0 && {_NUMBER} <= 1.0))",
        "message": _RANGE,
    },
    {"rule": f"self.all(m, !(m in {_LATENCIES} && {_WELL_FORMED}) || {_NUMBER} > 0.0)", "message": _NEVER},
)


def _check_metrics(metrics: dict[str, str]) -> dict[str, str]:
    for name, bound in metrics.items():
        if name not in set(Metric):
            raise ValueError(_UNKNOWN)
        number = float(bound[2:])
        if (name in SHARES) != bound.startswith(">="):
            raise ValueError(_DIRECTION)
        if name in SHARES and not 0 < number <= 1:
            raise ValueError(_RANGE)
        if name in LATENCIES and number == 0:
            raise ValueError(_NEVER)
    return metrics


Bound = Annotated[str, Field(pattern=BOUND_PATTERN, max_length=48)]


def _metrics(least: int | None = None) -> tuple[Any, ...]:
    # Not a model with fields: the API server prunes unknown ones, and a bound with a typing error would bound nothing.
    return (
        Field(min_length=least, max_length=len(Metric), json_schema_extra=validations(*_METRIC_RULES)),
        AfterValidator(_check_metrics),
    )


Alias = Annotated[str, Field(min_length=1, max_length=256)]


class Golden(ApiModel):
    """Where the golden set is: examples with the answers that are right."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            {
                "rule": "(has(self.configMap) ? 1 : 0) + (has(self.uri) ? 1 : 0) + (has(self.path) ? 1 : 0) == 1",
                "message": _ONE_SOURCE,
            },
            {"rule": "!has(self.key) || has(self.configMap)", "message": _ONLY_CONFIG_MAP},
            {"rule": "!has(self.digest) || has(self.uri)", "message": _ONLY_URI},
        )
    )

    config_map: (
        Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)] | None
    ) = None
    """A ConfigMap of the same namespace that holds the set, up to 1 MiB. Each pod copies it when it starts."""
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)] | None = None
    """Which key of the ConfigMap. Default: its only one."""
    uri: (
        Annotated[
            str,
            Field(
                min_length=1,
                max_length=2048,
                json_schema_extra=validations(*(rule.cel() for rule in uri_rules(f"{_FIELD}.golden.uri"))),
            ),
            AfterValidator(lambda uri: check_text(uri_rules(f"{_FIELD}.golden.uri"), uri)),
        ]
        | None
    ) = None
    """A file at `pvc://CLAIM/PATH`, `https://HOST/FILE` or `http://HOST/FILE`, up to 64 MiB."""
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    """SHA-256 of the file at `uri`, as `sha256:HEX`; a pod that finds another refuses to start."""
    path: (
        Annotated[
            str,
            Field(min_length=1, max_length=512, json_schema_extra=validations(*(rule.cel() for rule in _PATH_RULES))),
            AfterValidator(lambda path: check_text(_PATH_RULES, path)),
        ]
        | None
    ) = None
    """A file inside the model's version folder, such as `assets.extra/golden.npz`."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.config_map, self.uri, self.path)) != 1:
            raise ValueError(_ONE_SOURCE)
        if self.key is not None and self.config_map is None:
            raise ValueError(_ONLY_CONFIG_MAP)
        if self.digest is not None and self.uri is None:
            raise ValueError(_ONLY_URI)
        return self


class Check(ApiModel):
    """Bounds of one output of one signature."""

    signature: Alias | None = None
    """Signature of the model. Default: `serving_default`."""
    output: Alias | None = None
    """Output of the signature. Default: its only one."""
    metrics: Annotated[dict[str, Bound], *_metrics(least=1)]
    """Bounds by metric, as in `gate.metrics`."""


class Tolerance(ApiModel):
    """When an answer equals the expected output: |answer - expected| <= absolute + relative * |expected|."""

    absolute: Annotated[float, Field(ge=0, le=1e9)] = 1e-5
    """In the unit of the output."""
    relative: Annotated[float, Field(ge=0, le=1)] = 1e-3
    """As a share of the expected value."""


def _pair(check: str) -> str:
    """Return the CEL expression of what a check is of."""
    signature = f"(has({check}.signature) ? {check}.signature : 'serving_default')"
    return f"{signature} + ' ' + (has({check}.output) ? {check}.output : '')"


class Gate(ApiModel):
    """What a pod must answer before it is Ready.

    A sidecar asks the pod's own server for the golden examples; the pod gets no request before every bound holds.
    Without any metric, every expected output must match.
    """

    model_config = ConfigDict(
        json_schema_extra=validations(
            {
                "rule": "!has(self.checks) || self.checks.all(c, self.checks.filter(d, "
                f"{_pair('d')} == {_pair('c')}).size() == 1)",
                "message": _TWICE,
            },
            {
                "rule": f"!has(self.checks) || !has(self.metrics) || self.checks.all(c, {_pair('c')} != {_pair('self')})",
                "message": _TWICE,
            },
        )
    )

    golden: Golden
    """The examples, with expected outputs or labels. docs/golden-sets.md describes the two formats, npz and JSON lines."""
    signature: Alias | None = None
    """Signature of the model that `metrics` are of. Default: `serving_default`."""
    output: Alias | None = None
    """Output that `metrics` are of. Default: the signature's only one."""
    metrics: Annotated[dict[str, Bound], *_metrics()] = {}
    """Bounds by metric: `accuracy`, `topKAccuracy` and `matches` from below, like `">=0.95"`; `meanAbsoluteError`,
    `meanSquaredError`, `maxAbsoluteError`, `loss`, `p50LatencyMillis` and `p99LatencyMillis` from above, like `"<=50"`."""
    checks: Annotated[list[Check], Field(max_length=16)] = []
    """Further bounds, for other signatures and outputs."""
    tolerance: Tolerance = Tolerance()
    """When an answer equals the expected output, for `matches`."""
    top_k: Annotated[int, Field(ge=2, le=1000)] = 5
    """How many of the highest outputs may hold the label, for `topKAccuracy`."""
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 1
    """How many examples are asked for in one request; latencies are those of such requests."""
    timeout: Annotated[
        str, *duration(f"{_FIELD}.timeout must be between 1s and 10m: write it like 30s or 2m", least=1, most=600)
    ] = "30s"
    """How long one request may take."""
    every: (
        Annotated[
            str,
            *duration(f"{_FIELD}.every must be between 10s and 24h: write it like 90s or 10m", least=10, most=86400),
        ]
        | None
    ) = None
    """How often the examples are asked for again while the pod serves. A pod that then answers wrongly gets no more
    requests; latencies are looked at only before the first one. Default: never."""

    @model_validator(mode="after")
    def _checks_differ(self) -> Self:
        checks: list[Any] = [*self.checks, *([self] if self.metrics else [])]
        pairs = [(check.signature or "serving_default", check.output) for check in checks]
        if len(set(pairs)) != len(pairs):
            raise ValueError(_TWICE)
        return self
