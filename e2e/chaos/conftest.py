"""One cluster for the long runs; a test that takes parts of it down has it for itself."""

import fcntl
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from dev.kit.locks import locked
from dev.kit.model_namespace import Namespace
from e2e.chaos import ground as grounds
from e2e.chaos.ground import BUILD, Ground
from e2e.chaos.lane import Lane

CLUSTER = os.environ.get("SLIPWAY_CHAOS_CLUSTER", "slipway-chaos")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long runs to `make chaos`, which sets SLIPWAY_CHAOS, and does not need the sample."""
    here, long = Path(__file__).parent, bool(os.environ.get("SLIPWAY_CHAOS"))
    mine = [item for item in items if item.path.is_relative_to(here)]
    left_out = [item for item in mine if (item.get_closest_marker("slow") is not None) is not long]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def prepared(testrun_uid: str) -> str:
    """The cluster's name, once images, models and the definition are in it."""
    done = BUILD / f"ready-{testrun_uid}"
    with locked(BUILD / "lock"):
        if not done.exists():
            for old in BUILD.glob("ready-*"):
                old.unlink()
            done.write_text("failed")  # until the end is reached: no other worker tries again
            (BUILD / "progress.log").unlink(missing_ok=True)
            if not os.environ.get("SLIPWAY_E2E_REUSE"):  # while tests are written: what is there is what is tested
                grounds.prepare(CLUSTER, BUILD)
            done.write_text("")
    if done.read_text() == "failed":
        pytest.fail("another worker could not prepare the cluster; its error says why")
    return CLUSTER


def sharing() -> AbstractContextManager[None]:
    """Keep others from having the cluster for themselves meanwhile."""
    return locked(BUILD / "use", fcntl.LOCK_SH)


@pytest.fixture
def ground(prepared: str) -> Iterator[Ground]:
    """The cluster, shared with the tests of other workers."""
    with sharing():
        yield Ground(prepared)


@pytest.fixture
def own_ground(prepared: str) -> Iterator[Ground]:
    """The cluster for one test alone; it is whole again afterwards."""
    with locked(BUILD / "use"):
        found = Ground(prepared)
        yield found
        found.repair()


@contextmanager
def fresh_world(ground: Ground, label: str) -> Iterator[Namespace]:
    """Yield a namespace; at its end its pods are deleted without a grace period."""
    words = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:36].strip("-")
    world = Namespace(ground.api(), f"chaos-{words}-{uuid.uuid4().hex[:5]}")
    yield world
    kubectl = ground.kubectl.within(world.namespace)
    kubectl.run("delete", "namespace", world.namespace, "--wait=false")
    kubectl.run("delete", "pods", "--all", "--grace-period=1", "--wait=false")


@pytest.fixture
def lane(ground: Ground, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lane]:
    """A namespace with a proxied operator, not yet started."""
    with fresh_world(ground, request.node.name.removeprefix("test_")) as world, Lane(ground, world, tmp_path) as made:
        yield made


@pytest.fixture
def own_lane(own_ground: Ground, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lane]:
    """The same on a cluster that nobody else uses meanwhile."""
    label = request.node.name.removeprefix("test_")
    with fresh_world(own_ground, label) as world, Lane(own_ground, world, tmp_path) as made:
        yield made
