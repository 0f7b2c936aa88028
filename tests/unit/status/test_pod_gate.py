"""What becomes of a pod with a gate: on its way to the verdict, in the prober's words, and out of service again."""

import json
from typing import Any

import pytest

from slipway.api import PodState, Reason
from tests.kit.pod_json import BACK_OFF, FETCHED, LATER, RUNNING, START, PodJson, ended, pod, starting, waiting

MUCH_LATER = "2026-11-22T09:00:00Z"
SAID = "accuracy of serving_default/probabilities is 0.41, and must be >=0.95 (200 examples)"
VERDICT = {"reason": "GateFailed", "message": SAID, "metric": "accuracy", "measured": 0.41, "bound": ">=0.95", "stage": "start"}  # fmt: skip
INVALID = {"reason": "GateInvalid", "message": "the golden set has no labels: add labels, or remove the bound of accuracy"}  # fmt: skip


def exited(verdict: dict[str, Any]) -> dict[str, Any]:
    return ended(1, "Error", json.dumps(verdict))


def gated(state: dict[str, Any], *, answers: bool = True, ready_since: str = START, **fields: Any) -> PodJson:
    """A pod whose model is fetched and whose server answers, or has yet to; `state` is the prober's."""
    built = pod().fetched().prober(state, **({"started": True, "ready": False} | fields))
    built.server(RUNNING, started=answers, ready=answers)
    return built.condition("Ready", "False", lastTransitionTime=ready_since)


def running(since: str = START) -> dict[str, Any]:
    return {"running": {"startedAt": since}}


@pytest.mark.parametrize(
    ("built", "state"),
    [
        (pod().fetch(RUNNING).prober(waiting("PodInitializing")), PodState.FETCHING),
        (pod().fetched().prober(waiting("PodInitializing")).server(waiting("PodInitializing")), PodState.LOADING),
        (pod().fetched().prober(RUNNING, started=True).server(waiting("PodInitializing")), PodState.LOADING),
        (gated(RUNNING, answers=False), PodState.LOADING),
        (gated(RUNNING), PodState.GATING),
        (gated(RUNNING, ready=True).condition("Ready", "True", lastTransitionTime=LATER), PodState.READY),
    ],
)
def test_the_good_way(built: PodJson, state: PodState) -> None:
    found = built.project()
    assert (found.state, found.reason, found.message, found.failed) == (state, None, "", False)


def test_a_server_that_has_not_been_probed_for_readiness_yet_still_loads() -> None:
    built = gated(RUNNING, answers=False)
    built.body["status"]["containerStatuses"][0]["started"] = True
    assert built.project().state is PodState.LOADING


@pytest.mark.parametrize(
    ("verdict", "reason", "words"),
    [(VERDICT, Reason.GATE_FAILED, SAID), (INVALID, Reason.GATE_INVALID, INVALID["message"])],
)
@pytest.mark.parametrize("answers", [True, False])
def test_a_verdict_stays_reported_while_the_prober_tries_again(
    verdict: dict[str, Any], reason: Reason, words: str, *, answers: bool
) -> None:
    for built in (
        gated(exited(verdict), answers=answers, started=False),
        gated(BACK_OFF, answers=answers, started=False, lastState=exited(verdict), restartCount=3),
        gated(running(LATER), answers=answers, lastState=exited(verdict), restartCount=4),
    ):
        found = built.project()
        assert (found.state, found.reason, found.message, found.failed) == (PodState.FAILED, reason, words, True)


def test_a_verdict_is_over_when_the_pod_is_ready() -> None:
    found = gated(running(LATER), ready=True, lastState=exited(VERDICT), restartCount=1)
    found.condition("Ready", "True", lastTransitionTime=LATER)
    assert (found.project().state, found.project().reason) == (PodState.READY, None)


def test_a_verdict_of_long_ago_is_not_reported_again() -> None:
    """The pod has been ready since: what is wrong now is something else."""
    found = gated(running(START), ready_since=MUCH_LATER, lastState=exited(VERDICT), restartCount=1).project()
    assert (found.state, found.reason, found.failed) == (PodState.UNHEALTHY, Reason.UNHEALTHY, False)
    assert found.message == "the server has stopped answering the prober's requests"


def test_wrong_answers_while_serving() -> None:
    """The pod was ready for an hour, the prober has just ended: the container is restarted a moment after Ready fell."""
    late = exited(VERDICT | {"stage": "serving"})
    for built in (
        gated(late, ready_since=MUCH_LATER, started=False),
        gated(BACK_OFF, ready_since=MUCH_LATER, started=False, lastState=late),
        gated(running(MUCH_LATER), ready_since=MUCH_LATER, lastState=late),
    ):
        found = built.project()
        assert (found.state, found.reason, found.message) == (PodState.FAILED, Reason.GATE_FAILED, SAID)


def test_a_server_that_ended_is_reported_before_the_prober_that_misses_it() -> None:
    built = starting(BACK_OFF, ended(137, "OOMKilled"), restarts=2)
    built.prober(RUNNING, started=True, ready=False, lastState=exited(VERDICT))
    assert built.project().reason is Reason.OOM_KILLED


def test_a_server_that_stopped_answering_is_reported_whatever_the_prober_says() -> None:
    built = gated(RUNNING, answers=False, ready_since=LATER)
    built.body["status"]["containerStatuses"][0]["started"] = True
    found = built.project()
    assert (found.reason, found.message) == (Reason.UNHEALTHY, "the server has stopped answering its readiness probe")


def test_everybody_answers_and_the_node_is_gone() -> None:
    found = gated(RUNNING, ready=True, ready_since=LATER).project()
    assert found.message == "the server answers, but its node may be out of reach"


def test_a_prober_without_enough_memory() -> None:
    found = gated(BACK_OFF, started=False, lastState=ended(137, "OOMKilled")).project()
    assert (found.state, found.reason, found.failed) == (PodState.FAILED, Reason.OOM_KILLED, True)
    assert "while checking the golden set" in found.message


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (ended(1, "Error", "Traceback: boom"), "the prober exited with code 1: Traceback: boom"),
        (ended(139, "Error"), "the prober exited with code 139"),
        (ended(0, "Completed"), "the prober exited with code 0"),
        (ended(1, "Error", "[1]"), "the prober exited with code 1: [1]"),
        (ended(1, "Error", '{"reason": "GateFailed"}'), 'the prober exited with code 1: {"reason": "GateFailed"}'),
        (ended(1, "Error", '{"reason": 5, "message": "x"}'), 'the prober exited with code 1: {"reason": 5, "message": "x"}'),
        (ended(1, "Error", '{"reason": ["GateFailed"], "message": "x"}'), 'the prober exited with code 1: {"reason": ["GateFailed"], "message": "x"}'),
    ],
)  # fmt: skip
def test_a_prober_that_ends_without_a_verdict(last: dict[str, Any], words: str) -> None:
    found = gated(BACK_OFF, started=False, lastState=last, restartCount=5).project()
    assert (found.state, found.reason, found.message, found.failed) == (PodState.FAILED, Reason.CRASH_LOOP, words, True)
    assert found.restarts == 5, "of the container in trouble"


def test_a_prober_that_the_kubelet_killed_is_no_fault_of_the_model() -> None:
    """Its liveness probe was not answered on a busy node: the deadline decides, not the second kill."""
    found = pod().fetched().prober(BACK_OFF, lastState=ended(137, "Error"), restartCount=3).project()
    assert (found.reason, found.failed) == (Reason.CRASH_LOOP, False)


def test_a_node_that_came_back_is_no_fault_of_the_prober() -> None:
    assert gated(RUNNING, lastState=ended(255, "Unknown"), restartCount=1).project().state is PodState.GATING


def test_a_prober_whose_image_cannot_be_pulled_or_whose_container_cannot_be_made() -> None:
    missing = pod().fetched().prober(waiting("ErrImagePull", "not found")).server(waiting("PodInitializing"))
    assert missing.project().reason is Reason.IMAGE_PULL_FAILED
    unmade = pod().fetched().prober(waiting("CreateContainerError", "no space")).server(waiting("PodInitializing"))
    assert unmade.project().message == "container prober cannot be started: no space"


@pytest.mark.parametrize(
    ("reason", "failed"),
    [
        ("GoldenNotFound", True),
        ("GoldenForbidden", True),
        ("GoldenTooLarge", True),
        ("GoldenDigestMismatch", True),
        ("GoldenUnreachable", False),
    ],
)
def test_a_golden_set_that_fetch_could_not_bring(reason: str, *, failed: bool) -> None:
    message = json.dumps({"reason": reason, "message": "ConfigMap set does not exist: create it"})
    found = pod().fetch(BACK_OFF, lastState=ended(1, "Error", message)).prober(waiting("PodInitializing")).project()
    assert (found.state, found.reason, found.failed) == (PodState.FAILED, Reason.GATE_INVALID, failed)
    assert found.message == f"{reason}: ConfigMap set does not exist: create it"


def test_a_source_that_changed_after_the_revision_was_made() -> None:
    message = json.dumps({"reason": "SourceChanged", "message": "the source has sha256:B, revision 3 serves sha256:A"})
    found = pod().fetch(BACK_OFF, lastState=ended(1, "Error", message)).project()
    assert (found.reason, found.failed) == (Reason.FETCH_FAILED, True)


def test_what_fetch_reported_is_reported_while_the_gate_looks() -> None:
    found = gated(RUNNING).project()
    assert (found.model_version, found.digest) == (3, json.loads(FETCHED)["digest"])
