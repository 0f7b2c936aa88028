"""What all pods of a revision serve is found by the first of them: who waits for it, who does not, and what is written."""

from dataclasses import replace
from typing import Any

import pytest

from slipway.api import PodState
from slipway.domain.objects import Manifest, Ref
from tests.kit.builders import DIGEST, Model, World, a_pod, actions, describe, served

BETTER = {"uri": "pvc://models/better"}
PIN = Ref("ConfigMap", "digits-2")


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


def fetched(world: World, **fields: Any) -> World:
    """The first pod of revision 2 has fetched the model, and loads it."""
    status = {"digest": DIGEST, "model_version": 3} | fields
    world.pods = (*world.pods, a_pod("new", 2, PodState.LOADING, **status))
    return world


def pin_of(world: World) -> Manifest:
    data = world.children[PIN]["data"]
    assert isinstance(data, dict)
    return data


def test_many_pods_wait_for_the_first() -> None:
    world = changed(8)
    assert surge(world) == 1
    plan = fetched(world).plan()
    assert actions(plan) == ["create ConfigMap digits-2"]
    assert surge(world) == 1, "the pin comes first"
    world.act(plan.actions[0])
    assert actions(world.settle()) == ["apply Deployment digits"]
    assert surge(world) == "25%"
    assert pin_of(world) == {"version": "3", "digest": DIGEST}


def test_few_pods_come_one_by_one_anyway() -> None:
    world = changed(4)
    assert surge(world) == "25%"
    assert actions(fetched(world).settle()) == ["create ConfigMap digits-2"]


def test_a_digest_in_the_spec_is_the_pin() -> None:
    world = changed(8, digest=DIGEST)
    assert surge(world) == "25%"
    assert actions(fetched(world).settle()) == []


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
    assert "more start once the first has reported what it fetched" in status["conditions"][2]["message"]
    assert [describe(action) for action in world.plan().actions] == ["create ConfigMap digits-1"]
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
    del world.children[Ref("ConfigMap", "digits-1")]
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
    del world.children[Ref("ConfigMap", "digits-1")]
    other = "sha256:" + "b" * 64
    world.pods = (a_pod("other", 1, PodState.LOADING, digest=other, model_version=4),)
    assert actions(world.settle()) == ["create ConfigMap digits-1"]
    assert world.children[Ref("ConfigMap", "digits-1")]["data"] == {"version": "3", "digest": DIGEST}


def test_a_revision_of_a_release_that_knew_no_pins_gets_none() -> None:
    world = served(Model().replicas(8))
    for body in (world.children[Ref("ControllerRevision", "digits-1")]["data"], world.deployment["spec"]):
        del body["template"]["spec"]["initContainers"][0]["env"]
    del world.children[Ref("ConfigMap", "digits-1")]
    assert world.plan().actions == ()
    assert surge(world) == "25%"


def test_a_record_made_anew_waits_for_its_own_pin() -> None:
    """The garbage collector takes the pin of the lost record; until then its name is taken."""
    world = served(Model())
    record = world.children[Ref("ControllerRevision", "digits-1")]
    record["metadata"]["uid"] = "another"
    assert world.plan().actions == ()
    del world.children[Ref("ConfigMap", "digits-1")]
    assert actions(world.settle()) == ["create ConfigMap digits-1"]
