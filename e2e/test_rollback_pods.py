"""Revisions whose pods cannot start, load or stay up: each goes back by itself, with the pod's own reason.

One ModelDeployment takes them one after the other; its first pods and one channel to them live through all of them.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from dev.kit import traffic, wait
from dev.kit.archive_server import url
from dev.kit.kubectl import Kubectl
from dev.kit.model_deployments import deployment, uids
from dev.kit.model_deployments import pods as pods_of
from dev.kit.tiny_models import HALVES
from e2e.conftest import CLUSTER
from e2e.lib import broken_image
from e2e.lib.steady import Steady, steady

NAME = "steady"
NO_DIGEST = "sha256:" + "0" * 64
ANSWER = traffic.answer_of(HALVES["half_plus_two"])


@pytest.fixture(scope="module")
def serving(shared_namespace: Kubectl) -> Iterator[Steady]:
    """Two pods without a gate: what a pod says of itself needs none."""
    broken_image.load(CLUSTER)
    with steady(shared_namespace, deployment(NAME, url("half_plus_two.tar.gz"), replicas=2)) as found:
        yield found


def fetched(file: str, **model: Any) -> dict[str, Any]:
    return {"model": {"uri": url(file)} | model}


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "graph cut short": (fetched("cut_graph.tar.gz"), "FetchFailed", "saved_model.pb"),
    "bytes flipped": (fetched("flipped.tar.gz"), "LoadFailed", "Checksum does not match"),
    "other content than the digest": (fetched("half_plus_three.tar.gz", digest=NO_DIGEST), "FetchFailed", NO_DIGEST),
    "too little memory": (
        {"resources": {"requests": {"memory": "40Mi"}, "limits": {"memory": "40Mi"}}},
        "OOMKilled",
        "memory",
    ),
    "image that does not exist": (
        {"runtime": {"image": "registry.invalid/server:1.0.0"}},
        "ImagePullFailed",
        "registry.invalid/server:1.0.0",
    ),
    "name that is none": ({"runtime": {"image": "slipway/Server:1"}}, "ImagePullFailed", "slipway/Server:1"),
    "server that ends again and again": (
        {"runtime": {"image": broken_image.REFERENCE}},
        "CrashLoopBackOff",
        broken_image.LAST_WORDS,
    ),
    "no node with so much memory, until the deadline": (
        {
            "resources": {"requests": {"memory": "900Gi"}},
            "rollout": {"progressDeadline": "10s"},
        },
        "Unschedulable",
        "Insufficient memory",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_taken_back(serving: Steady, case: str) -> None:
    spec, reason, words = BAD[case]
    serving.goes_back(spec, reason, words)
    assert traffic.predict(serving.predictor, NAME) == ANSWER


def test_a_good_update_ends_all_that(serving: Steady) -> None:
    serving.kubectl.apply(serving.changed(fetched("half_plus_three.zip")))
    state = wait.ready(serving.kubectl, NAME)
    assert state["status"]["currentRevision"] == state["status"]["updateRevision"]
    traffic.settled(serving.kubectl, NAME, traffic.answer_of(HALVES["half_plus_three"]))
    assert not uids(pods_of(serving.kubectl, NAME)) & serving.first
