"""Golden sets that do not fit their model, or are not there: each says why in the status, and no such pod is served.

All are first deployments, so there is nothing to go back to. They start at the same time; each test looks at one.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from dev.kit import traffic, wait
from dev.kit.archive_server import url
from dev.kit.conditions import current
from dev.kit.gates import GOLDEN_X, config_map, gated, half_plus, npz, verdicts
from dev.kit.kubectl import Kubectl, KubectlError, Manifest
from dev.kit.load import observe
from dev.kit.model_deployments import KIND, deployment
from dev.kit.tiny_models import HALVES
from e2e.lib import endpoints

HALF = url("half_plus_two.tar.gz")
TWO = half_plus(HALVES["half_plus_two"])
NO_DIGEST = "sha256:" + "0" * 64
MATCHES = {"matches": ">=1"}

# What is refused by fetch, before the server starts: golden, reason, words.
FETCHED: dict[str, tuple[dict[str, Any], str, str]] = {
    "map-missing": ({"configMap": "nowhere"}, "GateInvalid", "nowhere"),
    "key-missing": ({"configMap": "good", "key": "other.npz"}, "GateInvalid", "other.npz"),
    "key-unclear": ({"configMap": "two-keys"}, "GateInvalid", "key"),
    "uri-not-found": ({"uri": url("missing.npz")}, "GateInvalid", "404"),
    "uri-forbidden": ({"uri": url("forbidden/golden.npz")}, "GateInvalid", "403"),
    "uri-unreachable": ({"uri": "http://nobody.slipway-e2e/golden.npz"}, "GateInvalid", "nobody.slipway-e2e"),
    "uri-too-large": ({"uri": url(f"zeros/{(64 << 20) + 1}")}, "GateInvalid", "64 MiB"),
    "uri-other-digest": ({"uri": url("digits-golden.npz"), "digest": NO_DIGEST}, "GateInvalid", NO_DIGEST),
    "path-missing": ({"path": "assets.extra/none.npz"}, "GateInvalid", "assets.extra/none.npz"),
}
# What is refused by the prober, beside its server: arrays, gate, words.
PROBED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "empty": ({"inputs/x": GOLDEN_X[:0], "outputs/y": GOLDEN_X[:0]}, {}, "example"),
    "wrong-shape": (TWO | {"outputs/y": np.zeros((4, 3), np.float32)}, {}, "shape"),
    "wrong-dtype": (TWO | {"inputs/x": GOLDEN_X.astype(np.int64)}, {}, "int64"),
    "wrong-signature": (TWO, {"metrics": MATCHES, "signature": "classify"}, "classify"),
    "wrong-input": ({"inputs/z": GOLDEN_X, "outputs/y": TWO["outputs/y"]}, {}, "z"),
    "wrong-output": (TWO, {"metrics": MATCHES, "output": "scores"}, "scores"),
    "no-data": (TWO, {"metrics": {"accuracy": ">=0.9"}}, "label"),
}
WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "answers": (half_plus(HALVES["half_plus_three"]), {}, "matches")
}
"""A golden set that is in order, and a model that answers something else."""


def manifests() -> Iterator[Manifest]:
    """Yield everything that the tests look at."""
    yield config_map("good", golden__npz=npz(TWO))
    yield config_map("two-keys", golden__npz=npz(TWO), other__npz=npz(TWO))
    for name, (golden, _, _) in FETCHED.items():
        yield deployment(name, HALF, rollout=gated(golden))
    for name, (arrays, gate, _) in (PROBED | WRONG).items():
        yield config_map(name, golden__npz=npz(arrays))
        yield deployment(name, HALF, rollout=gated({"configMap": name}, **gate))


@pytest.fixture(scope="module")
def started(shared_namespace: Kubectl) -> Kubectl:
    """A namespace in which all of them start."""
    shared_namespace.apply(*manifests())
    return shared_namespace


def refused(kubectl: Kubectl, name: str, reason: str, words: str) -> Manifest:
    """Wait for the refusal; it must be what a person sees, and nothing may be served."""
    with endpoints.watched(kubectl, name) as seen:
        state = wait.refused(kubectl, name, reason, words)
        assert current(state, "Available")["status"] == "False"
        assert current(state, "RolledBack")["status"] == "False"
        described = kubectl.run("describe", "mdep", name).stdout
        assert reason in described
        assert words.lower() in described.lower()
        assert words.lower() in kubectl.run("get", "mdep", name, "--output=wide").stdout.lower()
        observe.settled(kubectl, lambda: bool(seen.revisions), "the watch has seen pods", 60)
    assert seen.served == set()
    return state


@pytest.mark.parametrize("name", FETCHED)
def test_a_golden_set_that_is_not_there(started: Kubectl, name: str) -> None:
    _, reason, words = FETCHED[name]
    refused(started, name, reason, words)
    started.run("delete", "mdep", name)


@pytest.mark.parametrize("name", PROBED)
def test_a_golden_set_that_does_not_fit(started: Kubectl, name: str) -> None:
    refused(started, name, "GateInvalid", PROBED[name][2])
    started.run("delete", "mdep", name)


def test_a_first_model_that_answers_wrongly_is_said_to_have_nothing_before_it(started: Kubectl) -> None:
    state = refused(started, "answers", "GateFailed", "matches")
    state = wait.until(started, KIND, "answers", lambda found: verdicts(found) == {1: ("Failed", "GateFailed")})
    assert state["status"].get("currentRevision") is None
    assert "no earlier revision" in current(state, "Ready")["message"].lower()
    # The golden set was the mistake: a corrected one, named anew, is another revision.
    started.apply(deployment("answers", HALF, rollout=gated({"configMap": "good"})))
    state = wait.ready(started, "answers")
    assert state["status"]["currentRevision"] == 2
    assert traffic.predict_once(started, "answers") == traffic.answer_of(HALVES["half_plus_two"])


ADMISSION: dict[str, tuple[dict[str, Any], str]] = {
    "unknown metric": (gated({"configMap": "good"}, {"accurracy": ">=0.9"}), "accuracy"),
    "wrong direction": (gated({"configMap": "good"}, {"accuracy": "<=0.9"}), ">="),
    "not finite": (gated({"configMap": "good"}, {"loss": "<=NaN"}), "spec.rollout.gate.metrics"),
    "infinite": (gated({"configMap": "good"}, {"loss": "<=inf"}), "spec.rollout.gate.metrics"),
    "never met": (gated({"configMap": "good"}, {"accuracy": ">=1.5"}), "at most 1"),
    "always met": (gated({"configMap": "good"}, {"accuracy": ">=0"}), "above 0"),
    "contradiction": (
        gated({"configMap": "good"}, {"accuracy": ">=0.9"}, checks=[{"metrics": {"accuracy": ">=0.8"}}]),
        "same signature and output",
    ),
    "two places": (gated({"configMap": "good", "path": "x"}), "exactly one"),
    "no place": (gated({}), "exactly one"),
    "deadline": ({"progressDeadline": "1s"}, "spec.rollout.progressDeadline"),
}


@pytest.mark.parametrize("case", ADMISSION)
def test_refused_before_it_exists(kubectl: Kubectl, case: str) -> None:
    rollout, words = ADMISSION[case]
    with pytest.raises(KubectlError) as refusal:
        kubectl.apply(deployment("refused", HALF, rollout=rollout))
    assert words in str(refusal.value)


def test_a_golden_set_too_large_for_a_config_map_is_refused_by_kubernetes(kubectl: Kubectl) -> None:
    """What to do then, a URI or a file inside the model, is in docs/golden-sets.md."""
    noise = np.random.default_rng(1).random((300_000,), np.float32)
    manifest = config_map("refused", golden__npz=npz({"inputs/x": noise, "outputs/y": noise}))
    with pytest.raises(KubectlError, match="Too long"):
        kubectl.run("create", "--dry-run=server", "--filename=-", stdin=str(manifest).replace("'", '"'))
