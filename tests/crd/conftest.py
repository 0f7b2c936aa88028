"""A real API server with the CRD in it, and what a user has in hand: kubectl."""

import json
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dev.cluster import binaries
from dev.cluster.controlplane import ControlPlane
from dev.kit.eventually import eventually

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
def kubectl(plane: ControlPlane, bare_kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """The same, with the CRD established."""
    # A cache of its own: this one requests the index of schemas, and the API server answers "not modified" to whoever requests it
    # again in the same second, although the new kind has come in between (its Last-Modified is the clock in seconds).
    cache = tmp_path_factory.mktemp("before")
    applied = bare_kubectl("--cache-dir", str(cache), "apply", "--filename", str(CRD))
    assert applied.stderr == ""  # no warning of a pattern, a rule or a default
    # Not `kubectl wait`: it fails on an object that has no conditions yet. `kubectl explain` reads the second one.
    for path in (COLLECTION, "/openapi/v3/apis/serving.slipway.dev/v1alpha1"):
        eventually(partial(plane.api().healthy, path), f"the API server serves {path}")
    return bare_kubectl
