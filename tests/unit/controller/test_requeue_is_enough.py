"""The operator looks only where something woke it, as the real loop does; a look that nobody asked for finds nothing to do."""

import copy
import random

import pytest

from slipway.controller.reconciler import Result
from tests.kit.simulation import KEY, Cluster, Killed, later

BAD = "pvc://models/bad"


class Woken(Cluster):
    """A cluster whose operator sleeps until an event brings news, or until the time that it asked for.

    Its own writes are in the store before their events come, which then bring none.
    """

    due: float | None = None

    def start(self) -> None:
        super().start()
        self.due = self.time

    def _watch(self) -> None:
        woken = False
        for body in list(self.server.objects.values()):
            if int(body["metadata"]["resourceVersion"]) > self._watched:
                woken |= bool(self.store.put(copy.deepcopy(body)))
        before = self.store.snapshot(KEY)
        super()._watch()  # what is gone
        if len(self.store.snapshot(KEY).children) + len(self.store.snapshot(KEY).pods) < len(before.children) + len(
            before.pods
        ):
            self.reconciler.child_deleted(KEY)
            woken = True
        if woken:
            self.due = self.time

    async def operate(self) -> None:
        for _ in range(30):
            self._watch()
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
        raise AssertionError("the operator does not come to rest")

    def disturb(self, rng: random.Random) -> None:
        """Let a user, a source, the API server or an end of the process change something."""
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
                self.client.errors = {self.client.writes + rng.randint(1, 3): later()}
            case 7:
                self.broken = rng.choice([set(), {BAD}, {"pvc://models/one", BAD}])
            case _:
                self.client.cut_after = self.client.writes + rng.randint(1, 4)


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5, 6, 9, 39, 49, 137])
async def test_nothing_is_left_to_do_that_nobody_would_come_back_for(seed: int) -> None:
    rng = random.Random(seed)
    replicas, failure = rng.choice([1, 2, 3, 6]), rng.choice(["Pause", "Rollback"])
    cluster = Woken(replicas, rollout={"onFailure": failure, "strategy": rng.choice(["Auto", "TerminateFirst", "Surge"])})
    cluster.broken = {BAD}
    for _ in range(rng.randint(2, 9)):
        for _ in range(rng.randint(0, 6)):
            await cluster.round()
        cluster.disturb(rng)
    cluster.client.cut_after = None
    for _ in range(150):
        await cluster.round()
    before = cluster.state()
    for _ in range(10):
        cluster.due = cluster.time
        await cluster.round()
    assert cluster.state() == before
