"""The API server fails in many ways; afterwards the operator works as if nothing had happened."""

import math
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from dev.cluster.api_client import ApiError
from dev.kit.eventually import eventually
from dev.kit.fault_proxy import Fault, FaultProxy, Kind
from dev.kit.local_operator import Operator
from tests.integration.conftest import StartOperator
from tests.integration.world import World

TOO_MANY = Fault(Kind.STATUS, status=429, headers={"Retry-After": "1"}, message="too many requests, try later")
BROKEN = Fault(Kind.STATUS, status=500, message="etcdserver: no leader")
CONFLICT = Fault(Kind.STATUS, status=409, message="Operation cannot be fulfilled: the object has been modified")
AUTOSCALING = {"minReplicas": 1, "maxReplicas": 3}


@pytest.fixture
def proxy(world: World, tmp_path: Path) -> Iterator[FaultProxy]:
    with FaultProxy(world.plane.kubeconfig(f"proxied-{world.namespace}", ["system:masters"]), tmp_path) as made:
        yield made


def works(world: World, operator: Operator, name: str) -> None:
    """Assert that a new ModelDeployment is reconciled, and that a deleted child is created again."""
    world.create(name, autoscaling=AUTOSCALING)
    world.settle(name)
    assert operator.alive()
    assert world.api.delete(world.path("Service", name))
    eventually(lambda: world.find("Service", name), "children are still watched")


@pytest.mark.parametrize(
    "fault", [TOO_MANY, BROKEN, CONFLICT, Fault(Kind.RESET)], ids=lambda fault: f"{fault.kind.name}-{fault.status}"
)
def test_half_of_the_writes_fail_for_a_while(
    world: World, start: StartOperator, proxy: FaultProxy, fault: Fault
) -> None:
    operator = start(world, kubeconfig=proxy.kubeconfig)
    rule = proxy.add(fault, verbs={"patch"}, share=0.5)
    for number in range(5):
        world.create(f"digits-{number}", autoscaling=AUTOSCALING)
    eventually(lambda: rule.hits >= 10, "ten writes failed")
    proxy.clear()
    for number in range(5):
        world.settle(f"digits-{number}")
        assert len(world.names("Service", f"digits-{number}")) == 2
    works(world, operator, "after")


def test_retry_after_is_respected(world: World, start: StartOperator, proxy: FaultProxy) -> None:
    operator = start(world, kubeconfig=proxy.kubeconfig)
    fault = Fault(Kind.STATUS, status=429, headers={"Retry-After": "3"}, message="too many requests")
    proxy.add(fault, verbs={"patch"})
    began = time.monotonic()
    for number in range(10):
        world.create(f"digits-{number}")
    eventually(lambda: proxy.count("patch"), "a first write")
    time.sleep(6)  # a negative proof needs the time
    periods = math.ceil((time.monotonic() - began) / 3)
    assert proxy.count("patch") <= 16 + 15 * periods, f"{proxy.count('patch')} writes in {periods} pauses"
    proxy.clear()
    for number in range(10):
        eventually(partial(world.find, "Deployment", f"digits-{number}"), "it is created")
    works(world, operator, "after")


@pytest.mark.timeout(400)
@pytest.mark.slow
def test_more_than_a_minute_of_errors_on_everything(world: World, start: StartOperator, proxy: FaultProxy) -> None:
    """Longer than Kopf's own patience, lists and watches included."""
    operator = start(world, kubeconfig=proxy.kubeconfig)
    world.create("before")
    world.settle("before")
    process = operator.process
    proxy.add(Fault(Kind.WATCH_ERROR, status=500), verbs={"watch"}, times=7)  # every open watch
    proxy.add(BROKEN)
    began = time.monotonic()
    world.create("meanwhile")
    world.api.delete(world.path("Service", "before"))
    while time.monotonic() - began < 66:
        assert operator.probe("/healthz") == 200, "a broken API server is no reason to restart the operator"
        time.sleep(1)
    proxy.clear()
    eventually(lambda: world.find("Deployment", "meanwhile"), "what was created meanwhile is reconciled")
    eventually(lambda: world.find("Service", "before"), "what was deleted meanwhile is created again")
    works(world, operator, "after")
    assert operator.process is process
    assert process is not None
    assert process.poll() is None


@pytest.mark.parametrize("code", [500, 410])
def test_an_error_event_in_every_watch(world: World, start: StartOperator, proxy: FaultProxy, code: int) -> None:
    operator = start(world, kubeconfig=proxy.kubeconfig)
    world.create("before")
    world.settle("before")
    rule = proxy.add(Fault(Kind.WATCH_ERROR, status=code, message="too old resource version"), verbs={"watch"})
    eventually(lambda: rule.hits >= 16, "every watch got one, and so did the watches after it")
    proxy.clear()
    works(world, operator, "after")
    restarts = {name: value for name, value in operator.metrics().items() if name.startswith("slipway_watch_restarts")}
    assert sum(restarts.values()) >= 6, restarts


def test_what_is_deleted_while_no_watch_is_open_is_noticed(
    world: World, start: StartOperator, proxy: FaultProxy
) -> None:
    """A watch that restarts after 410 brings no DELETED event for what was deleted in between."""
    operator = start(world, "--resync-seconds=600", kubeconfig=proxy.kubeconfig)
    for name in ("kept", "deleted"):
        world.create(name)
        world.settle(name)
    proxy.add(BROKEN, verbs={"list", "watch"})
    rule = proxy.add(Fault(Kind.RESET), verbs={"watch"})
    eventually(lambda: rule.hits >= 7, "every open watch has ended")
    world.api.delete(world.path("Deployment", "kept"))
    world.api.delete(world.path("ModelDeployment", "deleted"))
    world.api.delete(world.path("Deployment", "deleted"))  # as the garbage collector does
    proxy.clear()
    proxy.add(Fault(Kind.STATUS, status=410, message="too old resource version"), verbs={"watch"}, times=7)
    eventually(lambda: world.find("Deployment", "kept"), "the deleted child is created again")
    time.sleep(3)  # a negative proof needs the time
    assert world.find("Deployment", "deleted") is None, "the children of a deleted owner are not"
    works(world, operator, "after")


def test_dead_connections_are_noticed_by_silence(world: World, start: StartOperator, proxy: FaultProxy) -> None:
    operator = start(world, "--watch-idle-seconds=4", "--request-timeout-seconds=2", kubeconfig=proxy.kubeconfig)
    world.create("before")
    world.settle("before")
    rule = proxy.add(Fault(Kind.SILENCE), verbs={"watch"})
    eventually(lambda: rule.hits >= 7, "every open watch is silent")
    proxy.clear()  # new connections work, the old ones stay silent
    world.create("after")
    eventually(lambda: world.find("Deployment", "after"), "the event comes through a new connection")
    works(world, operator, "later")


def test_writes_without_a_response(world: World, start: StartOperator, proxy: FaultProxy) -> None:
    operator = start(world, "--request-timeout-seconds=1", kubeconfig=proxy.kubeconfig)
    proxy.add(Fault(Kind.SILENCE), verbs={"patch"}, resources={"deployments", "modeldeployments/status"}, times=6)
    world.create("digits")
    world.settle("digits")
    works(world, operator, "after")


def test_the_api_server_restarts(world: World, start: StartOperator) -> None:
    operator = start(world)
    world.create("before")
    world.settle("before")
    world.plane.restart_apiserver()
    works(world, operator, "after")


def test_another_writer_of_the_status(shared: tuple[World, Operator]) -> None:
    """Twenty writes a second to the same objects: no status is lost, and the operator settles."""
    world, operator = shared
    world.create("fought")
    eventually(lambda: world.find("Deployment", "fought"), "the Deployment")
    stop, rounds = threading.Event(), 0

    def fight() -> None:
        nonlocal rounds
        while not stop.wait(0.05):
            rounds += 1
            try:
                world.api.patch(world.path("ModelDeployment", "fought"), {"metadata": {"labels": {"n": str(rounds)}}})
                world.api.patch(world.path("Deployment", "fought"), {"metadata": {"labels": {"n": str(rounds)}}})
                world.api.patch(
                    world.path("ModelDeployment", "fought") + "/status", {"status": {"observedGeneration": rounds}}
                )
            except ApiError:
                pass  # a conflict with the operator's write

    fighter = threading.Thread(target=fight)
    fighter.start()
    try:
        world.settle("fought")
        enough = rounds + 20
        eventually(lambda: rounds >= enough, "twenty more rounds")
    finally:
        stop.set()
        fighter.join()
    eventually(lambda: world.status("fought")["observedGeneration"] == 1, "the status is true again")
    eventually(lambda: world.is_ready("fought"), "Ready")
    assert operator.alive()
