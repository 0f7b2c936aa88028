"""What a person can do about a revision that failed: fix the cause and retry, wait, write another, go back."""

from typing import Any

from dev.kit import traffic, wait
from dev.kit.archive_server import url
from dev.kit.conditions import current
from dev.kit.gates import condition_is, config_map, gated, half_plus, npz, rolled_back, verdicts
from dev.kit.kubectl import Kubectl
from dev.kit.model_deployments import KIND, deployment, pods, uids
from dev.kit.tiny_models import HALVES
from e2e.lib import endpoints

TWO, THREE = (url(f"{name}.tar.gz") for name in ("half_plus_two", "half_plus_three"))
NEW = traffic.answer_of(HALVES["half_plus_three"])
RETRY = "serving.slipway.dev/retry"
NEVER_FITS: dict[str, Any] = {"resources": {"requests": {"memory": "900Gi"}}}
"""A revision that neither fails nor gets anywhere before its deadline of ten minutes: the middle of a rollout."""


def test_retried_after_the_cause_is_fixed(namespace: Kubectl) -> None:
    gate = {"configMap": "golden"}
    namespace.apply(config_map("golden", golden__npz=npz(half_plus(HALVES["half_plus_two"]))))
    namespace.apply(deployment("again", TWO, rollout=gated(gate)))
    wait.ready(namespace, "again")
    first = uids(pods(namespace, "again"))
    namespace.run("annotate", "mdep", "again", f"{RETRY}=nothing-failed")
    namespace.apply(deployment("again", THREE, rollout=gated(gate)))
    state = rolled_back(namespace, "again", "GateFailed", "matches")
    assert state["status"]["updateRevision"] == 2

    namespace.apply(config_map("golden", golden__npz=npz(half_plus(HALVES["half_plus_three"]))))
    namespace.run("annotate", "mdep", "again", f"{RETRY}=golden-set-corrected", "--overwrite")
    state = wait.ready(namespace, "again")
    assert state["status"]["updateRevision"] == state["status"]["currentRevision"] == 3
    assert verdicts(state)[2] == ("Failed", "GateFailed")
    assert current(state, "RolledBack")["status"] == "False"
    assert not uids(pods(namespace, "again")) & first
    traffic.settled(namespace, "again", NEW)
    last = uids(pods(namespace, "again"))
    namespace.run("annotate", "mdep", "again", f"{RETRY}=once-more", "--overwrite")
    namespace.run("scale", "mdep", "again", "--replicas=2")  # the operator has seen the annotation when this is done
    state = wait.until(namespace, KIND, "again", lambda found: found["status"].get("readyReplicas") == 2)
    assert state["status"]["updateRevision"] == 3
    assert last < uids(pods(namespace, "again"))


def test_paused_where_that_is_wanted(namespace: Kubectl) -> None:
    pause = {"onFailure": "Pause"}
    namespace.apply(deployment("held", TWO, rollout=pause))
    wait.ready(namespace, "held")
    first = uids(pods(namespace, "held"))
    with endpoints.watched(namespace, "held") as seen:
        namespace.apply(deployment("held", url("missing.tar.gz"), rollout=pause))
        state = wait.until(namespace, KIND, "held", condition_is("Progressing", "False", "Paused"))
        assert current(state, "Ready")["reason"] == "FetchFailed"
        assert "404" in current(state, "Ready")["message"]
        assert current(state, "Available")["status"] == "True"
        assert current(state, "RolledBack")["status"] == "False"
        assert (namespace.get("deployment", "held") or {})["spec"]["paused"] is True
        assert first < uids(pods(namespace, "held"))  # the failed pod stays, to be looked at
        assert seen.served == first
    namespace.apply(deployment("held", THREE, rollout=pause))
    state = wait.ready(namespace, "held")
    assert verdicts(state)[2] == ("Failed", "FetchFailed")
    assert not (namespace.get("deployment", "held") or {})["spec"].get("paused")
    traffic.settled(namespace, "held", NEW)


def test_a_newer_spec_ends_a_rollout_that_is_under_way(namespace: Kubectl) -> None:
    namespace.apply(deployment("newer", TWO))
    wait.ready(namespace, "newer")
    with endpoints.watched(namespace, "newer") as seen:
        namespace.apply(deployment("newer", TWO, **NEVER_FITS))
        wait.refused(namespace, "newer", "Unschedulable", "memory")
        namespace.apply(deployment("newer", THREE))
        state = wait.ready(namespace, "newer")
    assert verdicts(state)[2][0] == "Superseded"
    assert state["status"]["currentRevision"] == 3
    assert seen.of(2)
    assert set(seen.by_revision) == {1, 3}
    traffic.settled(namespace, "newer", NEW)


def test_taking_a_change_back_in_the_middle_restarts_nothing(namespace: Kubectl) -> None:
    namespace.apply(deployment("back", TWO))
    wait.ready(namespace, "back")
    first = uids(pods(namespace, "back"))
    with endpoints.watched(namespace, "back") as seen:
        namespace.apply(deployment("back", TWO, **NEVER_FITS))
        wait.refused(namespace, "back", "Unschedulable", "memory")
        namespace.apply(deployment("back", TWO))
        state = wait.ready(namespace, "back")
        assert (state["status"]["updateRevision"], state["status"]["currentRevision"]) == (1, 1)
        wait.until(namespace, "deployment", "back", lambda _: uids(pods(namespace, "back")) == first)
    assert seen.served == first


def test_the_count_of_an_autoscaler_is_kept(namespace: Kubectl) -> None:
    autoscaling = {"minReplicas": 1, "maxReplicas": 2}
    namespace.apply(deployment("counted", TWO, autoscaling=autoscaling))
    wait.ready(namespace, "counted")
    # As an autoscaler does. The real one would take the second pod away again, when it has measured both.
    namespace.run("wait", "--for=create", "hpa/counted", "--timeout=180s", timeout=190)
    namespace.patch("hpa", "counted", {"spec": {"behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}})
    namespace.run("scale", "deployment", "counted", "--replicas=2")
    wait.until(namespace, KIND, "counted", lambda found: found["status"].get("readyReplicas") == 2)
    both = uids(pods(namespace, "counted"))
    with endpoints.watched(namespace, "counted") as seen:
        namespace.apply(deployment("counted", url("missing.tar.gz"), autoscaling=autoscaling))
        rolled_back(namespace, "counted", "FetchFailed", "404")
        wait.until(namespace, "deployment", "counted", lambda _: uids(pods(namespace, "counted")) == both)
    assert (namespace.get("deployment", "counted") or {})["spec"]["replicas"] == 2
    assert seen.served == both
