"""A server that takes minutes to load, here because it may hardly use the processor: nobody is impatient with it."""

import time

import pytest

from dev.kit.eventually import eventually
from dev.kit.model_namespace import Object
from e2e.chaos.ground import say
from e2e.chaos.lane import NAME, RESOURCES, Lane
from e2e.chaos.test_absent import endpoints, is_ready

SLOW = {"requests": RESOURCES["requests"] | {"cpu": "10m"}, "limits": {"memory": "1Gi", "cpu": "30m"}}
SECONDS = 300
LEAST_SECONDS = 25
"""More than the liveness probe would have let it live, had it started at once; less is not slow."""


@pytest.mark.slow
@pytest.mark.timeout(600, func_only=True)
def test_it_is_waited_for(lane: Lane) -> None:
    lane.operator.start()
    lane.create(replicas=1)
    stable = lane.revision()
    with lane.load():
        began = time.monotonic()
        lane.good = "good-b"
        lane.request("good-b", resources=SLOW)
        eventually(lambda: lane.pods(stable + 1), "the slow pod is there")

        def loaded() -> bool:
            served = endpoints(lane)
            [pod] = lane.pods(stable + 1)
            assert restarts(pod) == 0, "no probe ended it"
            assert is_ready(pod) or pod["metadata"]["name"] not in served
            return is_ready(pod)

        eventually(loaded, "the slow pod has loaded", SECONDS)
        took = time.monotonic() - began
        assert took > LEAST_SECONDS, f"{took:.0f} s is not slow: the test shows nothing"
        lane.until(lane.promoted, "promoted")
        say(f"loaded in {took:.0f} s")
    assert lane.world.status(NAME)["history"][0]["verdict"] == "Ready"


def restarts(pod: Object) -> int:
    return sum(status["restartCount"] for status in pod["status"].get("containerStatuses", []))
