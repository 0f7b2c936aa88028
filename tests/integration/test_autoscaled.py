"""An autoscaler owns the number of pods: whatever is edited meanwhile, the operator does not write it."""

import threading
from functools import partial

from dev.kit.eventually import eventually
from dev.kit.local_operator import Operator
from tests.integration.world import World

EDITS = 20


def numbers(world: World, name: str, version: str, over: threading.Event, seen: list[tuple[int, int]]) -> None:
    """Watch generation and `spec.replicas` of the Deployment from a resource version on, without a gap."""
    path = world.path("Deployment")
    while not over.is_set():
        for event in world.api.watch(path, version, seconds=1):
            version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] == "MODIFIED" and event["object"]["metadata"]["name"] == name:
                seen.append((event["object"]["metadata"]["generation"], event["object"]["spec"]["replicas"]))


def has_observed(world: World, generation: int) -> bool:
    return bool(world.status("owned").get("observedGeneration") == generation)


def test_twenty_edits_never_show_another_number(shared: tuple[World, Operator]) -> None:
    """If its only owner stopped sending the field, the API server would default it to 1 for a moment."""
    world, operator = shared
    world.create("owned", autoscaling={"minReplicas": 2, "maxReplicas": 9})
    world.settle("owned")
    world.api.patch(world.path("Deployment", "owned") + "/scale", {"spec": {"replicas": 6}})  # as an autoscaler does
    world.roll_out("owned")
    eventually(lambda: world.status("owned").get("readyReplicas") == 6, "six pods are reported")
    seen: list[tuple[int, int]] = []
    over = threading.Event()
    version = str(world.get("Deployment", "owned")["metadata"]["resourceVersion"])  # before the first edit
    watcher = threading.Thread(target=numbers, args=(world, "owned", version, over, seen))
    watcher.start()
    try:
        for number in range(EDITS):
            world.patch("owned", model={"uri": "pvc://models/digits", "version": number + 1})
            world.patch("owned", autoscaling={"minReplicas": 2, "maxReplicas": 9 + number % 2})
            generation = world.get("ModelDeployment", "owned")["metadata"]["generation"]
            eventually(partial(has_observed, world, generation), f"edit {number} is observed")
        last = f"version={EDITS}"
        eventually(
            lambda: last in str(world.get("Deployment", "owned")["spec"]["template"]), "the last edit is applied"
        )
        newest = world.get("Deployment", "owned")["metadata"]["generation"]
        eventually(lambda: seen and seen[-1][0] == newest, "the watch has come as far as the Deployment")
    finally:
        over.set()
        watcher.join()
    assert {replicas for _, replicas in seen} == {6}
    # A busy API server may turn an apply away, and the next edit then goes into the same one.
    assert len({generation for generation, _ in seen}) > EDITS // 2
    assert operator.alive()
