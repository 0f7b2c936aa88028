"""What the HTTP server tells of the loop: written by one thread, read by others."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from slipway_tools.pilot.asking import Finding

RESULTS = ("passed", "failed", "busy", "unanswered")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_Series = tuple[Mapping[str, str], float]


@dataclass
class State:
    """The pilot's present: ready or not and why, what was measured, and until when the loop is known to be alive."""

    model: str
    revision: str
    wall: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic
    ready: bool = False
    why: str = "waiting for the server"
    _alive_until: float = 0.0
    _passed: bool = False
    _last_check: float | None = None
    _findings: dict[tuple[str, str, str], Finding] = field(default_factory=dict)
    _checks: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def alive_for(self, seconds: float) -> None:
        """Promise a sign of life within `seconds`; /healthz fails when there is none."""
        self._alive_until = self.clock() + seconds

    @property
    def alive(self) -> bool:
        """Tell whether the loop has kept its promise."""
        return self.clock() <= self._alive_until

    def set(self, why: str, *, ready: bool) -> None:
        """Say whether the pod may have requests, and why."""
        self.ready, self.why = ready, why

    def checked(self, result: str, findings: Iterable[Finding] = ()) -> None:
        """Note the end of a check: one of RESULTS, and what it measured."""
        with self._lock:
            self._checks[result] += 1
            for finding in findings:
                self._findings[finding.check.signature, finding.output, str(finding.bound.metric)] = finding
            if result in {"passed", "failed"}:
                self._passed, self._last_check = result == "passed", self.wall()

    def exposition(self) -> str:
        """Return the metrics in Prometheus' text format."""
        with self._lock:
            return "".join(self._families())

    def _families(self) -> Iterator[str]:
        one = {"model": self.model, "revision": self.revision}
        found = [({**one, "signature": s, "output": o, "metric": m}, f) for (s, o, m), f in self._findings.items()]
        yield _family(
            "slipway_gate_measured", "gauge", "What the gate measured.", [(at, f.measured.value) for at, f in found]
        )
        yield _family(
            "slipway_gate_bound", "gauge", "The bound that it has to keep.", [(at, f.bound.limit) for at, f in found]
        )
        yield _family(
            "slipway_gate_samples",
            "gauge",
            "Examples or requests measured.",
            [(at, f.measured.samples) for at, f in found],
        )
        yield _family(
            "slipway_gate_passed", "gauge", "1 if the last check held every bound.", [(one, float(self._passed))]
        )
        checks: list[_Series] = [({**one, "result": result}, float(self._checks[result])) for result in RESULTS]
        yield _family("slipway_gate_checks_total", "counter", "Checks by how they ended.", checks)
        if self._last_check is not None:
            name = "slipway_gate_last_check_timestamp_seconds"
            yield _family(name, "gauge", "When the last check ended.", [(one, self._last_check)])


def _family(name: str, kind: str, text: str, series: Iterable[_Series]) -> str:
    lines = [f"{name}{{{_labels(labels)}}} {_number(value)}\n" for labels, value in series]
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n{''.join(lines)}"


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())


def _number(value: float) -> str:
    return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}.get(repr(float(value)), repr(float(value)))
