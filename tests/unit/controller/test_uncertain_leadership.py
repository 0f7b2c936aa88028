"""Workers while the lease may have ended and nobody has said so yet: its holder waits for an answer to its question."""

import asyncio

from slipway.controller.manager import Loop
from slipway.controller.metrics import Metrics
from slipway.domain.objects import Key
from slipway.status.pod import project
from slipway.controller.workqueue import WorkQueue
from slipway.controller.reconciler import Outcome, Result
from slipway.kube.cache import Cache

KEY = Key("ns", "digits")


class Term:
    """Still held as far as anybody was status, but run out."""

    def __init__(self) -> None:
        self.asked = 0
        self.sure = False

    def leading(self) -> bool:
        self.asked += 1
        return self.sure

    async def acquired(self) -> None:
        pass


class Reconciler:
    def __init__(self) -> None:
        self.done = asyncio.Event()

    async def reconcile(self, key: Key) -> Outcome:
        self.done.set()
        return Outcome(Result.UNCHANGED)


async def test_keys_do_not_go_round_and_round_but_none_is_lost() -> None:
    term, reconciler, queue = Term(), Reconciler(), WorkQueue[Key](asyncio.get_running_loop(), Metrics())
    loop = Loop(
        Cache(project),
        queue,
        reconciler,  # type: ignore[arg-type]
        term,
        None,  # type: ignore[arg-type]
        (),
        namespaces=(None,),
        workers=1,
        resync_seconds=600,
        lagged=lambda _: None,
    )
    loop.start()
    try:
        loop.wake([KEY])
        await asyncio.sleep(0.45)
        assert not reconciler.done.is_set()
        assert term.asked <= 2, "a slow machine asks less often, never more"
        term.sure = True
        await asyncio.wait_for(reconciler.done.wait(), 10)
    finally:
        await loop.stop()
