"""One GPU in the cluster and a revision that fails: under each strategy the good one has the GPU in the end."""

from typing import Any

import pytest

from dev.kit import traffic, wait
from dev.kit.archive_server import url
from dev.kit.gates import rolled_back
from dev.kit.kubectl import Kubectl
from dev.kit.model_deployments import deployment, pods, selector, uids
from dev.kit.tiny_models import HALVES
from e2e.lib import endpoints

TWO = url("half_plus_two.tar.gz")
ANSWER = traffic.answer_of(HALVES["half_plus_two"])
MISSING = url("missing.tar.gz")

# Strategy, deadline, reason of the failure, whether the first pod lives through it.
CASES: dict[str, tuple[str, str, bool]] = {
    # A new pod beside the old one finds no GPU and waits; the old one is never touched.
    "Surge": ("10s", "GpuUnavailable", True),
    # The old pod goes first, so that the new one shows what is wrong with it.
    "TerminateFirst": ("2m", "FetchFailed", False),
    "Auto": ("2m", "FetchFailed", False),
}


@pytest.mark.parametrize("strategy", CASES)
def test_the_gpu_goes_back_to_what_served(one_gpu: str, namespace: Kubectl, strategy: str) -> None:
    deadline, reason, survives = CASES[strategy]
    gpu: dict[str, Any] = {"count": 1, "product": one_gpu}
    # The deadline is the bad revision's: on a slow machine the good one may take longer to start.
    namespace.apply(deployment("scarce", TWO, gpu=gpu, rollout={"strategy": strategy}))
    wait.ready(namespace, "scarce")
    first = uids(pods(namespace, "scarce"))
    with endpoints.watched(namespace, "scarce") as seen:
        limits = {"strategy": strategy, "progressDeadline": deadline}
        namespace.apply(deployment("scarce", MISSING, gpu=gpu, rollout=limits))
        if not survives:
            # The old pod has been told to go; it has no clients, so it need not wait for its clients to leave.
            wait.until(namespace, "deployment", "scarce", lambda _: not uids(pods(namespace, "scarce")) & first)
            old = f"--selector={selector('scarce')},serving.slipway.dev/revision=1"
            namespace.run("delete", "pods", old, "--grace-period=0", "--force")
        state = rolled_back(namespace, "scarce", reason)
        wait.until(namespace, "deployment", "scarce", lambda found: found["status"].get("readyReplicas") == 1)
    assert state["status"]["currentRevision"] == 1
    assert seen.of(2)
    assert set(seen.by_revision) == {1}
    assert (uids(pods(namespace, "scarce")) == first) is survives
    assert traffic.predict_once(namespace, "scarce") == ANSWER
