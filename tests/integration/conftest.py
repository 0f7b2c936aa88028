"""A real API server for all integration tests of a process, and operators as processes of their own."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
import yaml

from dev.cluster.api_client import ApiError
from dev.cluster.controlplane import ControlPlane, Options
from dev.kit.eventually import eventually
from dev.kit.local_operator import Operator
from dev.kit.model_namespace import CRD, CRDS, GROUP
from tests.integration.world import World

_number = count(1)
StartOperator = Callable[..., Operator]


def install_crd(plane: ControlPlane) -> None:
    plane.api().create(CRDS, yaml.safe_load(CRD.read_text()))
    eventually(lambda: served(plane), "the kind ModelDeployment is served")


def served(plane: ControlPlane) -> bool:
    try:
        return plane.api().exists(f"{GROUP}/modeldeployments")
    except ApiError:  # 429 while its storage is initialized
        return False


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """etcd and kube-apiserver, nothing else: only tests and operators write there."""
    with ControlPlane(Options(audit=True, seconds=180)) as made:
        install_crd(made)
        yield made


@pytest.fixture
def world(plane: ControlPlane) -> World:
    """A namespace of the test's own."""
    return World(plane, f"test-{next(_number)}")


@pytest.fixture
def start(plane: ControlPlane, tmp_path: Path) -> Iterator[StartOperator]:
    """Start operators of one namespace, without leader election; all end with the test."""
    started: list[Operator] = []

    def begin(world: World, *flags: str, ready: bool = True, kubeconfig: Path | None = None) -> Operator:
        user = f"operator-{next(_number)}"
        config = kubeconfig or world.plane.kubeconfig(user, ["system:masters"])
        operator = Operator(config, tmp_path, user, "--no-leader-elect", f"--namespaces={world.namespace}", *flags)
        started.append(operator)
        return operator.start(ready=ready)

    yield begin
    for operator in started:
        operator.kill()


@pytest.fixture(scope="session")
def shared(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Operator]]:
    """A namespace and an operator that many tests use, each with names of its own."""
    world = World(plane, "shared")
    user = "operator-shared"
    config = plane.kubeconfig(user, ["system:masters"])
    flags = ("--no-leader-elect", f"--namespaces={world.namespace}")
    operator = Operator(config, tmp_path_factory.mktemp("shared"), user, *flags).start()
    yield world, operator
    code = operator.stop()
    assert code == 0, operator.log()[-3000:]
