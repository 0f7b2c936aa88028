"""The operator itself: checked by helm, restarted without a trace, absent without harm."""

import pytest

from dev.kit import traffic, wait
from dev.kit.archive_server import url
from dev.kit.installation import OPERATOR_NAMESPACE, OPERATOR_SELECTOR, RELEASE, operator_metrics, tool
from dev.kit.kubectl import Kubectl, Manifest
from dev.kit.model_deployments import KIND, children, deployment, pods, uids
from dev.kit.tiny_models import HALVES
from dev.shell import run

MODEL = url("half_plus_two.tar.gz")
ANSWER = traffic.answer_of(HALVES["half_plus_two"])


def versions(kubectl: Kubectl, name: str) -> dict[str, str]:
    """Return the resourceVersion of a ModelDeployment and of all that belongs to it, pods included."""
    objects: dict[str, Manifest] = {"": kubectl.get("mdep", name) or {}} | children(kubectl, name)
    objects |= {pod["metadata"]["name"]: pod for pod in pods(kubectl, name)}
    return {key: item["metadata"]["resourceVersion"] for key, item in objects.items()}


def all_is_told(state: Manifest) -> bool:
    """Tell whether the status holds both pods as ready: nothing waits any more to be merged into it."""
    return [pod["state"] for pod in state["status"].get("pods", [])] == ["Ready", "Ready"]


pytestmark = pytest.mark.usefixtures("operator_alone")


def test_helm_test(kubectl: Kubectl) -> None:
    argv = [
        str(tool("helm")),
        "test",
        RELEASE,
        f"--namespace={OPERATOR_NAMESPACE}",
        f"--kubeconfig={kubectl.kubeconfig}",
    ]
    assert "Succeeded" in run(argv, timeout=180)


def test_it_runs_restricted_and_says_how_it_is(kubectl: Kubectl) -> None:
    page = operator_metrics(kubectl)
    for family in ("slipway_reconcile", "slipway_workqueue", "slipway_leader"):
        assert family in page, page


def test_a_restart_leaves_no_trace(namespace: Kubectl) -> None:
    namespace.apply(deployment("calm", MODEL, replicas=2))
    wait.ready(namespace, "calm")
    # Ready is reported at once; what else changed in the same moment, such as the state of the second pod, up to nine seconds later.
    wait.until(namespace, KIND, "calm", all_is_told)
    wait.until(namespace, "poddisruptionbudget", "calm", lambda found: found["status"].get("disruptionsAllowed") == 1)
    system = namespace.within(OPERATOR_NAMESPACE)
    before = versions(namespace, "calm")
    system.run("rollout", "restart", "deployment", f"--selector={OPERATOR_SELECTOR}")
    for item in system.items("deployments", OPERATOR_SELECTOR):
        system.run("rollout", "status", f"deployment/{item['metadata']['name']}", "--timeout=240s", timeout=250)
    # The new operator is at work as soon as it serves something new; by then it has looked at everything old.
    namespace.apply(deployment("after", MODEL))
    wait.ready(namespace, "after")
    assert versions(namespace, "calm") == before


def test_models_heal_without_it(namespace: Kubectl) -> None:
    namespace.apply(deployment("alone", MODEL))
    wait.ready(namespace, "alone")
    system = namespace.within(OPERATOR_NAMESPACE)
    [operator] = system.items("deployments", OPERATOR_SELECTOR)
    name, count = operator["metadata"]["name"], operator["spec"]["replicas"]
    system.run("scale", "deployment", name, "--replicas=0")
    try:
        system.run("wait", "--for=delete", "pod", f"--selector={OPERATOR_SELECTOR},app.kubernetes.io/component=operator",
                   "--timeout=120s", timeout=130)  # fmt: skip
        killed = uids(pods(namespace, "alone"))
        namespace.run("delete", "pod", "--selector=serving.slipway.dev/name=alone", "--grace-period=0", "--force")
        wait.replaced(namespace, "alone", killed)
        assert traffic.predict_once(namespace, "alone") == ANSWER
    finally:
        system.run("scale", "deployment", name, f"--replicas={count}")
        system.run("rollout", "status", f"deployment/{name}", "--timeout=240s", timeout=250)
    wait.ready(namespace, "alone")
