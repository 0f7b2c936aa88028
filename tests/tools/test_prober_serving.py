"""The prober while its server serves: killed, restarted, hanging, overloaded, or suddenly another one."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from dev.kit.reserved_ports import free_port
from tests.model_server.harness import Server, port_open, predict_request
from tests.tools.probers import Prober, Start, golden_npz, until

Serve = Callable[..., Server]
X = np.linspace(-3, 3, 10, dtype=np.float32).reshape(-1, 1)
Y = X / 2 + 2
GATE = {"timeout": "1s", "metrics": {"matches": ">=1"}}
BEAT = "--heartbeat=0.1"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a server on a given port: serve(port, base_path, *flags)."""
    servers: list[Server] = []

    def call(port: int, base_path: Path, *flags: str, model: str = "half") -> Server:
        log = tmp_path / f"server-{len(servers)}.log"
        server = Server(log, f"--port={port}", f"--model_name={model}", f"--model_base_path={base_path}", *flags)
        server.port = port
        servers.append(server)
        return server

    yield call
    for server in servers:
        if server.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                server.process.send_signal(signal.SIGCONT)
            server.process.kill()
        server.stop()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    return golden_npz(tmp_path / "g.npz", inputs__x=X, outputs__y=Y)


def checks(prober: Prober, result: str) -> float:
    return prober.metric("slipway_gate_evaluations_total", result=result) or 0


def kill(server: Server) -> None:
    server.process.kill()
    server.process.wait()


def test_it_may_start_long_before_the_server(
    serve: Serve, start: Start, port: int, golden: Path, saved_models: Path
) -> None:
    prober = start(port, golden, GATE, BEAT)
    until(lambda: prober.get("/ready")[0] == 503, "the pages")
    assert "waiting for the server" in prober.get("/ready")[1]
    assert prober.get("/healthz")[0] == 200
    serve(port, saved_models / "half").wait_ready()
    prober.wait_ready()


def test_a_server_that_dies_and_comes_back(
    serve: Serve, start: Start, port: int, golden: Path, saved_models: Path
) -> None:
    first = serve(port, saved_models / "half").wait_ready()
    prober = start(port, golden, GATE, BEAT).wait_ready()
    kill(first)
    prober.wait_out()
    assert prober.get("/healthz")[0] == 200
    serve(port, saved_models / "half")
    prober.wait_ready()
    assert checks(prober, "passed") == 2
    assert not prober.verdict_file.exists()


@pytest.mark.parametrize("interval", [{}, {"intervalSeconds": 1}])
def test_a_server_that_hangs(
    serve: Serve, start: Start, port: int, golden: Path, saved_models: Path, interval: dict[str, int]
) -> None:
    server = serve(port, saved_models / "half").wait_ready()
    prober = start(port, golden, GATE | interval, BEAT).wait_ready()
    server.process.send_signal(signal.SIGSTOP)
    # Its port is still open: a probe that only connects would call it well.
    prober.wait_out()
    assert port_open(port)
    server.process.send_signal(signal.SIGCONT)
    prober.wait_ready()
    assert not prober.verdict_file.exists()


def test_another_model_on_the_same_port_is_found_by_the_next_evaluation(
    serve: Serve, start: Start, port: int, golden: Path, saved_models: Path, zoo: Path
) -> None:
    first = serve(port, saved_models / "half").wait_ready()
    prober = start(port, golden, GATE | {"intervalSeconds": 1}, BEAT).wait_ready()
    until(lambda: checks(prober, "passed") >= 3, "evaluated again")
    kill(first)
    serve(port, zoo)
    verdict = prober.verdict()
    assert (verdict["reason"], verdict["stage"], verdict["metric"], verdict["measured"]) == (
        "GateFailed", "serving", "matches", 0
    )  # fmt: skip
    assert verdict["example"] == {"index": 0, "expected": 0.5, "got": 1.5}


def test_a_model_that_takes_other_inputs_after_a_restart(
    serve: Serve, start: Start, port: int, golden: Path, saved_models: Path
) -> None:
    first = serve(port, saved_models / "half").wait_ready()
    prober = start(port, golden, GATE, BEAT).wait_ready()
    kill(first)
    serve(port, saved_models / "kitchen")
    verdict = prober.verdict()
    assert verdict["reason"] == "GateInvalid"
    assert "inputs/x of signature 'serving_default' has shape [10, 1]" in verdict["message"]


def test_latency_is_not_looked_at_again(
    serve: Serve, start: Start, port: int, golden: Path, saved_models: Path
) -> None:
    server = serve(port, saved_models / "half").wait_ready()
    gate = GATE | {"intervalSeconds": 1, "metrics": {"matches": ">=1", "p99LatencyMillis": "<=10000"}}
    prober = start(port, golden, gate, BEAT).wait_ready()
    measured = prober.metric("slipway_gate_metric_value", metric="p99LatencyMillis")
    until(lambda: checks(prober, "passed") >= 3, "evaluated again")
    assert prober.metric("slipway_gate_metric_value", metric="p99LatencyMillis") == measured
    assert server.process.poll() is None


def test_an_overloaded_server_stays_in_the_endpoints(
    serve: Serve, start: Start, port: int, tmp_path: Path, saved_models: Path
) -> None:
    batching = tmp_path / "batching.pbtxt"
    batching.write_text("max_batch_size { value: 1 } max_enqueued_batches { value: 1 } num_batch_threads { value: 1 }")
    server = serve(
        port, saved_models / "kitchen", "--enable_batching=true", f"--batching_parameters_file={batching}", model="kitchen"
    )  # fmt: skip
    server.wait_ready()
    golden = golden_npz(
        tmp_path / "slow.npz", inputs__x=np.array([3, 5], np.float32), outputs__y=np.array([3, 5], np.float32)
    )
    gate = {"signature": "batch_slow", "metrics": {"matches": ">=1"}, "intervalSeconds": 1, "timeout": "30s"}
    prober = start(port, golden, gate, BEAT, model="kitchen").wait_ready()
    heavy = predict_request("kitchen", {"x": np.array([100_000], np.float32)}, "batch_slow")
    heavy.output_filter.append("y")
    enough = threading.Event()

    def load() -> None:
        while not enough.is_set():
            with contextlib.suppress(grpc.RpcError):
                server.prediction.Predict(heavy, timeout=30)

    crowd = [threading.Thread(target=load) for _ in range(4)]
    for client in crowd:
        client.start()
    try:
        until(lambda: prober.log.count("queue") >= 3 and checks(prober, "overloaded") >= 1, "turned away")
        assert prober.ready
    finally:
        enough.set()
        for client in crowd:
            client.join()
    passed = checks(prober, "passed")
    until(lambda: checks(prober, "passed") > passed, "evaluated again when there is room")
    assert "not ready:" not in prober.log


def test_sigterm_is_obeyed_in_every_state(
    serve: Serve, start: Start, port: int, golden: Path, saved_models: Path
) -> None:
    waiting = start(port, golden, GATE)
    until(lambda: waiting.get("/ready")[0] == 503, "the pages")
    server = serve(port, saved_models / "half").wait_ready()
    serving, hanging = start(port, golden, GATE, BEAT).wait_ready(), start(port, golden, GATE, BEAT).wait_ready()
    server.process.send_signal(signal.SIGSTOP)
    hanging.wait_out()
    for prober in (waiting, serving, hanging):
        os.kill(prober.process.pid, signal.SIGTERM)
        assert prober.process.wait(60) == 0
        assert not prober.verdict_file.exists()


def test_a_server_that_never_answers_in_time(
    serve: Serve, start: Start, port: int, tmp_path: Path, saved_models: Path
) -> None:
    serve(port, saved_models / "kitchen", model="kitchen").wait_ready()
    golden = golden_npz(
        tmp_path / "slow.npz", inputs__x=np.array([3e6], np.float32), outputs__y=np.array([3e6], np.float32)
    )
    gate = {"signature": "batch_slow", "metrics": {"matches": ">=1"}, "timeout": "1s"}
    verdict = start(port, golden, gate, model="kitchen").verdict()
    assert verdict["reason"] == "GateFailed"
    assert "no answer within 1 s, 3 times in a row" in verdict["message"]
    assert "spec.rollout.gate.timeout" in verdict["message"]


def test_a_server_that_computes_for_ever_but_tells_its_metadata_goes_late(
    serve: Serve, start: Start, port: int, tmp_path: Path, saved_models: Path
) -> None:
    batching = tmp_path / "batching.pbtxt"
    batching.write_text(
        "max_batch_size { value: 1 } max_enqueued_batches { value: 100 } num_batch_threads { value: 1 }"
    )
    server = serve(
        port, saved_models / "kitchen", "--enable_batching=true", f"--batching_parameters_file={batching}", model="kitchen"
    )  # fmt: skip
    server.wait_ready()
    golden = golden_npz(
        tmp_path / "slow.npz", inputs__x=np.array([3], np.float32), outputs__y=np.array([3], np.float32)
    )
    gate = {"signature": "batch_slow", "metrics": {"matches": ">=1"}, "timeout": "1s"}
    prober = start(port, golden, gate, BEAT, model="kitchen").wait_ready()
    stuck = predict_request("kitchen", {"x": np.array([1e8], np.float32)}, "batch_slow")
    stuck.output_filter.append("y")
    call = server.prediction.Predict.future(stuck, timeout=120)
    prober.wait_out()
    assert prober.log.count("probe failed: no answer in time") == 3
    call.cancel()
