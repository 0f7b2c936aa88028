"""A node with half of the pods is lost in the middle of a rollback: the rest serves, and is made whole elsewhere."""

import pytest

from dev.kit import traffic
from dev.kit.eventually import eventually
from e2e.chaos import snapshot
from e2e.chaos.ground import NODES, run
from e2e.chaos.lane import NAME, Lane
from e2e.chaos.test_absent import endpoints, is_ready, names

IMPATIENT = [
    {"key": f"node.kubernetes.io/{trouble}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
    for trouble in ("unreachable", "not-ready")
]
SPREAD = {
    "maxSkew": 1,
    "topologyKey": "kubernetes.io/hostname",
    "whenUnsatisfiable": "ScheduleAnyway",
    "labelSelector": {"matchLabels": {"serving.slipway.dev/name": NAME}},
}
NOTICED_SECONDS = 120
"""Kubernetes takes 50 s to believe that a node is gone, and 5 s more until its pods are replaced."""


@pytest.mark.slow
@pytest.mark.timeout(600, func_only=True)
@pytest.mark.parametrize("how", ["kubelet stopped", "network cut"])
def test_the_rest_serves_and_is_made_whole(own_lane: Lane, how: str) -> None:
    lane = own_lane
    assert NODES == 2
    lane.operator.start()
    template = {"annotations": {"round": "round-0"}, "tolerations": IMPATIENT, "topologySpreadConstraints": [SPREAD]}
    lane.create(podTemplate=template)
    stable = lane.revision()
    lost = f"{lane.ground.name}-node-2"
    there = {pod["metadata"]["name"] for pod in lane.pods(stable) if pod["spec"]["nodeName"] == lost}
    assert len(there) == 1, "one pod on each node"
    lane.request("corrupt")
    eventually(lambda: lane.running() == stable + 1, "the bad revision is under way")
    run("dev.cluster", "lose", f"--name={lane.ground.name}", *(["--cut"] if how == "network cut" else []), "2")
    eventually(lambda: not endpoints(lane) & there, "the lost pod is in no endpoint", NOTICED_SECONDS)
    lane.until(lane.rolled_back, "rolled back")
    eventually(lambda: len([pod for pod in lane.pods(stable) if is_ready(pod)]) == 2, "made whole", NOTICED_SECONDS)
    living = snapshot.living(lane.world, NAME)
    assert {pod["spec"]["nodeName"] for pod in living} == {f"{lane.ground.name}-node"}
    eventually(lambda: endpoints(lane) == names(living), "and nothing else is sent to")
    kubectl = lane.ground.kubectl.within(lane.world.namespace)
    traffic.settled(kubectl, NAME, traffic.answer_of(2.0))
    assert lane.world.condition(NAME, "Available")["status"] == "True"
