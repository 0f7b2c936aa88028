"""How many pods: set in the spec, scaled by hand, handed to an autoscaler and taken back, to zero; and who may take one away."""

import json

from dev.kit import traffic, wait
from dev.kit.archive_server import url
from dev.kit.conditions import current
from dev.kit.kubectl import Kubectl, KubectlError
from dev.kit.model_deployments import KIND, children, deployment, pods, uids
from dev.kit.tiny_models import HALVES

MODEL = url("half_plus_two.tar.gz")
ANSWER = traffic.answer_of(HALVES["half_plus_two"])


def serving(kubectl: Kubectl, name: str, count: int) -> None:
    """Wait until so many pods serve."""
    wait.until(
        kubectl,
        KIND,
        name,
        lambda state: current(state, "Ready")["status"] == "True" and state["status"].get("readyReplicas", 0) == count,
    )


def owners_of_replicas(kubectl: Kubectl, name: str) -> set[str]:
    """Return the field managers that own `spec.replicas` of a Deployment."""
    text = kubectl.run("get", "deployment", name, "--show-managed-fields", "--output=json").stdout
    entries = json.loads(text)["metadata"]["managedFields"]
    return {entry["manager"] for entry in entries if "f:replicas" in entry["fieldsV1"].get("f:spec", {})}


def test_by_hand_up_down_to_zero_and_back(namespace: Kubectl) -> None:
    namespace.apply(deployment("scaled", MODEL))
    serving(namespace, "scaled", 1)
    assert "PodDisruptionBudget/scaled" not in children(namespace, "scaled")
    first = uids(pods(namespace, "scaled"))

    namespace.run("scale", "mdep", "scaled", "--replicas=2")
    serving(namespace, "scaled", 2)
    assert first < uids(pods(namespace, "scaled"))
    assert "PodDisruptionBudget/scaled" in children(namespace, "scaled")
    assert (namespace.get(KIND, "scaled") or {})["status"]["updateRevision"] == 1

    namespace.run("scale", "mdep", "scaled", "--replicas=0")
    state = wait.until(namespace, KIND, "scaled", lambda state: current(state, "Ready")["reason"] == "ScaledToZero")
    assert current(state, "Ready")["status"] == "True"
    namespace.run("scale", "mdep", "scaled", "--replicas=1")
    serving(namespace, "scaled", 1)
    assert traffic.predict_once(namespace, "scaled") == ANSWER


def test_a_budget_protects_the_last_but_one(namespace: Kubectl) -> None:
    namespace.apply(deployment("guarded", MODEL, replicas=2))
    serving(namespace, "guarded", 2)
    wait.until(
        namespace, "poddisruptionbudget", "guarded", lambda budget: budget["status"].get("disruptionsAllowed") == 1
    )
    refusals = []
    for pod in pods(namespace, "guarded"):
        name = pod["metadata"]["name"]
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        path = f"/api/v1/namespaces/{namespace.namespace}/pods/{name}/eviction"
        try:
            namespace.run("create", "--raw", path, "--filename=-", stdin=str(eviction).replace("'", '"'))
        except KubectlError as error:
            refusals.append(str(error))
    assert len(refusals) == 1
    assert "disruption budget" in refusals[0]
    serving(namespace, "guarded", 2)


def test_the_running_count_survives_an_autoscaler_coming_and_going(namespace: Kubectl) -> None:
    by_hand = deployment("counted", MODEL, replicas=2)
    serving_two = deployment("counted", MODEL, autoscaling={"minReplicas": 2, "maxReplicas": 3})
    namespace.apply(by_hand)
    serving(namespace, "counted", 2)
    both = uids(pods(namespace, "counted"))

    namespace.apply(serving_two)
    wait.until(namespace, KIND, "counted", lambda state: current(state, "Ready")["status"] == "True")
    autoscaler = wait.until(
        namespace, "horizontalpodautoscaler", "counted", lambda found: bool(found.get("status", {}).get("conditions"))
    )
    assert autoscaler["spec"]["maxReplicas"] == 3
    assert "slipway" not in owners_of_replicas(namespace, "counted")

    namespace.apply(by_hand)
    wait.ready(namespace, "counted")
    wait.gone(namespace, "horizontalpodautoscaler", "counted")
    serving(namespace, "counted", 2)
    assert uids(pods(namespace, "counted")) == both


def test_the_smallest_resource_has_a_scale(namespace: Kubectl) -> None:
    """An autoscaler reads `/scale` before it writes it; kubectl does with a precondition."""
    namespace.apply(deployment("smallest", MODEL))
    serving(namespace, "smallest", 1)
    namespace.run("scale", "mdep", "smallest", "--current-replicas=1", "--replicas=2")
    serving(namespace, "smallest", 2)
