"""Every example in the repository, applied as it stands and tested with examples that training never saw."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from dev.kit import example_models, traffic, wait
from dev.kit.conditions import current
from dev.kit.kubectl import Kubectl
from dev.kit.model_deployments import children
from dev.kit.prediction import Array, http, predict_all, rest_digits
from dev.kit.reach import service
from dev.repository import ROOT

FOLDER = ROOT / "examples"
MODELS = ("digits", "diabetes", "breast-cancer")


@pytest.fixture(scope="module")
def volume(shared_namespace: Kubectl) -> Kubectl:
    """A namespace with the claim `models`, and the three trained models published in it."""
    example_models.prepare_volume(shared_namespace)
    for name in MODELS:
        trained = example_models.of(name)
        if not (trained.root / "golden.npz").is_file():
            subprocess.run(
                [sys.executable, "-m", f"examples.train.{trained.program}", str(trained.root)], cwd=ROOT, check=True
            )
        published = example_models.publish(shared_namespace, name, trained.folder)
        assert published.version == 1
        again = example_models.publish(shared_namespace, name, trained.folder)
        assert again == published
    assert example_models.publish_golden(shared_namespace, example_models.of("digits")) == "digits-golden"
    return shared_namespace


def split(name: str) -> tuple[Array, Array]:
    with np.load(example_models.of(name).root / "test.npz") as file:
        return file["inputs"], file["targets"]


def served(kubectl: Kubectl, name: str, input_name: str, values: Array, model: str = "") -> dict[str, Array]:
    with traffic.held(kubectl, name) as predictor:
        return dict(predict_all(predictor, model or name, {input_name: values}, 32).answers)


def digits(kubectl: Kubectl, name: str, model: str = "") -> None:
    images, targets = split("digits")
    answers = served(kubectl, name, "image", images, model)
    assert float((answers["digit"] == targets).mean()) == pytest.approx(
        example_models.of("digits").metrics["accuracy"], abs=0.01
    )
    assert answers["probabilities"].sum(axis=1) == pytest.approx(1, abs=1e-5)
    with service(kubectl, name) as route:
        rest = rest_digits(f"{route.http}/v1/models/{model or name}:predict", images[:8])
    assert rest.tolist() == answers["digit"][:8].tolist()


def diabetes(kubectl: Kubectl, name: str) -> None:
    features, targets = split("diabetes")
    answers = served(kubectl, name, "features", features)["progression"][:, 0]
    error = float(np.abs(answers - targets).mean())
    assert error == pytest.approx(example_models.of("diabetes").metrics["meanAbsoluteError"], rel=1e-3)


def breast_cancer(kubectl: Kubectl, name: str) -> None:
    features, targets = split("breast-cancer")
    malignant = served(kubectl, name, "features", features)["malignant"]
    assert float((malignant == (targets == 0)).mean()) >= 0.95


CASES: dict[str, tuple[str, Callable[[Kubectl, str], None]]] = {
    "digits.yaml": ("digits", digits),
    "diabetes.yaml": ("diabetes", diabetes),
    "breast-cancer.yaml": ("breast-cancer", breast_cancer),
    "https-archive.yaml": ("digits-archive", digits),
    "batching.yaml": ("digits-batched", digits),
    "autoscaling.yaml": ("digits-autoscaled", digits),
    "gpu.yaml": ("digits-gpu", digits),
    "gate-regression.yaml": ("diabetes-gated", diabetes),
    "pause.yaml": ("digits-paused", digits),
    "pinned.yaml": ("digits-pinned", digits),
    "served-name.yaml": ("digits-renamed", partial(digits, model="Digits_CNN")),
}


def test_no_example_is_left_out() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == set(CASES)


@pytest.mark.parametrize("file", CASES)
def test_applied_and_served(volume: Kubectl, file: str, request: pytest.FixtureRequest) -> None:
    name, check = CASES[file]
    if file == "gpu.yaml":
        request.getfixturevalue("one_gpu")
    if file in BEFORE:
        BEFORE[file](volume, name)
    assert volume.apply_file(FOLDER / file).warnings == []
    state = wait.ready(volume, name)
    check(volume, name)
    if file in FURTHER:
        FURTHER[file](volume, name)
    assert current(state, "Available")["status"] == "True"
    # Two cores are enough for the tests one after the other, not for all examples at once.
    volume.run("delete", f"--filename={FOLDER / file}", timeout=120)


def with_autoscaler(kubectl: Kubectl, name: str) -> None:
    """Wait until the autoscaler has measured something and is able to act on it."""

    def active(found: dict[str, object]) -> bool:
        status = found.get("status", {})
        assert isinstance(status, dict)
        states = {entry["type"]: entry["status"] for entry in status.get("conditions", [])}
        return states.get("ScalingActive") == "True" and bool(status.get("currentMetrics"))

    wait.until(kubectl, "horizontalpodautoscaler", name, active)
    assert f"HorizontalPodAutoscaler/{name}" in children(kubectl, name)


def with_batches(kubectl: Kubectl, name: str) -> None:
    """Look for batches in the server's own metrics."""
    with service(kubectl, name) as route:
        page = http(f"{route.http}/monitoring/prometheus/metrics")
    assert ":tensorflow:serving:batching_session" in page


def served_before(kubectl: Kubectl, name: str) -> None:
    """Serve what revision 1 is to be: the same file without the pin, for version 1."""
    said = kubectl.run("create", f"--filename={FOLDER / 'pinned.yaml'}", "--dry-run=client", "--output=json").stdout
    earlier = json.loads(said)
    del earlier["spec"]["pinnedRevision"]
    earlier["spec"]["model"]["version"] = 1
    kubectl.apply(earlier)
    assert wait.ready(kubectl, name)["status"]["updateRevision"] == 1


def as_pinned(kubectl: Kubectl, name: str) -> None:
    """See that the revision is the old one although the spec requests another version."""
    state = wait.ready(kubectl, name)
    assert (state["spec"]["model"]["version"], state["status"]["modelVersion"]) == (2, 1)
    assert state["status"]["targetRevision"] == 1


BEFORE: dict[str, Callable[[Kubectl, str], None]] = {"pinned.yaml": served_before}
FURTHER: dict[str, Callable[[Kubectl, str], None]] = {
    "autoscaling.yaml": with_autoscaler,
    "batching.yaml": with_batches,
    "pinned.yaml": as_pinned,
}
