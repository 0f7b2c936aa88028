"""The operator's gate and the prober's are two programs' views of one thing: what one admits the other must understand."""

import json

import pytest

from slipway.api import Gate, Metric
from slipway_tools.prober import resolved_gate as prober


def test_the_metrics_are_the_same() -> None:
    assert {str(metric) for metric in Metric} == {str(metric) for metric in prober.Metric}


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("number", ["1", "0.5", "1e-3", " 0.999999999999999"])
def test_what_admission_takes_the_prober_reads(metric: Metric, number: str) -> None:
    low = metric in {Metric.ACCURACY, Metric.TOP_K_ACCURACY, Metric.MATCHES}
    spec = {
        "golden": {"path": "golden.npz"},
        "metrics": {metric: f"{'>=' if low else '<='}{number}"},
        "checks": [{"signature": "other", "output": "y", "metrics": {metric: f"{'>=' if low else '<='}{number}"}}],
        "interval": "1h30m",
    }
    read = prober.parse(json.dumps(Gate.model_validate_json(json.dumps(spec)).resolved()))
    assert [check.signature for check in read.checks] == ["serving_default", "other"]
    assert {bound.limit for check in read.checks for bound in check.bounds} == {float(number)}
    assert {bound.holds(float(number) + 0.5) for check in read.checks for bound in check.bounds} == {low}
    assert read.interval_seconds == 5400
