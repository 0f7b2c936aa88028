"""Deletion with the real garbage collector: no finalizer, so it completes whether the operator runs or not."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster.controlplane import ControlPlane, Options
from dev.kit.eventually import eventually
from dev.kit.local_operator import Operator
from dev.kit.model_namespace import CHILDREN
from tests.integration.conftest import install_crd
from tests.integration.world import World, now, writes


@pytest.fixture(scope="module")
def collected() -> Iterator[ControlPlane]:
    """A control plane with the controller-manager."""
    with ControlPlane(Options(controller_manager=True, audit=True, seconds=180)) as plane:
        install_crd(plane)
        yield plane


def children(world: World) -> dict[str, set[str]]:
    found = {kind: world.names(kind) for kind in CHILDREN}
    return {kind: names for kind, names in found.items() if names}


@pytest.mark.parametrize("present", [True, False], ids=["operator-up", "operator-down"])
def test_all_children_are_deleted_with_their_owner(collected: ControlPlane, tmp_path: Path, *, present: bool) -> None:
    world = World(collected, f"deletion-{present}".lower())
    user = f"operator-{present}".lower()
    operator = Operator(collected.kubeconfig(user, ["system:masters"]), tmp_path, user, "--no-leader-elect").start()
    try:
        world.create("digits", autoscaling={"minReplicas": 1, "maxReplicas": 3})
        eventually(lambda: len(children(world)) == len(CHILDREN), "all children")
        eventually(lambda: world.status("digits").get("observedGeneration"), "a status")
        if not present:
            assert operator.stop() == 0
        since = now()
        assert world.api.delete(world.path("ModelDeployment", "digits"))
        eventually(lambda: not children(world), "the children are collected", 120)
        time.sleep(2)  # a negative proof needs the time
        assert children(world) == {}
        assert writes(collected, user, since) == {}, "no child of a deleted ModelDeployment is created again"
    finally:
        operator.kill()


def test_a_namespace_can_be_deleted(collected: ControlPlane, tmp_path: Path) -> None:
    world = World(collected, "deleted")
    operator = Operator(
        collected.kubeconfig("operator-of-deleted", ["system:masters"]),
        tmp_path,
        "operator-of-deleted",
        "--no-leader-elect",
    ).start()
    try:
        for number in range(5):
            world.create(f"digits-{number}")
        eventually(lambda: len(world.names("Deployment")) == 5, "the Deployments")
        world.api.delete("/api/v1/namespaces/deleted")
        eventually(lambda: not world.api.exists("/api/v1/namespaces/deleted"), "the namespace is gone", 120)
        assert operator.alive()
    finally:
        operator.kill()
