"""What all pods of a revision serve is decided by the first that is Ready: who waits for it, who does not, what is written."""

from dataclasses import replace
from typing import Any

import pytest

from slipway.api import PodState, Reason
from slipway.domain.objects import Manifest, Ref
from tests.kit.builders import DIGEST, Model, World, a_pod, actions, describe, in_trouble, served

BETTER = {"uri": "pvc://models/better"}
OTHER = "sha256:" + "b" * 64
PIN = Ref("ConfigMap", "digits-2-7f0c2c9e")


def changed(replicas: int, **model: Any) -> World:
    """Revision 1 serves, revision 2 is asked for, and no pod of it is there."""
    world = served(Model().replicas(replicas))
    world.change(model=BETTER | model)
    for action in world.plan().actions:
        world.act(action)
    world.write_status()
    return world


def surge(world: World) -> Any:
    return world.deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"]


def wait_seconds(world: World) -> Any:
    return world.deployment["spec"].get("minReadySeconds", 0)


def fetched(world: World, **fields: Any) -> World:
    """The first pod of revision 2 has fetched the model, and loads it."""
    status = {"digest": DIGEST, "model_version": 3} | fields
    world.pods = (*world.pods, a_pod("new", 2, PodState.LOADING, **status))
    return world


def answering(world: World) -> World:
    """The pod that came last is Ready."""
    world.pods = (*world.pods[:-1], replace(world.pods[-1], state=PodState.READY))
    return world


def pin_of(world: World) -> Manifest:
    data = world.children[PIN]["data"]
    assert isinstance(data, dict)
    return data


def test_many_pods_wait_for_the_first() -> None:
    world = changed(8)
    assert (surge(world), wait_seconds(world)) == (1, 30)
    assert actions(fetched(world).plan()) == [], "nothing has served what it fetched"
    plan = answering(world).plan()
    assert actions(plan) == ["create ConfigMap digits-2-7f0c2c9e"]
    assert surge(world) == 1, "the pin comes first"
    world.act(plan.actions[0])
    assert actions(world.settle()) == ["apply Deployment digits"]
    assert (surge(world), wait_seconds(world)) == ("25%", 0)
    assert pin_of(world) == {"version": "3", "digest": DIGEST}


def test_a_rollout_of_few_pods_waits_for_the_pin_too() -> None:
    world = changed(2)
    assert (surge(world), wait_seconds(world)) == (1, 30)
    world.act(answering(fetched(world)).plan().actions[0])
    assert actions(world.settle()) == ["apply Deployment digits"]
    assert (surge(world), wait_seconds(world)) == ("25%", 0)


def test_the_wait_fits_into_a_short_deadline() -> None:
    world = served(Model().replicas(2).rollout(progressDeadline="10s"))
    world.change(model=BETTER)
    for action in world.plan().actions:
        world.act(action)
    assert wait_seconds(world) == 5


def test_one_pod_waits_for_nobody() -> None:
    world = changed(1)
    assert (surge(world), wait_seconds(world)) == ("25%", 0)
    assert actions(answering(fetched(world)).settle()) == ["create ConfigMap digits-2-7f0c2c9e"]


@pytest.mark.parametrize("reason", [Reason.LOAD_FAILED, Reason.GATE_FAILED, Reason.OOM_KILLED])
def test_content_that_never_served_is_forgotten_with_its_pod(reason: Reason) -> None:
    """A copy that was half done: once it is complete and the pod is deleted, the next pod fetches it anew."""
    world = World(Model().replicas(2))
    world.settle()
    world.roll_out(ready=False)
    world.pods = (in_trouble(reason, name="half", digest=OTHER, model_version=3),)
    status = world.write_status()
    assert status["history"][0]["digest"] == OTHER, "it is told what was fetched"
    world.write_status()
    assert actions(world.plan()) == []
    world.roll_out()
    assert actions(world.plan()) == ["create ConfigMap digits-1-7f0c2c9e"]
    for action in world.plan().actions:
        world.act(action)
    assert world.children[Ref("ConfigMap", "digits-1-7f0c2c9e")]["data"] == {"version": "3", "digest": DIGEST}
    world.serve()
    assert world.write_status()["history"][0]["verdict"] == "Ready"
    assert world.write_status()["digest"] == DIGEST


def test_a_first_revision_that_fails_tells_the_one_command() -> None:
    world = World(Model())
    world.settle()
    world.roll_out(ready=False)
    world.pods = (in_trouble(Reason.LOAD_FAILED, digest=OTHER, model_version=3),)
    for _ in range(2):
        message = world.write_status()["conditions"][0]["message"]
        assert "no earlier revision to roll back to" in message
        assert "kubectl annotate mdep digits -n team-a serving.slipway.dev/retry=1 --overwrite" in message
    world.body["metadata"]["annotations"] = {"serving.slipway.dev/retry": "1"}
    assert world.plan().update == 2


def test_a_digest_in_the_spec_is_the_pin() -> None:
    world = changed(8, digest=DIGEST)
    assert (surge(world), wait_seconds(world)) == ("25%", 0)
    assert actions(answering(fetched(world)).settle()) == []


@pytest.mark.parametrize("status", [{"digest": None}, {"model_version": None}])
def test_a_pod_that_is_ready_and_has_told_nothing_holds_nobody_up(status: dict[str, Any]) -> None:
    world = fetched(changed(8), **status)
    assert world.plan().actions == ()
    world.pods = (*world.pods[:-1], replace(a_pod("new", 2, digest=DIGEST, model_version=3), **status))
    assert actions(world.settle()) == ["apply Deployment digits"]
    assert surge(world) == "25%"


def test_a_creation_begins_with_one_pod() -> None:
    world = World(Model().replicas(3))
    plan = world.settle()
    assert (plan.replicas, plan.held_at_one, world.deployment["spec"]["replicas"]) == (3, True, 1)
    world.roll_out(ready=False)
    status = world.write_status()
    assert "more start once the first is ready" in status["conditions"][2]["message"]
    assert actions(world.plan()) == []
    world.roll_out()
    assert [describe(action) for action in world.plan().actions] == ["create ConfigMap digits-1-7f0c2c9e"]
    for action in world.plan().actions:
        world.act(action)
    assert actions(world.settle()) == ["apply Deployment digits"]
    assert world.deployment["spec"]["replicas"] == 3


def test_one_pod_of_several_that_answers_is_not_all_that_is_wanted() -> None:
    world = World(Model().replicas(3))
    world.settle()
    world.roll_out()
    status = world.write_status()
    assert status["conditions"][0]["status"] == "False"
    assert "currentRevision" not in status


def test_no_pod_is_taken_away() -> None:
    world = served(Model().replicas(3))
    del world.children[Ref("ConfigMap", "digits-1-7f0c2c9e")]
    world.body["status"] = {}
    world.pods = ()
    world.numbers(readyReplicas=0, availableReplicas=0)
    plan = world.settle()
    assert (plan.current, plan.held_at_one, world.deployment["spec"]["replicas"]) == (None, False, 3)


def test_a_deployment_that_is_made_again_has_all_its_pods_at_once() -> None:
    world = served(Model().replicas(3))
    world.pods = ()
    del world.children[Ref("Deployment", "digits")]
    world.settle()
    assert world.deployment["spec"]["replicas"] == 3


def test_a_pin_that_was_deleted_is_made_again_as_it_was() -> None:
    world = served(Model())
    del world.children[Ref("ConfigMap", "digits-1-7f0c2c9e")]
    world.pods = (a_pod("other", 1, PodState.LOADING, digest=OTHER, model_version=4),)
    assert actions(world.settle()) == ["create ConfigMap digits-1-7f0c2c9e"]
    assert world.children[Ref("ConfigMap", "digits-1-7f0c2c9e")]["data"] == {"version": "3", "digest": DIGEST}


def test_a_revision_of_a_release_that_knew_no_pins_gets_none() -> None:
    world = served(Model().replicas(8))
    for body in (world.children[Ref("ControllerRevision", "digits-1")]["data"], world.deployment["spec"]):
        del body["template"]["spec"]["initContainers"][0]["env"]
    del world.children[Ref("ConfigMap", "digits-1-7f0c2c9e")]
    assert world.plan().actions == ()
    assert surge(world) == "25%"


def test_a_record_made_anew_waits_for_its_own_pin() -> None:
    """The garbage collector takes the pin of the lost record; until then its name is taken."""
    world = served(Model())
    record = world.children[Ref("ControllerRevision", "digits-1")]
    record["metadata"]["uid"] = "another"
    assert world.plan().actions == ()
    del world.children[Ref("ConfigMap", "digits-1-7f0c2c9e")]
    assert actions(world.settle()) == ["create ConfigMap digits-1-7f0c2c9e"]


# Kinship: a name is no proof of it


def left_over(world: World) -> None:
    """What a backup brought back has no owners, and a new resource has the name."""
    for child in world.children.values():
        child["metadata"].pop("ownerReferences", None)
    world.body["metadata"]["uid"] = "11111111-0000-4000-8000-000000000002"
    world.body.pop("status", None)


def pin_that_is_read(world: World) -> Any:
    (fetch,) = world.deployment["spec"]["template"]["spec"]["initContainers"]
    return fetch["env"][0]["valueFrom"]["configMapKeyRef"]["name"]


def test_what_a_dead_resource_left_is_taken_back_and_never_read() -> None:
    world = served(Model())
    left_over(world)
    del world.children[Ref("Deployment", "digits")]
    world.pods = ()
    plan = world.settle()
    assert plan.update == 2
    assert "apply ControllerRevision digits-1 (slipway-owner)" in actions(plan)
    assert pin_that_is_read(world) == "digits-2-11111111"
    (owner,) = world.children[Ref("ControllerRevision", "digits-1")]["metadata"]["ownerReferences"]
    assert owner["uid"] == "11111111-0000-4000-8000-000000000002"
    world.serve()
    assert actions(world.plan()) == []


def test_a_restored_resource_whose_pods_run_goes_on_with_its_pin() -> None:
    world = served(Model().replicas(2))
    left_over(world)
    plan = world.plan()
    assert (plan.update, plan.current) == (1, 1)
    assert not [what for what in actions(plan) if "ConfigMap" in what]
    world.serve()
    assert pin_that_is_read(world) == "digits-1-7f0c2c9e"
    world.change(model=BETTER).serve()
    assert pin_that_is_read(world) == "digits-2-11111111"


def test_a_record_of_release_0_1_keeps_its_pin() -> None:
    """Its pods read a name without a uid; that it is ours tells its owner."""
    world = served(Model())
    for template in (
        world.children[Ref("ControllerRevision", "digits-1")]["data"]["template"],
        world.deployment["spec"]["template"],
    ):
        for variable in template["spec"]["initContainers"][0]["env"]:
            variable["valueFrom"]["configMapKeyRef"]["name"] = "digits-1"
    pin = world.children.pop(Ref("ConfigMap", "digits-1-7f0c2c9e"))
    pin["metadata"]["name"] = "digits-1"
    world.children[Ref("ConfigMap", "digits-1")] = pin
    assert actions(world.plan()) == []
    del world.children[Ref("ConfigMap", "digits-1")]
    assert actions(world.settle()) == ["create ConfigMap digits-1"]
    assert world.state.revisions[0].ours
    world.children[Ref("ControllerRevision", "digits-1")]["metadata"].pop("ownerReferences")
    assert not world.state.revisions[0].ours
