"""Revisions that load and answer, but wrongly, too slowly or under other names: the gate refuses them, and they go back.

One ModelDeployment takes them one after the other; its first pod and one channel to it live through all of them.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from dev.kit import wait
from dev.kit.archive_server import url
from dev.kit.gates import config_map, gated, half_plus, npz
from dev.kit.kubectl import Kubectl
from dev.kit.model_deployments import deployment
from dev.kit.tiny_models import HALVES, models_folder
from e2e.lib.steady import Steady, steady

DIGITS = gated({"configMap": "digits-golden"}, {"accuracy": ">=0.9"}, output="probabilities")


@pytest.fixture(scope="module")
def serving(shared_namespace: Kubectl) -> Iterator[Steady]:
    """The digits, behind a gate of their accuracy."""
    golden = (models_folder() / "digits" / "golden.npz").read_bytes()
    shared_namespace.apply(
        config_map("digits-golden", golden__npz=golden),
        config_map("half-golden", golden__npz=npz(half_plus(HALVES["half_plus_two"]))),
    )
    with steady(shared_namespace, deployment("digits", url("digits.tar.gz"), rollout=DIGITS)) as found:
        yield found


def other(file: str, golden: dict[str, Any] | None = None, **gate: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"model": {"uri": url(file)}}
    return found if golden is None else found | {"rollout": gated(golden, **gate)}


HALF = {"configMap": "half-golden"}
BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "labels that were shuffled": (other("digits_shuffled.tar.gz"), "GateFailed", "accuracy"),
    "too slow": (other("slow.tar.gz", HALF, metrics={"p99LatencyMillis": "<=10"}), "GateFailed", "p99LatencyMillis"),
    "not a number": (other("not_a_number.tar.gz", HALF), "GateFailed", "matches"),
    "another input": (other("renamed.tar.gz", HALF), "GateInvalid", "z"),
    "another signature": (other("half_plus_two.tar.gz", HALF, signature="score"), "GateInvalid", "score"),
    "a bound that the model in service breaks": (
        {"rollout": gated({"configMap": "digits-golden"}, {"accuracy": ">=0.9999"}, output="probabilities")},
        "GateFailed",
        ">=0.9999",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_refused_and_taken_back(serving: Steady, case: str) -> None:
    spec, reason, words = BAD[case]
    state = serving.goes_back(spec, reason, words)
    if case == "labels that were shuffled":
        serving.stays_so(state)


def test_the_channel_of_the_first_minute_is_still_answered(serving: Steady) -> None:
    with np.load(models_folder() / "digits" / "test.npz") as split:
        images, targets = split["inputs"][:50], split["targets"][:50]
    answers = serving.predictor.predict("digits", {"image": images})["digit"]
    assert (answers == targets).mean() >= 0.8


def test_going_back_by_hand_restarts_nothing(serving: Steady) -> None:
    """The spec of the current revision is that revision: it is taken up again, and no pod notices."""
    serving.kubectl.apply(serving.good)
    state = wait.ready(serving.kubectl, "digits")
    assert state["status"]["updateRevision"] == serving.revision
    serving.untouched()
