"""An autoscaler owns the number of pods: whatever is edited meanwhile, the operator does not write it."""

import threading
from functools import partial

from dev.kit.eventually import eventually
from dev.kit.local_operator import Operator
from tests.integration.world import World

EDITS = 20


def numbers(world: World, name: str, version: str, over: threading.Event, seen: list[int]) -> None:
    """Watch `spec.replicas` of the Deployment from a resource version on, without a gap."""
    path = world.path("Deployment")
    while not over.is_set():
        for event in world.api.watch(path, version, seconds=1):
            version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] == "MODIFIED" and event["object"]["metadata"]["name"] == name:
                seen.append(event["object"]["spec"]["replicas"])


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
    seen: list[int] = []
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
        eventually(lambda: len(seen) >= EDITS, "the watch saw the Deployment change with each")
    finally:
        over.set()
        watcher.join()
    assert set(seen) == {6}
    assert operator.alive()
