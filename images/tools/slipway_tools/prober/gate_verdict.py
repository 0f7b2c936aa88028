"""The prober's termination message when the gate fails: one JSON object of at most 2 KiB.

The kubelet puts it into the pod's status, where the operator reads it.
"""

import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slipway_tools.result import MAX_BYTES, cut

_MAX_VALUES = 8
_MAX_TEXT_CHARS = 64
_DIGITS = 6
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Example:
    """A golden example that was answered wrongly, or worst: its index in its signature's examples, from 0."""

    index: int
    expected: Any
    got: Any

    def text(self) -> str:
        """Return it for a sentence."""
        return f"example {self.index}: expected {_plain(self.expected)}, got {_plain(self.got)}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A failed gate: the sentence for people, the first missed bound for machines."""

    message: str
    details: dict[str, Any] = field(default_factory=dict)
    example: Example | None = None
    stage: str = "start"

    def json(self) -> str:
        """Return the termination message of a model that failed its gate."""
        document = {"reason": "GateFailed", "message": cut(self.message), **self.details}
        example = self.example
        shown = (
            {}
            if example is None
            else {"example": {"index": example.index, "expected": example.expected, "got": example.got}}
        )
        return _within_limit(document | shown | {"stage": self.stage})


def invalid(message: str) -> str:
    """Return the termination message of a gate that cannot be evaluated."""
    return _within_limit({"reason": "GateInvalid", "message": cut(message)})


def shown(value: Array | float | str | bytes) -> Any:
    """Return a value of an example for JSON: rounded, flattened and cut."""
    array = np.asarray(value)
    values = [_scalar(item) for item in array.reshape(-1)[:_MAX_VALUES].tolist()]
    if array.ndim == 0 or array.size == 1:
        return values[0] if values else None
    return [*values, f"… {array.size - _MAX_VALUES} more"] if array.size > _MAX_VALUES else values


def finite(number: float) -> float | None:
    """Return a number for JSON: rounded; None for NaN and infinity."""
    return float(f"{number:.{_DIGITS}g}") if math.isfinite(number) else None


def _scalar(item: Any) -> Any:
    if isinstance(item, bytes):
        item = item.decode(errors="backslashreplace")
    if isinstance(item, str):
        return item if len(item) <= _MAX_TEXT_CHARS else f"{item[:_MAX_TEXT_CHARS]}…"
    if isinstance(item, float):
        return str(item) if finite(item) is None else finite(item)
    return item if isinstance(item, bool | int) else str(item)


def _plain(value: Any) -> str:
    return f"[{', '.join(map(_plain, value))}]" if isinstance(value, list) else str(value)


def _within_limit(document: dict[str, Any]) -> str:
    """Encode within the limit, leaving out what explains least first."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=str)
    for name in ("example", "output", "signature"):
        if len(text.encode(errors="replace")) <= MAX_BYTES:
            return text
        document = {key: value for key, value in document.items() if key != name}
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=str)
    while len(text.encode(errors="replace")) > MAX_BYTES:
        document["message"] = document["message"][: len(document["message"]) // 2]
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=str)
    return text
