"""An operator of some namespaces, installed by the chart: one that is deleted never stops it for the others."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dev.kit import manifests, traffic, wait
from dev.kit.archive_server import url
from dev.kit.installation import CHART, OPERATOR_NAMESPACE, OPERATOR_SELECTOR, RELEASE, operator_metrics, tool
from dev.kit.kubectl import Kubectl
from dev.kit.model_deployments import deployment
from dev.kit.tiny_models import HALVES
from dev.shell import run

MODEL = url("half_plus_two.tar.gz")
ANSWER = traffic.answer_of(HALVES["half_plus_two"])

pytestmark = pytest.mark.usefixtures("operator_alone")


def upgrade(kubectl: Kubectl, value: str) -> None:
    """Set one value of the release, and wait until the operator is Ready with it."""
    argv = [str(tool("helm")), "upgrade", RELEASE, str(CHART), "--reuse-values", f"--set-json={value}"]
    run([*argv, f"--namespace={OPERATOR_NAMESPACE}", f"--kubeconfig={kubectl.kubeconfig}"], timeout=180)
    rolled_out(kubectl)


def rolled_out(kubectl: Kubectl) -> None:
    """Wait until the operator's pods are Ready."""
    system = kubectl.within(OPERATOR_NAMESPACE)
    for item in system.items("deployments", OPERATOR_SELECTOR):
        system.run("rollout", "status", f"deployment/{item['metadata']['name']}", "--timeout=240s", timeout=250)


@contextmanager
def watching(kubectl: Kubectl, *namespaces: str) -> Iterator[None]:
    """Let the operator watch these namespaces; all of them again at the end."""
    listed = ",".join(f'"{name}"' for name in namespaces)
    upgrade(kubectl, f"watch.namespaces=[{listed}]")
    try:
        yield
    finally:
        upgrade(kubectl, "watch.namespaces=[]")


def test_a_deleted_namespace_does_not_stop_an_operator_that_restarts(kubectl: Kubectl, namespace: Kubectl) -> None:
    gone = f"e2e-gone-{uuid.uuid4().hex[:5]}"
    kubectl.apply(manifests.namespace(gone))
    with watching(kubectl, gone, namespace.namespace):
        kubectl.run("delete", "namespace", gone, timeout=180)
        system = kubectl.within(OPERATOR_NAMESPACE)
        system.run("rollout", "restart", "deployment", f"--selector={OPERATOR_SELECTOR}")
        rolled_out(kubectl)
        namespace.apply(deployment("kept", MODEL))
        wait.ready(namespace, "kept")
        assert traffic.predict_once(namespace, "kept") == ANSWER
        page = operator_metrics(kubectl)
        assert f'slipway_namespace_watched{{namespace="{gone}"}} 0.0' in page
        assert f'slipway_namespace_watched{{namespace="{namespace.namespace}"}} 1.0' in page
