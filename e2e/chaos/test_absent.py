"""No operator at all, from the moment on at which a bad revision has reached the Deployment: nothing bad is served, what
dies is replaced and gated, the autoscaler scales; when it comes back, the rollback ends as it would have.
"""

import pytest

from dev.kit.eventually import eventually
from dev.kit.fault_proxy import Fault, Kind
from dev.kit.model_namespace import Object
from e2e.chaos import snapshot
from e2e.chaos.lane import NAME, Lane

AUTOSCALING = {"minReplicas": 2, "maxReplicas": 4, "metrics": [{"type": "CPU", "target": 90}]}


def endpoints(lane: Lane) -> set[str]:
    """Return the pods that the Service sends to."""
    path = f"/apis/discovery.k8s.io/v1/namespaces/{lane.world.namespace}/endpointslices"
    slices = lane.world.api.get(f"{path}?labelSelector=kubernetes.io/service-name={NAME}")["items"]
    return {
        endpoint["targetRef"]["name"]
        for found in slices
        for endpoint in found.get("endpoints") or []
        if endpoint["conditions"].get("ready")
    }


def names(pods: list[Object]) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods}


def is_ready(pod: Object) -> bool:
    return any(item["type"] == "Ready" and item["status"] == "True" for item in pod["status"].get("conditions", []))


def ready(lane: Lane, revision: int) -> int:
    return sum(map(is_ready, lane.pods(revision)))


def has_failed(pod: Object) -> bool:
    """Tell whether a container of the pod has ended at least once with an error."""
    states = [*pod["status"].get("containerStatuses", []), *pod["status"].get("initContainerStatuses", [])]
    ends = [state.get(when, {}).get("terminated") or {} for state in states for when in ("state", "lastState")]
    return any(end.get("exitCode") for end in ends)


@pytest.mark.slow
@pytest.mark.timeout(600, func_only=True)
@pytest.mark.parametrize("bad", ["corrupt", "wrong"])
def test_nothing_bad_is_served_and_what_is_good_lives(lane: Lane, bad: str) -> None:
    lane.operator.start()
    lane.create(replicas=None, autoscaling=AUTOSCALING)
    stable = lane.revision()
    with lane.load("good-a"):
        # The last thing that the operator does is to give the Deployment the bad revision.
        lane.proxy.add(Fault(Kind.AFTER, then=lane.operator.kill), verbs={"patch"}, resources={"deployments"}, times=1)
        lane.request(bad)
        eventually(lambda: lane.running() == stable + 1, "the bad revision has reached the Deployment")
        assert lane.operator.process is not None
        lane.operator.process.wait(20)
        eventually(lambda: any(map(has_failed, lane.pods(stable + 1))), "a bad pod has failed", 120)
        assert endpoints(lane) == names(lane.pods(stable))

        # A pod of the current revision dies: another of its revision takes its place, and is checked against the golden set first.
        victim = min(names(lane.pods(stable)))
        lane.world.api.delete(lane.world.path("Pod", victim))
        eventually(lambda: ready(lane, stable) >= 2, "the dead pod is replaced", 120)
        assert victim not in names(lane.pods(stable))

        # The autoscaler wants one more, and gets a good one.
        lane.world.api.patch(lane.world.path("HorizontalPodAutoscaler", NAME), {"spec": {"minReplicas": 3}})
        eventually(lambda: ready(lane, stable) >= 3, "it is scaled", 120)
        eventually(lambda: endpoints(lane) == names(lane.pods(stable)), "the new one is sent to")
        assert not any(map(is_ready, lane.pods(stable + 1)))
        before = {pod["metadata"]["uid"] for pod in lane.pods(stable)}

        lane.operator.start()
        lane.until(lane.rolled_back, "the operator is back and rolls back")
        after = {pod["metadata"]["uid"] for pod in snapshot.living(lane.world, NAME)}
        assert before <= after, "no pod that served is restarted for it"
