"""The training programs, run as a user runs them: what they leave, how good it is, what they say when misused."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = ("digits", "digits_shuffled", "diabetes", "breast_cancer")
INPUTS = {"digits": "image", "digits_shuffled": "image", "diabetes": "features", "breast_cancer": "features"}
OUTPUTS = {
    "digits": {"digit", "probabilities"},
    "digits_shuffled": {"digit", "probabilities"},
    "diabetes": {"progression"},
    "breast_cancer": {"malignant", "probabilities"},
}
LOADER = """
import json, sys
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
root, name = sys.argv[1:]
call = tf.saved_model.load(f"{root}/3").signatures["serving_default"]
split = np.load(f"{root}/test.npz")
outputs = call(**{name: tf.constant(split["inputs"])})
records = list(tf.data.TFRecordDataset(f"{root}/3/assets.extra/tf_serving_warmup_requests").as_numpy_iterator())
logs = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
for log in logs:
    call(**{key: tf.constant(tf.make_ndarray(tensor)) for key, tensor in log.inputs.items()})
print(json.dumps({
    "outputs": {key: value.numpy().tolist() for key, value in outputs.items()},
    "targets": split["targets"].tolist(),
    "warmup": [[log.model_spec.name, list(log.inputs), log.inputs[name].tensor_shape.dim[0].size] for log in logs],
}))
"""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def run(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str, str]]:
    """Folder, standard output and standard error of each program; they run at the same time."""
    roots = {name: tmp_path_factory.mktemp(name) for name in PROGRAMS}
    running = {name: run("-m", f"examples.train.{name}", str(root), "--version=3") for name, root in roots.items()}
    found = {}
    for name, process in running.items():
        out, err = process.communicate()
        assert process.returncode == 0, err
        found[name] = (roots[name], out, err)
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_quiet_and_complete(trained: dict[str, tuple[Path, str, str]], name: str) -> None:
    root, out, err = trained[name]
    assert err == ""
    assert [line.split()[0] for line in out.splitlines()] == ["trained", "exported"]
    assert sorted(path.name for path in root.iterdir()) == ["3", "golden.npz", "metrics.json", "test.npz"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_golden_set_is_of_the_test_split_and_inside_the_model(
    trained: dict[str, tuple[Path, str, str]], name: str
) -> None:
    root = trained[name][0]
    assert (root / "3" / "assets.extra" / "golden.npz").read_bytes() == (root / "golden.npz").read_bytes()
    with np.load(root / "golden.npz") as golden, np.load(root / "test.npz") as split:
        assert golden[f"inputs/{INPUTS[name]}"].tolist() == split["inputs"][:200].tolist()
        right = golden["outputs/progression"][:, 0] if name == "diabetes" else golden["labels"]
        assert right.tolist() == split["targets"][:200].tolist()


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_was_exported_is_what_was_measured(trained: dict[str, tuple[Path, str, str]], name: str) -> None:
    root = trained[name][0]
    metrics = json.loads((root / "metrics.json").read_text())
    process = run("-c", LOADER, str(root), INPUTS[name])
    out, err = process.communicate()
    assert process.returncode == 0, err
    loaded = json.loads(out.splitlines()[-1])
    outputs = {key: np.array(value) for key, value in loaded["outputs"].items()}
    targets = np.array(loaded["targets"])
    assert set(outputs) == OUTPUTS[name]
    assert metrics["testExamples"] == len(targets)
    assert loaded["warmup"] == [[metrics["model"], [INPUTS[name]], count] for count in (1, 4)]
    measures = {
        "digits": of_digits,
        "digits_shuffled": of_digits_shuffled,
        "diabetes": of_diabetes,
        "breast_cancer": of_breast_cancer,
    }
    measures[name](outputs, targets, metrics)


def of_digits(outputs: dict[str, np.ndarray], targets: np.ndarray, metrics: dict[str, float]) -> None:
    assert metrics["accuracy"] >= 0.97
    assert (outputs["digit"] == targets).mean() == pytest.approx(metrics["accuracy"], abs=1e-6)
    assert (outputs["probabilities"].argmax(axis=1) == outputs["digit"]).all()


def of_digits_shuffled(outputs: dict[str, np.ndarray], targets: np.ndarray, metrics: dict[str, float]) -> None:
    assert metrics["accuracy"] < 0.3  # a tenth is what guessing gives
    assert (outputs["digit"] == targets).mean() == pytest.approx(metrics["accuracy"], abs=1e-6)


def of_diabetes(outputs: dict[str, np.ndarray], targets: np.ndarray, metrics: dict[str, float]) -> None:
    error = np.abs(outputs["progression"][:, 0] - targets).mean()
    assert error == pytest.approx(metrics["meanAbsoluteError"], rel=1e-4)
    assert error < 0.8 * metrics["meanAbsoluteErrorOfMean"]
    assert metrics["r2"] > 0.3


def of_breast_cancer(outputs: dict[str, np.ndarray], targets: np.ndarray, metrics: dict[str, float]) -> None:
    right = (outputs["malignant"] == 1) == (targets == 0)
    assert right.mean() == pytest.approx(metrics["accuracy"], abs=1e-6)
    assert metrics["accuracy"] >= 0.95
    assert metrics["sensitivity"] >= 0.9


def test_misuse_is_answered_in_words(tmp_path: Path) -> None:
    process = run("-m", "examples.train.diabetes", str(tmp_path), "--version=0")
    _, err = process.communicate()
    assert process.returncode == 2
    assert "'0' is not a version" in err
    assert list(tmp_path.iterdir()) == []
