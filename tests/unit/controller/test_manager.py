"""The manager: what its workers do while leadership is uncertain, and what happens when this process begins to lead."""

import asyncio

from slipway.api import KIND
from slipway.controller.manager import Manager
from slipway.controller.metrics import Metrics
from slipway.controller.reconciler import Outcome, Result
from slipway.controller.workqueue import WorkQueue
from slipway.domain.objects import Key
from slipway.kube import Cache
from slipway.status.pod import project

KEY = Key("ns", "digits")


class UncertainLeadership:
    """Acquired, and not published as lost; but the lease may have expired until `certain` is set.

    So it is while the response to a renewal is late.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.certain = False

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def release(self) -> None:
        pass

    def remaining(self) -> float:
        return 1.0 if self.certain else 0.0

    def leading(self) -> bool:
        self.calls += 1
        return self.certain

    async def acquired(self) -> None:
        pass


class Reconciler:
    def __init__(self) -> None:
        self.called = asyncio.Event()

    async def reconcile(self, key: Key) -> Outcome:
        self.called.set()
        return Outcome(Result.UNCHANGED)


def make(reconciler: Reconciler, leadership: UncertainLeadership) -> tuple[Manager, Cache, WorkQueue[Key]]:
    cache, queue = Cache(project), WorkQueue[Key](asyncio.get_running_loop(), Metrics())
    manager = Manager(
        cache,
        queue,
        reconciler,  # type: ignore[arg-type]
        leadership,
        (),
        workers=1,
        resync_seconds=600,
        lagged=lambda _: None,
    )
    return manager, cache, queue


async def test_keys_are_delayed_without_a_busy_loop_and_none_is_lost() -> None:
    leadership, reconciler = UncertainLeadership(), Reconciler()
    manager, _, queue = make(reconciler, leadership)
    manager.start()
    try:
        queue.add(KEY)
        await asyncio.sleep(0.45)  # a negative proof needs the time
        assert not reconciler.called.is_set()
        assert leadership.calls <= 2, "a slow machine checks less often, never more"
        leadership.certain = True
        await asyncio.wait_for(reconciler.called.wait(), 10)
    finally:
        await manager.stop()


async def test_a_new_leader_reconciles_everything_and_trusts_no_earlier_read() -> None:
    manager, cache, queue = make(Reconciler(), UncertainLeadership())
    metadata = {"namespace": "ns", "name": "digits", "uid": "u", "resourceVersion": "1"}
    cache.upsert({"kind": KIND, "metadata": metadata, "spec": {}})
    cache.verification.mark_verified(KEY)
    manager.lead()
    async with asyncio.timeout(5):
        assert await queue.get() == KEY
    assert not cache.verification.is_verified(KEY)
