"""What is done about a ModelDeployment, listed as actions, and done until there is nothing left to do."""

import copy
import json

import pytest

from slipway.api import PodState, Reason
from slipway.decide.planner import CONFLICT_SECONDS
from slipway.domain import names
from slipway.domain.objects import Ref
from slipway.domain.servers import Defaults
from tests.kit.builders import DIGEST, NOW, Model, World, a_pod, actions, describe, in_trouble, served

CREATED = ["create ControllerRevision digits-1", "create Service digits", "create Service digits-headless", "create Deployment digits"]  # fmt: skip


def test_creation_in_order() -> None:
    world = World(Model())
    plan = world.settle()
    assert actions(plan) == CREATED
    assert (plan.update, plan.replicas, plan.terminate_first, plan.problem) == (1, 1, False, None)


def test_creation_with_autoscaling() -> None:
    plan = World(Model().autoscaling(1, 5)).settle()
    assert actions(plan) == [
        *CREATED,
        "create PodDisruptionBudget digits",
        "create HorizontalPodAutoscaler digits",
    ]
    assert plan.replicas is None
    assert "replicas" not in plan.actions[3].manifest["spec"]  # type: ignore[union-attr]


def test_an_autoscaler_that_starts_with_several_pods() -> None:
    """One pod comes first and tells what it fetched; the others, and who decides how many they are, follow."""
    world = World(Model().autoscaling(3, 5))
    assert actions(world.settle()) == [*CREATED, "create PodDisruptionBudget digits"]
    assert world.deployment["spec"]["replicas"] == 1
    world.roll_out()
    assert world.plan().held_at_one
    for action in world.plan().actions:
        assert describe(action) == "create ConfigMap digits-1-7f0c2c9e"
        world.act(action)
    assert actions(world.settle()) == [
        "apply Deployment digits (slipway-scale)",
        "create HorizontalPodAutoscaler digits",
    ]
    assert world.deployment["spec"]["replicas"] == 3


def test_an_autoscaler_that_starts_with_several_pods_of_a_known_digest() -> None:
    world = World(Model().autoscaling(3, 5).spec(model={"uri": "pvc://models/digits", "digest": DIGEST}))
    assert actions(world.settle()) == [
        *CREATED,
        "apply Deployment digits (slipway-scale)",
        "create PodDisruptionBudget digits",
        "create HorizontalPodAutoscaler digits",
    ]
    assert world.deployment["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    "kind", ["ControllerRevision", "Service", "Deployment", "PodDisruptionBudget", "HorizontalPodAutoscaler"]
)
def test_a_deleted_child_comes_back_and_nothing_else_happens(kind: str) -> None:
    world = served(Model().autoscaling(1, 5))
    ref = next(ref for ref in world.children if ref.kind == kind)
    was = world.children.pop(ref)
    assert actions(world.settle()) == [f"create {ref}"]
    now = world.children[ref]
    assert (now.get("spec"), now.get("data")) == (was.get("spec"), was.get("data"))


def test_a_child_that_is_going_is_waited_for() -> None:
    world = served(Model())
    world.children[Ref("Service", "digits")]["metadata"]["deletionTimestamp"] = "2026-11-22T08:00:00Z"
    del world.children[Ref("Service", "digits")]["spec"]["selector"]
    assert actions(world.plan()) == []


def test_drift_is_repaired() -> None:
    world = served(Model())
    world.deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "evil:1"
    world.children[Ref("Service", "digits")]["spec"]["ports"][0]["port"] = 1
    assert actions(world.settle()) == ["apply Service digits", "apply Deployment digits"]
    assert world.deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "tensorflow/serving:2.20.0"


# Revisions


def test_a_change_of_the_model_is_a_new_revision() -> None:
    world = served(Model())
    plan = world.change(model={"uri": "pvc://models/better"}).settle()
    assert actions(plan) == ["create ControllerRevision digits-2", "apply Deployment digits"]
    assert plan.update == 2
    assert names.revision_number(world.deployment["spec"]["template"]) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"runtime": {"version": "2.19.0"}},
        {"resources": {"requests": {"cpu": "2"}}},
        {"gpu": {}},
        {"podTemplate": {"labels": {"team": "a"}}},
        {"model": {"uri": "pvc://models/digits", "version": 2}},
        {"rollout": {"gate": {"golden": {"configMap": "golden"}}}},
    ],
)
def test_what_makes_a_revision(fields: dict[str, object]) -> None:
    assert served(Model()).change(**fields).settle().update == 2


@pytest.mark.parametrize(
    ("fields", "done"),
    [
        ({"replicas": 1}, []),
        ({"replicas": 4}, ["apply Deployment digits", "create PodDisruptionBudget digits"]),
        ({"rollout": {"progressDeadline": "5m"}}, ["apply Deployment digits"]),
        ({"rollout": {"strategy": "TerminateFirst"}}, ["apply Deployment digits"]),
        ({"rollout": {"revisionHistoryLimit": 3}}, []),
        ({"rollout": {"onFailure": "Pause"}}, []),
        ({"pinnedRevision": 1}, []),
        ({"podTemplate": {}}, []),
        ({"runtime": {"args": {}}}, []),
    ],
)
def test_what_makes_none(fields: dict[str, object], done: list[str]) -> None:
    world = served(Model())
    template = copy.deepcopy(world.deployment["spec"]["template"])
    plan = world.change(**fields).settle()
    assert (plan.update, actions(plan)) == (1, done)
    assert world.deployment["spec"]["template"] == template  # no pod is restarted


def test_quantities_written_in_another_way_make_none() -> None:
    world = served(Model().spec(resources={"requests": {"cpu": "1000m", "memory": "1Gi"}}))
    assert actions(world.change(resources={"requests": {"memory": "1024Mi", "cpu": 1}}).settle()) == []


def test_going_back_to_an_old_spec_is_a_new_revision() -> None:
    world = served(Model())
    old = world.body["spec"]["model"]
    world.change(model={"uri": "pvc://models/better"}).serve()
    assert world.change(model=old).settle().update == 3


def test_going_back_from_a_revision_that_was_refused_restarts_no_pod() -> None:
    world = served(Model())
    old = world.body["spec"]["model"]
    world.change(model={"uri": "pvc://models/refused"})
    world.act(world.plan().actions[0])  # its record is there; the Deployment was refused
    assert actions(world.plan()) == ["apply Deployment digits"]
    back = world.change(model=old).settle()
    assert (back.update, actions(back)) == (1, [])
    assert world.change(model={"uri": "pvc://models/third"}).settle().update == 3  # no number has two meanings


def test_a_deployment_that_was_rolled_back_by_hand_is_put_right() -> None:
    world = served(Model())
    before = copy.deepcopy(world.deployment["spec"]["template"])
    world.change(model={"uri": "pvc://models/better"}).settle()
    world.deployment["spec"]["template"] = before  # kubectl rollout undo
    again = world.settle()
    assert (again.update, actions(again)) == (2, ["apply Deployment digits"])


def test_another_release_of_the_operator_does_nothing() -> None:
    """Other defaults are for new revisions only."""
    world = served(Model().autoscaling(2, 5))
    world.defaults = Defaults("registry/other", "9.9.9", "slipway/tools:7", "Always")
    assert actions(world.plan()) == []
    world.change(model={"uri": "pvc://models/better"}).settle()
    containers = world.deployment["spec"]["template"]["spec"]
    assert containers["containers"][0]["image"] == "registry/other:9.9.9"
    assert containers["initContainers"][0]["image"] == "slipway/tools:7"


def test_another_way_of_rendering_restarts_no_pod() -> None:
    """A record of an older release, with a template that this one would not render."""
    world = served(Model())
    for body in (world.children[Ref("ControllerRevision", "digits-1")]["data"], world.deployment["spec"]):
        body["template"]["spec"]["containers"][0]["args"] = ["--of-an-older-release"]
    assert actions(world.plan()) == []


def test_a_record_that_lacks_fields_which_have_come_since() -> None:
    world = served(Model().spec(runtime={"batching": {}}))
    data = world.children[Ref("ControllerRevision", "digits-1")]["data"]
    del data["spec"]["runtime"]["batching"]["maxEnqueuedBatches"]  # as if it had not been there yet
    assert actions(world.plan()) == []


def test_a_record_that_nobody_can_read_is_left_alone_and_its_number_not_used_again() -> None:
    world = served(Model())
    world.children[Ref("ControllerRevision", "digits-2")] = copy.deepcopy(
        world.children[Ref("ControllerRevision", "digits-1")]
    )
    broken = world.children[Ref("ControllerRevision", "digits-2")]
    broken["metadata"]["name"], broken["revision"], broken["data"] = "digits-2", 2, {"spec": None}
    assert actions(world.plan()) == []
    assert world.change(model={"uri": "pvc://models/better"}).settle().update == 3


def test_a_lost_record_whose_spec_has_changed_since() -> None:
    world = served(Model())
    del world.children[Ref("ControllerRevision", "digits-1")]
    assert world.change(model={"uri": "pvc://models/better"}).settle().update == 2


def test_a_lost_record_is_made_anew_with_the_images_that_run() -> None:
    world = served(Model())
    del world.children[Ref("ControllerRevision", "digits-1")]
    world.defaults = Defaults("registry/other", "9.9.9", "slipway/tools:7", "Always")
    assert actions(world.settle()) == ["create ControllerRevision digits-1"]
    data = world.children[Ref("ControllerRevision", "digits-1")]["data"]
    assert data["images"] == {
        "server": "tensorflow/serving:2.20.0",
        "tools": "slipway/tools:0.1.0",
        "pullPolicy": "IfNotPresent",
    }


def test_old_records_go_and_those_of_running_pods_stay() -> None:
    world = served(Model().rollout(revisionHistoryLimit=2))
    for number in range(2, 5):
        world.change(model={"uri": f"pvc://models/{number}"}).settle()
    kept = sorted(ref.name for ref in world.children if ref.kind == "ControllerRevision")
    assert kept == ["digits-1", "digits-3", "digits-4"]  # the pod of revision 1 still serves
    world.roll_out()
    plan = world.settle()
    assert actions(plan) == ["create ConfigMap digits-4-7f0c2c9e", "delete ControllerRevision digits-1"]
    assert sorted(ref.name for ref in world.children if ref.kind == "ConfigMap") == ["digits-4-7f0c2c9e"]


# Number of pods


def test_without_a_number_there_is_one_pod() -> None:
    world = served(Model().replicas(3))
    assert world.deployment["spec"]["replicas"] == 3
    world.change(replicas=None)
    assert world.serve().deployment["spec"]["replicas"] == 1


def test_a_number_that_somebody_gave_the_deployment_is_taken_back() -> None:
    world = served(Model())
    world.deployment["spec"]["replicas"] = 4  # kubectl scale deployment
    plan = world.settle()
    assert (plan.replicas, actions(plan)) == (1, ["apply Deployment digits"])
    assert world.deployment["spec"]["replicas"] == 1


def test_autoscaling_is_turned_on_and_off_and_on_again() -> None:
    world = served(Model().autoscaling(1, 9).spec(replicas=4))
    world.change(autoscaling=None).settle()
    assert world.deployment["spec"]["replicas"] == 4
    on = world.change(autoscaling={"maxReplicas": 9}, replicas=None).settle()
    assert actions(on) == [
        "apply Deployment digits (slipway-scale)",
        "apply Deployment digits",
        "create HorizontalPodAutoscaler digits",
    ]
    assert world.deployment["spec"]["replicas"] == 4
    world.deployment["spec"]["replicas"] = 7  # the autoscaler
    assert actions(world.plan()) == []
    off = world.change(autoscaling=None, replicas=7).settle()
    assert actions(off) == ["delete HorizontalPodAutoscaler digits"]
    assert (off.replicas, world.deployment["spec"]["replicas"]) == (7, 7)


def test_an_autoscaler_wakes_what_was_scaled_to_zero() -> None:
    """It would do nothing for a Deployment that has no pods."""
    world = served(Model().replicas(0))
    world.change(autoscaling={"minReplicas": 2, "maxReplicas": 3}, resources={"requests": {"cpu": "1"}}).serve()
    assert world.deployment["spec"]["replicas"] == 2


def test_fewer_pods_need_no_budget() -> None:
    world = served(Model().replicas(2))
    assert actions(world.change(replicas=1).settle()) == [
        "delete PodDisruptionBudget digits",
        "apply Deployment digits",
    ]


# GPUs


def gpu_rollout(**gpu: object) -> World:
    """One pod of revision 1 holds a GPU, the pod of revision 2 finds none."""
    world = served(Model().gpu(**gpu))
    world.change(model={"uri": "pvc://models/better"}).settle()
    world.numbers(observedGeneration=world.deployment["metadata"]["generation"], replicas=2, updatedReplicas=1)
    waits = a_pod("digits-2-0", 2, PodState.UNSCHEDULABLE, reason=Reason.GPU_UNAVAILABLE, message="no GPU is free")
    world.pods = (a_pod("digits-1-0", 1), waits)
    return world


def strategy(world: World) -> dict[str, object]:
    found = world.deployment["spec"]["strategy"]["rollingUpdate"]
    assert isinstance(found, dict)
    return found


def test_a_gpu_that_an_old_pod_holds_is_freed_first_and_only_until_the_rollout_is_done() -> None:
    world = gpu_rollout(count=1)
    plan = world.settle()
    assert (actions(plan), plan.terminate_first) == (["apply Deployment digits"], True)
    assert strategy(world) == {"maxSurge": 0, "maxUnavailable": 1}
    # The old pod is going, the new one still waits, then loads: no turning back on the way.
    world.pods = (a_pod("digits-1-0", 1, PodState.TERMINATING), world.pods[1])
    generation = world.deployment["metadata"]["generation"]
    world.numbers(observedGeneration=generation, replicas=1, updatedReplicas=1, readyReplicas=0, availableReplicas=0)
    assert world.plan().terminate_first
    assert world.plan().actions == ()
    world.pods = (a_pod("digits-2-0", 2, PodState.LOADING),)
    assert world.plan().actions == ()
    world.roll_out()
    done = world.settle()
    assert (actions(done), done.terminate_first) == (
        ["create ConfigMap digits-2-7f0c2c9e", "apply Deployment digits"],
        False,
    )
    assert strategy(world) == {"maxSurge": "25%", "maxUnavailable": 0}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, {"count": 1}),  # the old pod holds no GPU
        ({"count": 1}, {"count": 2}),  # it holds too few
        ({"count": 1}, {"count": 1, "product": "NVIDIA-H100"}),  # of another model, perhaps
        ({"mig": "1g.10gb"}, {"count": 1}),  # of another kind
    ],
)
def test_no_pod_is_given_up_for_nothing(before: dict[str, object] | None, after: dict[str, object]) -> None:
    world = served(Model().gpu(**before) if before is not None else Model())
    world.change(gpu=after).settle()
    world.numbers(observedGeneration=world.deployment["metadata"]["generation"], replicas=2, updatedReplicas=1)
    waits = a_pod("digits-2-0", 2, PodState.UNSCHEDULABLE, reason=Reason.GPU_UNAVAILABLE)
    world.pods = (a_pod("digits-1-0", 1), waits)
    plan = world.plan()
    assert (actions(plan), plan.terminate_first) == ([], False)


def test_a_gpu_that_no_node_has_is_not_drained_for() -> None:
    world = gpu_rollout(count=1)
    world.pods = (world.pods[0], in_trouble(Reason.GPU_UNAVAILABLE, name="digits-2-0", revision=2))
    assert not world.plan().terminate_first


def test_a_first_roll_out_that_finds_no_gpu_has_nothing_to_drain() -> None:
    world = World(Model().gpu())
    world.settle()
    world.roll_out(ready=False)
    world.pods = (a_pod(state=PodState.UNSCHEDULABLE, reason=Reason.GPU_UNAVAILABLE),)
    assert actions(world.plan()) == []


@pytest.mark.parametrize(("chosen", "draining"), [("Surge", False), ("TerminateFirst", True)])
def test_a_strategy_that_was_chosen_is_kept(chosen: str, draining: bool) -> None:  # noqa: FBT001
    world = gpu_rollout(count=1)
    world.change(rollout={"strategy": chosen})
    assert world.settle().terminate_first is draining


# Trouble


def test_a_name_that_somebody_else_holds() -> None:
    world = World(Model())
    world.children[Ref("Service", "digits")] = {
        "kind": "Service",
        "metadata": {"name": "digits", "uid": "other", "labels": {}, "ownerReferences": [{"kind": "App", "name": "theirs", "uid": "x", "controller": True}]},
    }  # fmt: skip
    plan = world.plan()
    assert actions(plan) == [action for action in CREATED if action != "create Service digits"]
    assert plan.problem is not None
    assert plan.problem.reason is Reason.NAME_CONFLICT
    assert plan.problem.message == (
        "Service digits already exists and belongs to App theirs; it is left alone: delete it, or give this "
        "ModelDeployment another name"
    )
    assert plan.requeue_after == CONFLICT_SECONDS


def test_a_deployment_that_somebody_else_holds_stops_everything() -> None:
    world = World(Model())
    world.children[Ref("Deployment", "digits")] = {"kind": "Deployment", "metadata": {"name": "digits", "uid": "other"}}
    plan = world.plan()
    assert plan.actions == ()
    assert plan.problem is not None
    assert "belongs to another owner" in plan.problem.message


def test_children_of_a_namesake_that_was_deleted_are_waited_for() -> None:
    world = served(Model())
    world.body["metadata"]["uid"] = "another"
    plan = world.plan()
    assert plan.actions == ()
    assert plan.problem is not None
    assert (
        "Deployment digits already exists and belongs to a deleted ModelDeployment of the same name"
        in plan.problem.message
    )


def test_orphans_are_taken_back_without_a_restart() -> None:
    world = served(Model())
    children = [child for child in world.children.values() if child["kind"] != "ConfigMap"]  # a pin is its record's
    for child in children:
        del child["metadata"]["ownerReferences"]  # kubectl delete --cascade=orphan
    world.body["metadata"]["uid"] = "another"
    template = copy.deepcopy(world.deployment["spec"]["template"])
    plan = world.settle()
    assert actions(plan) == [f"apply {action.removeprefix('create ')}" for action in CREATED]
    assert world.deployment["spec"]["template"] == template
    assert all(
        child["metadata"]["ownerReferences"][0]["uid"] == "another"
        for child in world.children.values()
        if child["kind"] != "ConfigMap"
    )


@pytest.mark.parametrize(
    ("fields", "reason", "text"),
    [
        ({"model": {"uri": "ftp://x"}}, Reason.INVALID_SPEC, "spec.model.uri has an unknown scheme"),
        ({"modle": {}}, Reason.INVALID_SPEC, "spec.modle"),
        ({"replicas": "2"}, Reason.INVALID_SPEC, "spec.replicas"),
        ({"autoscaling": {"minReplicas": 5, "maxReplicas": 2}}, Reason.INVALID_SPEC, "minReplicas must not be above"),
        ({"runtime": {"version": "2.20.0", "image": "x:1"}}, Reason.INVALID_SPEC, "exclude each other"),
        ({"gpu": {}, "runtime": {"image": "tensorflow/serving:2.20.0"}}, Reason.INVALID_SPEC, "CPU build"),
        ({"runtime": {"args": {"num_load_thread": "1"}}}, Reason.UNKNOWN_FLAG, "did you mean num_load_threads"),
        ({"runtime": {"args": {"port": "1"}}}, Reason.INVALID_SPEC, "spec.runtime.args.port"),
        ({"runtime": {"args": {"port": "1", "zzzz": "1"}}}, Reason.INVALID_SPEC, "spec.runtime.args.zzzz"),
        ({"resources": {"limits": {"nvidia.com/gpu": 1}}}, Reason.INVALID_SPEC, "request it with spec.gpu"),
        ({"resources": {"requests": {"cpus": 1}}}, Reason.INVALID_SPEC, "use cpu, ephemeral-storage, memory"),
    ],
)
def test_a_spec_that_cannot_be_carried_out_leaves_everything_as_it_is(
    fields: dict[str, object], reason: Reason, text: str
) -> None:
    world = served(Model().replicas(2))
    plan = world.change(**fields).plan()
    assert (plan.actions, plan.target) in [((), None), ((), 1)]
    assert plan.problem is not None
    assert (plan.problem.reason, text in plan.problem.message) == (reason, True), plan.problem


@pytest.mark.parametrize("name", ["a" * 53, "Digits", "1digits", "a.b", "a-"])
def test_a_name_that_children_cannot_have(name: str) -> None:
    plan = World(Model(name)).plan()
    assert plan.problem is not None
    assert plan.problem.reason is Reason.INVALID_SPEC
    assert plan.problem.message.startswith("metadata.name")


def test_the_longest_name() -> None:
    world = World(Model("a" * 52))
    world.settle()
    for number in range(2, 4):
        world.change(model={"uri": f"pvc://models/{number}"}).settle()
    assert all(len(ref.name) <= 63 for ref in world.children)


def test_a_rollout_is_looked_at_again_at_its_deadline() -> None:
    world = World(Model().rollout(progressDeadline="90s"))
    world.settle()
    world.roll_out(ready=False)
    world.numbers(updatedReplicas=0)
    progressing = world.deployment["status"]["conditions"][1]
    progressing["lastUpdateTime"] = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert world.plan().requeue_after == 91
    world.later(100)
    assert world.plan().requeue_after is None
    progressing["lastUpdateTime"] = "yesterday"
    assert world.plan().requeue_after is None


def test_deciding_changes_nothing_that_it_was_given() -> None:
    world = served(Model().autoscaling(1, 3))
    observed = world.observed
    before = json.dumps([observed.resource, list(observed.children.values())])
    world.plan()
    assert json.dumps([observed.resource, list(observed.children.values())]) == before
