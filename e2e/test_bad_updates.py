"""Bad updates of a model that is being served: each is named where the user looks, and the old pod goes on answering.

One ModelDeployment takes every bad update, one after the other; its first pod and one gRPC channel to it live through
all of them. The tests of this module run in order.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from dev.kit import traffic, wait
from dev.kit.archive_server import url
from dev.kit.conditions import current
from dev.kit.kubectl import Kubectl, Manifest
from dev.kit.model_deployments import RESOURCES, deployment, pods, uids
from dev.kit.prediction import Predictor
from dev.kit.tiny_models import HALVES

NAME = "steady"
GOOD = url("half_plus_two.tar.gz")
EXPECTED = traffic.answer_of(HALVES["half_plus_two"])
NO_DIGEST = "sha256:" + "0" * 64


@dataclass
class Steady:
    """A model in service: its namespace, a channel that is never closed, and the pod that served first."""

    kubectl: Kubectl
    predictor: Predictor
    first: set[str]

    def serves(self) -> None:
        """Fail unless the first pod is there, was never restarted, and answers on the old channel."""
        assert traffic.predict(self.predictor, NAME) == EXPECTED
        old = [pod for pod in pods(self.kubectl, NAME) if pod["metadata"]["uid"] in self.first]
        assert uids(old) == self.first
        assert [status["restartCount"] for pod in old for status in pod["status"]["containerStatuses"]] == [0]


@pytest.fixture(scope="module")
def steady(shared_namespace: Kubectl) -> Iterator[Steady]:
    shared_namespace.apply(deployment(NAME, GOOD))
    wait.ready(shared_namespace, NAME)
    with traffic.held(shared_namespace, NAME) as predictor:
        found = Steady(shared_namespace, predictor, uids(pods(shared_namespace, NAME)))
        found.serves()
        yield found


def fetched(file: str, **model: Any) -> dict[str, Any]:
    return {"model": {"uri": url(file)} | model}


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "image that cannot be pulled": (
        {"runtime": {"image": "registry.invalid/server:1.0.0"}},
        "ImagePullFailed",
        "registry.invalid/server:1.0.0",
    ),
    "claim that is not there": ({"model": {"uri": "pvc://nowhere/x"}}, "VolumeNotFound", "nowhere"),
    "archive that is not there": (fetched("missing.tar.gz"), "FetchFailed", "404"),
    "download that is refused": (fetched("forbidden/half_plus_two.tar.gz"), "FetchFailed", "403"),
    "other content than the digest": (fetched("half_plus_three.tar.gz", digest=NO_DIGEST), "FetchFailed", NO_DIGEST),
    "version that is not there": (fetched("half_plus_three.tar.gz", version=7), "FetchFailed", "7"),
    "archive that escapes": (fetched("escape.tar.gz"), "FetchFailed", ".."),
    "empty version folder": (fetched("empty.tar.gz"), "FetchFailed", "empty"),
    "no SavedModel": (fetched("not_a_model.tar.gz"), "FetchFailed", "saved_model.pb"),
    "no signatures": (fetched("no_signatures.tar.gz"), "FetchFailed", "signature"),
    "variables cut short": (fetched("corrupt.tar.gz"), "LoadFailed", "Read less bytes than requested"),
    "too little memory": (
        {"resources": {"requests": {"memory": "40Mi"}, "limits": {"memory": "40Mi"}}},  # enough to fetch, not to load
        "OOMKilled",
        "memory",
    ),
    "GPU that no node has": (
        {"gpu": {"count": 1, "product": "NVIDIA-No-Such-GPU"}},
        "GpuUnavailable",
        "NVIDIA-No-Such-GPU",
    ),
    "flag that the server does not know": ({"runtime": {"args": {"no_such_flag": "1"}}}, "UnknownFlag", "no_such_flag"),
}


def changed(spec: dict[str, Any]) -> Manifest:
    manifest = deployment(NAME, GOOD)
    manifest["spec"] |= spec
    return manifest


@pytest.mark.parametrize("case", BAD)
def test_named_and_harmless(steady: Steady, case: str) -> None:
    spec, reason, words = BAD[case]
    steady.kubectl.apply(changed(spec))
    state = wait.refused(steady.kubectl, NAME, reason, words)
    assert current(state, "Available")["status"] == "True"
    steady.serves()
    listed = steady.kubectl.run("get", "mdep", NAME).stdout
    assert words.lower() in listed.lower()


def test_a_good_update_ends_all_that(steady: Steady) -> None:
    steady.serves()
    steady.kubectl.apply(deployment(NAME, url("half_plus_three.zip"), resources=RESOURCES))
    state = wait.ready(steady.kubectl, NAME)
    traffic.settled(steady.kubectl, NAME, traffic.answer_of(HALVES["half_plus_three"]))
    for pod in pods(steady.kubectl, NAME):
        assert pod["metadata"]["uid"] not in steady.first
    newest, *before, first = state["status"]["history"]
    assert (newest["verdict"], newest["uri"]) == ("Ready", url("half_plus_three.zip"))
    assert first["verdict"] in {"Ready", "Superseded"}
    assert {entry["verdict"] for entry in before} <= {"Failed", "Superseded"}
    assert [entry["reason"] for entry in before].count("FetchFailed") >= 5
