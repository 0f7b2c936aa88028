"""A revision fails: what is served instead, in which order, and in which words."""

from typing import Any

import pytest

from slipway.api import PodState, Reason
from slipway.domain import names
from slipway.domain.objects import Manifest, Pod, Ref
from slipway.status import transitions
from tests.kit.builders import DIGEST, Model, World, a_pod, actions, condition, in_trouble, served

BETTER = {"uri": "pvc://models/better"}
WORSE = {"uri": "pvc://models/worse"}
GATE_WORDS = "GateFailed: accuracy is 0.41, the bound is >=0.95"


def failing(model: Model | None = None, reason: Reason = Reason.GATE_FAILED, **pod: Any) -> World:
    """Revision 1 serves; revision 2 has one pod, which has failed, and nobody has said so yet."""
    world = served(model or Model().replicas(3))
    world.change(model=WORSE).settle()
    bad = in_trouble(reason, GATE_WORDS, name="bad", revision=2, **pod)
    return rolling(world, *world.pods, bad)


def rolling(world: World, *pods: Pod) -> World:
    """Be the Deployment controller in the middle of a rollout: these are the pods."""
    number = names.revision_number(world.deployment["spec"]["template"])
    updated = [pod for pod in pods if pod.revision == number]
    world.numbers(
        observedGeneration=world.deployment["metadata"]["generation"],
        replicas=len(pods),
        updatedReplicas=len(updated),
        readyReplicas=sum(pod.ready for pod in pods),
        availableReplicas=sum(pod.ready for pod in pods),
    )
    world.pods = tuple(pods)
    return world


def deployed(world: World) -> int:
    return names.revision_number(world.deployment["spec"]["template"])


def history(status: Manifest) -> dict[int, str]:
    return {entry["revision"]: entry["verdict"] for entry in status["history"]}


def rolled_back(model: Model | None = None, **pod: Any) -> World:
    world = failing(model, **pod)
    world.write_status()
    world.settle()
    world.roll_out()
    world.write_status()
    return world


def test_first_the_verdict_is_written_then_the_deployment_turned_back() -> None:
    world = failing()
    before = world.body["status"]
    assert world.plan().actions == (), "the verdict has not been written: nothing may move"
    status = world.write_status()
    assert history(status) == {2: "Failed", 1: "Ready"}
    assert status["history"][0]["reason"] == "GateFailed"
    assert GATE_WORDS in status["history"][0]["message"]
    assert transitions.urgent(before, status)
    assert transitions.changes_decision(before, status), "the key is looked at again at once"
    assert condition(status, "RolledBack")[:2] == ("False", "NotRolledBack")
    template = world.children[Ref("ControllerRevision", "digits-1")]["data"]["template"]
    plan = world.settle()
    assert actions(plan) == ["apply Deployment digits"]
    assert (plan.update, plan.target, plan.current) == (2, 1, 1)
    assert plan.actions[0].manifest["spec"]["template"] == template  # type: ignore[union-attr]


def test_what_became_stable_is_noted_before_the_deployment_leaves_it() -> None:
    """The operator was away while revision 2 became complete and revision 3 was asked for."""
    world = served(Model().replicas(3))
    world.change(model=BETTER).settle()
    world.write_status()
    world.roll_out()
    world.change(model=WORSE)
    plan = world.plan()
    assert (plan.update, plan.current) == (3, 2)
    assert actions(plan) == ["create ControllerRevision digits-3"]
    before = world.body["status"]
    assert before["currentRevision"] == 1
    world.settle()
    status = world.write_status()
    assert status["currentRevision"] == 2
    assert transitions.urgent(before, status)
    assert transitions.changes_decision(before, status), "the key is looked at again at once"
    assert actions(world.plan()) == ["apply Deployment digits"]


def test_the_words_of_a_rollback() -> None:
    world = failing()
    failed = world.write_status()
    world.settle()
    going = world.write_status()
    assert condition(going, "Progressing")[:2] == ("True", "RollingBack")
    world.roll_out()
    status = world.write_status()
    assert (status["updateRevision"], status["targetRevision"], status["currentRevision"]) == (2, 1, 1)
    words = (
        f"Revision 2 failed: Pod bad: {GATE_WORDS} (serve a model that passes, or correct spec.rollout.gate). Revision 1 serves on 3 pods. Change the spec, or try again with: "
        "kubectl annotate mdep digits -n team-a serving.slipway.dev/retry=2 --overwrite"
    )
    assert condition(status, "Ready") == ("False", "GateFailed", words)
    assert condition(status, "Available")[:2] == ("True", "Available")
    assert condition(status, "Progressing")[:2] == ("False", "RolledBack")
    back = condition(status, "RolledBack")
    assert back[:2] == ("True", "GateFailed")
    assert GATE_WORDS in back[2]
    assert "Revision 1 is served instead" in back[2]
    assert (status["digest"], status["modelVersion"]) == (DIGEST, 3)
    assert [(event.type, event.reason) for event in transitions.events(failed, going)] == [("Warning", "RolledBack")]
    assert transitions.events(going, status) == ()


def test_a_rolled_back_state_is_quiet() -> None:
    world = rolled_back()
    status = world.body["status"]
    for _ in range(3):
        assert world.later(3600).plan().actions == ()
        assert world.write_status() == status


def test_a_change_of_the_spec_is_a_new_attempt() -> None:
    world = rolled_back()
    plan = world.change(model=BETTER).settle()
    assert (plan.update, plan.target) == (3, 3)
    world.roll_out()
    status = world.write_status()
    assert history(status) == {3: "Ready", 2: "Failed", 1: "Ready"}
    assert condition(status, "RolledBack")[0] == "False"
    assert condition(status, "Ready")[0] == "True"


def test_what_is_no_part_of_the_revision_is_no_new_attempt() -> None:
    world = rolled_back()
    plan = world.change(replicas=5).settle()
    assert (plan.update, plan.target, deployed(world)) == (2, 1, 1)
    assert world.deployment["spec"]["replicas"] == 5


def test_going_back_to_the_stable_spec_restarts_no_pod() -> None:
    world = rolled_back()
    status = world.body["status"]
    plan = world.change(model={"uri": "pvc://models/digits"}).settle()
    assert (plan.update, actions(plan)) == (1, [])
    after = world.write_status()
    assert condition(after, "Ready")[0] == "True"
    assert [event.type for event in transitions.events(status, after)] == ["Normal"]
    again = world.change(model=WORSE).settle()
    assert (again.update, again.target) == (3, 3), "asked for anew it is another attempt, resolved anew"


def test_the_first_revision_has_nothing_to_go_back_to() -> None:
    world = World(Model())
    world.settle()
    world.roll_out(ready=False)
    rolling(world, in_trouble(Reason.LOAD_FAILED, "no such op", name="bad"))
    status = world.write_status()
    assert history(status) == {1: "Failed"}
    assert "There is no earlier revision to roll back to" in condition(status, "Ready")[2]
    assert condition(status, "Ready")[1] == "LoadFailed"
    assert world.plan().actions == ()
    world.roll_out()
    assert history(world.write_status()) == {1: "Ready"}, "Kubernetes went on trying"


@pytest.mark.parametrize("reason", [Reason.UNSCHEDULABLE, Reason.GPU_UNAVAILABLE, Reason.FETCH_FAILED])
def test_what_may_pass_is_a_failure_by_the_deadline_alone(reason: Reason) -> None:
    world = failing()
    waits = a_pod("new", 2, PodState.FAILED, reason=reason, message="words")
    rolling(world, *world.pods[:-1], waits)
    assert history(world.write_status())[2] == "Progressing"
    world.deployment["status"]["conditions"][1] |= {"status": "False", "reason": "ProgressDeadlineExceeded"}
    assert history(world.later(300).write_status())[2] == "Progressing", (
        "that is of an earlier attempt: ten minutes are not over"
    )
    status = world.later(300).write_status()
    assert history(status)[2] == "Failed"
    assert status["history"][0]["reason"] == str(reason)
    world.settle()
    assert deployed(world) == 1


@pytest.mark.parametrize("odd", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_at_the_end_of_all_times_disturbs_nothing(odd: str) -> None:
    """Whoever may write a status may write that; what adds to it finds no such date."""
    world = failing()
    rolling(world, *world.pods[:-1], a_pod("new", 2, PodState.FAILED, reason=Reason.UNSCHEDULABLE, message="words"))
    world.write_status()
    world.deployment["status"]["conditions"][1] |= {"status": "False", "reason": "ProgressDeadlineExceeded"}
    world.deployment["status"]["conditions"][1]["lastUpdateTime"] = odd
    world.body["status"]["history"][0]["lastTransitionTime"] = odd
    world.plan()
    assert history(world.write_status())[2] == ("Failed" if odd.startswith("0") else "Progressing")


def test_a_crash_is_given_another_chance() -> None:
    world = failing(reason=Reason.CRASH_LOOP, restarts=1)
    assert history(world.write_status())[2] == "Progressing"
    rolling(world, *world.pods[:-1], in_trouble(Reason.CRASH_LOOP, name="bad", revision=2, restarts=2))
    assert history(world.write_status())[2] == "Failed"


def test_an_image_is_given_some_seconds() -> None:
    world = served(Model())
    world.change(model=WORSE).settle()
    bad = in_trouble(Reason.IMAGE_PULL_FAILED, name="bad", revision=2, scheduled_at=world.now, grace_seconds=20)
    rolling(world, *world.pods, bad)
    assert history(world.later(15).write_status())[2] == "Progressing"
    assert world.plan().requeue_after == 5.0
    assert history(world.later(5).write_status())[2] == "Failed"


def test_a_revision_of_which_a_pod_has_answered_fails_by_the_deadline_alone() -> None:
    world = served(Model().replicas(3))
    world.change(model=WORSE).settle()
    old = world.pods
    status = rolling(world, *old[:2], a_pod("new", 2)).write_status()
    assert (status["history"][0]["verdict"], status["history"][0]["reason"]) == ("Progressing", "Available")
    world.settle()
    status = rolling(world, *old[:2], in_trouble(Reason.OOM_KILLED, name="new", revision=2)).write_status()
    assert history(status)[2] == "Progressing"


def test_a_pod_that_goes_says_nothing() -> None:
    world = failing()
    rolling(world, *world.pods[:-1], a_pod("bad", 2, PodState.TERMINATING))
    assert history(world.write_status())[2] == "Progressing"


# Pause


def test_paused_nothing_moves_until_the_spec_changes() -> None:
    world = failing(Model().replicas(3).rollout(onFailure="Pause"))
    world.write_status()
    plan = world.settle()
    assert (actions(plan), plan.paused, deployed(world)) == (["apply Deployment digits"], True, 2)
    assert world.deployment["spec"]["paused"] is True
    rolling(world, *world.pods)
    status = world.write_status()
    assert condition(status, "Ready")[:2] == ("False", "GateFailed")
    assert "paused (spec.rollout.onFailure); 3 pods of revision 1 are ready" in condition(status, "Ready")[2]
    assert condition(status, "Progressing")[:2] == ("False", "Paused")
    assert condition(status, "RolledBack")[0] == "False"
    assert world.later(10**5).write_status() == status
    world.change(model=BETTER).settle()
    assert not world.deployment["spec"].get("paused")
    assert deployed(world) == 3


def test_pause_and_then_rollback_after_all() -> None:
    world = failing(Model().replicas(3).rollout(onFailure="Pause"))
    world.write_status()
    world.settle()
    world.change(rollout={"onFailure": "Rollback"}).settle()
    assert (deployed(world), world.deployment["spec"].get("paused")) == (1, None)


def test_what_was_rolled_back_is_not_turned_to_again_to_be_paused() -> None:
    world = rolled_back()
    assert actions(world.change(rollout={"onFailure": "Pause"}).settle()) == []


# Retry


def annotate(world: World, token: str) -> World:
    world.body["metadata"]["annotations"] = {names.RETRY_ANNOTATION: token}
    return world


def test_a_failed_spec_is_tried_once_more_for_each_token() -> None:
    world = rolled_back()
    plan = annotate(world, "2").settle()
    assert (plan.update, plan.target) == (3, 3)
    assert world.children[Ref("ControllerRevision", "digits-3")]["data"]["retry"] == "2"
    rolling(world, *world.pods, in_trouble(Reason.GATE_FAILED, "again", name="bad", revision=3)).write_status()
    world.settle()
    assert deployed(world) == 1
    assert world.plan().actions == (), "the token has been used"
    assert annotate(world, "another").settle().update == 4


def test_a_token_does_nothing_while_nothing_has_failed() -> None:
    assert annotate(served(Model()), "x").plan().actions == ()


def test_a_token_that_was_set_while_all_was_well_tries_no_later_failure_again() -> None:
    world = annotate(served(Model()), "x")
    world.change(model=BETTER).settle()
    rolling(world, *world.pods, in_trouble(Reason.GATE_FAILED, "wrong", name="bad", revision=2)).write_status()
    plan = world.settle()
    assert (plan.update, plan.target) == (2, 1)


def test_a_token_that_was_set_on_the_way_counts_once_when_it_fails() -> None:
    world = annotate(failing(Model()), "x")
    assert world.plan().update == 2, "nothing has failed yet"
    world.write_status()
    assert world.settle().update == 3
    rolling(world, *world.pods, in_trouble(Reason.GATE_FAILED, "again", name="bad", revision=3)).write_status()
    plan = world.settle()
    assert (plan.update, plan.target) == (3, 1)


def test_the_token_that_is_proposed_has_not_been_used() -> None:
    world = annotate(World(Model()), "2")  # as a copy from another cluster carries it
    world.settle()
    world.serve()
    world.change(model=BETTER).settle()
    rolling(world, *world.pods, in_trouble(Reason.GATE_FAILED, "wrong", name="bad", revision=2)).write_status()
    world.settle()
    _, _, message = condition(world.write_status(), "Ready")
    token = message.split(f"{names.RETRY_ANNOTATION}=")[1].split(" ")[0]
    assert annotate(world, token).settle().update == 3


def test_an_old_token_tries_no_new_failure_again() -> None:
    world = rolled_back()
    annotate(world, "2").settle()
    world.serve()
    world.change(model=BETTER).settle()
    rolling(world, *world.pods, in_trouble(Reason.GATE_FAILED, "again", name="bad", revision=4)).write_status()
    plan = world.settle()
    assert (plan.update, plan.target) == (4, 3)


# pinnedRevision


def test_a_pinned_revision_is_served_as_it_was() -> None:
    world = served(Model())
    world.change(model=BETTER).serve()
    before = world.children[Ref("ControllerRevision", "digits-1")]["data"]["template"]
    plan = world.change(pinnedRevision=1).settle()
    assert (actions(plan), plan.update) == (["apply Deployment digits"], 1)
    assert (
        world.deployment["spec"]["template"]["spec"]["containers"][0]["args"] == before["spec"]["containers"][0]["args"]
    )
    world.roll_out()
    status = world.write_status()
    assert (status["updateRevision"], status["currentRevision"]) == (1, 1)
    world.change(model=WORSE)
    assert world.plan().actions == (), "whatever the rest of the spec says"
    world.change(model=BETTER, pinnedRevision=None)
    assert world.settle().update == 2, "and back to what was served"


def test_a_pinned_revision_that_is_gone_leaves_what_is_served() -> None:
    world = served(Model().replicas(2))
    status = world.body["status"]
    plan = world.change(pinnedRevision=7).plan()
    assert plan.actions == ()
    after = world.write_status()
    assert condition(after, "Ready")[:2] == ("False", "RevisionNotFound")
    assert "choose one of 1" in condition(after, "Ready")[2]
    assert condition(after, "Available")[:2] == ("True", "Available")
    for field in ("updateRevision", "currentRevision", "targetRevision", "history", "pods"):
        assert after[field] == status[field]
    world.change(replicas=3).settle()
    assert world.deployment["spec"]["replicas"] == 3, "the rest of the spec is carried out"


def test_of_the_revisions_to_choose_from_those_that_failed_are_marked() -> None:
    world = rolled_back()
    world.change(pinnedRevision=7)
    assert "choose one of 2 (failed), 1, or remove" in condition(world.write_status(), "Ready")[2]


def test_a_pinned_revision_that_never_was() -> None:
    plan = World(Model().spec(pinnedRevision=1)).plan()
    assert plan.actions == ()
    assert plan.problem is not None
    assert plan.problem.message == "spec.pinnedRevision: there is no revision 1: remove the field"


def test_a_pinned_revision_that_fails_is_rolled_back_too() -> None:
    world = served(Model())
    world.change(model=BETTER).serve()
    world.change(pinnedRevision=1).settle()
    rolling(world, *world.pods, in_trouble(Reason.FETCH_FAILED, "SourceChanged: another", name="bad")).write_status()
    world.settle()
    world.roll_out()
    status = world.write_status()
    assert (deployed(world), status["updateRevision"], status["targetRevision"]) == (2, 1, 2)
    assert condition(status, "Ready")[2].endswith("Set spec.pinnedRevision to another revision, or remove it")


def test_a_failed_revision_is_pinned_and_tried_again() -> None:
    world = rolled_back()
    world.change(pinnedRevision=1).settle()
    world.write_status()
    world.change(pinnedRevision=2).settle()
    assert deployed(world) == 2
    status = rolling(world, *world.pods).write_status()
    assert history(status)[2] == "Progressing"


# A newer spec supersedes


def test_a_newer_spec_supersedes_one_that_is_on_its_way_or_has_failed() -> None:
    world = failing()
    world.change(model=BETTER)
    plan = world.settle()
    assert (plan.update, plan.target) == (3, 3)
    status = rolling(world, *world.pods).write_status()
    assert history(status) == {3: "Progressing", 2: "Superseded", 1: "Ready"}


def test_a_spec_that_cannot_be_carried_out_does_not_keep_a_failed_one_from_going_back() -> None:
    world = failing()
    world.write_status()
    world.change(runtime={"args": {"no_such_flag": "1"}}).settle()
    assert deployed(world) == 1


# Records and numbers


def test_the_stable_and_the_pinned_record_are_never_pruned() -> None:
    world = served(Model().rollout(revisionHistoryLimit=1))
    for number in range(2, 6):
        world.change(model={"uri": f"pvc://models/{number}"}).settle()
        bad = in_trouble(Reason.GATE_FAILED, name="bad", revision=world.plan().update or 0)
        rolling(world, a_pod("old", 1), bad).write_status()
        world.settle()
        world.roll_out()
        world.write_status()
    records = {ref.name for ref in world.children if ref.kind == "ControllerRevision"}
    assert records == {"digits-1", f"digits-{world.body['status']['updateRevision']}"}


def test_a_stable_revision_whose_record_was_deleted_goes_on() -> None:
    world = rolled_back()
    del world.children[Ref("ControllerRevision", "digits-1")]
    assert world.plan().actions == ()
    world.change(replicas=5).settle()
    assert (deployed(world), world.deployment["spec"]["replicas"]) == (1, 5)


def test_a_number_is_not_used_again_although_its_record_was_deleted() -> None:
    world = rolled_back()
    del world.children[Ref("ControllerRevision", "digits-2")]
    assert world.settle().update == 3


def test_a_lost_status_costs_one_more_try() -> None:
    world = rolled_back()
    del world.body["status"]
    plan = world.settle()
    assert (plan.update, plan.target, plan.current) == (2, 2, 1)
    world.write_status(plan)
    world.settle()
    rolling(world, *world.pods, in_trouble(Reason.GATE_FAILED, name="bad", revision=2)).write_status()
    world.settle()
    assert deployed(world) == 1


def test_a_status_of_a_release_that_named_no_stable_revision() -> None:
    world = failing()
    status = world.write_status()
    del status["currentRevision"], status["targetRevision"]
    assert world.plan().current == 1
    world.settle()
    assert deployed(world) == 1


def test_with_an_autoscaler_the_number_of_pods_is_never_touched() -> None:
    world = failing(Model().autoscaling(1, 9))
    world.deployment["spec"]["replicas"] = 7
    world.write_status()
    for action in world.plan().actions:
        assert "replicas" not in action.manifest["spec"]  # type: ignore[union-attr]
        world.act(action)
    assert (deployed(world), world.deployment["spec"]["replicas"]) == (1, 7)


def test_a_revision_without_pods_has_not_served() -> None:
    world = served(Model())
    world.change(model=WORSE, replicas=0).serve()
    status = world.body["status"]
    assert (status["updateRevision"], status["currentRevision"]) == (2, 1)
    world.change(replicas=1).settle()
    rolling(world, in_trouble(Reason.GATE_FAILED, name="bad", revision=2)).write_status()
    world.settle()
    assert deployed(world) == 1


def test_a_gate_that_the_stable_revision_no_longer_passes_takes_nothing_down() -> None:
    world = served(Model().replicas(2))
    bad = in_trouble(Reason.GATE_FAILED, GATE_WORDS, name=world.pods[0].name)
    rolling(world, bad, world.pods[1])
    status = world.write_status()
    assert world.plan().actions == ()
    assert condition(status, "Ready")[:2] == ("False", "GateFailed")
    assert (history(status), status["currentRevision"]) == ({1: "Ready"}, 1)
    rolling(world, bad)
    assert world.plan().actions == ()
    assert history(world.write_status()) == {1: "Ready"}


def test_what_is_gone_back_to_fails_too() -> None:
    world = failing()
    world.write_status()
    world.settle()
    rolling(world, in_trouble(Reason.FETCH_FAILED, "SourceChanged: it is another model now", name="old"))
    status = world.write_status()
    ready = condition(status, "Ready")
    assert ready[1] == "GateFailed"
    assert GATE_WORDS in ready[2]
    assert "Rolling back to revision 1: Pod old: SourceChanged" in ready[2]


def test_the_stable_record_stays_although_no_pod_of_it_is_left() -> None:
    world = served(Model().rollout(revisionHistoryLimit=1))
    world.change(model=BETTER).settle()
    world.pods = ()
    assert actions(world.plan()) == []
    world.change(model=WORSE).settle()
    records = {ref.name for ref in world.children if ref.kind == "ControllerRevision"}
    assert records == {"digits-1", "digits-3"}


def test_a_pinned_record_stays_while_something_else_is_in_the_way() -> None:
    world = served(Model().rollout(revisionHistoryLimit=1))
    world.change(model=BETTER).serve()
    world.change(model=WORSE, pinnedRevision=2).settle()
    world.pods = ()
    assert actions(world.plan()) == []
