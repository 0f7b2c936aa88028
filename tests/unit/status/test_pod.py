"""A pod's JSON, as scheduler and kubelet write it, becomes a state and words that say what is wrong."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.api import PodState, Reason
from slipway.status.pod_facts import MESSAGE_LENGTH
from tests.kit.pod_json import (
    BACK_OFF,
    FETCHED,
    LATER,
    RUNNING,
    START,
    PodJson,
    ended,
    pod,
    serving,
    starting,
    waiting,
)


@pytest.mark.parametrize(
    ("built", "state"),
    [
        (pod(), PodState.PENDING),
        (pod().fetch(waiting("PodInitializing")).server(waiting("PodInitializing")), PodState.PENDING),
        (pod().fetch(RUNNING).server(waiting("PodInitializing")), PodState.FETCHING),
        (pod().fetched().server(waiting("PodInitializing")), PodState.LOADING),
        (starting(RUNNING), PodState.LOADING),
        (
            pod()
            .fetched()
            .server(RUNNING, started=True, ready=False)
            .condition("Ready", "False", lastTransitionTime=START),
            PodState.LOADING,
        ),
        (serving(ready=True), PodState.READY),
    ],
)
def test_the_good_way(built: PodJson, state: PodState) -> None:
    found = built.project()
    assert (found.state, found.reason, found.message, found.failed) == (state, None, "", False)
    assert (found.name, found.revision) == ("digits-x", 4)


def test_what_fetch_reported() -> None:
    found = serving(ready=True, restartCount=2).project()
    assert (found.model_version, found.digest, found.restarts) == (3, "sha256:" + "a" * 64, 2)
    assert found.ready


def test_going_away_hides_every_trouble() -> None:
    built = starting(BACK_OFF, ended())
    built.body["metadata"]["deletionTimestamp"] = LATER
    found = built.project()
    assert (found.state, found.reason, found.failed) == (PodState.TERMINATING, None, False)


SCHEDULER = "0/3 nodes are available: {}. preemption: 0/3 nodes are available: 3 No preemption victims found."


@pytest.mark.parametrize(
    ("built", "reason", "failed", "text"),
    [
        (pod().unschedulable(SCHEDULER.format("3 Insufficient cpu")), Reason.UNSCHEDULABLE, False, "0/3 nodes are available: 3 Insufficient cpu."),
        (pod().unschedulable("", "SchedulingGated"), Reason.UNSCHEDULABLE, False, "SchedulingGated"),
        (
            pod().gpu().unschedulable(SCHEDULER.format("1 Insufficient nvidia.com/gpu, 2 node(s) had untolerated taint")),
            Reason.GPU_UNAVAILABLE,
            False,
            "no GPU is free: 0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) had untolerated taint.",
        ),
        (pod().gpu("nvidia.com/mig-1g.10gb").unschedulable(SCHEDULER.format("1 Insufficient nvidia.com/mig-1g.10gb")), Reason.GPU_UNAVAILABLE, False, "no GPU is free"),
        (pod().gpu("amd.com/gpu").unschedulable(SCHEDULER.format("1 Insufficient amd.com/gpu")), Reason.GPU_UNAVAILABLE, False, "no GPU is free"),
        (
            pod().gpu(product="NVIDIA-H100").unschedulable(SCHEDULER.format("3 node(s) didn't match Pod's node affinity/selector")),
            Reason.GPU_UNAVAILABLE,
            True,
            "no node has this GPU (nvidia.com/gpu.product=NVIDIA-H100)",
        ),
        (
            pod().gpu(product="T4").unschedulable("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/1 nodes"),
            Reason.GPU_UNAVAILABLE,
            True,
            "affinity/selector.",
        ),
        (
            # A node has such a GPU, but it is taken: waiting may help.
            pod().gpu(product="NVIDIA-H100").unschedulable(SCHEDULER.format("1 Insufficient nvidia.com/gpu, 2 node(s) didn't match Pod's node affinity/selector")),
            Reason.GPU_UNAVAILABLE,
            False,
            "no GPU is free",
        ),
        (pod().unschedulable(SCHEDULER.format("3 node(s) didn't match Pod's node affinity/selector")), Reason.UNSCHEDULABLE, False, "didn't match"),
        (
            pod().selects(**{"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}).unschedulable(SCHEDULER.format("3 node(s) didn't match Pod's node affinity/selector")),
            Reason.UNSCHEDULABLE,
            False,
            "affinity/selector; the pod needs a node with kubernetes.io/os=linux, kubernetes.io/arch=amd64",
        ),
        (
            # The Windows nodes are not the cause: those that fit are full.
            pod().selects(**{"kubernetes.io/os": "linux"}).unschedulable(SCHEDULER.format("1 Insufficient cpu, 2 node(s) didn't match Pod's node affinity/selector")),
            Reason.UNSCHEDULABLE,
            False,
            "1 Insufficient cpu, 2 node(s) didn't match Pod's node affinity/selector.",
        ),
        (
            pod().unschedulable('0/1 nodes are available: persistentvolumeclaim "models" not found. preemption: 0/1'),
            Reason.VOLUME_NOT_FOUND,
            True,
            'PersistentVolumeClaim "models" does not exist in this namespace',
        ),
        (pod().unschedulable("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."), Reason.UNSCHEDULABLE, False, "unbound"),
    ],
)  # fmt: skip
def test_not_scheduled(built: PodJson, reason: Reason, failed: bool, text: str) -> None:  # noqa: FBT001
    found = built.project()
    assert (found.state, found.reason, found.failed) == (PodState.UNSCHEDULABLE, reason, failed)
    assert text in found.message
    assert "preemption" not in found.message
    assert "claims to deallocate" not in found.message


CAUSE = 'failed to resolve reference "docker.io/slipway/x:1": docker.io/slipway/x:1: not found'


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("ErrImagePull", f"rpc error: code = NotFound desc = {CAUSE}"),
        ("ErrImagePull", CAUSE),
        (
            "ImagePullBackOff",
            f'Back-off pulling image "img:1": ErrImagePull: rpc error: code = NotFound desc = {CAUSE}',
        ),
        ("ImagePullBackOff", f'Back-off pulling image "img:1": ErrImagePull: {CAUSE}'),
    ],
)
def test_an_image_that_cannot_be_pulled_is_reported_in_the_same_words_all_the_time(reason: str, message: str) -> None:
    for built in (
        pod().fetch(waiting(reason, message)).server(waiting("PodInitializing")),
        pod().fetched().server(waiting(reason, message)),
    ):
        found = built.project()
        assert (found.state, found.reason, found.failed) == (PodState.FAILED, Reason.IMAGE_PULL_FAILED, True)
        assert found.message == f'image "img:1" cannot be pulled: {CAUSE}'


def test_an_image_whose_name_is_none() -> None:
    found = pod().fetch(waiting("InvalidImageName", "couldn't parse image name")).project()
    assert (found.reason, found.message) == (
        Reason.IMAGE_PULL_FAILED,
        'image "img:1" cannot be pulled: couldn\'t parse image name',
    )


def test_an_image_of_an_injected_container() -> None:
    built = starting(RUNNING).container(
        "containerStatuses", "proxy", waiting("ImagePullBackOff", 'Back-off pulling image "img:1"')
    )
    found = built.project()
    assert (found.reason, found.message) == (
        Reason.IMAGE_PULL_FAILED,
        'image "img:1" cannot be pulled: ImagePullBackOff',
    )


def test_a_container_that_cannot_be_made() -> None:
    found = (
        pod()
        .fetch(waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"))
        .project()
    )
    assert (found.state, found.reason, found.failed) == (PodState.FAILED, Reason.CONTAINER_CONFIG_FAILED, True)
    assert found.message == "container fetch cannot be started: container has runAsNonRoot and image will run as root"


REFUSED = ended(
    1, "Error", json.dumps({"reason": "DigestMismatch", "message": "spec.model.digest is A, the model has B"})
)


@pytest.mark.parametrize(
    ("state", "last"), [(REFUSED, {}), (BACK_OFF, REFUSED), (RUNNING, REFUSED), (waiting("PodInitializing"), REFUSED)]
)
def test_a_rejected_download_stays_reported_while_it_is_tried_again(
    state: dict[str, Any], last: dict[str, Any]
) -> None:
    found = pod().fetch(state, lastState=last, restartCount=3).server(waiting("PodInitializing")).project()
    assert (found.state, found.reason, found.failed) == (PodState.FAILED, Reason.FETCH_FAILED, True)
    assert found.message == "DigestMismatch: spec.model.digest is A, the model has B"
    assert (found.digest, found.model_version, found.restarts) == (None, None, 0)


def test_a_download_that_went_well_at_last() -> None:
    found = pod().fetch(ended(0, "Completed", FETCHED), lastState=REFUSED).server(RUNNING, started=False).project()
    assert (found.state, found.reason, found.model_version) == (PodState.LOADING, None, 3)


@pytest.mark.parametrize(
    ("message", "text", "failed"),
    [
        (
            json.dumps({"reason": "SourceUnreachable", "message": "HOST does not answer"}),
            "SourceUnreachable: HOST does not answer",
            False,
        ),
        (json.dumps({"reason": "NoSpace", "message": "no space"}), "NoSpace: no space", False),
        ("Traceback: boom", "Traceback: boom", True),
        ("[1, 2]", "[1, 2]", True),
        (json.dumps({"reason": 5, "message": ["x"]}), '{"reason": 5, "message": ["x"]}', True),
        ("", "fetch exited with code 1", True),
    ],
)
def test_what_fetch_says(message: str, text: str, failed: bool) -> None:  # noqa: FBT001
    found = pod().fetch(BACK_OFF, lastState=ended(1, "Error", message)).project()
    assert (found.reason, found.message, found.failed) == (Reason.FETCH_FAILED, text, failed)


def test_fetch_without_enough_memory() -> None:
    found = pod().fetch(BACK_OFF, lastState=ended(137, "OOMKilled")).project()
    assert found.reason is Reason.OOM_KILLED
    assert "while fetching the model" in found.message


def test_an_injected_init_container() -> None:
    built = pod().container(
        "initContainerStatuses", "istio-init", BACK_OFF, lastState=ended(2, "Error", "iptables: no")
    )
    found = built.fetch(waiting("PodInitializing")).project()
    assert (found.reason, found.message) == (
        Reason.CRASH_LOOP,
        "init container istio-init exited with code 2: iptables: no",
    )


LOAD_ERROR = (
    "2026-11-22 08:00:00.000000: I external/org_tensorflow/reader.cc:83] Reading SavedModel from: /models/digits/1\n"
    "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: {{name: digits version: 1} "
    "due to error: NOT_FOUND: Could not find meta graph def matching supplied tags: { serve }}, }\n"
)


@pytest.mark.parametrize(
    ("state", "last"),
    [
        (ended(255, "Error", LOAD_ERROR), {}),
        (BACK_OFF, ended(255, "Error", LOAD_ERROR)),
        (RUNNING, ended(255, "Error", LOAD_ERROR)),
    ],
)
def test_a_model_that_does_not_load(state: dict[str, Any], last: dict[str, Any]) -> None:
    found = starting(state, last, restarts=1).project()
    assert (found.state, found.reason, found.failed, found.restarts) == (PodState.FAILED, Reason.LOAD_FAILED, True, 1)
    assert found.message.startswith(
        "the server could not load the model: UNKNOWN: 1 servable(s) did not become available"
    )
    assert "Reading SavedModel" not in found.message


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("x" * 3000 + " due to error: DATA_LOSS: end", "the server could not load the model: x"),
        ("due to error: DATA_LOSS: end", "the server could not load the model: due to error: DATA_LOSS: end"),
        ("", "the server exited with code 255"),
    ],
)
def test_an_error_whose_beginning_is_cut_off(message: str, text: str) -> None:
    found = starting(BACK_OFF, ended(255, "Error", message)).project()
    assert (found.reason, found.failed) == (Reason.LOAD_FAILED, True)
    assert found.message.startswith(text)
    assert not message or "end" in found.message[-4:]


@pytest.mark.parametrize("last", [ended(137, "OOMKilled"), ended(255, "OOMKilled", LOAD_ERROR)])
def test_too_little_memory_at_load(last: dict[str, Any]) -> None:
    found = starting(BACK_OFF, last).project()
    assert (found.state, found.reason, found.failed) == (PodState.FAILED, Reason.OOM_KILLED, True)


def test_too_little_memory_under_load() -> None:
    """The server was killed and comes up again: reported until it answers, then counted."""
    killed = pod().fetched().server(ended(137, "OOMKilled"), started=False, ready=False)
    assert killed.project().reason is Reason.OOM_KILLED
    assert starting(RUNNING, ended(137, "OOMKilled"), restarts=1).project().reason is Reason.OOM_KILLED
    again = serving(ready=True, lastState=ended(137, "OOMKilled"), restartCount=1).project()
    assert (again.state, again.reason, again.restarts) == (PodState.READY, None, 1)


@pytest.mark.parametrize(
    ("last", "text"),
    [
        (
            ended(134, "Error", "line 1\nF0000 check failed: x\n"),
            "the server exited with code 134: line 1 F0000 check failed: x",
        ),
        (ended(137, "Error"), "the server exited with code 137 (Error, killed)"),
        (ended(0, "Completed"), "the server exited with code 0"),
    ],
)
def test_a_server_that_exits(last: dict[str, Any], text: str) -> None:
    found = starting(BACK_OFF, last).project()
    assert (found.state, found.reason, found.message, found.failed) == (PodState.FAILED, Reason.CRASH_LOOP, text, True)


def test_a_node_that_came_back_is_no_fault_of_the_server() -> None:
    assert starting(RUNNING, ended(255, "Unknown"), restarts=1).project().state is PodState.LOADING


@pytest.mark.parametrize(
    ("built", "text"),
    [
        (serving(ready=False, ready_since=LATER), "the server has stopped answering its readiness probe"),
        (
            pod().fetched().server(RUNNING, started=True, ready=True).condition("Ready", "False", lastTransitionTime=LATER),
            "the server answers, but its node may be out of reach",
        ),
        (
            pod().fetched().server(RUNNING, started=True, ready=True).container("containerStatuses", "proxy", RUNNING, ready=False),
            "container proxy is not ready",
        ),
    ],
)  # fmt: skip
def test_unhealthy(built: PodJson, text: str) -> None:
    found = built.project()
    assert (found.state, found.reason, found.message, found.failed) == (
        PodState.UNHEALTHY,
        Reason.UNHEALTHY,
        text,
        False,
    )


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (
            {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."},
            "Evicted: The node was low on resource: memory.",
        ),
        ({"phase": "Failed", "reason": "UnexpectedAdmissionError"}, "UnexpectedAdmissionError"),
        ({"phase": "Succeeded"}, "the pod has terminated"),
    ],
)
def test_evicted(status: dict[str, str], text: str) -> None:
    built = serving(ready=True)
    built.body["status"] |= status
    found = built.project()
    # The Deployment has replaced it: nothing that stops a rollout.
    assert (found.state, found.reason, found.message, found.failed) == (PodState.FAILED, Reason.EVICTED, text, False)


def test_messages_are_one_line_and_bounded() -> None:
    found = starting(BACK_OFF, ended(1, "Error", "Failed to start server. Error: a\x00\x1bb" + "x" * 10**6)).project()
    assert len(found.message) <= MESSAGE_LENGTH
    assert found.message.isprintable()
    assert found.message.endswith("…")


def going(**fields: Any) -> PodJson:
    built = serving(ready=True)
    built.body["metadata"] |= {"deletionTimestamp": LATER, **fields}
    return built


def test_going_away_tells_until_when() -> None:
    found = going().project()
    assert (found.state, found.message) == (PodState.TERMINATING, f"its grace period ends at {LATER}")
    assert found.deletion_deadline == datetime(2026, 11, 22, 8, 5, tzinfo=UTC)
    assert serving(ready=True).project().deletion_deadline is None


def test_going_away_tells_what_holds_it() -> None:
    """A pod with a finalizer outlives its grace period, for as long as its owner likes."""
    assert going(finalizers=["example.com/a", "example.com/b"]).project().message == (
        f"its grace period ends at {LATER}; it stays until its finalizers are removed: example.com/a, example.com/b"
    )
    assert going(deletionTimestamp="odd", finalizers=["x/y"]).project().message == (
        "it stays until its finalizers are removed: x/y"
    )


def test_when_it_got_its_node() -> None:
    assert pod().condition("PodScheduled", "True", lastTransitionTime=START).project().scheduled_at == datetime(
        2026, 11, 22, 8, 0, tzinfo=UTC
    )
    assert pod().condition("PodScheduled", "False", lastTransitionTime=START).project().scheduled_at is None
    assert pod().condition("PodScheduled", "True", lastTransitionTime="2026-11-22").project().scheduled_at is None


@pytest.mark.parametrize(
    ("reason", "grace_seconds"),
    [("ErrImagePull", 20), ("ImagePullBackOff", 20), ("InvalidImageName", 0), ("ErrImageNeverPull", 0)],
)
def test_a_registry_may_be_out_of_reach_for_a_moment(reason: str, grace_seconds: int) -> None:
    found = pod().fetch(waiting(reason, "words")).project()
    assert (found.failed, found.grace_seconds) == (True, grace_seconds)


def test_restarts_are_those_of_the_container_in_trouble() -> None:
    built = pod().container("initContainerStatuses", "istio-init", BACK_OFF, lastState=ended(2), restartCount=4)
    assert built.fetch(waiting("PodInitializing")).project().restarts == 4


@pytest.mark.parametrize(
    ("message", "failed"),
    [
        ("container has runAsNonRoot and image will run as root", True),
        ("failed to sync configmap cache: timed out waiting for the condition", False),
        ("services have not yet been read at least once, cannot construct envvars", False),
        ("context deadline exceeded", False),
        ('failed to reserve container name "x": name "x" is reserved for "y"', False),
    ],
)
def test_a_kubelet_in_trouble_is_no_fault_of_the_revision(message: str, *, failed: bool) -> None:
    found = pod().fetch(waiting("CreateContainerConfigError", message)).project()
    assert (found.reason, found.failed, found.grace_seconds) == (Reason.CONTAINER_CONFIG_FAILED, failed, 20)
