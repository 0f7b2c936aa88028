"""Two operators that compete for one Lease act as one; the one that leads is killed in the middle."""

import time

import pytest

from dev.kit.eventually import eventually
from dev.kit.fault_proxy import FaultProxy
from dev.kit.local_operator import Operator
from e2e.chaos import snapshot
from e2e.chaos.ground import say
from e2e.chaos.lane import NAME, WRITES, Lane

HAND_OVER_SECONDS = 30


def leads(operator: Operator) -> bool:
    return operator.alive() and operator.metrics()["slipway_leader"] == 1


def wrote(proxy: FaultProxy) -> int:
    return sum(call.verb in WRITES and call.resource != "leases" for call in list(proxy.calls))


@pytest.mark.slow
@pytest.mark.timeout(600, func_only=True)
@pytest.mark.parametrize("killed", ["promote", "rollback"])
def test_they_act_as_one(lane: Lane, killed: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    flags = (f"--leader-election-namespace={lane.world.namespace}",)
    config = lane.ground.kubeconfig(f"second-{lane.world.namespace}", ["system:masters"])
    first = lane.another(*flags).start()
    eventually(lambda: leads(first), "the first leads")
    with FaultProxy(config, tmp_path_factory.mktemp("second")) as other:
        second = lane.ground.operator(
            tmp_path_factory.mktemp("operator"), lane.world.namespace, *flags, kubeconfig=other.kubeconfig
        )
        try:
            second.start()
            lane.create()
            with lane.load():
                assert wrote(other) == 0, "a standby writes nothing"
                if killed == "rollback":
                    lane.promote()
                    lane.until(lane.promoted, "promoted")
                serving = {pod["metadata"]["uid"] for pod in snapshot.living(lane.world, NAME)}
                base = lane.revision()
                lane.promote() if killed == "promote" else lane.request("corrupt")
                eventually(lambda: lane.running() == base + 1, "the change is under way")
                first.kill()
                died = time.monotonic()
                eventually(lambda: leads(second), "the second takes over", HAND_OVER_SECONDS)
                took = time.monotonic() - died
                lane.until(lane.promoted if killed == "promote" else lane.rolled_back, killed)
                assert lane.revision() == base + 1, "the second goes on with the revision that the first began"
                first.start()
                eventually(first.ready, "the first is back")
                assert not leads(first)
                quiet = wrote(lane.proxy)
                time.sleep(8)
                assert wrote(lane.proxy) == quiet, "and leaves the work to the other"
                after = {pod["metadata"]["uid"] for pod in snapshot.living(lane.world, NAME)}
                assert (after == serving) is (killed == "rollback")
                say(f"{killed}: taken over after {took:.1f} s")
        finally:
            second.kill()
