"""Several operators at once: one acts, another takes over, none needs the clock on the wall."""

import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.integration.world import Operator, World, eventually, writes

LEASE = "/apis/coordination.k8s.io/v1/namespaces/{}/leases/slipway-operator"
_number = count(1)
Pair = tuple[Operator, Operator]


@pytest.fixture
def begin(world: World, tmp_path: Path) -> Iterator[Callable[[], Operator]]:
    """Start operators that compete for one Lease."""
    started: list[Operator] = []

    def start() -> Operator:
        user = f"candidate-{world.namespace}-{next(_number)}"
        config = world.plane.kubeconfig(user, ["system:masters"])
        flags = (f"--namespaces={world.namespace}", f"--lease-namespace={world.namespace}")
        started.append(Operator(config, tmp_path, user, *flags))
        return started[-1].start()

    yield start
    for operator in started:
        operator.kill()


def leads(operator: Operator) -> bool:
    return operator.metrics()["slipway_leader"] == 1


def test_one_acts_and_the_other_takes_over_after_a_kill(world: World, begin: Callable[[], Operator]) -> None:
    first = begin()
    eventually(lambda: leads(first), "the first leads")
    second = begin()
    world.create("digits")
    world.settle("digits")
    assert not leads(second)
    assert writes(world.plane, second.user) == {}
    assert second.probe("/readyz") == second.probe("/healthz") == 200, "a standby is well"
    assert not any(name.startswith("slipway_modeldeployment") for name in second.metrics()), (
        "only the leader shows them"
    )
    first.kill()
    killed = time.monotonic()
    world.create("orphan")
    eventually(lambda: leads(second), "the second takes over", 30)
    assert time.monotonic() - killed <= 15
    eventually(lambda: world.find("Deployment", "orphan"), "and acts")
    assert world.api.get(LEASE.format(world.namespace))["spec"]["leaseTransitions"] == 1
    settled = writes(world.plane, second.user)
    assert settled[("patch", "deployments")] == 1, "what the first did is not done again"


def test_a_leader_that_ends_gives_the_lease_back(world: World, begin: Callable[[], Operator]) -> None:
    first = begin()
    eventually(lambda: leads(first), "the first leads")
    second = begin()
    began = time.monotonic()
    assert first.stop() == 0
    assert time.monotonic() - began < 8
    eventually(lambda: leads(second), "the second need not wait for the end of the lease", 6)


def test_a_leader_whose_lease_is_taken_stops_at_once(world: World, begin: Callable[[], Operator]) -> None:
    first = begin()
    eventually(lambda: leads(first), "the first leads")
    before = writes(world.plane, first.user)
    path = LEASE.format(world.namespace)
    until = time.monotonic() + 20
    for number in count():  # somebody else holds and renews it, with a clock that is years ahead
        assert time.monotonic() < until, "it did not notice"
        renewed = f"2055-01-01T00:00:00.{number:06d}Z"
        world.api.patch(path, {"spec": {"holderIdentity": "somebody", "renewTime": renewed}})
        if not leads(first):
            break
        time.sleep(0.3)
    world.create("digits")
    time.sleep(3)
    assert world.find("Deployment", "digits") is None
    assert writes(world.plane, first.user) == before
    assert first.alive()
    eventually(
        lambda: leads(first), "when nobody renews any more it leads again, whatever the time in the lease says", 20
    )
    eventually(lambda: world.find("Deployment", "digits"), "and acts")
