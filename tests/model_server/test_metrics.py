"""The Prometheus page: names, labels, buckets and counts."""

import re
from pathlib import Path

import grpc
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.model_server.harness import Server

SERVING = ":tensorflow:serving:"


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    # The parser insists on `_total` for counters and adds it where it is not.
    return {
        (sample.name.removesuffix("_total"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    return samples(text).get((SERVING + name, tuple(sorted(labels.items()))), 0.0)


def test_requests_are_counted_by_model_and_status(server: Server) -> None:
    before = server.metrics()
    server.predict("half", {"x": [[1.0]]})
    for model in ("half", 'odd "name"\\\n'):
        with pytest.raises(grpc.RpcError):
            server.predict(model, {"x": np.array([1.0])}, "none")
    server.http("GET", "/v1/models/half")
    after = server.metrics()

    def grown(**labels: str) -> float:
        return value(after, "request_count", **labels) - value(before, "request_count", **labels)

    assert grown(model_name="half", status="OK") == 2
    assert grown(model_name="half", status="FAILED_PRECONDITION") == 1
    assert grown(model_name='odd "name"\\\n', status="NOT_FOUND") == 1


def test_request_logs_are_a_family_without_samples(server: Server) -> None:
    """Nothing is logged, and a model that wants it is refused."""
    lines = [line for line in server.metrics().splitlines() if "request_log_count" in line]
    assert lines == [f"# TYPE {SERVING}request_log_count counter"]


def test_latencies_are_histograms_with_the_buckets_of_the_contract(server: Server) -> None:
    server.predict("half", {"x": [[1.0]]})
    server.post("/v1/models/half:predict", {"instances": [[1.0]]})
    text = server.metrics()
    prefix = f'{SERVING}request_latency_bucket{{model_name="half",API="Predict",entrypoint="GRPC",le="'
    limits = [line[len(prefix) :].split('"')[0] for line in text.splitlines() if line.startswith(prefix)]
    assert len(limits) == 34
    assert limits[:6] == ["10", "18", "32.4", "58.32", "104.976", "188.957"]
    assert limits[-1] == "+Inf"
    assert float(limits[-2]) == pytest.approx(10 * 1.8**32, rel=1e-5)
    for labels in ({"API": "Predict", "entrypoint": "GRPC"}, {"API": "predict", "entrypoint": "REST"}):
        assert value(text, "request_latency_count", model_name="half", **labels) >= 1
        assert value(text, "request_latency_sum", model_name="half", **labels) > 0
    assert value(text, "runtime_latency_count", model_name="half", API="Predict", runtime="TF1") >= 2


def test_every_family_has_its_type_and_no_help(server: Server) -> None:
    text = server.metrics()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert types[f"{SERVING}request_count"] == "counter"
    for name in ("request_latency", "runtime_latency", "model_warmup_latency", "batching_session:queuing_latency"):
        assert types[SERVING + name] == "histogram"
    assert types[":tensorflow:cc:saved_model:load_attempt_count"] == "counter"
    assert "# HELP" not in text
    assert list(types) == sorted(types)


def test_loads_are_counted(server: Server, models: Path) -> None:
    found = samples(server.metrics())
    labels = (("model_path", str(models / "half" / "1")), ("status", "success"))
    assert found[(":tensorflow:cc:saved_model:load_attempt_count", labels)] == 1


def test_names_that_clients_invent_do_not_make_series_without_end(server: Server) -> None:
    for number in range(130):
        server.http("GET", f"/v1/models/invented-{number}")
    text = server.metrics()
    assert len([line for line in text.splitlines() if 'model_name="invented-' in line]) <= 100
    assert value(text, "request_count", model_name="<other>", status="NOT_FOUND") >= 30
    server.predict("digits", {"image": np.ones((1, 8, 8, 1), np.float32)})
    assert value(server.metrics(), "request_count", model_name="digits", status="OK") >= 1


def test_runs_of_the_graph_are_counted(server: Server) -> None:
    def core(text: str) -> dict[str, float]:
        return {name[0].removeprefix(":tensorflow:core:"): value for name, value in samples(text).items()
                if name[0].startswith(":tensorflow:core:") and not name[1]}  # fmt: skip

    before = core(server.metrics())
    server.predict("half", {"x": [[1.0], [2.0]]})
    with pytest.raises(grpc.RpcError):
        server.predict("half", {"x": np.array([["a"]], dtype=object)})
    after = core(server.metrics())
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert grown["direct_session_runs"] == grown["graph_runs"] == grown["graph_run_time_usecs_histogram_count"] == 2
    assert grown["graph_run_input_tensor_bytes_count"] == 2
    assert grown["graph_run_output_tensor_bytes_sum"] == 8
    assert after["graph_run_time_usecs"] > 0


def test_sizes_of_examples_and_runs_have_the_buckets_of_the_contract(server: Server) -> None:
    server.predict("half", {"x": [[1.0]]})
    text = server.metrics()
    for name, first, last in (
        (":tensorflow:core:graph_run_time_usecs_histogram", "1000", 1000 * 2**19),
        (":tensorflow:core:graph_run_input_tensor_bytes", "1", 4**13),
    ):
        limits = re.findall(rf'^{name}_bucket{{le="(.+)"}}', text, re.MULTILINE)
        assert limits[0] == first
        assert float(limits[-2]) == pytest.approx(last, rel=1e-5)
        assert limits[-1] == "+Inf"
