"""The gate as the operator resolved it: every default filled in, durations in seconds, bounds taken apart.

The operator validates `spec.rollout.gate`, and writes this JSON from it (`slipway.api.Gate.resolved`). What is checked
here is only that both programs speak of the same thing: the two images may come from different releases.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from slipway_tools.prober.gate_errors import GateInvalidError

FIELD = "spec.rollout.gate"
_SAME_RELEASE = "run the operator and the tools image of one release"


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


LATENCIES = frozenset({Metric.P50_LATENCY_MILLIS, Metric.P99_LATENCY_MILLIS})
NEED_LABELS = frozenset({Metric.ACCURACY, Metric.TOP_K_ACCURACY, Metric.LOSS})
NEED_OUTPUTS = frozenset(Metric) - NEED_LABELS - LATENCIES
AT_LEAST, AT_MOST = ">=", "<="


@dataclass(frozen=True, slots=True)
class Bound:
    """One bound of one metric: `operator` is AT_LEAST or AT_MOST."""

    metric: Metric
    operator: str
    limit: float

    @property
    def text(self) -> str:
        """Return the bound as a resource has it, such as `>=0.95`."""
        return f"{self.operator}{self.limit:.15g}"

    def holds(self, measured: float) -> bool:
        """Return whether the value is within the bound; NaN and infinity never are."""
        if not math.isfinite(measured):
            return False
        return measured >= self.limit if self.operator == AT_LEAST else measured <= self.limit


@dataclass(frozen=True, slots=True)
class Check:
    """Bounds of one output of one signature.

    Attributes:
        field: path of the check in the resource, for messages.
        signature: name of the signature.
        output: name of the output; None for the signature's only one.
        bounds: at least one.
    """

    field: str
    signature: str
    output: str | None
    bounds: tuple[Bound, ...]


@dataclass(frozen=True, slots=True)
class Gate:
    """What a pod must answer, and how it is sent.

    Attributes:
        signature: of golden examples that name none.
        checks: the bounds; none means that every expected output must match.
        absolute_tolerance: for `matches`, in the unit of the output.
        relative_tolerance: for `matches`, as a fraction of the expected value.
        top_k: for `topKAccuracy`.
        batch_size: examples per request.
        timeout_seconds: deadline of one request.
        interval_seconds: between evaluations while the pod serves; None for no further one.
    """

    signature: str
    checks: tuple[Check, ...]
    absolute_tolerance: float
    relative_tolerance: float
    top_k: int
    batch_size: int
    timeout_seconds: float
    interval_seconds: float | None


def parse(text: str) -> Gate:
    """Return the gate in `text`, a JSON object as `slipway.api.Gate.resolved` returns it.

    Raises:
        GateInvalidError: when a key is missing, unknown or has a value of another type; the message names it.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise GateInvalidError(
            f"{FIELD}: this is not JSON; --gate takes the gate as the operator resolves it"
        ) from None
    gate = _Object(document, "the resolved gate")
    found = Gate(
        signature=gate.text("signature"),
        checks=tuple(_check(item, f"checks[{index}]") for index, item in enumerate(gate.items("checks"))),
        absolute_tolerance=gate.number("absoluteTolerance"),
        relative_tolerance=gate.number("relativeTolerance"),
        top_k=gate.count("topK"),
        batch_size=gate.count("batchSize"),
        timeout_seconds=gate.number("timeoutSeconds"),
        interval_seconds=None if gate.is_null("intervalSeconds") else gate.number("intervalSeconds"),
    )
    gate.refuse_others()
    return found


def _check(value: Any, where: str) -> Check:
    check = _Object(value, where)
    field = check.text("field")
    bounds = [_bound(item, field, f"{where}.bounds[{index}]") for index, item in enumerate(check.items("bounds"))]
    if not bounds:
        raise _fault(f"{where}.bounds is empty")
    output = None if check.is_null("output") else check.text("output")
    found = Check(field, check.text("signature"), output, tuple(bounds))
    check.refuse_others()
    return found


def _bound(value: Any, field: str, where: str) -> Bound:
    bound = _Object(value, where)
    name, operator, limit = bound.text("metric"), bound.text("operator"), bound.number("limit")
    bound.refuse_others()
    if name not in set(Metric):
        raise GateInvalidError(
            f"{field}.metrics.{name}: this prober has no such metric, only {', '.join(Metric)}; {_SAME_RELEASE}"
        )
    if operator not in {AT_LEAST, AT_MOST}:
        raise _fault(f"{where}.operator is {_shown(operator)}, not {AT_LEAST} or {AT_MOST}")
    return Bound(Metric(name), operator, limit)


class _Object:
    """A JSON object whose keys are all required; each reader raises GateInvalidError for a missing or wrong value."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise _fault(f"{where} is {_shown(value)}, not an object")
        self._fields: Mapping[str, Any] = value
        self._where = where
        self._read: set[str] = set()

    def text(self, key: str) -> str:
        """Return a text that is not empty."""
        value = self._get(key)
        if not isinstance(value, str) or not value:
            raise self._wrong(key, "a name")
        return value

    def number(self, key: str) -> float:
        """Return a finite number of at least 0."""
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise self._wrong(key, "a number of at least 0")
        return float(value)

    def count(self, key: str) -> int:
        """Return a whole number of at least 1."""
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self._wrong(key, "a whole number of at least 1")
        return value

    def items(self, key: str) -> list[Any]:
        """Return a list."""
        value = self._get(key)
        if not isinstance(value, list):
            raise self._wrong(key, "a list")
        return value

    def is_null(self, key: str) -> bool:
        """Return whether the value is null."""
        return self._get(key) is None

    def refuse_others(self) -> None:
        """Raise for a key that nothing has read: a gate that is only partly understood would let a bad model pass."""
        unknown = sorted(self._fields.keys() - self._read)
        if unknown:
            raise _fault(f"{self._where} has the unknown key {_shown(unknown[0])}")

    def _get(self, key: str) -> Any:
        if key not in self._fields:
            raise _fault(f"{self._where} has no key {key!a}")
        self._read.add(key)
        return self._fields[key]

    def _wrong(self, key: str, expected: str) -> GateInvalidError:
        return _fault(f"{key!a} of {self._where} is {_shown(self._fields[key])}, not {expected}")


def _fault(message: str) -> GateInvalidError:
    return GateInvalidError(f"{FIELD}: {message}; {_SAME_RELEASE}")


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:60]}…"  # noqa: PLR2004 - of a line
