"""The pilot as a process, beside the real model server as a process."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.model_server.harness import Server, serving
from tests.tools.pilots import Pilot, golden_npz

Start = Callable[..., Pilot]
# What the model called half answers: half of x, plus 2.
X = np.linspace(-3, 3, 20, dtype=np.float32).reshape(-1, 1)
Y = X / 2 + 2


@pytest.fixture(scope="module")
def server(saved_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with three models; no test of this file does it any harm."""
    folder = tmp_path_factory.mktemp("server")
    config = folder / "models.pbtxt"
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{saved_models / name}" model_platform: "tensorflow" }}\n'
        for name in ("half", "kitchen", "digits")
    )
    config.write_text(f"model_config_list {{ {entries} }}")
    with serving(folder / "log", f"--model_config_file={config}") as running:
        yield running


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Start a pilot: start(port, golden, gate, *flags, model=…)."""
    pilots: list[Pilot] = []

    def call(port: int, golden: Path, gate: Any, *flags: str, model: str = "half") -> Pilot:
        pilots.append(Pilot(tmp_path, environment, port, golden, gate, *flags, model=model))
        return pilots[-1]

    yield call
    for pilot in pilots:
        pilot.stop()


def test_a_model_that_answers_rightly(server: Server, start: Start, tmp_path: Path) -> None:
    golden = golden_npz(tmp_path / "g.npz", inputs__x=X, outputs__y=Y)
    gate = {"metrics": {"matches": ">=1", "maxAbsoluteError": "<=1e-4", "p99LatencyMillis": "<=10000"}}
    pilot = start(server.port, golden, gate).wait_ready()
    assert pilot.get("/healthz")[0] == 200
    assert pilot.metric("slipway_gate_passed", model="half", revision="3") == 1
    assert pilot.metric("slipway_gate_measured", metric="matches", signature="serving_default", output="y") == 1
    assert pilot.metric("slipway_gate_samples", metric="matches") == 20
    assert pilot.metric("slipway_gate_samples", metric="p99LatencyMillis") == 100
    assert pilot.metric("slipway_gate_bound", metric="maxAbsoluteError") == 1e-4
    assert pilot.metric("slipway_gate_checks_total", result="passed") == 1


def test_a_model_that_answers_wrongly(server: Server, start: Start, tmp_path: Path) -> None:
    wrong = Y.copy()
    wrong[3:] += 1
    golden = golden_npz(tmp_path / "g.npz", inputs__x=X, outputs__y=wrong)
    assert start(server.port, golden, {"metrics": {"matches": ">=0.5"}}).verdict() == {
        "reason": "GateFailed",
        "message": "matches is 0.15, the gate wants >=0.5 over 20 examples, output 'y' of signature 'serving_default'; "
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
    assert start(server.port, right, gate, model="digits").wait_ready().metric("slipway_gate_measured") == 1
    verdict = start(server.port, wrong, gate, model="digits").verdict()
    assert (verdict["reason"], verdict["metric"], verdict["measured"]) == ("GateFailed", "accuracy", 0)


def test_a_model_that_is_too_slow(server: Server, start: Start, tmp_path: Path) -> None:
    golden = golden_npz(tmp_path / "g.npz", inputs__x=X, outputs__y=Y)
    pilot = start(server.port, golden, {"metrics": {"p50LatencyMillis": "<=0.001"}})
    verdict = pilot.verdict()
    assert (verdict["reason"], verdict["metric"], verdict["samples"]) == ("GateFailed", "p50LatencyMillis", 100)
    assert pilot.log.count("a latency bound was missed") == 3


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
    pilot = start(server.port, golden, {}).wait_ready()
    pilot.process.send_signal(signal.SIGTERM)
    assert pilot.process.wait(5) == 0
    assert not pilot.verdict_file.exists()
