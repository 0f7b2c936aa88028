"""A neighbour whose init container fails again and again causes no write on anybody else."""

import time

import pytest

from dev.kit.eventually import eventually
from e2e.chaos import models, snapshot
from e2e.chaos.lane import NAME, RESOURCES, Lane

SECONDS = 45


@pytest.mark.slow
@pytest.mark.timeout(300, func_only=True)
def test_no_write_for_a_neighbour(lane: Lane) -> None:
    lane.operator.start()
    lane.create()
    lane.world.create("neighbour", model=models.model("not-there"), resources=RESOURCES)
    eventually(lambda: lane.world.condition("neighbour").get("reason") == "FetchFailed", "the neighbour fails", 90)
    time.sleep(10)  # what was held back about the first is written
    before = versions(lane)
    restarts = failures(lane)
    time.sleep(SECONDS)
    assert failures(lane) > restarts, "the neighbour went on failing"
    assert versions(lane) == before


def versions(lane: Lane) -> dict[str, str]:
    found = {"": lane.world.get("ModelDeployment", NAME)["metadata"]["resourceVersion"]}
    for kind in snapshot.KINDS:
        for child in snapshot.owned(lane.world, kind, NAME):
            found[f"{kind}/{child['metadata']['name']}"] = child["metadata"]["resourceVersion"]
    return found


def failures(lane: Lane) -> int:
    pods = snapshot.living(lane.world, "neighbour")
    return sum(state["restartCount"] for pod in pods for state in pod["status"]["initContainerStatuses"])
