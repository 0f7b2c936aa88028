"""The Prometheus page: names, labels, buckets, counts."""

import re

import pytest

from tests.conformance.wire import Target, predict_request, refused

PREFIX = ":tensorflow:serving:"


def test_requests_are_counted_by_model_and_status(target: Target) -> None:
    """One counter for both protocols; its labels are the model's name and the name of the code."""
    names = {"model_name": "half", "status": "OK"}
    before = target.metric("request_count", **names)
    missing = target.metric("request_count", model_name="half", status="NOT_FOUND")
    target.predict("half", {"x": [[1.0]]})
    target.post("/v1/models/half:predict", {"instances": [[1.0]]})
    target.http("GET", "/v1/models/half")
    refused(target.prediction.Predict, predict_request("half", {"x": [[1.0]]}, version=9))
    assert target.metric("request_count", **names) == before + 3
    assert target.metric("request_count", model_name="half", status="NOT_FOUND") == missing + 1


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("request_latency", 'model_name="half",API="Predict",entrypoint="GRPC"'),
        ("request_latency", 'model_name="half",API="predict",entrypoint="REST"'),
        ("runtime_latency", 'model_name="half",API="Predict",runtime="TF1"'),
    ],
)
def test_latencies(target: Target, name: str, labels: str) -> None:
    """Histograms in microseconds: 33 buckets from 10 that grow by 1.8, and +Inf."""
    target.predict("half", {"x": [[1.0]]})
    target.post("/v1/models/half:predict", {"instances": [[1.0]]})
    start = f'{PREFIX}{name}_bucket{{{labels},le="'
    limits = [line[len(start) :].split('"')[0] for line in target.metrics().splitlines() if line.startswith(start)]
    assert limits[-1] == "+Inf"
    assert [float(limit) for limit in limits[:-1]] == pytest.approx([10 * 1.8**n for n in range(33)], rel=1e-5)


def test_types_and_no_help(target: Target) -> None:
    """`# TYPE` for each family, no `# HELP`; counters do not end in _total unless that is their name."""
    text = target.metrics()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert "# HELP" not in text
    for name, kind in (
        ("request_count", "counter"), ("request_latency", "histogram"), ("runtime_latency", "histogram"),
        ("batching_session:queuing_latency", "histogram"), ("model_warmup_latency", "histogram"),
        ("request_log_count", "counter"),
    ):  # fmt: skip
        assert types[PREFIX + name] == kind
    assert types[":tensorflow:cc:saved_model:load_attempt_count"] == "counter"


def test_loads_are_counted_by_path(target: Target) -> None:
    """Each load counts under its path and outcome."""
    pattern = r'^:tensorflow:cc:saved_model:load_attempt_count\{model_path="[^"]*/half/1",status="success"\} 1$'
    assert re.search(pattern, target.metrics(), re.MULTILINE)
