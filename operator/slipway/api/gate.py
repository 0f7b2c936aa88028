"""`spec.rollout.gate`: what a pod must answer before it is Ready; and the resolved form that the prober reads."""

import json
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationError

from slipway.api.base import BOUND_PATTERN, DIGEST_PATTERN, ApiModel, duration, parse_duration
from slipway.api.rules import Rule, Rules, excludes, matches
from slipway.api.sentences import sentences
from slipway.api.source import uri_rules

FIELD = "spec.rollout.gate"
DEFAULT_SIGNATURE = "serving_default"


class Metric(StrEnum):
    """What the prober measures."""

    ACCURACY = "accuracy"
    TOP_K_ACCURACY = "topKAccuracy"
    MATCHES = "matches"
    MEAN_ABSOLUTE_ERROR = "meanAbsoluteError"
    MEAN_SQUARED_ERROR = "meanSquaredError"
    MAX_ABSOLUTE_ERROR = "maxAbsoluteError"
    LOSS = "loss"
    P50_LATENCY_MILLIS = "p50LatencyMillis"
    P99_LATENCY_MILLIS = "p99LatencyMillis"


_AT_LEAST = (Metric.ACCURACY, Metric.TOP_K_ACCURACY, Metric.MATCHES)
"""Metrics between 0 and 1 with a lower bound; the others have an upper bound."""
_LATENCIES = (Metric.P50_LATENCY_MILLIS, Metric.P99_LATENCY_MILLIS)
_SIGN_LENGTH = 2


def _list(metrics: tuple[Metric, ...]) -> str:
    return "[" + ", ".join(f"'{metric}'" for metric in metrics) + "]"


_LIMIT = f"double(self[m].substring({_SIGN_LENGTH}).trim())"
_WELL_FORMED = f"self[m].matches('{BOUND_PATTERN}')"
_BOUNDS = (
    Rule(f"self.all(m, m in {_list(tuple(Metric))})", f"{FIELD}: unknown metric: use {', '.join(Metric)}"),
    Rule(
        f"self.all(m, (m in {_list(_AT_LEAST)}) == self[m].startsWith('>='))",
        f"{FIELD}: {', '.join(_AT_LEAST)} need a lower bound, like '>=0.95', all other metrics an upper bound, like '<=50'",
    ),
    Rule(
        f"self.all(m, !(m in {_list(_AT_LEAST)} && {_WELL_FORMED}) || ({_LIMIT} > 0.0 && {_LIMIT} <= 1.0))",
        f"{FIELD}: the bound of {', '.join(_AT_LEAST)} must be above 0 and at most 1: any other holds always or never",
    ),
    Rule(
        f"self.all(m, !(m in {_list(_LATENCIES)} && {_WELL_FORMED}) || {_LIMIT} > 0.0)",
        f"{FIELD}: a latency of 0 ms is never reached: write a bound above it",
    ),
)
Bound = Annotated[str, Field(pattern=BOUND_PATTERN, max_length=48)]


def _metrics(least: int | None = None) -> tuple[Any, ...]:
    # Not a model with fields: the API server prunes unknown ones, and a misspelt metric would bound nothing.
    return Field(min_length=least, max_length=len(Metric)), Rules(*_BOUNDS)


_PATH_RULES = (
    matches(r"^[^/]", f"{FIELD}.golden.path is relative to the model's version folder: it must not start with '/'"),
    excludes(r"(^|/)[.][.](/|$)", f"{FIELD}.golden.path must not contain '..': write the path without it"),
    matches(r"^[A-Za-z0-9._/-]+$", f"{FIELD}.golden.path may only contain letters, digits, '.', '_', '-' and '/'"),
)
Name = Annotated[str, Field(min_length=1, max_length=256)]


class Golden(ApiModel):
    """Where the golden set is: examples with their correct answers."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(has(self.configMap) ? 1 : 0) + (has(self.uri) ? 1 : 0) + (has(self.path) ? 1 : 0) == 1",
            f"{FIELD}.golden: exactly one of configMap, uri and path must be set",
        ),
        Rule(
            "!has(self.key) || has(self.configMap)",
            f"{FIELD}.golden.key is a key of a ConfigMap: it needs golden.configMap",
        ),
        Rule(
            "!has(self.digest) || has(self.uri)",
            f"{FIELD}.golden.digest is the digest of a downloaded file: it needs golden.uri",
        ),
    )

    config_map: (
        Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)] | None
    ) = None
    """A ConfigMap of the same namespace with the set, up to 1 MiB. Each pod copies it when it starts."""
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)] | None = None
    """Key of the ConfigMap. Default: its only one."""
    uri: Annotated[str, Field(min_length=1, max_length=2048), Rules(*uri_rules(f"{FIELD}.golden.uri"))] | None = None
    """A file at `pvc://CLAIM/PATH`, `https://HOST/FILE` or `http://HOST/FILE`, up to 64 MiB."""
    digest: Annotated[str, Field(pattern=DIGEST_PATTERN)] | None = None
    """SHA-256 of the file at `uri`, as `sha256:HEX`; a pod that finds another refuses to start."""
    path: Annotated[str, Field(min_length=1, max_length=512), Rules(*_PATH_RULES)] | None = None
    """A file inside the model's version folder, such as `assets.extra/golden.npz`."""


class Check(ApiModel):
    """Bounds of one output of one signature."""

    signature: Name | None = None
    """Signature of the model. Default: `serving_default`."""
    output: Name | None = None
    """Output of the signature. Default: its only one."""
    metrics: Annotated[dict[str, Bound], *_metrics(least=1)]
    """Bounds by metric, as in `gate.metrics`."""


class Tolerance(ApiModel):
    """When an answer equals the expected output: |answer - expected| <= absolute + relative * |expected|."""

    absolute: Annotated[float, Field(ge=0, le=1e9)] = 1e-5
    """In the unit of the output."""
    relative: Annotated[float, Field(ge=0, le=1)] = 1e-3
    """As a fraction of the expected value."""


def _pair(check: str) -> str:
    """Return the CEL expression for signature and output of a check."""
    signature = f"(has({check}.signature) ? {check}.signature : '{DEFAULT_SIGNATURE}')"
    return f"{signature} + ' ' + (has({check}.output) ? {check}.output : '')"


_TWICE = f"{FIELD}: two checks have the same signature and output: put their metrics into one"


class Gate(ApiModel):
    """What a pod must answer before it is Ready.

    A sidecar sends the golden examples to the pod's own server; the pod receives no other request before every bound
    holds. Without any metric, every expected output must match.
    """

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"!has(self.checks) || self.checks.all(c, self.checks.filter(d, {_pair('d')} == {_pair('c')}).size() == 1)",
            _TWICE,
        ),
        Rule(
            "!has(self.checks) || !has(self.metrics) || self.metrics.size() == 0 || "
            f"self.checks.all(c, {_pair('c')} != {_pair('self')})",
            _TWICE,
        ),
    )
    renamed: ClassVar[dict[str, str]] = {"every": f"{FIELD}.interval"}

    golden: Golden
    """The examples, with expected outputs or labels. docs/golden-sets.md describes the two formats, npz and JSON lines."""
    signature: Name | None = None
    """Signature of the model to which `metrics` apply. Default: `serving_default`."""
    output: Name | None = None
    """Output to which `metrics` apply. Default: the signature's only one."""
    metrics: Annotated[dict[str, Bound], *_metrics()] = {}
    """Bounds by metric: `accuracy`, `topKAccuracy` and `matches` from below, like `">=0.95"`; `meanAbsoluteError`,
    `meanSquaredError`, `maxAbsoluteError`, `loss`, `p50LatencyMillis` and `p99LatencyMillis` from above, like `"<=50"`."""
    checks: Annotated[list[Check], Field(max_length=16)] = []
    """Further bounds, for other signatures and outputs."""
    tolerance: Tolerance = Tolerance()
    """When an answer equals the expected output, for `matches`."""
    top_k: Annotated[int, Field(ge=2, le=1000)] = 5
    """For `topKAccuracy`: an answer is correct if its label is among this many highest outputs."""
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 1
    """Examples per request; latencies are those of such requests."""
    timeout: Annotated[
        str, *duration(f"{FIELD}.timeout must be between 1s and 10m: write it like 30s or 2m", least=1, most=600)
    ] = "30s"
    """Deadline of one request."""
    interval: (
        Annotated[
            str,
            *duration(f"{FIELD}.interval must be between 10s and 24h: write it like 90s or 10m", least=10, most=86400),
        ]
        | None
    ) = None
    """How often all examples are sent again while the pod serves. A pod that then answers wrongly receives no more
    requests; latency bounds apply only before the first one. Default: never."""

    def resolved(self) -> dict[str, Any]:
        """Return the gate as the prober reads it: JSON without defaults, durations and bounds left to parse."""
        checks: list[tuple[str, Check | Gate]] = [(FIELD, self)] if self.metrics else []
        checks += [(f"{FIELD}.checks[{index}]", check) for index, check in enumerate(self.checks)]
        return {
            "signature": self.signature or DEFAULT_SIGNATURE,
            "checks": [_resolved_check(field, check) for field, check in checks],
            "absoluteTolerance": self.tolerance.absolute,
            "relativeTolerance": self.tolerance.relative,
            "topK": self.top_k,
            "batchSize": self.batch_size,
            "timeoutSeconds": parse_duration(self.timeout),
            "intervalSeconds": None if self.interval is None else parse_duration(self.interval),
        }


def _resolved_check(field: str, check: "Check | Gate") -> dict[str, Any]:
    return {
        "field": field,
        "signature": check.signature or DEFAULT_SIGNATURE,
        "output": check.output,
        "bounds": [
            {"metric": metric, "operator": bound[:_SIGN_LENGTH], "limit": float(bound[_SIGN_LENGTH:])}
            for metric, bound in sorted(check.metrics.items())
        ],
    }


def parse_gate(text: str) -> dict[str, Any]:
    """Return the resolved form of a gate that is written as JSON, like `spec.rollout.gate`.

    Raises:
        ValueError: with one sentence for each fault, naming its field.
    """
    try:
        written = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{FIELD}: this is not JSON; write the gate as JSON, in camelCase") from None
    try:
        return Gate.model_validate_json(json.dumps(written), strict=True).resolved()
    except ValidationError as error:
        raise ValueError(sentences(error, FIELD)) from None
