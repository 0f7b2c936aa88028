"""One cluster for all tests, a namespace for each. What is up already is used, and nothing is taken down at the end."""

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from dev.kit import installation, manifests
from dev.kit.kubectl import Kubectl
from dev.kit.locks import locked
from dev.kit.preparation import prepare
from dev.kit.tiny_models import BUILD, models_folder
from dev.repository import ROOT

CLUSTER = os.environ.get("SLIPWAY_CLUSTER", "slipway")
TEST_SECONDS = 600
"""Of one test, what it waits for included: the cluster, that another worker prepares, and the GPU, that another has."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests on a cluster the time that a slow machine takes."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


def alone(what: str) -> AbstractContextManager[None]:
    """Have something of the cluster for one test at a time."""
    return locked(BUILD / f"{what}.lock")


@pytest.fixture(scope="session")
def kubectl(tmp_path_factory: pytest.TempPathFactory, testrun_uid: str) -> Kubectl:
    """The cluster with images, chart and archives in it; the first worker of a run prepares it for all."""
    done = BUILD / f"ready-{testrun_uid}"
    with locked(BUILD / "lock"):
        if not done.exists():
            for old in BUILD.glob("ready-*"):
                old.unlink()
            done.write_text("failed")  # until the end is reached: no other worker tries again
            prepare(CLUSTER)
            done.write_text("")
    if done.read_text() == "failed":
        pytest.fail("another worker could not prepare the cluster; its error says why")
    return installation.kubectl(CLUSTER)


@pytest.fixture(scope="session")
def models(kubectl: Kubectl) -> Path:
    """Folder of the tiny models: NAME/1."""
    return models_folder()


@contextmanager
def fresh_namespace(kubectl: Kubectl, label: str) -> Iterator[Kubectl]:
    """Yield a namespace that enforces the restricted standard, and check at the end that no pod in it falls short."""
    words = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:40].strip("-")
    name = f"e2e-{words}-{uuid.uuid4().hex[:5]}"
    kubectl.apply(manifests.namespace(name))
    client = kubectl.within(name)
    yield client
    level = "pod-security.kubernetes.io/enforce"
    kubectl.run("label", "namespace", name, f"{level}-")
    checked = kubectl.run("label", "namespace", name, f"{level}=restricted", "--overwrite", "--dry-run=server")
    kubectl.run("delete", "namespace", name, "--wait=false")
    client.run(
        "delete", "pods", "--all", "--grace-period=1", "--wait=false"
    )  # no need for a graceful termination: the GPU is free sooner
    assert not checked.warnings, checked.warnings


@pytest.fixture
def namespace(kubectl: Kubectl, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """A namespace for one test."""
    with fresh_namespace(kubectl, request.node.name.removeprefix("test_")) as client:
        yield client


@pytest.fixture
def operator_alone(kubectl: Kubectl) -> Iterator[None]:
    """No other test ends the operator meanwhile. Models are made and served all the time, with a pause where it is away."""
    with alone("operator"):
        yield


@pytest.fixture
def one_gpu(kubectl: Kubectl) -> Iterator[str]:
    """A node with one GPU that exists for the scheduler only; yields its product. One test at a time has it."""
    product = "NVIDIA-A100-SXM4-80GB"
    command = [sys.executable, "-m", "dev.cluster", "gpu", f"--name={CLUSTER}"]
    with alone("gpu"):
        subprocess.run([*command, "--count=1", f"--product={product}"], cwd=ROOT, check=True)
        yield product
        subprocess.run([*command, "--off"], cwd=ROOT, check=True)


@pytest.fixture(scope="module")
def shared_namespace(kubectl: Kubectl, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """A namespace for the tests of one module that build on each other."""
    with fresh_namespace(kubectl, Path(request.node.name).stem.removeprefix("test_")) as client:
        yield client
