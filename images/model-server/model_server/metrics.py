"""Counters and histograms, written as TensorFlow Serving's Prometheus page writes them.

The names (`:tensorflow:serving:…`), a histogram without `+Inf` rounding and counters without `_total` cannot be emitted by
prometheus_client, so the text is made here. Recording is a dictionary access under one lock.
"""

import threading
from bisect import bisect_right
from collections.abc import Sequence

_LabelValues = tuple[str, ...]

#: Names that a client makes up would otherwise create series without end.
MAX_UNKNOWN_MODELS = 100
MAX_UNKNOWN_NAME = 200
OTHER_MODEL = "<other>"


def exponential(scale: float, growth: float, count: int) -> tuple[float, ...]:
    """Upper limits of `count` buckets, the last of which (`+Inf`) follows."""
    limits = []
    limit = scale
    for _ in range(count):
        limits.append(limit)
        limit *= growth
    return tuple(limits)


_LATENCY = exponential(10, 1.8, 33)
_QUEUING = exponential(100, 1.2, 52)
_SIZES = exponential(1, 2, 14)
_EXAMPLES = exponential(1, 2, 15)
_RUNS = exponential(1000, 2, 20)
_BYTES = exponential(1, 4, 14)


class Counter:
    """A cumulative count for each combination of label values."""

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        self.name, self._labels = name, tuple(labels)
        self._lock = threading.Lock()
        self._values: dict[_LabelValues, int] = {}

    def add(self, *labels: str, amount: int = 1) -> None:
        """Add `amount` to the series of `labels`."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0) + amount

    def total(self) -> int:
        """The sum over all series."""
        with self._lock:
            return sum(self._values.values())

    def lines(self) -> list[str]:
        """The family as text lines, in the order in which its series appeared."""
        with self._lock:
            values = list(self._values.items())
        name = _metric_name(self.name)
        return [f"# TYPE {name} counter"] + [f"{name}{{{_labels(self._labels, key)}}} {value}" for key, value in values]


class Histogram:
    """A distribution for each combination of label values."""

    def __init__(self, name: str, labels: Sequence[str], limits: Sequence[float]) -> None:
        self.name, self._labels, self._limits = name, tuple(labels), tuple(limits)
        self._lock = threading.Lock()
        self._series: dict[_LabelValues, tuple[list[int], list[float]]] = {}

    def observe(self, value: float, *labels: str) -> None:
        """Add one observation. A value on a limit belongs to the next bucket, as in TensorFlow."""
        with self._lock:
            series = self._series.get(labels)
            if series is None:
                series = self._series[labels] = ([0] * (len(self._limits) + 1), [0.0])
            series[0][bisect_right(self._limits, value)] += 1
            series[1][0] += value

    def lines(self) -> list[str]:
        """The family as text lines."""
        with self._lock:
            copied = [(key, list(counts), total[0]) for key, (counts, total) in self._series.items()]
        name = _metric_name(self.name)
        lines = [f"# TYPE {name} histogram"]
        for key, counts, total in copied:
            labels = _labels(self._labels, key)
            cumulative = 0
            for limit, count in zip((*(f"{item:g}" for item in self._limits), "+Inf"), counts, strict=True):
                cumulative += count
                lines.append(f'{name}_bucket{{{labels}{"," if labels else ""}le="{limit}"}} {cumulative}')
            lines.append(f"{name}_sum{{{labels}}} {total:.17g}")
            lines.append(f"{name}_count{{{labels}}} {cumulative}")
        return lines


class Metrics:
    """All families of the server. One instance is made at start and handed to whoever records."""

    def __init__(self) -> None:
        serving, batching = "/tensorflow/serving/", "/tensorflow/serving/batching_session/"
        saved_model = "/tensorflow/cc/saved_model/"
        self.request_count = Counter(serving + "request_count", ["model_name", "status"])
        self.request_latency = Histogram(serving + "request_latency", ["model_name", "API", "entrypoint"], _LATENCY)
        self.runtime_latency = Histogram(serving + "runtime_latency", ["model_name", "API", "runtime"], _LATENCY)
        # Without samples: logging needs a collector, and there is none, as in the official server.
        self.request_log_count = Counter(serving + "request_log_count", ["model_name", "status_code"])
        self.example_counts = Histogram(serving + "request_example_counts", ["model"], _EXAMPLES)
        self.example_total = Counter(serving + "request_example_count_total", ["model"])
        self.warmup_latency = Histogram(serving + "model_warmup_latency", ["model_path", "status"], _LATENCY)
        self.warmup_records = Counter(serving + "model_warmup_records_read", ["model_path", "status"])
        self.queuing_latency = Histogram(batching + "queuing_latency", ["thread_pool_name"], _QUEUING)
        self.padding_size = Histogram(batching + "padding_size", ["execution_batch_size"], _SIZES)
        self.input_batch_size = Histogram(batching + "input_batch_size", [], _SIZES)
        self.processed_batch_size = Histogram(batching + "processed_batch_size", [], _SIZES)
        self.wrapped_run_count = Counter(batching + "wrapped_run_count", [])
        self.load_attempts = Counter(saved_model + "load_attempt_count", ["model_path", "status"])
        self.load_latency = Counter(saved_model + "load_latency", ["model_path"])
        core = "/tensorflow/core/"
        self.session_runs = Counter(core + "direct_session_runs", [])
        self.graph_runs = Counter(core + "graph_runs", [])
        self.graph_run_micros = Counter(core + "graph_run_time_usecs", [])
        self.graph_run_histogram = Histogram(core + "graph_run_time_usecs_histogram", [], _RUNS)
        self.run_input_bytes = Histogram(core + "graph_run_input_tensor_bytes", [], _BYTES)
        self.run_output_bytes = Histogram(core + "graph_run_output_tensor_bytes", [], _BYTES)
        self._known_models: set[str] = set()
        self._unknown_models: set[str] = set()
        self._lock = threading.Lock()

    def know_model(self, name: str) -> None:
        """Promise series of its own to a configured model."""
        self._known_models.add(name)

    def model_label(self, name: str) -> str:
        """`name`, or a common label where clients have invented a long name or too many of them."""
        if name in self._known_models or name in self._unknown_models:
            return name
        with self._lock:
            if len(name) > MAX_UNKNOWN_NAME or len(self._unknown_models) >= MAX_UNKNOWN_MODELS:
                return OTHER_MODEL
            self._unknown_models.add(name)
        return name

    def request(self, model: str, status: str) -> None:
        """Count one finished request with its status name."""
        self.request_count.add(self.model_label(model), status)

    def total(self, name: str) -> int:
        """The sum over all series of the counter `/tensorflow/…`; 0 if there is no such counter."""
        return sum(item.total() for item in vars(self).values() if isinstance(item, Counter) and item.name == name)

    def examples(self, model: str, count: int) -> None:
        """Count the examples of one MultiInference request."""
        self.example_counts.observe(count, model)
        self.example_total.add(model, amount=count)

    def text(self) -> str:
        """The whole page, families sorted by name."""
        families = [item for item in vars(self).values() if isinstance(item, Counter | Histogram)]
        lines: list[str] = []
        for family in sorted(families, key=lambda item: item.name):
            lines.extend(family.lines())
        return "\n".join(lines) + "\n"


def _metric_name(name: str) -> str:
    return "".join(char if char.isascii() and (char.isalnum() or char == "_") else ":" for char in name)


def _labels(names: Sequence[str], values: _LabelValues) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))


def _escaped(value: str) -> str:
    text = value.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
