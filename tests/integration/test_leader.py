"""Several operators at once: one leads, another takes over, none depends on the wall clock."""

import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from dev.kit.eventually import eventually
from dev.kit.local_operator import Operator
from dev.kit.model_namespace import Object
from tests.integration.world import World, now, writes

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
        flags = (f"--namespaces={world.namespace}", f"--leader-election-namespace={world.namespace}")
        started.append(Operator(config, tmp_path, user, *flags))
        return started[-1].start()

    yield start
    for operator in started:
        operator.kill()


def leads(operator: Operator) -> bool:
    return operator.metrics()["slipway_leader"] == 1


def spec(world: World) -> Object:
    found: Object = world.api.get(LEASE.format(world.namespace))["spec"]
    return found


def test_one_leads_and_the_other_takes_over_after_a_kill(world: World, begin: Callable[[], Operator]) -> None:
    first = begin()
    eventually(lambda: leads(first), "the first leads")
    began = now()
    second = begin()
    world.create("digits")
    world.settle("digits")
    assert not leads(second)
    assert writes(world.plane, second.user, began) == {}
    assert second.probe("/readyz") == second.probe("/healthz") == 200, "a standby is ready and healthy"
    assert not any(name.startswith("slipway_modeldeployment") for name in second.metrics()), (
        "only the leader exports them"
    )
    first.kill()
    world.create("orphan")
    eventually(lambda: leads(second), "the second takes over")
    eventually(lambda: world.status("orphan").get("updateRevision"), "and acts")
    assert spec(world)["leaseTransitions"] == 1
    done = writes(world.plane, second.user, began, 5)
    assert done[("patch", "deployments")] == 1, "the first one's writes are not repeated"


def test_a_leader_that_ends_releases_the_lease(world: World, begin: Callable[[], Operator]) -> None:
    first = begin()
    eventually(lambda: leads(first), "the first leads")
    second = begin()
    holder = spec(world)["holderIdentity"]
    assert first.stop() == 0
    released = spec(world)
    assert released["holderIdentity"] != holder, "the second need not wait for the end of the lease"
    eventually(lambda: leads(second), "the second leads")
    assert spec(world)["leaseTransitions"] == 2, "from the first to none, from none to the second"


def test_a_leader_whose_lease_is_taken_stops_at_once(world: World, begin: Callable[[], Operator]) -> None:
    first = begin()
    eventually(lambda: leads(first), "the first leads")
    since = now()
    number = count()

    def renew() -> None:
        """Act as another holder, with a clock that is years ahead."""
        renewed = f"2055-01-01T00:00:00.{next(number):06d}Z"
        held = {"holderIdentity": "another", "renewTime": renewed}
        world.api.patch(LEASE.format(world.namespace), {"spec": held})
        time.sleep(0.3)

    def noticed() -> bool:
        renew()
        return not leads(first)

    eventually(noticed, "it notices")
    world.create("digits")
    for _ in range(10):
        renew()
    assert world.find("Deployment", "digits") is None
    assert writes(world.plane, first.user, since) == {}
    assert first.alive()
    eventually(lambda: leads(first), "when no one renews any more it leads again, whatever the time in the lease")
    eventually(lambda: world.find("Deployment", "digits"), "and acts")
