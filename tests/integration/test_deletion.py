"""Deletion with the real garbage collector: no finalizer, so it ends whether the operator is there or not."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster.controlplane import ControlPlane, Options
from tests.integration.conftest import install_crd
from tests.integration.world import CHILDREN, Operator, World, eventually, now, writes


@pytest.fixture(scope="module")
def collected() -> Iterator[ControlPlane]:
    """A control plane with the controller-manager."""
    with ControlPlane(Options(controller_manager=True, audit=True, seconds=180)) as plane:
        install_crd(plane)
        yield plane


def rest(world: World) -> dict[str, set[str]]:
    found = {kind: world.names(kind) for kind in CHILDREN}
    return {kind: names for kind, names in found.items() if names}


@pytest.mark.parametrize("present", [True, False], ids=["operator-up", "operator-down"])
def test_everything_goes_with_its_owner(collected: ControlPlane, tmp_path: Path, *, present: bool) -> None:
    world = World(collected, f"deletion-{present}".lower())
    user = f"operator-{present}".lower()
    operator = Operator(collected.kubeconfig(user, ["system:masters"]), tmp_path, user, "--no-leader-elect").start()
    try:
        world.create("digits", autoscaling={"minReplicas": 1, "maxReplicas": 3})
        eventually(lambda: len(rest(world)) == len(CHILDREN), "all children")
        eventually(lambda: world.status("digits").get("observedGeneration"), "a status")
        if not present:
            assert operator.stop() == 0
        since = now()
        assert world.api.delete(world.path("ModelDeployment", "digits"))
        eventually(lambda: not rest(world), "the children are collected", 120)
        time.sleep(2)
        assert rest(world) == {}
        assert writes(collected, user, since) == {}, "nothing is made again for a resource that is gone"
    finally:
        operator.kill()


def test_a_namespace_can_be_deleted(collected: ControlPlane, tmp_path: Path) -> None:
    world = World(collected, "doomed")
    operator = Operator(collected.kubeconfig("doom", ["system:masters"]), tmp_path, "doom", "--no-leader-elect").start()
    try:
        for number in range(5):
            world.create(f"digits-{number}")
        eventually(lambda: len(world.names("Deployment")) == 5, "the Deployments")
        world.api.delete("/api/v1/namespaces/doomed")
        eventually(lambda: not world.api.exists("/api/v1/namespaces/doomed"), "the namespace is gone", 120)
        assert operator.alive()
    finally:
        operator.kill()
