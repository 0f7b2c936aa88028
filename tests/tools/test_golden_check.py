"""`slipway-tools golden check`: what is said of a golden set before it is deployed."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.tools.probers import golden_npz, resolved

Check = Callable[..., subprocess.CompletedProcess[str]]
OPERATOR = Path(__file__).resolve().parents[2] / "operator"
GATE = '{"metrics": {"matches": ">=1"}}'


@pytest.fixture
def check(environment: dict[str, str]) -> Check:
    """Run the command with the operator's package beside it, as in a checkout."""
    return checking(environment | {"PYTHONPATH": f"{OPERATOR}:{environment['PYTHONPATH']}"})


@pytest.fixture
def check_in_image(environment: dict[str, str], tmp_path: Path) -> Check:
    """Run the command without the operator's package, as in the tools image."""
    folder = tmp_path / "no-operator"
    folder.mkdir()
    (folder / "slipway.py").write_text("raise ModuleNotFoundError(\"No module named 'slipway'\")\n")
    return checking(environment | {"PYTHONPATH": f"{folder}:{environment['PYTHONPATH']}"})


def checking(environment: dict[str, str]) -> Check:
    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "slipway_tools", "golden", "check", *map(str, arguments)],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return call


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    x = np.ones((5, 1), np.float32)
    return golden_npz(tmp_path / "g.npz", inputs__x=x, outputs__y=x, labels=np.arange(5))


def test_a_set_that_fits(check: Check, golden: Path, saved_models: Path) -> None:
    done = check(golden)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "serving_default: 5 examples",
        "  inputs/x: float32 [5, 1]",
        "  outputs/y: float32 [5, 1]",
        "  labels: 0 to 4",
        "the golden set can be read; --gate checks it against bounds",
    ]
    assert "signature 'serving_default', output its only one: matches >=1\n" in check(golden, f"--gate={GATE}").stdout
    done = check(golden, f"--gate={GATE}", f"--model={saved_models}/half/1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "signature 'serving_default', output 'y': matches >=1\n" in done.stdout


def test_a_set_that_does_not(check: Check, golden: Path, saved_models: Path, tmp_path: Path) -> None:
    for arguments, words in (
        (["/nonexistent"], "/nonexistent: No such file"),
        ([golden, "--gate={}{}"], "this is not JSON"),
        ([golden, f"--gate={GATE}", f"--model={tmp_path}"], "saved_model.pb"),
        ([golden, f"--gate={GATE}", f"--model={saved_models}/kitchen/1"], "has shape [5, 1], the model has [?]"),
        (
            [golden, '--gate={"metrics": {"loss": "<=1"}}', f"--model={saved_models}/half/1"],
            "the label of example 4 is 4",
        ),
    ):
        done = check(*arguments)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
        assert words in done.stderr


def test_the_image_reads_the_gate_of_a_prober(check_in_image: Check, golden: Path) -> None:
    done = check_in_image(golden, f"--gate={json.dumps(resolved(json.loads(GATE)))}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "signature 'serving_default', output its only one: matches >=1\n" in done.stdout
    assert check_in_image(golden).returncode == 0


def test_the_image_says_what_it_lacks_to_read_a_gate_of_a_resource(check_in_image: Check, golden: Path) -> None:
    done = check_in_image(golden, f"--gate={GATE}")
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (1, "", False)
    assert "reading a gate in this form needs the operator's package" in done.stderr
    assert "No module named 'slipway'" in done.stderr
    assert "run the command from a checkout" in done.stderr


def test_wrong_arguments(check: Check, golden: Path) -> None:
    assert check().returncode == 2
    assert check(golden, "--nonsense").returncode == 2
