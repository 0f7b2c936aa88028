"""What the operator writes over the life of one ModelDeployment, counted in the API server's audit log."""

import time
from collections import Counter
from functools import partial
from typing import Any

import pytest

from dev.kit.eventually import eventually
from dev.kit.local_operator import Operator
from dev.kit.model_namespace import CHILDREN
from tests.integration.conftest import StartOperator
from tests.integration.world import World, now, requests, writes

AUTOSCALING = {"minReplicas": 1, "maxReplicas": 3}


def test_a_served_name_reaches_server_prober_and_status(world: World, start: StartOperator) -> None:
    start(world)
    gate = {"golden": {"path": "golden.npz"}, "metrics": {"accuracy": ">=0.9"}}
    world.create("digits", runtime={"modelName": "half_plus_two"}, rollout={"gate": gate})
    world.settle("digits")
    template = world.get("Deployment", "digits")["spec"]["template"]["spec"]
    assert "--model_name=half_plus_two" in template["containers"][0]["args"]
    assert "--model=half_plus_two" in template["initContainers"][1]["args"]
    url = f"http://digits.{world.namespace}.svc:8501/v1/models/"
    eventually(lambda: world.status("digits")["endpoints"]["rest"] == f"{url}half_plus_two", "the status names it")
    world.patch("digits", runtime={"modelName": "ResNet50"})
    eventually(lambda: world.status("digits").get("updateRevision") == 2, "another name is another revision")
    eventually(lambda: world.status("digits")["endpoints"]["rest"] == f"{url}ResNet50", "the status follows")
    world.patch("digits", runtime={"modelName": None})
    eventually(lambda: world.status("digits")["endpoints"]["rest"] == f"{url}digits", "without: that of the resource")


def test_creation_creates_every_child_with_an_owner_and_costs_two_status_writes(
    world: World, start: StartOperator
) -> None:
    began = now()
    operator = start(world)
    # The operator checks that ModelDeployments can be listed, then Kopf lists them; that is no part of being ready.
    listed = ("list", "modeldeployments")
    eventually(lambda: requests(world.plane, operator.user, began).count(listed) == 2, "both lists")
    since = now()
    body = world.create("digits", autoscaling=AUTOSCALING)
    world.settle("digits")
    assert [item["note"] for item in world.api.get(world.path("Event"))["items"]] == [], (
        "a creation without a fault brings no Event"
    )
    assert writes(world.plane, operator.user, since, 8) == {
        ("patch", "controllerrevisions"): 1,
        ("patch", "services"): 2,
        ("patch", "deployments"): 1,
        ("patch", "poddisruptionbudgets"): 1,
        ("patch", "horizontalpodautoscalers"): 1,
        ("patch", "modeldeployments/status"): 2,
    }
    assert len(requests(world.plane, operator.user, since)) == 8, "and nothing is read"
    for kind, names in {
        "Deployment": {"digits"},
        "Service": {"digits", "digits-headless"},
        "ControllerRevision": {"digits-1"},
        "HorizontalPodAutoscaler": {"digits"},
        "PodDisruptionBudget": {"digits"},
    }.items():
        assert world.names(kind) == names
        for name in names:
            (owner,) = world.get(kind, name)["metadata"]["ownerReferences"]
            assert (owner["kind"], owner["uid"], owner["controller"]) == (
                "ModelDeployment",
                body["metadata"]["uid"],
                True,
            )
    after = world.get("ModelDeployment", "digits")
    assert after["metadata"].get("finalizers", []) == []
    assert after["metadata"].get("annotations", {}) == {}
    assert after["spec"] == body["spec"]


def test_idle_and_restarted_it_sends_nothing(world: World, start: StartOperator) -> None:
    operator = start(world)
    for name in ("a", "b"):
        world.create(name, replicas=2)
        world.settle(name)
        eventually(partial(_all_is_reported, world, name, 2), "nothing waits to be merged")
    versions = {name: world.get("ModelDeployment", name)["metadata"]["resourceVersion"] for name in ("a", "b")}
    since = now()
    time.sleep(9)  # a negative proof: longer than a status may wait to be merged
    assert requests(world.plane, operator.user, since) == []
    assert operator.stop() == 0
    since = now()
    again = start(world)
    reconciled = 'slipway_reconcile_total{result="unchanged"}'
    eventually(lambda: again.metrics().get(reconciled, 0) >= 2, "both are reconciled")
    time.sleep(9)  # as above
    assert writes(world.plane, again.user, since) == Counter()
    after = {name: world.get("ModelDeployment", name)["metadata"]["resourceVersion"] for name in ("a", "b")}
    assert after == versions
    assert again.metrics()['slipway_reconcile_total{result="unchanged"}'] >= 2


def test_the_resync_reads_and_writes_nothing(world: World, start: StartOperator) -> None:
    operator = start(world, "--resync-seconds=2")
    world.create("digits")
    world.settle("digits")
    eventually(lambda: _all_is_reported(world, "digits", 1), "nothing waits to be merged")
    since = now()
    eventually(lambda: ("list", "pods") in requests(world.plane, operator.user, since), "a resync")
    assert {verb for verb, _ in requests(world.plane, operator.user, since)} == {"list"}


def _all_is_reported(world: World, name: str, pods: int) -> bool:
    """Return whether the status has every pod as ready: Ready may be written before the last pod is."""
    return [pod["state"] for pod in world.status(name).get("pods", [])] == ["Ready"] * pods


def test_drift_is_repaired_and_other_managers_fields_stay(shared: tuple[World, Operator]) -> None:
    world, _ = shared
    world.create("drift", replicas=2)
    world.settle("drift")
    world.api.patch(
        world.path("Deployment", "drift"),
        {
            "metadata": {"labels": {"team": "blue"}, "annotations": {"note": "mine"}},
            "spec": {
                "replicas": 5,
                "template": {"metadata": {"annotations": {"injected": "yes"}}, "spec": {"dnsPolicy": "Default"}},
            },
        },
    )
    eventually(lambda: world.get("Deployment", "drift")["spec"]["replicas"] == 2, "the number of pods is corrected")
    world.api.patch(world.path("Service", "drift"), {"spec": {"selector": {"serving.slipway.dev/name": "other"}}})
    eventually(
        lambda: world.get("Service", "drift")["spec"]["selector"] == {"serving.slipway.dev/name": "drift"},
        "the selector is corrected",
    )
    deployment = world.get("Deployment", "drift")
    assert deployment["metadata"]["labels"]["team"] == "blue"
    assert deployment["metadata"]["annotations"]["note"] == "mine"
    assert deployment["spec"]["template"]["metadata"]["annotations"]["injected"] == "yes"
    version = deployment["metadata"]["resourceVersion"]
    time.sleep(1.5)  # a negative proof needs the time
    assert world.get("Deployment", "drift")["metadata"]["resourceVersion"] == version, "no further write"


def test_a_label_removed_from_a_child_is_added_again(shared: tuple[World, Operator]) -> None:
    """Without the label the child leaves the selector: for the watch it is deleted."""
    world, _ = shared
    world.create("label")
    world.settle("label")
    uid = world.get("Service", "label")["metadata"]["uid"]
    world.api.patch(world.path("Service", "label"), {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}})
    eventually(
        lambda: world.get("Service", "label")["metadata"]["labels"].get("app.kubernetes.io/managed-by") == "slipway",
        "the label is back",
    )
    assert world.get("Service", "label")["metadata"]["uid"] == uid


@pytest.mark.parametrize("kind", CHILDREN)
def test_a_deleted_child_is_created_again_at_its_event(shared: tuple[World, Operator], kind: str) -> None:
    world, operator = shared
    name = f"gone-{kind.lower()}"
    world.create(name, autoscaling=AUTOSCALING)
    world.settle(name)
    child = f"{name}-1" if kind == "ControllerRevision" else name
    uid = world.get(kind, child)["metadata"]["uid"]
    since = now()
    assert world.api.delete(world.path(kind, child) + "?propagationPolicy=Background")
    eventually(lambda: (world.find(kind, child) or {}).get("metadata", {}).get("uid", uid) != uid, "it is back")
    assert requests(world.plane, operator.user, since, 2, without="modeldeployments/status") == [
        ("get", "modeldeployments"),
        ("patch", f"{kind.lower()}s"),
    ]


def test_a_changed_template_costs_a_deployment_and_a_revision(world: World, start: StartOperator) -> None:
    operator = start(world)
    world.create("digits", autoscaling=AUTOSCALING)
    world.settle("digits")
    eventually(lambda: _all_is_reported(world, "digits", 1), "nothing waits to be merged")
    since = now()
    world.patch("digits", model={"uri": "pvc://models/digits", "version": 2})
    eventually(lambda: world.find("ControllerRevision", "digits-2"), "the ControllerRevision of revision 2")
    eventually(lambda: world.status("digits").get("updateRevision") == 2, "the status has revision 2")
    assert not world.is_ready("digits"), "Ready is never true for an older generation"
    world.roll_out("digits")
    eventually(lambda: world.is_ready("digits"), "Ready again")
    assert writes(world.plane, operator.user, since, 4) == {
        ("patch", "controllerrevisions"): 1,
        ("patch", "deployments"): 1,
        ("patch", "modeldeployments/status"): 2,
    }
    assert [item["revision"] for item in world.status("digits")["history"]] == [2, 1]


def test_turning_autoscaling_on_and_off_keeps_the_number_of_pods(shared: tuple[World, Operator]) -> None:
    world, _ = shared
    world.create("scale", replicas=3)
    world.settle("scale")

    def replicas() -> Any:
        return world.get("Deployment", "scale")["spec"]["replicas"]

    world.patch("scale", replicas=None, autoscaling={"minReplicas": 1, "maxReplicas": 9})
    eventually(lambda: world.find("HorizontalPodAutoscaler", "scale"), "an autoscaler")
    eventually(lambda: "slipway-scale" in _owners_of_replicas(world, "scale"), "the number has another field manager")
    assert replicas() == 3
    assert "slipway" not in _owners_of_replicas(world, "scale")
    world.api.patch(world.path("Deployment", "scale") + "/scale", {"spec": {"replicas": 6}})  # as an autoscaler does
    world.roll_out("scale")
    eventually(lambda: world.status("scale").get("readyReplicas") == 6, "six pods are reported")
    assert replicas() == 6, "the operator does not change it"
    world.patch("scale", autoscaling=None, replicas=6)
    eventually(lambda: world.find("HorizontalPodAutoscaler", "scale") is None, "no autoscaler any more")
    assert replicas() == 6
    world.patch("scale", replicas=None)
    eventually(lambda: replicas() == 1, "the operator sets it again; without a number there is one pod")


def _owners_of_replicas(world: World, name: str) -> set[str]:
    fields = world.get("Deployment", name)["metadata"]["managedFields"]
    return {entry["manager"] for entry in fields if "f:replicas" in entry["fieldsV1"].get("f:spec", {})}


def test_the_fault_of_a_pod_is_reported_with_its_own_message(shared: tuple[World, Operator]) -> None:
    world, operator = shared
    world.create("faulty")
    eventually(lambda: world.find("Deployment", "faulty"), "the Deployment")
    template = world.get("Deployment", "faulty")["spec"]["template"]
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image: no such host"}}
    status = {"name": "server", "state": waiting, "ready": False, "restartCount": 0, "image": "x", "imageID": ""}
    init = {"name": "fetch", "state": {"terminated": {"exitCode": 0}}, "ready": True, "restartCount": 0}
    world.pod(
        "faulty-r1-0",
        template,
        phase="Pending",
        containerStatuses=[status],
        initContainerStatuses=[init | {"image": "x", "imageID": ""}],
        conditions=[{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
    )
    pods = eventually(lambda: world.status("faulty").get("pods"), "the pod is in the status")
    assert (pods[0]["name"], pods[0]["reason"]) == ("faulty-r1-0", "ImagePullFailed")
    assert "no such host" in pods[0]["message"]
    ready = eventually(lambda: world.condition("faulty"), "Ready")
    assert ready["status"] == "False"
    assert "no such host" in ready["message"]
    metrics = operator.metrics()
    assert metrics['slipway_modeldeployment_ready{name="faulty",namespace="shared"}'] == 0


def test_a_deleted_resource_leaves_the_metrics(world: World, start: StartOperator) -> None:
    operator = start(world)
    world.create("digits")
    world.settle("digits")
    series = f'slipway_modeldeployment_ready{{name="digits",namespace="{world.namespace}"}}'
    eventually(lambda: operator.metrics().get(series) == 1, "the metric")
    world.api.delete(world.path("ModelDeployment", "digits"))
    eventually(lambda: series not in operator.metrics(), "the metric is gone")
    assert world.find("ModelDeployment", "digits") is None, "no finalizer holds it"


def test_the_shared_operator_kept_running(shared: tuple[World, Operator]) -> None:
    _, operator = shared
    assert operator.alive()
    log = operator.log()
    assert "Traceback" not in log, log
