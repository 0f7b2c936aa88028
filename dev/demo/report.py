"""Turns answers and metrics into what the terminal shows, and decides whether the demo succeeded. Pure."""

from collections.abc import Sequence

import numpy as np

from dev.kit.console import table
from dev.kit.prediction import Array, Measured

REQUIRED_ACCURACY = 0.95
SERVER_METRICS = (":tensorflow:serving:request_count", ":tensorflow:serving:request_latency_count")
OPERATOR_METRICS = (
    "slipway_leader",
    "slipway_modeldeployment_",
    "slipway_reconcile_total",
    "slipway_rest_client_requests_total",
)


def accuracy(answers: Array, targets: Array) -> float:
    """Return the share of right answers.

    Raises:
        ValueError: as many answers as targets are needed.
    """
    if answers.shape != targets.shape or not targets.size:
        raise ValueError(f"{answers.shape} answers for {targets.shape} targets")
    return float(np.mean(answers == targets))


def latencies(measured: Sequence[tuple[str, Measured]]) -> str:
    """Return a table: how many calls, and the latency that half, 90 % and 99 % of them did not exceed."""
    rows: list[tuple[str, ...]] = [("", "calls", "p50 ms", "p90 ms", "p99 ms")]
    for name, result in measured:
        points = [f"{result.percentile(percent):.2f}" for percent in (50, 90, 99)]
        rows.append((name, str(len(result.seconds)), *points))
    return table(rows)


def metric_lines(text: str, prefixes: Sequence[str], limit: int = 6) -> list[str]:
    """Return samples of a Prometheus page: no buckets, no zeros; at most `limit` of each prefix, in their order."""
    found = []
    for prefix in prefixes:
        lines = [line for line in text.splitlines() if line.startswith(prefix) and _tells(line)]
        found += lines[:limit]
    return found


def _tells(line: str) -> bool:
    name, _, value = line.rpartition(" ")
    return "_bucket{" not in name and "_created" not in name and float(value) != 0
