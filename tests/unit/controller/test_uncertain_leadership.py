"""Workers while the lease may have expired and no loss is published yet: its holder waits for the response to a renewal."""

import asyncio

from slipway.controller.manager import Manager
from slipway.controller.metrics import Metrics
from slipway.controller.reconciler import Outcome, Result
from slipway.controller.workqueue import WorkQueue
from slipway.domain.objects import Key
from slipway.kube import Cache
from slipway.status.pod import project

KEY = Key("ns", "digits")


class UncertainLeadership:
    """Acquired, and not published as lost; but its term is over until `certain` is set."""

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


async def test_keys_are_delayed_without_a_busy_loop_and_none_is_lost() -> None:
    leadership, reconciler = UncertainLeadership(), Reconciler()
    queue = WorkQueue[Key](asyncio.get_running_loop(), Metrics())
    manager = Manager(
        Cache(project),
        queue,
        reconciler,  # type: ignore[arg-type]
        leadership,
        (),
        workers=1,
        resync_seconds=600,
        lagged=lambda _: None,
    )
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
