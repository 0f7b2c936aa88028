"""The prober as a process, beside the real model server as a process."""

import contextlib
import json
import signal
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.model_server.harness import Server, serving
from tests.tools.probers import Start, golden_npz, resolved, until

# What the model called half answers: half of x, plus 2.
X = np.linspace(-3, 3, 20, dtype=np.float32).reshape(-1, 1)
Y = X / 2 + 2


@pytest.fixture(scope="module")
def server(saved_models: Path, zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with four models; no test of this file does it any harm."""
    folder = tmp_path_factory.mktemp("server")
    config = folder / "models.pbtxt"
    homes = {name: saved_models / name for name in ("half", "kitchen", "digits")} | {"zoo": zoo}
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{home}" model_platform: "tensorflow" }}\n'
        for name, home in homes.items()
    )
    config.write_text(f"model_config_list {{ {entries} }}")
    with serving(folder / "log", f"--model_config_file={config}") as running:
        yield running


def test_a_model_that_answers_rightly(server: Server, start: Start, tmp_path: Path) -> None:
    golden = golden_npz(tmp_path / "g.npz", inputs__x=X, outputs__y=Y)
    gate = {"metrics": {"matches": ">=1", "maxAbsoluteError": "<=1e-4", "p99LatencyMillis": "<=10000"}}
    prober = start(server.port, golden, gate).wait_ready()
    assert prober.get("/healthz")[0] == 200
    assert prober.metric("slipway_gate_passed", model="half", revision="3") == 1
    assert prober.metric("slipway_gate_metric_value", metric="matches", signature="serving_default", output="y") == 1
    assert prober.metric("slipway_gate_samples", metric="matches") == 20
    assert prober.metric("slipway_gate_samples", metric="p99LatencyMillis") == 100
    assert prober.metric("slipway_gate_bound", metric="maxAbsoluteError") == 1e-4
    assert prober.metric("slipway_gate_evaluations_total", result="passed") == 1


def test_a_model_that_answers_wrongly(server: Server, start: Start, tmp_path: Path) -> None:
    wrong = Y.copy()
    wrong[3:] += 1
    golden = golden_npz(tmp_path / "g.npz", inputs__x=X, outputs__y=wrong)
    assert start(server.port, golden, {"metrics": {"matches": ">=0.5"}}).verdict() == {
        "reason": "GateFailed",
        "message": "matches is 0.15, the gate requires >=0.5 over 20 examples, output 'y' of signature 'serving_default'; "
        "example 3: expected 1.97368, got 0.973684",
        "metric": "matches",
        "measured": 0.15,
        "bound": ">=0.5",
        "samples": 20,
        "signature": "serving_default",
        "output": "y",
        "example": {"index": 3, "expected": 1.97368, "got": 0.973684},
        "stage": "start",
    }


def test_accuracy_of_a_classifier(server: Server, start: Start, tmp_path: Path) -> None:
    images = np.random.default_rng(1).normal(size=(40, 8, 8, 1)).astype(np.float32)
    answers = server.predict("digits", {"image": images})
    (output,) = answers.outputs
    labels = np.reshape(answers.outputs[output].float_val, (40, 10)).argmax(axis=1)
    right = golden_npz(tmp_path / "right.npz", inputs__image=images, labels=labels)
    wrong = golden_npz(tmp_path / "wrong.npz", inputs__image=images, labels=(labels + 1) % 10)
    gate = {"metrics": {"accuracy": ">=0.95"}, "batchSize": 16}
    assert start(server.port, right, gate, model="digits").wait_ready().metric("slipway_gate_metric_value") == 1
    verdict = start(server.port, wrong, gate, model="digits").verdict()
    assert (verdict["reason"], verdict["metric"], verdict["measured"]) == ("GateFailed", "accuracy", 0)


def test_a_model_that_is_too_slow(server: Server, start: Start, tmp_path: Path) -> None:
    golden = golden_npz(tmp_path / "g.npz", inputs__x=X, outputs__y=Y)
    prober = start(server.port, golden, {"metrics": {"p50LatencyMillis": "<=0.001"}})
    verdict = prober.verdict()
    assert (verdict["reason"], verdict["metric"], verdict["samples"]) == ("GateFailed", "p50LatencyMillis", 100)
    assert prober.log.count("a latency bound was missed") == 3


def test_a_gate_that_does_not_fit_the_model(server: Server, start: Start, tmp_path: Path) -> None:
    golden = golden_npz(tmp_path / "g.npz", inputs__x=X.astype(np.float64), outputs__y=Y)
    verdict = start(server.port, golden, {}).verdict()
    assert verdict == {
        "reason": "GateInvalid",
        "message": "spec.rollout.gate.golden: inputs/x of signature 'serving_default' is float64, the model takes float32; "
        "write it with dtype float32",
    }


def test_sigterm_is_obeyed_at_once(server: Server, start: Start, tmp_path: Path) -> None:
    golden = golden_npz(tmp_path / "g.npz", inputs__x=X, outputs__y=Y)
    prober = start(server.port, golden, {}).wait_ready()
    prober.process.send_signal(signal.SIGTERM)
    assert prober.process.wait(60) == 0
    assert not prober.verdict_file.exists()


def test_json_lines_without_metrics(server: Server, start: Start, tmp_path: Path) -> None:
    golden = tmp_path / "golden.jsonl"
    lines: list[dict[str, Any]] = [
        {"inputs": {"x": [float(x)]}, "outputs": {"y": [float(x) / 2 + 2]}} for x in range(5)
    ]
    lines.append({"signature": "text", "inputs": {"s": "ab"}, "outputs": {"joined": "abab"}})
    golden.write_text("\n".join(map(json.dumps, lines[:5])))
    prober = start(server.port, golden, {}).wait_ready()
    assert prober.metric("slipway_gate_metric_value", metric="matches") == 1
    golden.write_text(json.dumps(lines[5]))
    text = start(server.port, golden, {}, model="kitchen").wait_ready()
    assert text.metric("slipway_gate_samples", signature="text", output="joined") == 1


@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        "float64",
        "float16",
        "complex64",
        "bool",
        "int8",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint64",
        "S",
        "U",
    ],
)
def test_every_dtype_there_and_back(server: Server, start: Start, tmp_path: Path, dtype: str) -> None:
    values = np.array([[0, 1], [2, 100]]).astype(dtype)
    name = "string" if dtype in "SU" else dtype
    golden = golden_npz(tmp_path / "g.npz", inputs__x=values, outputs__x=values)
    gate = {"signature": f"identity_{name}", "metrics": {"matches": ">=1"}, "tolerance": {"absolute": 0, "relative": 0}}
    prober = start(server.port, golden, gate, model="kitchen").wait_ready()
    assert prober.metric("slipway_gate_samples", signature=f"identity_{name}") == 2


def test_bfloat16_from_json(server: Server, start: Start, tmp_path: Path) -> None:
    golden = tmp_path / "golden.jsonl"
    golden.write_text('{"inputs": {"x": [0.1, 3]}, "outputs": {"x": [0.1, 3]}}')
    gate = {"signature": "identity_bfloat16", "metrics": {"maxAbsoluteError": "<=0.001"}}
    prober = start(server.port, golden, gate, model="kitchen").wait_ready()
    error = prober.metric("slipway_gate_metric_value", metric="maxAbsoluteError")
    assert error == pytest.approx(0.0001, abs=2e-5)


def test_half_precision_scores_of_several_outputs(server: Server, start: Start, tmp_path: Path) -> None:
    rows = np.random.default_rng(3).normal(size=(30, 4)).astype(np.float32)
    golden = golden_npz(
        tmp_path / "g.npz",
        **{"scores:inputs/x": rows, "scores:labels": rows.argmax(axis=1), "scores:outputs/logits": rows},
    )
    metrics = {"accuracy": ">=0.9", "loss": "<=2", "topKAccuracy": ">=0.9", "p50LatencyMillis": "<=10000"}
    gate = {
        "topK": 2, "batchSize": 7,
        "checks": [
            {"signature": "scores", "output": "half", "metrics": metrics},
            {"signature": "scores", "output": "brain", "metrics": metrics},
            {"signature": "scores", "output": "logits", "metrics": {"matches": ">=1", "loss": "<=2"}},
        ],
    }  # fmt: skip
    prober = start(server.port, golden, gate, model="zoo").wait_ready()
    powers = np.exp(rows)
    loss = -np.log((powers / powers.sum(axis=1, keepdims=True)).max(axis=1)).mean()
    for output in ("half", "brain", "logits"):
        assert prober.metric("slipway_gate_metric_value", output=output, metric="loss") == pytest.approx(loss, rel=2e-2)
    assert prober.metric("slipway_gate_samples", output="half", metric="accuracy") == 30
    assert prober.metric("slipway_gate_samples", output="half", metric="p50LatencyMillis") == 100


def test_one_column_is_binary(server: Server, start: Start, tmp_path: Path) -> None:
    golden = golden_npz(tmp_path / "g.npz", inputs__x=X, labels=(X[:, 0] > 0).astype(np.int8))
    gate = {"signature": "chance", "metrics": {"accuracy": ">=1", "loss": "<=0.5"}, "batchSize": 6}
    assert start(server.port, golden, gate, model="zoo").wait_ready().metric("slipway_gate_passed") == 1


def zoo_verdict(
    server: Server, start: Start, tmp_path: Path, gate: Mapping[str, object], **arrays: object
) -> dict[str, object]:
    return start(server.port, golden_npz(tmp_path / "g.npz", **arrays), gate, model="zoo").verdict()


def test_an_output_that_is_not_finite(server: Server, start: Start, tmp_path: Path) -> None:
    gate = {"signature": "logarithm", "metrics": {"meanAbsoluteError": "<=1e9"}}
    verdict = zoo_verdict(server, start, tmp_path, gate, inputs__x=-X, outputs__y=X)
    assert (verdict["reason"], verdict["metric"], verdict["measured"]) == ("GateFailed", "meanAbsoluteError", None)
    assert "is not finite" in str(verdict["message"])


def test_a_model_that_fails_on_a_golden_input(server: Server, start: Start, tmp_path: Path) -> None:
    gate = {"signature": "picky", "metrics": {"matches": ">=0.1"}}
    verdict = zoo_verdict(server, start, tmp_path, gate, inputs__x=X + 98, outputs__y=X + 98)
    assert verdict["reason"] == "GateFailed"
    assert "INVALID_ARGUMENT" in str(verdict["message"])
    assert "too large for this model" in str(verdict["message"])


def test_a_batch_of_a_fixed_size(server: Server, start: Start, tmp_path: Path) -> None:
    gate = {"signature": "fixed", "metrics": {"matches": ">=1"}}
    verdict = zoo_verdict(server, start, tmp_path, gate, inputs__x=X, outputs__y=X + 1)
    assert verdict["reason"] == "GateInvalid"
    assert "write batchSize: 2" in str(verdict["message"])
    golden = golden_npz(tmp_path / "g.npz", inputs__x=X, outputs__y=X + 1)
    start(server.port, golden, gate | {"batchSize": 2}, model="zoo").wait_ready()


def test_an_output_without_a_row_for_each_example(server: Server, start: Start, tmp_path: Path) -> None:
    gate = {"signature": "total", "metrics": {"p99LatencyMillis": "<=10000", "matches": ">=1"}}
    verdict = zoo_verdict(server, start, tmp_path, gate, inputs__x=X, outputs__y=X)
    assert verdict["reason"] == "GateInvalid"
    assert "spec.rollout.gate" in str(verdict["message"])


def test_a_long_answer_is_cut_in_the_verdict(server: Server, start: Start, tmp_path: Path) -> None:
    rows = np.ones((3, 4), np.float32)
    gate = {"signature": "long", "metrics": {"matches": ">=1"}}
    verdict = zoo_verdict(server, start, tmp_path, gate, inputs__x=rows, outputs__y=np.zeros((3, 80), np.float32))
    assert verdict["example"] == {"index": 0, "expected": [*[0.0] * 8, "… 72 more"], "got": [*[1.0] * 8, "… 72 more"]}


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ("no json", "this is not JSON"),
        (
            json.dumps(resolved({"metrics": {"accuracy": ">=1"}})).replace("accuracy", "f1"),
            "spec.rollout.gate.metrics.f1",
        ),
        ({"metrics": {"accuracy": ">=0.9"}}, "the golden set has no labels"),
        ({"signature": "nope", "metrics": {"matches": ">=1"}}, "nope"),
    ],
)
def test_a_gate_that_cannot_be_evaluated(
    server: Server, start: Start, tmp_path: Path, gate: object, words: str
) -> None:
    golden = golden_npz(tmp_path / "g.npz", inputs__x=X, outputs__y=Y)
    verdict = start(server.port, golden, gate).verdict()
    assert verdict["reason"] == "GateInvalid"
    assert words in verdict["message"]
    assert set(verdict) == {"reason", "message"}


def test_what_needs_no_server_is_said_before_there_is_one(start: Start, tmp_path: Path) -> None:
    assert "is not there" in start(1, tmp_path / "missing", {}).verdict()["message"]
    (tmp_path / "empty").touch()
    assert "the file is empty" in start(1, tmp_path / "empty", {}).verdict()["message"]
    (tmp_path / "folder").mkdir()
    assert start(1, tmp_path / "folder", {}).verdict()["reason"] == "GateInvalid"
    golden = golden_npz(tmp_path / "g.npz", inputs__x=X)
    assert "checks nothing" in start(1, golden, {}).verdict()["message"]
    assert "unrecognized arguments" in start(1, golden, {}, "--nonsense").verdict()["message"]
    assert "'here' is not HOST:PORT" in start(1, golden, {}, "--server=here").verdict()["message"]


def test_a_port_that_is_taken(server: Server, start: Start, tmp_path: Path) -> None:
    golden = golden_npz(tmp_path / "g.npz", inputs__x=X, outputs__y=Y)
    verdict = start(server.port, golden, {}, f"--port={server.rest_port}").verdict()
    assert verdict == {"reason": "GateInvalid", "message": "the prober cannot run: Address already in use (no file)"}


def test_other_pages(server: Server, start: Start, tmp_path: Path) -> None:
    prober = start(server.port, golden_npz(tmp_path / "g.npz", inputs__x=X, outputs__y=Y), {}).wait_ready()
    assert prober.get("/")[0] == 404
    assert prober.get("/ready?x=1")[0] == 200
    with socket.create_connection(("127.0.0.1", prober.port), timeout=10) as rude:
        rude.sendall(b"POST /ready HTTP/1.1\r\n\r\n")
        assert rude.recv(100).startswith(b"HTTP/1.1 405 ")
    with socket.create_connection(("127.0.0.1", prober.port), timeout=10) as mute:
        assert prober.ready
        mute.sendall(b"\xff\xfe")
    assert prober.ready


def test_a_crowd_of_idle_connections_keeps_no_probe_from_its_answer(
    server: Server, start: Start, tmp_path: Path
) -> None:
    prober = start(server.port, golden_npz(tmp_path / "g.npz", inputs__x=X, outputs__y=Y), {}).wait_ready()
    process = Path(f"/proc/{prober.process.pid}")
    with contextlib.ExitStack() as crowd:
        for number in range(400):
            crowd.enter_context(socket.create_connection(("127.0.0.1", prober.port), timeout=10))
            if number < 200 and number % 4 == 0:  # the first half one after the other, the second all at once
                assert prober.get("/ready")[0] == 200
            if number == 200:
                assert len(list((process / "fd").iterdir())) < 100
                assert len(list((process / "task").iterdir())) < 100
        assert [prober.get(page)[0] for page in ("/ready", "/healthz", "/metrics")] == [200, 200, 200]
        assert prober.rss_mib() < 60


def test_a_head_that_comes_byte_by_byte_is_not_waited_for(server: Server, start: Start, tmp_path: Path) -> None:
    prober = start(server.port, golden_npz(tmp_path / "g.npz", inputs__x=X, outputs__y=Y), {}).wait_ready()
    with socket.create_connection(("127.0.0.1", prober.port), timeout=0.1) as drip:

        def closed() -> bool:
            try:
                drip.sendall(b"G")
                return drip.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        until(closed, "the connection closed", 60)


def test_memory_while_it_serves(server: Server, start: Start, tmp_path: Path) -> None:
    images = np.random.default_rng(1).normal(size=(360, 8, 8, 1)).astype(np.float32)
    golden = golden_npz(tmp_path / "g.npz", inputs__image=images, labels=np.zeros(360, np.int64))
    gate = {"metrics": {"accuracy": ">=0.001", "loss": "<=100", "p99LatencyMillis": "<=10000"}, "batchSize": 32}
    prober = start(server.port, golden, gate, "--heartbeat=0.02", model="digits").wait_ready()
    for _ in range(100):
        assert prober.get("/metrics")[0] == 200
    assert prober.rss_mib() < 60
