"""Revisions that fail, on a real API server: what is written, in which order, and what happens when writes fail.

The test acts as Deployment controller and kubelet.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.kit.eventually import eventually
from dev.kit.fault_proxy import Fault, FaultProxy, Kind
from dev.kit.local_operator import Operator
from tests.integration.conftest import StartOperator
from tests.integration.world import World, now, requests

BAD = {"uri": "pvc://models/bad"}
DIGEST = "sha256:" + "d" * 64
RETRY = "serving.slipway.dev/retry"
MESSAGE = "there is nothing at pvc://models/bad"
STORM = [
    Fault(Kind.STATUS, status=409, message="Operation cannot be fulfilled: the object has been modified"),
    Fault(Kind.STATUS, status=429, headers={"Retry-After": "1"}, message="too many requests, try later"),
    Fault(Kind.STATUS, status=503, message="etcdserver: no leader"),
]


@pytest.fixture
def proxy(world: World, tmp_path: Path) -> Iterator[FaultProxy]:
    with FaultProxy(world.plane.kubeconfig(f"rolled-{world.namespace}", ["system:masters"]), tmp_path) as made:
        yield made


def deployed(world: World, name: str) -> int:
    labels = world.get("Deployment", name)["spec"]["template"]["metadata"]["labels"]
    return int(labels["serving.slipway.dev/revision"])


def pod(world: World, name: str, fetched: dict[str, Any], code: int, *, ready: bool = False) -> None:
    """Act as the kubelet of the deployed revision's first pod, whose fetch ends with that code and message."""
    number = deployed(world, name)
    base = {"ready": code == 0, "restartCount": 0, "image": "x", "imageID": ""}
    end = {"exitCode": code, "message": json.dumps(fetched), "reason": "Error" if code else "Completed"}
    world.pod(
        f"{name}-r{number}-0",
        world.get("Deployment", name)["spec"]["template"],
        phase="Pending",
        initContainerStatuses=[base | {"name": "fetch", "state": {"terminated": end}}],
        conditions=[{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": str(ready)}],
    )


def fail(world: World, name: str) -> None:
    pod(world, name, {"reason": "SourceNotFound", "message": MESSAGE}, 1)


def wait_for_revision(world: World, name: str, number: int) -> None:
    eventually(lambda: deployed(world, name) == number, f"revision {number} is deployed")


def deploy_bad(world: World, name: str, **spec: Any) -> None:
    """Let revision 1 serve, then change the spec to a model that does not exist."""
    world.create(name, **spec)
    world.settle(name)
    world.patch(name, model=BAD)
    wait_for_revision(world, name, 2)
    eventually(lambda: world.status(name).get("updateRevision") == 2, "the status has revision 2")


def assert_rolled_back(world: World, name: str) -> None:
    eventually(lambda: world.condition(name, "RolledBack").get("status") == "True", f"RolledBack: {world.status(name)}")
    assert deployed(world, name) == 1
    status = world.status(name)
    assert (status["updateRevision"], status["targetRevision"], status["currentRevision"]) == (2, 1, 1)
    ready = world.condition(name)
    assert (ready["status"], ready["reason"]) == ("False", "FetchFailed")
    assert MESSAGE in ready["message"]
    assert world.get("ModelDeployment", name)["spec"]["model"] == BAD, "the spec stays as the user wrote it"


def test_rolled_back_in_few_writes_the_verdict_first(world: World, start: StartOperator) -> None:
    operator = start(world)
    deploy_bad(world, "digits", replicas=2)
    template = world.get("ControllerRevision", "digits-1")["data"]["template"]
    since = now()
    version = world.get("ModelDeployment", "digits")["metadata"]["resourceVersion"]
    fail(world, "digits")
    assert_rolled_back(world, "digits")
    assert (
        template["spec"]["initContainers"][0]["args"]
        == (world.get("Deployment", "digits")["spec"]["template"]["spec"]["initContainers"][0]["args"])
    )
    world.roll_out("digits")
    eventually(lambda: world.condition("digits", "Progressing").get("reason") == "RolledBack", "revision 1 is complete")
    done = requests(world.plane, operator.user, since, 4, without="events")
    written = [
        {item["type"]: item["reason"] for item in status["conditions"]} for status in world.statuses("digits", version)
    ]
    assert [(item["Ready"], item["Progressing"], item["RolledBack"]) for item in written] == [
        ("FetchFailed", "FetchFailed", "NotRolledBack"),
        ("FetchFailed", "RollingBack", "FetchFailed"),
        ("FetchFailed", "RolledBack", "FetchFailed"),
    ]
    assert done == [
        ("patch", "modeldeployments/status"),  # it has failed
        ("patch", "deployments"),
        ("patch", "modeldeployments/status"),  # rolled back
        ("patch", "modeldeployments/status"),  # complete
    ]
    reasons = {item["reason"] for item in world.api.get(world.path("Event"))["items"]}
    assert reasons == {"FetchFailed", "RolledBack"}
    metrics = operator.metrics()
    labels = f'name="digits",namespace="{world.namespace}"'
    assert metrics[f"slipway_modeldeployment_rolled_back{{{labels}}}"] == 1
    assert metrics[f'slipway_modeldeployment_revision{{{labels},which="update"}}'] == 2
    assert metrics[f'slipway_modeldeployment_revision{{{labels},which="current"}}'] == 1
    world.patch("digits", model={"uri": "pvc://models/digits"})
    eventually(lambda: world.is_ready("digits"), "the spec of revision 1 again")
    assert deployed(world, "digits") == 1


@pytest.mark.parametrize("fault", STORM, ids=lambda fault: str(fault.status))
def test_nothing_is_rolled_back_before_the_verdict_is_written(
    world: World, start: StartOperator, proxy: FaultProxy, fault: Fault
) -> None:
    operator = start(world, kubeconfig=proxy.kubeconfig)
    deploy_bad(world, "digits")
    version = world.get("Deployment", "digits")["metadata"]["resourceVersion"]
    storm = proxy.add(fault, verbs={"patch"}, resources={"modeldeployments/status"})
    fail(world, "digits")
    eventually(lambda: storm.hits >= 3, "the verdict is rejected")
    assert world.get("Deployment", "digits")["metadata"]["resourceVersion"] == version, "nothing is rolled back yet"
    proxy.remove(storm)
    storm = proxy.add(fault, verbs={"patch"}, resources={"deployments"}, times=2)
    assert_rolled_back(world, "digits")
    assert storm.hits == 2
    assert operator.alive()


@pytest.mark.parametrize("kind", [Kind.BEFORE, Kind.AFTER], ids=lambda kind: kind.name.lower())
@pytest.mark.parametrize("resource", ["modeldeployments/status", "deployments"])
def test_killed_in_the_middle_of_a_rollback(
    world: World, start: StartOperator, proxy: FaultProxy, kind: Kind, resource: str
) -> None:
    operator = start(world, kubeconfig=proxy.kubeconfig)
    deploy_bad(world, "digits")
    proxy.add(Fault(kind, then=operator.kill), verbs={"patch"}, resources={resource}, times=1)
    fail(world, "digits")
    assert operator.process is not None
    operator.process.wait(90)
    operator.start()
    assert_rolled_back(world, "digits")


def test_paused_and_retried(shared: tuple[World, Operator]) -> None:
    world, _ = shared
    deploy_bad(world, "held", rollout={"onFailure": "Pause"})
    fail(world, "held")
    eventually(lambda: world.condition("held", "Progressing").get("reason") == "Paused", "paused")
    assert world.get("Deployment", "held")["spec"]["paused"] is True
    assert deployed(world, "held") == 2
    assert "retry=2" in world.condition("held")["message"]
    world.api.patch(world.path("ModelDeployment", "held"), {"metadata": {"annotations": {RETRY: "2"}}})
    wait_for_revision(world, "held", 3)
    assert not world.get("Deployment", "held")["spec"].get("paused")
    assert world.get("ControllerRevision", "held-3")["data"]["retry"] == "2"
    world.settle("held")
    assert world.status("held")["currentRevision"] == 3
    assert [item["verdict"] for item in world.status("held")["history"]] == ["Ready", "Failed", "Ready"]


def test_the_first_pod_decides_what_the_others_serve(shared: tuple[World, Operator]) -> None:
    world, _ = shared
    world.create("pinned", replicas=3)
    eventually(lambda: world.find("Deployment", "pinned"), "the Deployment")
    assert world.get("Deployment", "pinned")["spec"]["replicas"] == 1, "only one pod fetches"
    half = {"version": 7, "digest": "sha256:" + "0" * 64}
    pod(world, "pinned", half, 0)
    eventually(lambda: world.status("pinned").get("digest") == half["digest"], "it is told what was fetched")
    name = pin_of(world, "pinned")
    assert world.find("ConfigMap", name) is None, "no pod has served it"
    pod(world, "pinned", {"version": 7, "digest": DIGEST}, 0, ready=True)
    pin = eventually(lambda: world.find("ConfigMap", name), "the pin")
    assert (pin["data"], pin["immutable"]) == ({"version": "7", "digest": DIGEST}, True)
    (owner,) = pin["metadata"]["ownerReferences"]
    assert owner["uid"] == world.get("ControllerRevision", "pinned-1")["metadata"]["uid"]
    eventually(lambda: world.get("Deployment", "pinned")["spec"]["replicas"] == 3, "then the other pods are created")
    world.settle("pinned")
    (entry,) = world.status("pinned")["history"]
    assert (entry["modelVersion"], entry["digest"], entry["verdict"]) == (7, DIGEST, "Ready")
    assert world.status("pinned")["digest"] == DIGEST


def pin_of(world: World, name: str) -> str:
    """Return the name of the ConfigMap that the deployed pods read."""
    fetch = world.get("Deployment", name)["spec"]["template"]["spec"]["initContainers"][0]
    return str(fetch["env"][0]["valueFrom"]["configMapKeyRef"]["name"])


def test_what_a_dead_resource_left_is_not_read(shared: tuple[World, Operator]) -> None:
    """As after a restore from a backup without owners: the record and the pin of a resource that is gone."""
    world, _ = shared
    world.create("ghost")
    world.settle("ghost")
    record = world.get("ControllerRevision", "ghost-1")
    labels = record["metadata"]["labels"]
    for kind in ("ModelDeployment", "Deployment", "ControllerRevision"):  # there is no garbage collector
        world.api.delete(world.path(kind, "ghost-1" if kind == "ControllerRevision" else "ghost"))
    for name in world.names("Pod", "ghost"):
        world.api.delete(f"{world.path('Pod', name)}?gracePeriodSeconds=0")
    for name in ("ghost", "ghost-headless"):
        eventually(lambda: world.find("Deployment", "ghost") is None, "it is gone")
        world.api.delete(world.path("Service", name))
    old = {"version": "1", "digest": "sha256:" + "1" * 64}
    for name in ("ghost-1", "ghost-2"):
        world.api.create(world.path("ConfigMap"), {"metadata": {"name": name, "labels": labels}, "data": old})
    kept = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {"name": "ghost-1", "labels": labels},
        "revision": 1,
        "data": record["data"],
    }
    # Like a backup tool: with the bytes that the API server itself writes, since it compares the data byte by byte.
    path = f"{world.path('ControllerRevision', 'ghost-1')}?fieldManager=backup"
    world.api._json("PATCH", path, kept, "application/apply-patch+yaml")
    eventually(lambda: world.find("ControllerRevision", "ghost-1"), "the leftover is there")

    uid = world.create("ghost")["metadata"]["uid"]
    eventually(lambda: world.find("Deployment", "ghost"), "the Deployment")
    assert deployed(world, "ghost") > 1
    assert pin_of(world, "ghost").endswith(f"-{uid.partition('-')[0]}")
    eventually(
        lambda: (
            (world.get("ControllerRevision", "ghost-1")["metadata"].get("ownerReferences") or [{}])[0].get("uid") == uid
        ),
        "the record is taken back, so that it goes with its owner",
    )
    world.settle("ghost")


def test_a_configmap_that_has_the_name_of_a_pin_is_reported_in_words(shared: tuple[World, Operator]) -> None:
    world, _ = shared
    world.api.create(world.path("ConfigMap"), {"metadata": {"name": "theirs-1"}, "data": {"version": "x"}})
    world.create("theirs")
    eventually(lambda: world.find("Deployment", "theirs"), "the Deployment")
    name = pin_of(world, "theirs")
    assert name != "theirs-1"
    world.api.create(world.path("ConfigMap"), {"metadata": {"name": name}, "data": {"version": "x"}})
    pod(world, "theirs", {"version": 7, "digest": DIGEST}, 0, ready=True)
    ready = eventually(
        lambda: (found := world.condition("theirs")).get("reason") == "NameConflict" and found, "the conflict"
    )
    assert f"ConfigMap {name} could not be applied: another owner's object has this name" in ready["message"]
    assert world.get("ConfigMap", name)["data"] == {"version": "x"}


def test_a_revision_is_pinned_by_its_number(shared: tuple[World, Operator]) -> None:
    world, _ = shared
    world.create("exact")
    world.settle("exact")
    first = world.get("Deployment", "exact")["spec"]["template"]
    world.patch("exact", model={"uri": "pvc://models/other"})
    wait_for_revision(world, "exact", 2)
    world.settle("exact")
    world.patch("exact", pinnedRevision=9)
    eventually(lambda: world.condition("exact").get("reason") == "RevisionNotFound", "it is reported")
    assert "choose one of 2, 1" in world.condition("exact")["message"]
    assert deployed(world, "exact") == 2
    assert world.condition("exact", "Available")["status"] == "True"
    world.patch("exact", pinnedRevision=1)
    wait_for_revision(world, "exact", 1)
    assert world.get("Deployment", "exact")["spec"]["template"] == first
    world.settle("exact")
    assert (world.status("exact")["updateRevision"], world.status("exact")["currentRevision"]) == (1, 1)
