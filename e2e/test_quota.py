"""Pods whose creation the API server rejects: no pod can report it, and the old ones keep serving."""

from dev.kit import traffic, wait
from dev.kit.archive_server import url
from dev.kit.conditions import current
from dev.kit.kubectl import Kubectl
from dev.kit.model_deployments import deployment, pods, uids
from dev.kit.tiny_models import HALVES
from e2e.lib import endpoints

TWO, THREE = (url(f"{name}.tar.gz") for name in ("half_plus_two", "half_plus_three"))
NEW = traffic.answer_of(HALVES["half_plus_three"])
ONE_POD = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": {"pods": "1"}}}


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
