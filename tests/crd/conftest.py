"""A real API server with the CRD in it, and what a user has in hand: kubectl."""

import json
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cluster import binaries
from cluster.controlplane import ControlPlane
from tests.integration.world import eventually

ROOT = Path(__file__).parents[2]
CRD = ROOT / "crds" / "serving.slipway.dev_modeldeployments.yaml"
COLLECTION = "/apis/serving.slipway.dev/v1alpha1/namespaces/default/modeldeployments"

Kubectl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as running:
        yield running


@pytest.fixture(scope="session")
def bare_kubectl(plane: ControlPlane) -> Kubectl:
    """kubectl with all rights; `body` is what it reads from standard input."""
    program = binaries.ensure("kubectl")

    def run(*arguments: str, body: Any = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        argv = [str(program), "--kubeconfig", str(plane.kubeconfig()), *arguments]
        text = None if body is None else json.dumps(body)
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def kubectl(plane: ControlPlane, bare_kubectl: Kubectl) -> Kubectl:
    """The same, with the CRD established."""
    assert bare_kubectl("apply", "--filename", str(CRD)).stderr == ""  # no warning of a pattern, a rule or a default
    # Not `kubectl wait`: it fails on an object that has no conditions yet. `kubectl explain` reads the second one.
    for path in (COLLECTION, "/openapi/v3/apis/serving.slipway.dev/v1alpha1"):
        eventually(partial(plane.api().healthy, path), f"the API server serves {path}")
    return bare_kubectl
