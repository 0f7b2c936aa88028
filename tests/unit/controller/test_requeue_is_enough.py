"""The operator reconciles only what an event or a requeue makes due, as the manager does; a reconciliation that nothing
requested finds nothing to do.
"""

import random

import pytest

from slipway.controller.reconciler import Result
from tests.kit.simulation import KEY, Cluster, Killed, overloaded

BAD = "pvc://models/bad"


class EventDriven(Cluster):
    """A cluster whose operator waits for an event that changes the cache, or for the time of its requeue.

    Its own writes are in the cache before their events come, which then change nothing.
    """

    due: float | None = None

    def start(self) -> None:
        super().start()
        self.due = self.time

    def watch(self) -> bool:
        changed = super().watch()
        if changed:
            self.due = self.time
        return changed

    async def operate(self) -> None:
        for _ in range(30):
            self.watch()
            if self.due is None or self.due > self.time:
                return
            self.due = None
            try:
                outcome = await self.reconciler.reconcile(KEY)
            except Killed:
                self.kill()
                return
            if outcome.result in {Result.RETRY, Result.ERROR}:
                self.due = self.time
            elif outcome.requeue_after is not None:
                self.due = self.time + outcome.requeue_after
        raise AssertionError("the operator does not settle")

    def disturb(self, rng: random.Random) -> None:
        """Let a user, a source, the API server or the end of the process change something."""
        match rng.randrange(9):
            case 0:
                self.edit(model={"uri": rng.choice(["pvc://models/one", "pvc://models/two", BAD])})
            case 1:
                self.edit(replicas=rng.choice([0, 1, 2, 5]))
            case 2:
                self.edit(pinnedRevision=rng.choice([None, 1, 2, 3, 9]))
            case 3:
                self.edit(annotations={"serving.slipway.dev/retry": str(rng.randint(1, 3))})
            case 4:
                self.edit(autoscaling=rng.choice([None, {"minReplicas": 2, "maxReplicas": 4}]))
            case 5:
                self.kill()
            case 6:
                self.client.errors = {self.client.writes + rng.randint(1, 3): overloaded()}
            case 7:
                self.broken = rng.choice([set(), {BAD}, {"pvc://models/one", BAD}])
            case _:
                self.client.kill_after = self.client.writes + rng.randint(1, 4)


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5, 6, 9, 39, 49, 137])
async def test_nothing_is_left_to_do_without_an_event_or_a_requeue(seed: int) -> None:
    rng = random.Random(seed)
    replicas, failure = rng.choice([1, 2, 3, 6]), rng.choice(["Pause", "Rollback"])
    strategy = rng.choice(["Auto", "TerminateFirst", "Surge"])
    cluster = EventDriven(replicas, rollout={"onFailure": failure, "strategy": strategy})
    cluster.broken = {BAD}
    for _ in range(rng.randint(2, 9)):
        for _ in range(rng.randint(0, 6)):
            await cluster.round()
        cluster.disturb(rng)
    cluster.client.kill_after = None
    for _ in range(150):
        await cluster.round()
    before = cluster.state()
    for _ in range(10):
        cluster.due = cluster.time
        await cluster.round()
    assert cluster.state() == before
