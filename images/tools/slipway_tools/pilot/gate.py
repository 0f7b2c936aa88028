"""The gate as the resource wrote it (JSON of spec.rollout.gate), checked once more and turned into what the loop needs."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from slipway_tools.pilot.errors import GateInvalidError

FIELD = "spec.rollout.gate"
DEFAULT_SIGNATURE = "serving_default"
_FIELDS = {"golden", "signature", "output", "metrics", "checks", "tolerance", "topK", "batchSize", "timeout", "every"}
_CHECK_FIELDS = {"signature", "output", "metrics"}
_BOUND = re.compile(r"(>=|<=) ?([0-9.eE+-]+)")
_DURATION = re.compile(r"([0-9]{1,3}h)?([0-9]{1,4}m)?([0-9]{1,5}s)?")


class Metric(StrEnum):
    """What can be measured; docs/golden-sets.md has the formulas."""

    ACCURACY = "accuracy"
    TOP_K_ACCURACY = "topKAccuracy"
    MATCHES = "matches"
    MEAN_ABSOLUTE_ERROR = "meanAbsoluteError"
    MEAN_SQUARED_ERROR = "meanSquaredError"
    MAX_ABSOLUTE_ERROR = "maxAbsoluteError"
    LOSS = "loss"
    P50_LATENCY_MILLIS = "p50LatencyMillis"
    P99_LATENCY_MILLIS = "p99LatencyMillis"


SHARES = frozenset({Metric.ACCURACY, Metric.TOP_K_ACCURACY, Metric.MATCHES})
LATENCIES = frozenset({Metric.P50_LATENCY_MILLIS, Metric.P99_LATENCY_MILLIS})
NEED_LABELS = frozenset({Metric.ACCURACY, Metric.TOP_K_ACCURACY, Metric.LOSS})
NEED_OUTPUTS = frozenset(Metric) - NEED_LABELS - LATENCIES


@dataclass(frozen=True, slots=True)
class Bound:
    """One bound: shares are bounded from below, everything else from above."""

    metric: Metric
    limit: float
    text: str

    def holds(self, measured: float) -> bool:
        """Tell whether the bound is kept; what is not finite keeps none."""
        if not math.isfinite(measured):
            return False
        return measured >= self.limit if self.metric in SHARES else measured <= self.limit


@dataclass(frozen=True, slots=True)
class Check:
    """Bounds of one output of one signature; `field` is where they stand in the resource."""

    field: str
    signature: str
    output: str | None
    bounds: tuple[Bound, ...]


@dataclass(frozen=True, slots=True)
class Gate:
    """What a pod must answer, and how it is asked. Durations in seconds; no `checks` means: every expected output matches."""

    signature: str
    checks: tuple[Check, ...]
    absolute: float = 1e-5
    relative: float = 1e-3
    top_k: int = 5
    batch_size: int = 1
    timeout: float = 30.0
    every: float | None = None


def parse(text: str) -> Gate:
    """Parse the JSON of a gate.

    Raises:
        GateInvalidError: naming the field.
    """
    try:
        gate = json.loads(text)
    except (ValueError, RecursionError):
        raise GateInvalidError(f"{FIELD}: this is not JSON; --gate takes the gate as JSON, in camelCase") from None
    gate = _mapping(gate, FIELD, _FIELDS)
    tolerance = _mapping(gate.get("tolerance", {}), f"{FIELD}.tolerance", {"absolute", "relative"})
    signature = _text(gate, "signature", FIELD) or DEFAULT_SIGNATURE
    output = _text(gate, "output", FIELD)
    defaults = Gate(signature, ())
    timeout = _duration(gate.get("timeout"), f"{FIELD}.timeout")
    return Gate(
        signature=signature,
        checks=_checks(gate, signature, output),
        absolute=_number(tolerance.get("absolute", defaults.absolute), f"{FIELD}.tolerance.absolute"),
        relative=_number(tolerance.get("relative", defaults.relative), f"{FIELD}.tolerance.relative"),
        top_k=_whole(gate.get("topK", defaults.top_k), f"{FIELD}.topK"),
        batch_size=_whole(gate.get("batchSize", defaults.batch_size), f"{FIELD}.batchSize"),
        timeout=defaults.timeout if timeout is None else timeout,
        every=_duration(gate.get("every"), f"{FIELD}.every"),
    )


def _checks(gate: Mapping[str, Any], signature: str, output: str | None) -> tuple[Check, ...]:
    found = []
    if gate.get("metrics"):
        found.append(Check(FIELD, signature, output, _bounds(gate["metrics"], FIELD)))
    further = gate.get("checks", [])
    if not isinstance(further, list):
        raise GateInvalidError(f"{FIELD}.checks: this is not a list; write one entry for each signature and output")
    for number, entry in enumerate(further):
        field = f"{FIELD}.checks[{number}]"
        check = _mapping(entry, field, _CHECK_FIELDS)
        name = _text(check, "signature", field) or DEFAULT_SIGNATURE
        found.append(Check(field, name, _text(check, "output", field), _bounds(check.get("metrics"), field)))
    return tuple(found)


def refuse_twice(checks: list[Check]) -> None:
    """Refuse two checks of one output, once each output is known by its name: which bound counts would be chance."""
    seen: dict[tuple[str, str | None], str] = {}
    for check in checks:
        pair = (check.signature, check.output)
        if pair in seen:
            raise GateInvalidError(
                f"{check.field}: output {check.output!a} of signature {check.signature!a} is bounded in {seen[pair]} "
                "already; put the metrics of one output into one place"
            )
        seen[pair] = check.field


def _bounds(metrics: Any, field: str) -> tuple[Bound, ...]:
    if not isinstance(metrics, dict) or not metrics:
        raise GateInvalidError(f'{field}.metrics: a bound is missing; write one like accuracy: ">=0.95"')
    return tuple(_bound(name, text, f"{field}.metrics.{name}") for name, text in metrics.items())


def _bound(name: str, text: Any, field: str) -> Bound:
    if name not in set(Metric):
        raise GateInvalidError(f"{field}: there is no such metric; there is: {', '.join(Metric)}")
    metric = Metric(name)
    sign = ">=" if metric in SHARES else "<="
    match = _BOUND.fullmatch(text) if isinstance(text, str) else None
    try:
        limit = float(match[2]) if match else math.nan
    except ValueError:
        limit = math.nan
    if match is None or not math.isfinite(limit):
        raise GateInvalidError(f'{field}: {_shown(text)} is not a bound; write one like "{sign}0.95"')
    if match[1] != sign:
        raise GateInvalidError(f'{field}: {metric} is bounded by {sign}; write "{sign}{match[2]}"')
    if metric in SHARES and not 0 < limit <= 1:
        raise GateInvalidError(f"{field}: {_shown(text)} holds always or never; a share is above 0 and at most 1")
    if metric not in SHARES and (limit < 0 or (metric in LATENCIES and limit == 0)):
        raise GateInvalidError(f"{field}: {_shown(text)} can never hold; write a larger bound")
    return Bound(metric, limit, text)


def _mapping(value: Any, field: str, known: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise GateInvalidError(f"{field}: this is not a mapping; write its fields below it")
    unknown = sorted(set(value) - known)
    if unknown:
        raise GateInvalidError(f"{field}: unknown field {_shown(unknown[0])}; there is: {', '.join(sorted(known))}")
    return value


def _text(fields: Mapping[str, Any], name: str, field: str) -> str | None:
    value = fields.get(name)
    if value is not None and (not isinstance(value, str) or not value):
        raise GateInvalidError(f"{field}.{name}: {_shown(value)} is not a name; write it as text")
    return value


def _number(value: Any, field: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise GateInvalidError(f"{field}: {_shown(value)} is not a number of at least 0; write one like 1e-3")
    return number


def _whole(value: Any, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise GateInvalidError(f"{field}: {_shown(value)} is not a whole number of at least 1")
    return value


def _duration(value: Any, field: str) -> float | None:
    if value is None:
        return None
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    parts = [int(part[:-1]) if part else 0 for part in match.groups()] if match else [0]
    seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    if seconds <= 0:
        raise GateInvalidError(f"{field}: {_shown(value)} is not a duration; write it like 30s or 10m")
    return float(seconds)


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:60]}…"  # noqa: PLR2004 - of a line
