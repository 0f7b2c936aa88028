"""Pods whose creation the API server rejects: no pod can report it, and the old ones keep serving."""

from typing import Any

from dev.kit import traffic, wait
from dev.kit.archive_server import url
from dev.kit.conditions import current
from dev.kit.gates import config_map, gated, half_plus, npz
from dev.kit.kubectl import Kubectl
from dev.kit.model_deployments import deployment, pods, uids
from dev.kit.tiny_models import HALVES
from e2e.lib import endpoints

TWO, THREE = (url(f"{name}.tar.gz") for name in ("half_plus_two", "half_plus_three"))
NEW = traffic.answer_of(HALVES["half_plus_three"])
ONE_POD = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": {"pods": "1"}}}


LIMITED: dict[str, Any] = {"requests": {"cpu": "50m", "memory": "400Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
SMALL = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}}


def test_a_quota_that_demands_limits_of_every_container_is_met(namespace: Kubectl) -> None:
    quota = {"metadata": {"name": "team"}, "spec": {"hard": {"limits.cpu": "8"}}}
    namespace.apply({"apiVersion": "v1", "kind": "ResourceQuota", **quota})
    namespace.run("wait", "--for=jsonpath={.status.hard}", "resourcequota/team", "--timeout=120s", timeout=130)
    namespace.apply(config_map("half", half__npz=npz(half_plus(HALVES["half_plus_two"]))))
    gate = gated({"configMap": "half"}, {"matches": ">=1"})
    namespace.apply(deployment("limited", TWO, resources=LIMITED, rollout=gate))
    state = wait.refused(namespace, "limited", "ApplyFailed", "must specify limits.cpu for: prober")
    assert "set spec.podTemplate.proberResources (prober)" in current(state, "Ready")["message"]
    own = {"proberResources": SMALL}
    namespace.apply(deployment("limited", TWO, resources=LIMITED, rollout=gate, podTemplate=own))
    wait.ready(namespace, "limited")


def test_a_quota_without_room_for_the_new_pod_is_told_and_waited_for(namespace: Kubectl) -> None:
    namespace.apply(deployment("crowded", TWO))
    wait.ready(namespace, "crowded")
    first = uids(pods(namespace, "crowded"))
    namespace.apply(ONE_POD)
    namespace.run("wait", "--for=jsonpath={.status.used.pods}=1", "resourcequota/small", "--timeout=120s", timeout=130)
    with endpoints.watched(namespace, "crowded") as seen:
        namespace.apply(deployment("crowded", THREE))
        state = wait.refused(namespace, "crowded", "QuotaExceeded", "exceeded quota: small")
        assert "raise the quota" in current(state, "Ready")["message"]
        assert current(state, "Available")["status"] == "True"
        assert state["status"]["currentRevision"] == 1
        assert seen.served == first
    namespace.run("delete", "resourcequota", "small")
    state = wait.ready(namespace, "crowded")
    assert state["status"]["currentRevision"] == 2
    traffic.settled(namespace, "crowded", NEW)
