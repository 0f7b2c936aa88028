"""What the status says, by situation; when it changes, and what is status besides."""

import itertools
import json
from typing import Any

import pytest

from slipway.api import ModelDeploymentStatus, PodState, Reason
from slipway.domain.objects import Manifest, Pod, Ref, Rejection
from slipway.status import transitions
from slipway.status.report import MAX_PODS
from tests.kit.builders import Model, World, a_pod, condition, in_trouble, served


def facts(status: Manifest) -> dict[str, tuple[str, str]]:
    return {item["type"]: (item["status"], item["reason"]) for item in status["conditions"]}


def valid(status: Manifest) -> None:
    """The status is what the CRD describes, written as its types write it."""
    typed = ModelDeploymentStatus.model_validate(status)
    assert typed.model_dump(mode="json", by_alias=True, exclude_none=True) == status


def rolling(model: Model | None = None, **numbers: int) -> World:
    """Revision 1 serves, revision 2 is on its way."""
    world = served(model or Model().replicas(2))
    world.change(model={"uri": "pvc://models/better"}).settle()
    generation = world.deployment["metadata"]["generation"]
    world.numbers(
        **({"observedGeneration": generation, "replicas": 3, "updatedReplicas": 1, "readyReplicas": 2} | numbers)
    )
    return world


def with_pods(world: World, *pods: Pod) -> World:
    world.pods = pods
    return world


OVERDUE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}


def overdue(world: World) -> World:
    world.write_status()
    world.later(600)
    world.deployment["status"]["conditions"][1] = OVERDUE
    return world


# The good way


def test_a_first_creation() -> None:
    world = World(Model())
    for action in world.plan().actions:
        world.act(action)
    before = world.write_status()
    valid(before)
    assert facts(before) == {
        "Ready": ("False", "RollingOut"),
        "Available": ("False", "NotAvailable"),
        "Progressing": ("True", "RollingOut"),
        "RolledBack": ("False", "NotRolledBack"),
    }
    assert before["history"][0] | {"lastTransitionTime": None, "startTime": None} == {
        "revision": 1,
        "uri": "pvc://models/digits",
        "image": "tensorflow/serving:2.20.0",
        "verdict": "Progressing",
        "reason": "",
        "message": "",
        "startTime": None,
        "lastTransitionTime": None,
    }
    world.settle()
    world.roll_out(ready=False)
    assert facts(world.write_status()) == facts(before)
    world.roll_out()
    after = world.write_status()
    valid(after)
    assert facts(after) == {
        "Ready": ("True", "Ready"),
        "Available": ("True", "Available"),
        "Progressing": ("False", "Complete"),
        "RolledBack": ("False", "NotRolledBack"),
    }
    assert (after["currentRevision"], after["targetRevision"]) == (1, 1)
    assert (after["updateRevision"], after["modelVersion"], after["digest"]) == (1, 3, "sha256:" + "a" * 64)
    assert (after["replicas"], after["readyReplicas"], after["updatedReplicas"]) == (1, 1, 1)
    assert after["history"][0]["verdict"] == "Ready"
    assert transitions.events({}, before) == transitions.events(before, after) == ()


def test_endpoints_and_selector() -> None:
    status = served(Model()).write_status()
    assert status["endpoints"] == {
        "grpc": "digits.team-a.svc:8500",
        "rest": "http://digits.team-a.svc:8501/v1/models/digits",
        "headless": "dns:///digits-headless.team-a.svc:8500",
    }
    assert status["selector"] == "serving.slipway.dev/name=digits"


def rest(status: Manifest) -> str:
    url = status["endpoints"]["rest"]
    assert isinstance(url, str)
    return url.removeprefix("http://digits.team-a.svc:8501/v1/models/")


@pytest.mark.parametrize(
    ("name", "in_url"),
    [("half_plus_two", "half_plus_two"), ("Res Net$(50)", "Res%20Net%24%2850%29"), ("a?b#c%d", "a%3Fb%23c%25d")],
)
def test_the_endpoint_has_the_served_name(name: str, in_url: str) -> None:
    assert rest(served(Model().spec(runtime={"modelName": name})).write_status()) == in_url


def test_the_endpoint_has_the_name_that_the_target_revision_serves() -> None:
    world = served(Model())
    world.change(runtime={"modelName": "ResNet50"}).settle()
    assert rest(world.write_status()) == "ResNet50"
    world.change(pinnedRevision=1).settle()
    assert rest(world.write_status()) == "digits"


def test_nothing_happens_and_nothing_changes() -> None:
    world = served(Model().replicas(2))
    first = world.write_status()
    world.pods = world.pods[::-1]
    assert world.later(10**6).write_status() == first


def test_a_transition_time_moves_only_when_its_condition_flips() -> None:
    world = served(Model())
    first = {item["type"]: item["lastTransitionTime"] for item in world.write_status()["conditions"]}
    world.later().change(rollout={"revisionHistoryLimit": 3})  # another generation, the same answers
    status = world.write_status()
    assert {item["type"]: item["lastTransitionTime"] for item in status["conditions"]} == first
    assert {item["observedGeneration"] for item in status["conditions"]} == {2} == {status["observedGeneration"]}
    world.later().numbers(readyReplicas=0, availableReplicas=0)
    now = {item["type"]: item["lastTransitionTime"] for item in world.write_status()["conditions"]}
    assert now["Ready"] == "2026-11-22T08:02:00Z" != first["Ready"]
    assert now["Available"] == first["Available"]  # the Deployment still calls itself available


# Ready


def test_ready_is_never_true_for_an_older_generation() -> None:
    world = served(Model())
    world.deployment["metadata"]["generation"] += 1  # applied, and the Deployment controller has yet to look
    assert facts(world.write_status())["Ready"] == ("False", "Scaling")
    world.change(model={"uri": "pvc://models/better"})
    status = world.write_status()  # plan, not applied yet
    assert facts(status)["Ready"] == ("False", "RollingOut")
    assert (status["updateRevision"], status["observedGeneration"]) == (2, 2)


@pytest.mark.parametrize(
    "numbers",
    [
        {"replicas": 3},  # an old pod remains
        {"updatedReplicas": 1},
        {"readyReplicas": 1},
        {"availableReplicas": 1},
        {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1},
    ],
)
def test_ready_needs_every_pod(numbers: dict[str, int]) -> None:
    assert facts(served(Model().replicas(2)).numbers(**numbers).write_status())["Ready"][0] == "False"


def test_scaled_to_zero() -> None:
    world = served(Model().replicas(0))
    status = world.write_status()
    valid(status)
    assert facts(status) == {
        "Ready": ("True", "ScaledToZero"),
        "Available": ("True", "ScaledToZero"),
        "Progressing": ("False", "Complete"),
        "RolledBack": ("False", "NotRolledBack"),
    }
    assert "currentRevision" not in status, "nothing has been served"
    assert status["pods"] == []


def test_the_digest_is_remembered_when_no_pod_is_there_to_tell_it() -> None:
    world = served(Model())
    world.change(replicas=0).settle()
    world.roll_out()
    assert world.write_status()["digest"] == "sha256:" + "a" * 64


def test_pods_that_do_not_serve_the_same_are_reported() -> None:
    world = served(Model().replicas(2))
    world.pods = tuple(a_pod(f"p{index}", digest=f"sha256:{index}") for index in range(2))
    status = world.write_status()
    assert condition(status, "Ready")[0] == "True"
    assert condition(status, "Ready")[2].endswith("kubectl delete pod -n team-a p0 p1")
    del world.children[Ref("ConfigMap", "digits-1-7f0c2c9e")]  # a revision of a release that knew no pins
    assert condition(world.write_status(), "Ready")[2].endswith("set spec.model.version or spec.model.digest")


def test_scaling() -> None:
    world = served(Model().replicas(1))
    world.change(replicas=3).settle()
    world.numbers(observedGeneration=world.deployment["metadata"]["generation"], replicas=3, updatedReplicas=3)
    status = world.write_status()
    assert (facts(status)["Ready"], facts(status)["Progressing"]) == (("False", "Scaling"), ("True", "Scaling"))
    assert condition(status, "Ready")[2] == "Revision 1: 3 of 3 pods updated, 1 ready"
    assert status["history"][0]["verdict"] == "Ready"


def test_a_rollout_counts_its_pods() -> None:
    status = rolling().write_status()
    assert condition(status, "Progressing") == (
        "True",
        "RollingOut",
        "Revision 2: 1 of 2 pods updated, 2 ready in all, 2 of an older revision",
    )
    assert facts(status)["Available"] == ("True", "Available")
    assert [(entry["revision"], entry["verdict"]) for entry in status["history"]] == [
        (2, "Progressing"),
        (1, "Ready"),
    ]


def test_terminating_first() -> None:
    world = rolling(Model().gpu().replicas(1), replicas=2)
    waits = a_pod("new", 2, PodState.UNSCHEDULABLE, reason=Reason.GPU_UNAVAILABLE, message="no GPU is free: 0/1")
    with_pods(world, a_pod("old", 1), waits)
    old = world.body["status"]
    status = world.write_status()
    assert condition(status, "Progressing")[:2] == ("True", "TerminatingFirst")
    assert condition(status, "Ready")[:2] == ("False", "GpuUnavailable")
    assert "TerminateFirst" not in condition(status, "Ready")[2]  # it is done already
    assert [(event.type, event.reason) for event in transitions.events(old, status)] == [
        ("Warning", "GpuUnavailable"),
        ("Normal", "TerminatingFirst"),
    ]


def test_terminating_first_is_reported_until_the_old_pod_is_gone() -> None:
    """Going away it still holds its GPU, for as long as its grace period lasts."""
    world = rolling(Model().gpu().rollout(strategy="TerminateFirst").replicas(1), replicas=1, readyReplicas=0)
    waits = a_pod("new", 2, PodState.UNSCHEDULABLE, reason=Reason.GPU_UNAVAILABLE, message="no GPU is free: 0/1")
    with_pods(world, a_pod("old", 1, PodState.TERMINATING), waits)
    assert facts(world.write_status())["Progressing"] == ("True", "TerminatingFirst")
    world.pods = (a_pod("new", 2, PodState.LOADING),)
    assert facts(world.write_status())["Progressing"] == ("True", "RollingOut")


def test_a_first_rollout_terminates_nothing() -> None:
    world = World(Model().rollout(strategy="TerminateFirst"))
    world.settle()
    world.roll_out(ready=False)
    assert facts(world.write_status())["Progressing"] == ("True", "RollingOut")


# Trouble


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        (Reason.IMAGE_PULL_FAILED, "spec.podTemplate.imagePullSecrets"),
        (Reason.CONTAINER_CONFIG_FAILED, ""),
        (Reason.FETCH_FAILED, ""),
        (Reason.LOAD_FAILED, "kubectl logs -n team-a new -c server --previous"),
        (Reason.OOM_KILLED, "raise spec.resources.limits.memory"),
        (Reason.CRASH_LOOP, "kubectl logs -n team-a new -c server --previous"),
    ],
)
def test_a_new_revision_fails_while_the_old_one_serves(reason: Reason, advice: str) -> None:
    pod = in_trouble(reason, "its own words", name="new", revision=2, restarts=2)
    world = with_pods(rolling(), a_pod("old", 1), pod)
    status = world.write_status()
    valid(status)
    assert condition(status, "Ready")[:2] == ("False", str(reason))
    assert condition(status, "Ready")[2].startswith("Pod new: its own words")
    assert advice in condition(status, "Ready")[2]
    assert condition(status, "Available")[:2] == ("True", "Available")
    assert condition(status, "Progressing")[:2] == ("False", str(reason))
    assert status["history"][0] | {"lastTransitionTime": ""} == status["history"][0] | {
        "verdict": "Failed",
        "reason": str(reason),
        "message": condition(status, "Ready")[2],
        "lastTransitionTime": "",
    }
    assert status["history"][1]["verdict"] == "Ready"
    assert status["pods"][0]["name"] == "new"


@pytest.mark.parametrize(
    ("message", "container"),
    [
        ("the server exited with code 132", "server"),
        ("the prober exited with code 1: Traceback", "prober"),
        ("init container wait-for-vault exited with code 1", "wait-for-vault"),
        ("no container is named here", "server"),
    ],
)
def test_the_log_that_is_advised_is_that_of_the_container_that_failed(message: str, container: str) -> None:
    pod = in_trouble(Reason.CRASH_LOOP, message, name="new", revision=2, restarts=2)
    status = with_pods(rolling(), a_pod("old", 1), pod).write_status()
    assert condition(status, "Ready")[2].endswith(f"(see kubectl logs -n team-a new -c {container} --previous)")


@pytest.mark.parametrize(
    "reason", [Reason.UNSCHEDULABLE, Reason.GPU_UNAVAILABLE, Reason.FETCH_FAILED, Reason.UNHEALTHY]
)
def test_trouble_that_may_pass_does_not_end_the_rollout(reason: Reason) -> None:
    pod = a_pod("new", 2, PodState.UNSCHEDULABLE, reason=reason, message="words")
    status = with_pods(rolling(), a_pod("old", 1), pod).write_status()
    assert condition(status, "Ready")[:2] == ("False", str(reason))
    assert condition(status, "Progressing")[:2] == ("True", "RollingOut")
    assert status["history"][0]["verdict"] == "Progressing"


def test_trouble_that_has_not_passed_in_time() -> None:
    pod = a_pod("new", 2, PodState.UNSCHEDULABLE, reason=Reason.UNSCHEDULABLE, message="0/3 nodes")
    status = with_pods(overdue(rolling()), pod).write_status()
    assert condition(status, "Progressing")[:2] == ("False", "Unschedulable")
    assert status["history"][0]["verdict"] == "Failed"


def test_the_stable_revision_does_not_get_its_pods_back() -> None:
    world = overdue(served(Model().replicas(2)).numbers(readyReplicas=1, availableReplicas=1))
    status = world.write_status()
    assert facts(status)["Progressing"] == ("False", "ProgressDeadlineExceeded")
    assert status["history"][0]["verdict"] == "Ready"


def test_no_progress_and_nobody_says_why() -> None:
    status = overdue(rolling()).write_status()
    assert facts(status)["Ready"] == facts(status)["Progressing"] == ("False", "ProgressDeadlineExceeded")
    assert "spec.rollout.progressDeadline" in condition(status, "Ready")[2]
    assert status["history"][0]["verdict"] == "Failed"


NO_ROOM = 'pods "digits-1-x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2'
NOT_ALLOWED = 'pods "digits-1-x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'


@pytest.mark.parametrize(("words", "reason"), [(NO_ROOM, "QuotaExceeded"), (NOT_ALLOWED, "ApplyFailed")])
def test_pods_that_may_not_be_made(words: str, reason: str) -> None:
    """No pod can tell of it: the words are in the Deployment alone."""
    world = rolling(updatedReplicas=0, replicas=2)
    world.deployment["status"]["conditions"].append(
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": words}
    )
    status = world.write_status()
    assert condition(status, "Ready")[:2] == ("False", reason)
    assert condition(status, "Ready")[2].startswith("A pod cannot be created: " + words.partition("forbidden: ")[2])
    assert status["history"][0]["verdict"] == "Progressing", "room may come until the deadline"
    status = overdue(world).write_status()
    assert facts(status)["Progressing"] == ("False", reason)
    assert (status["history"][0]["verdict"], status["history"][0]["reason"]) == ("Failed", reason)


BOTH_VALUES = "modelPods.fetchResources and modelPods.proberResources"
FETCH, PROBER = "spec.podTemplate.fetchResources (fetch)", "spec.podTemplate.proberResources (prober)"


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (
            "failed quota: team: must specify limits.cpu for: fetch,prober,server; requests.cpu for: server",
            f"(set spec.resources (server) and {FETCH} and {PROBER}; for all models, the chart's {BOTH_VALUES})",
        ),
        (
            "failed quota: team: must specify limits.cpu for: prober",
            f"(set {PROBER}; for all models, the chart's modelPods.proberResources)",
        ),
        ("failed quota: team: must specify limits.cpu for: server", "(set spec.resources (server))"),
        # An injected sidecar: it is not ours, and neither is the place where it is set.
        ("failed quota: team: must specify limits.cpu for: istio-proxy", "for: istio-proxy"),
        ("[minimum cpu usage per Container is 50m, but request is 10m]", f"{FETCH} and {PROBER}; for all models"),
        ("maximum memory usage per Container is 128Mi, but limit is 256Mi", f"{FETCH} and {PROBER}; for all models"),
        ("memory max limit to request ratio per Container is 2, but provided ratio is 4.000000", f"{PROBER}; for all"),
    ],
)
def test_a_pod_that_may_not_be_made_for_its_resources_says_where_they_are_set(words: str, advice: str) -> None:
    world = rolling(updatedReplicas=0, replicas=2)
    message = f'pods "digits-1-x" is forbidden: {words}'
    world.deployment["status"]["conditions"].append(
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    )
    reason, found = condition(world.write_status(), "Ready")[1:]
    assert reason == "ApplyFailed"
    assert found.startswith(f"A pod cannot be created: {words}")
    assert advice in found
    assert ("set " in found) == ("istio" not in found)


@pytest.mark.parametrize(
    ("doing", "field"),
    [
        ("fetching the model", "spec.podTemplate.fetchResources.limits.memory"),
        ("loading or serving the model", "spec.resources.limits.memory"),
        ("checking the golden set", "spec.podTemplate.proberResources.limits.memory"),
    ],
)
def test_each_container_has_memory_of_its_own(doing: str, field: str) -> None:
    killed = in_trouble(
        Reason.OOM_KILLED,
        f"a container was killed for exceeding its memory limit while {doing}",
        name="new",
        revision=2,
    )
    assert (
        condition(with_pods(rolling(), killed).write_status(), "Ready")[2]
        .partition(". ")[0]
        .endswith(f"(raise {field})")
    )


def test_pods_that_could_be_made_after_all() -> None:
    world = rolling()
    world.deployment["status"]["conditions"].append(
        {"type": "ReplicaFailure", "status": "False", "reason": "FailedCreate", "message": NO_ROOM}
    )
    assert facts(world.write_status())["Ready"] == ("False", "RollingOut")


def test_a_gpu_that_no_node_has_is_not_freed_by_anybody() -> None:
    waits = a_pod(
        "new", 2, PodState.UNSCHEDULABLE, reason=Reason.GPU_UNAVAILABLE, message="no node has this GPU", failed=True
    )
    status = with_pods(rolling(), waits).write_status()
    assert condition(status, "Ready")[2].endswith("(correct spec.gpu, or add a node with such a GPU)")


def test_a_pod_that_fits_no_node_is_told_which_field_decides() -> None:
    words = "0/3 nodes are available: 3 node(s) didn't match; the pod needs a node with kubernetes.io/os=linux"
    waits = a_pod("new", 2, PodState.UNSCHEDULABLE, reason=Reason.UNSCHEDULABLE, message=words)
    status = with_pods(rolling(), waits).write_status()
    assert condition(status, "Ready")[2].endswith("(add such a node, or correct spec.podTemplate.nodeSelector)")


def test_trouble_of_an_old_pod_is_not_that_of_the_new_revision() -> None:
    status = with_pods(rolling(), in_trouble(Reason.CRASH_LOOP, name="old", revision=1)).write_status()
    assert facts(status)["Ready"] == ("False", "RollingOut")
    assert status["pods"][0]["reason"] == "CrashLoopBackOff"


def test_an_evicted_pod_is_listed_and_troubles_nobody() -> None:
    world = served(Model())
    world.pods = (*world.pods, in_trouble(Reason.EVICTED, failed=False, name="evicted"))
    assert facts(world.write_status())["Ready"] == ("True", "Ready")
    assert world.write_status()["pods"][0] | {"message": ""} == {
        "name": "evicted",
        "revision": 1,
        "state": "Failed",
        "reason": "Evicted",
        "message": "",
        "restarts": 0,
    }


def test_the_worst_pod_speaks() -> None:
    passing = a_pod("a", 2, PodState.UNSCHEDULABLE, reason=Reason.UNSCHEDULABLE, message="waits")
    status = with_pods(
        rolling(), passing, in_trouble(Reason.LOAD_FAILED, "broken", name="z", revision=2)
    ).write_status()
    assert condition(status, "Ready")[1] == "LoadFailed"
    assert [pod["name"] for pod in status["pods"]] == ["z", "a"]


def test_a_gpu_that_is_not_free_comes_with_what_can_be_done() -> None:
    world = rolling(Model().gpu().rollout(strategy="Surge").replicas(1), replicas=2)
    waits = a_pod("new", 2, PodState.UNSCHEDULABLE, reason=Reason.GPU_UNAVAILABLE, message="no GPU is free: 0/1")
    status = with_pods(world, a_pod("old", 1), waits).write_status()
    assert "spec.rollout.strategy: TerminateFirst" in condition(status, "Ready")[2]


@pytest.mark.parametrize(
    "fields", [{"model": {"uri": "ftp://x"}, "replicas": "two"}, {"runtime": {"args": {"no_such": "1"}}}]
)
def test_an_invalid_spec(fields: dict[str, Any]) -> None:
    world = served(Model())
    before = world.write_status()
    status = world.change(**fields).write_status()
    valid(status)
    ready = condition(status, "Ready")
    assert ready[:2] == ("False", "InvalidSpec" if "model" in fields else "UnknownFlag")
    assert all(f"spec.{field}" in ready[2] for field in fields)
    assert facts(status)["Available"] == ("True", "Available")
    assert facts(status)["Progressing"][0] == "False"
    assert status["observedGeneration"] == 2
    for field in ("updateRevision", "modelVersion", "digest", "endpoints", "history", "readyReplicas", "pods"):
        assert status[field] == before[field]  # what is served goes on
    assert [event.type for event in transitions.events(before, status)] == ["Warning"]


def test_an_invalid_spec_from_the_start() -> None:
    status = World(Model(uri="ftp://x")).write_status()
    valid(status)
    assert facts(status) == {
        "Ready": ("False", "InvalidSpec"),
        "Available": ("False", "NotAvailable"),
        "Progressing": ("False", "InvalidSpec"),
        "RolledBack": ("False", "NotRolledBack"),
    }
    assert "updateRevision" not in status
    assert "endpoints" not in status


def test_a_refused_apply() -> None:
    world = World(Model())
    world.act(world.plan().actions[0])
    world.rejections = (Rejection(Ref("Deployment", "digits"), Reason.QUOTA_EXCEEDED, "exceeded quota: small"),)
    status = world.write_status()
    assert condition(status, "Ready") == (
        "False",
        "QuotaExceeded",
        "Deployment digits could not be applied: exceeded quota: small",
    )
    assert status["history"][0]["verdict"] == "Progressing"


def test_a_name_conflict() -> None:
    world = World(Model())
    world.children[Ref("Deployment", "digits")] = {"kind": "Deployment", "metadata": {"name": "digits", "uid": "x"}}
    assert facts(world.write_status())["Ready"] == ("False", "NameConflict")


# History


def test_verdicts_are_carried_over() -> None:
    world = with_pods(rolling(), in_trouble(Reason.LOAD_FAILED, "broken", name="new", revision=2))
    failed = world.write_status()["history"][0]
    world.later().change(model={"uri": "pvc://models/third"}).settle()
    status = world.write_status()
    assert [(entry["revision"], entry["verdict"]) for entry in status["history"]] == [
        (3, "Progressing"),
        (2, "Failed"),
        (1, "Ready"),
    ]
    assert status["history"][1] == failed
    world.later().change(model={"uri": "pvc://models/fourth"}).settle()
    assert [entry["verdict"] for entry in world.write_status()["history"]] == [
        "Progressing",
        "Superseded",
        "Failed",
        "Ready",
    ]


def test_a_revision_that_failed_at_first_and_came_up_at_last() -> None:
    world = with_pods(rolling(), in_trouble(Reason.FETCH_FAILED, name="new", revision=2))
    assert world.write_status()["history"][0]["verdict"] == "Failed"
    world.pods = (a_pod("new", 2, PodState.LOADING),)
    assert world.write_status()["history"][0]["verdict"] == "Failed"  # until it is Ready
    world.later().roll_out()
    entry = world.write_status()["history"][0]
    assert (entry["verdict"], entry["reason"], entry["lastTransitionTime"]) == ("Ready", "", "2026-11-22T08:01:00Z")


def test_once_ready_stays_ready() -> None:
    world = served(Model())
    world.numbers(readyReplicas=0, availableReplicas=0)
    world.pods = (in_trouble(Reason.OOM_KILLED),)
    status = world.write_status()
    assert (facts(status)["Ready"][1], status["history"][0]["verdict"]) == ("OOMKilled", "Ready")


def test_history_is_as_long_as_the_limit_says() -> None:
    world = served(Model().rollout(revisionHistoryLimit=2))
    for number in range(2, 5):
        world.change(model={"uri": f"pvc://models/{number}"}).settle()
        world.roll_out()
        planned = world.plan()
        status = world.write_status(planned)
        for action in planned.actions:
            world.act(action)
        assert world.write_status() == status  # what is about to go is not status any more
    assert [entry["revision"] for entry in status["history"]] == [4, 3]


# Events and urgency


def test_the_end_of_trouble_is_told() -> None:
    world = with_pods(rolling(), in_trouble(Reason.FETCH_FAILED, name="new", revision=2))
    trouble = world.write_status()
    world.roll_out()
    well = world.write_status()
    assert [(event.type, event.reason) for event in transitions.events(trouble, well)] == [("Normal", "Ready")]
    assert transitions.events(trouble, trouble) == ()


def test_a_rollout_that_goes_well_is_not_told() -> None:
    world = rolling()
    steps = [world.body["status"], world.write_status(), world.roll_out().write_status()]
    assert [transitions.events(*pair) for pair in itertools.pairwise(steps)] == [(), ()]


def test_what_may_wait_and_what_may_not() -> None:
    world = World(Model().replicas(2))
    world.settle()
    first = world.write_status()
    world.roll_out(ready=False)
    second = world.write_status()
    assert second != first
    assert not transitions.urgent(first, second)  # pods have come: may be merged with what follows
    assert transitions.urgent({}, first)
    world.pods = (in_trouble(Reason.IMAGE_PULL_FAILED), *world.pods[1:])
    assert transitions.urgent(second, world.write_status())
    world.roll_out()
    assert transitions.urgent(second, third := world.write_status())
    world.change(rollout={"revisionHistoryLimit": 3})
    assert transitions.urgent(third, world.write_status())


def test_failed_pods_that_go_may_wait_and_new_trouble_may_not() -> None:
    one, two = (in_trouble(Reason.FETCH_FAILED, name=name, revision=2) for name in ("one", "two"))
    both, first, none = (with_pods(rolling(), *pods).write_status() for pods in ((one, two), (one,), ()))
    without = none | {"conditions": both["conditions"], "history": both["history"]}
    assert not transitions.urgent(both, first)
    assert not transitions.urgent(both, without)
    assert transitions.urgent(first, both)
    assert transitions.urgent(without, both)


def test_counts_alone_may_wait() -> None:
    status = served(Model()).write_status()
    other = json.loads(json.dumps(status)) | {"readyReplicas": 7}
    assert not transitions.urgent(status, other)


# Bounds


def test_at_most_fifty_pods_and_those_in_trouble_first() -> None:
    world = served(Model())
    world.pods = (*tuple(a_pod(f"p{index:03}") for index in range(200)), in_trouble(Reason.UNHEALTHY, name="z"))
    status = world.write_status()
    valid(status)
    assert len(status["pods"]) == MAX_PODS
    assert [pod["name"] for pod in status["pods"][:2]] == ["z", "p000"]


def test_words_are_bounded() -> None:
    world = with_pods(rolling(), in_trouble(Reason.LOAD_FAILED, "x" * 10**6, name="new", revision=2))
    status = world.write_status()
    valid(status)
    assert len(json.dumps(status)) < 20_000


def test_a_restart_of_the_deployment_is_not_an_older_revision() -> None:
    """`kubectl rollout restart` changes the template: the Deployment counts the other pods as not updated."""
    world = served(Model().replicas(3))
    annotations = world.deployment["spec"]["template"]["metadata"]["annotations"]
    annotations["kubectl.kubernetes.io/restartedAt"] = "2026-11-22T08:00:00Z"
    world.numbers(replicas=4, updatedReplicas=1)
    world.pods = (*world.pods, a_pod("new", 1, PodState.LOADING))
    status = world.write_status()
    (progressing,) = (item for item in status["conditions"] if item["type"] == "Progressing")
    assert "1 of 3 pods updated, 3 ready in all, 3 from before the restart of the Deployment" in progressing["message"]
    assert "older revision" not in str(status)
    assert status["updatedReplicas"] == 4, "all run the target revision"
