"""The operator is killed between two writes, where only the second would record what led to the first.

Here the moment is exact, and the test acts as Deployment controller and kubelet; with real ones, at random moments and under
load, the operator is killed in `e2e/chaos`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.kit.eventually import eventually
from dev.kit.fault_proxy import Fault, FaultProxy, Kind
from tests.integration.conftest import StartOperator
from tests.integration.world import World

NAME = "digits"


@pytest.fixture
def proxy(world: World, tmp_path: Path) -> Iterator[FaultProxy]:
    with FaultProxy(world.plane.kubeconfig(f"killed-{world.namespace}", ["system:masters"]), tmp_path) as made:
        yield made


def running(world: World) -> int:
    labels = world.get("Deployment", NAME)["spec"]["template"]["metadata"]["labels"]
    return int(labels["serving.slipway.dev/revision"])


def fail(world: World) -> None:
    """Act as the kubelet of a revision whose server cannot load its model."""
    template = world.get("Deployment", NAME)["spec"]["template"]
    end = {"exitCode": 1, "reason": "Error", "message": "Data loss: the variables are cut short"}
    base = {"restartCount": 0, "image": "x", "imageID": ""}
    server = {"name": "server", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": end}}
    fetch = {"name": "fetch", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}, "ready": True}
    world.pod(
        f"{NAME}-r{running(world)}-0",
        template,
        phase="Running",
        containerStatuses=[base | server | {"ready": False, "restartCount": 2}],
        initContainerStatuses=[base | fetch],
        conditions=[{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
    )
    counts = {"replicas": 2, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    generation = world.get("Deployment", NAME)["metadata"]["generation"]
    status = {"status": counts | {"observedGeneration": generation}}
    world.api.patch(world.path("Deployment", NAME) + "/status", status)


def test_the_revision_that_became_current_while_it_was_down_is_the_one_to_roll_back_to(
    world: World, start: StartOperator, proxy: FaultProxy
) -> None:
    """While no operator ran, revision 2 became complete and the spec changed; before 3 is deployed, 2 must be recorded."""
    operator = start(world, kubeconfig=proxy.kubeconfig)
    world.create(NAME)
    world.settle(NAME)
    world.patch(NAME, model={"uri": "pvc://models/second"})
    eventually(lambda: world.find("Deployment", NAME) and running(world) == 2, "revision 2 is deployed")
    eventually(lambda: world.status(NAME)["updateRevision"] == 2, "and in the status")
    operator.kill()
    world.roll_out(NAME)
    assert world.status(NAME)["currentRevision"] == 1
    world.patch(NAME, model={"uri": "pvc://models/bad"})
    proxy.add(Fault(Kind.AFTER, then=operator.kill), verbs={"patch"}, resources={"deployments"}, times=1)
    operator.start(ready=False)
    eventually(lambda: running(world) == 3, "revision 3 is deployed")
    assert operator.process is not None
    operator.process.wait(90)
    operator.start()
    fail(world)
    eventually(lambda: world.condition(NAME, "RolledBack").get("status") == "True", "it is rolled back")
    eventually(lambda: running(world) != 3, "to the one that served")
    assert running(world) == 2
    assert world.status(NAME)["currentRevision"] == 2
