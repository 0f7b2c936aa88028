"""What the probe server publishes about the loop: written by one thread, read by others."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from slipway_tools.prober.evaluation import BoundResult

RESULTS = ("passed", "failed", "overloaded", "unanswered")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_Series = tuple[Mapping[str, str], float]


@dataclass
class ProberStatus:
    """Whether the pod is ready and why, the last measurements, and until when the loop counts as alive."""

    model: str
    revision: str
    wall: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic
    ready: bool = False
    reason: str = "waiting for the server"
    _alive_until: float = 0.0
    _passed: bool = False
    _last_evaluation: float | None = None
    _measured: dict[tuple[str, str, str], BoundResult] = field(default_factory=dict)
    _evaluations: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def alive_for(self, seconds: float) -> None:
        """Count as alive for `seconds`; /healthz fails if this is not called again in time."""
        self._alive_until = self.clock() + seconds

    @property
    def alive(self) -> bool:
        """Return whether the loop has called `alive_for` in time."""
        return self.clock() <= self._alive_until

    def set(self, reason: str, *, ready: bool) -> None:
        """Set whether the pod may receive requests, and why."""
        self.ready, self.reason = ready, reason

    def record(self, result: str, measured: Iterable[BoundResult] = ()) -> None:
        """Record the end of an evaluation: one of RESULTS, and the bounds that it measured."""
        with self._lock:
            self._evaluations[result] += 1
            for found in measured:
                self._measured[found.check.signature, found.output, str(found.bound.metric)] = found
            if result in {"passed", "failed"}:
                self._passed, self._last_evaluation = result == "passed", self.wall()

    def exposition(self) -> str:
        """Return the metrics in Prometheus' text format."""
        with self._lock:
            return "".join(self._families())

    def _families(self) -> Iterator[str]:
        one = {"model": self.model, "revision": self.revision}
        found = [({**one, "signature": s, "output": o, "metric": m}, f) for (s, o, m), f in self._measured.items()]
        yield _family(
            "slipway_gate_metric_value",
            "gauge",
            "Last measured value of the metric.",
            [(at, f.measurement.value) for at, f in found],
        )
        yield _family("slipway_gate_bound", "gauge", "Bound of the metric.", [(at, f.bound.limit) for at, f in found])
        yield _family(
            "slipway_gate_samples",
            "gauge",
            "Examples, or requests for a latency, of the last measurement.",
            [(at, f.measurement.samples) for at, f in found],
        )
        yield _family(
            "slipway_gate_passed",
            "gauge",
            "1 if every bound held in the last evaluation.",
            [(one, float(self._passed))],
        )
        evaluations: list[_Series] = [
            ({**one, "result": result}, float(self._evaluations[result])) for result in RESULTS
        ]
        yield _family(
            "slipway_gate_evaluations_total", "counter", "Evaluations of the golden set by result.", evaluations
        )
        if self._last_evaluation is not None:
            name = "slipway_gate_last_evaluation_timestamp_seconds"
            yield _family(name, "gauge", "End of the last evaluation.", [(one, self._last_evaluation)])


def _family(name: str, kind: str, text: str, series: Iterable[_Series]) -> str:
    lines = [f"{name}{{{_labels(labels)}}} {_number(value)}\n" for labels, value in series]
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n{''.join(lines)}"


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())


def _number(value: float) -> str:
    return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}.get(repr(float(value)), repr(float(value)))
