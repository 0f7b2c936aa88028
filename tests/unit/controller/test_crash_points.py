"""An operator that is killed at any write, or whose write fails there, ends in the same state as one that is not."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from slipway.domain import names
from slipway.kube import RejectedError
from tests.kit.simulation import Cluster, overloaded

Scenario = Callable[[Cluster], Awaitable[None]]
TWO, THREE = {"uri": "pvc://models/two"}, {"uri": "pvc://models/three"}
BAD = {"uri": "pvc://models/bad"}


async def create(cluster: Cluster) -> None:
    await cluster.settle()
    assert cluster.status["currentRevision"] == 1


async def promote(cluster: Cluster) -> None:
    cluster.edit(model=TWO)
    await cluster.settle()
    assert (cluster.deployed, cluster.status["currentRevision"]) == (2, 2)


async def roll_back(cluster: Cluster) -> None:
    cluster.edit(model=BAD)
    await cluster.settle()
    assert (cluster.deployed, cluster.status["updateRevision"], cluster.status["currentRevision"]) == (1, 2, 1)


async def pause(cluster: Cluster) -> None:
    cluster.edit(model=BAD, rollout={"onFailure": "Pause"})
    await cluster.settle()
    assert cluster.deployed == 2
    assert cluster.server.deployment is not None
    assert cluster.server.deployment["spec"]["paused"]


async def supersede(cluster: Cluster) -> None:
    cluster.edit(model=BAD)
    for _ in range(60):
        if cluster.deployed == 2 and cluster.pods(2):
            break
        await cluster.round()
    cluster.edit(model=THREE)
    await cluster.settle()
    assert (cluster.deployed, cluster.status["currentRevision"]) == (3, 3)


async def pin(cluster: Cluster) -> None:
    await promote(cluster)
    cluster.edit(pinnedRevision=1)
    await cluster.settle()
    assert (cluster.deployed, cluster.status["currentRevision"]) == (1, 1)


async def retry(cluster: Cluster) -> None:
    await roll_back(cluster)
    cluster.broken.clear()
    cluster.edit(annotations={names.RETRY_ANNOTATION: "2"})
    await cluster.settle()
    assert (cluster.deployed, cluster.status["currentRevision"]) == (3, 3)


async def failing_retry(cluster: Cluster) -> None:
    await roll_back(cluster)
    cluster.edit(annotations={names.RETRY_ANNOTATION: "2"})
    await cluster.settle()
    assert (cluster.deployed, cluster.status["updateRevision"]) == (1, 3)


async def prune(cluster: Cluster) -> None:
    cluster.edit(rollout={"revisionHistoryLimit": 1})
    await promote(cluster)


@pytest.fixture(scope="module")
def base() -> Cluster:
    """Revision 1 serves."""
    cluster = new()
    asyncio.run(create(cluster))
    return cluster


def new() -> Cluster:
    cluster = Cluster()
    cluster.broken.add(BAD["uri"])
    return cluster


def start(base: Cluster, scenario: Scenario) -> Cluster:
    return new() if scenario is create else base.twin()


def assert_consistent(cluster: Cluster) -> None:
    """No two pods of a revision serve different content."""
    for number in {names.revision_number(pod) for pod in cluster.pods()}:
        assert len({pod.get("x-digest") for pod in cluster.pods(number)}) == 1, f"pods of revision {number} differ"


SCENARIOS = [create, promote, roll_back, pause, supersede, pin, retry, failing_retry, prune]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_a_kill_at_any_write_changes_nothing(base: Cluster, scenario: Scenario) -> None:
    undisturbed = start(base, scenario)
    await scenario(undisturbed)
    expected, writes = undisturbed.state(), undisturbed.client.writes
    assert_consistent(undisturbed)
    assert writes > 5
    for number in range(1, writes + 1):
        for moment in ("kill_before", "kill_after"):
            cluster = start(base, scenario)
            setattr(cluster.client, moment, number)
            await scenario(cluster)
            assert cluster.kills == 1
            assert cluster.state() == expected, (moment, number, undisturbed.client.log[number - 1])
            assert_consistent(cluster)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_a_write_that_fails_for_a_while_changes_nothing(base: Cluster, scenario: Scenario) -> None:
    undisturbed = start(base, scenario)
    await scenario(undisturbed)
    expected = undisturbed.state()
    for number in range(1, undisturbed.client.writes + 1):
        cluster = start(base, scenario)
        cluster.client.errors = {number: overloaded(), number + 1: overloaded(), number + 3: overloaded()}
        await scenario(cluster)
        assert cluster.state() == expected, (number, undisturbed.client.log[number - 1])
        assert_consistent(cluster)


async def test_while_its_verdict_cannot_be_written_nothing_is_rolled_back(base: Cluster) -> None:
    cluster = base.twin()
    cluster.edit(model=BAD)
    while not cluster.pods(2):
        await cluster.round()
    done = cluster.client.writes
    cluster.client.errors = dict.fromkeys(range(done + 1, done + 500), RejectedError("the status is rejected"))
    for _ in range(10):
        await cluster.round()
    assert cluster.deployed == 2
    assert cluster.status["history"][0]["verdict"] == "Progressing"
    cluster.client.errors = {}
    cluster.kill()
    await cluster.settle()
    assert cluster.deployed == 1


async def test_the_writes_of_a_rollback_and_their_order(base: Cluster) -> None:
    cluster = base.twin()
    cluster.edit(model=BAD)
    await cluster.settle()
    assert cluster.client.log == [
        "apply ControllerRevision digits-2",
        "apply Deployment digits",
        "status",  # revision 2 rolls out
        "status",  # it has failed
        "apply Deployment digits",
        "status",  # revision 1 is the target again
        "status",  # it serves
    ]


async def test_the_writes_of_a_creation_and_of_a_change() -> None:
    cluster = new()
    await create(cluster)
    await create(cluster)
    writes = [what for what in cluster.client.log if what != "status"]
    assert writes == [
        "apply ControllerRevision digits-1",
        "apply Service digits",
        "apply Service digits-headless",
        "apply Deployment digits",
        "apply PodDisruptionBudget digits",
        "apply ConfigMap digits-1-uid",
        "apply Deployment digits",  # the other pods
    ]
    created = len(cluster.client.log)
    cluster.edit(model=TWO)
    await cluster.settle()
    changed = [what for what in cluster.client.log[created:] if what != "status"]
    assert changed == [
        "apply ControllerRevision digits-2",
        "apply Deployment digits",
        "apply ConfigMap digits-2-uid",
        "apply Deployment digits",  # it no longer waits for the pin
    ]
