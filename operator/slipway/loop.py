"""Loop: workers that take keys from the queue while this process leads, and what happens by the clock.

The tasks are made once, before Kopf runs, because Kopf ends every task that is younger than itself when it stops.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Protocol

from slipway import logs
from slipway.api import KIND
from slipway.cluster import ClusterError
from slipway.observed import Key
from slipway.queue import WorkQueue
from slipway.reconcile import Outcome, Reconciler, Result
from slipway.store import Store
from slipway.watch import Reflector, Source, relist

STUCK_SECONDS = 300.0
"""A worker that holds one key for so long, or a key that nobody takes for so long, means that the loop is stuck."""
CHILD_SECONDS = 0.2
"""How long news of children gathers: a pod that starts brings half a dozen events within a second."""
_UNSURE_SECONDS = 0.5
"""How long a key waits while the lease may have ended and that is not settled: 20 ms would be all that the loop does."""
_LAG_EVERY = 1.0
_log = logging.getLogger("slipway.loop")


class Term(Protocol):
    """Who says whether this process works."""

    def leading(self) -> bool:
        """Tell whether it does now."""

    async def acquired(self) -> None:
        """Wait until it does."""


class Loop:
    """The workers and their surroundings."""

    def __init__(  # noqa: PLR0913 - what it connects
        self,
        store: Store,
        queue: WorkQueue[Key],
        reconciler: Reconciler,
        term: Term,
        source: Source,
        reflectors: Sequence[Reflector],
        *,
        namespaces: Sequence[str | None],
        workers: int,
        resync_seconds: float,
        lagged: Callable[[float], None],
    ) -> None:
        """Connect; `namespaces` is what is served, `(None,)` for everything."""
        self._store = store
        self._queue = queue
        self._reconciler = reconciler
        self._term = term
        self._source = source
        self._reflectors = reflectors
        self._namespaces = namespaces
        self._workers = workers
        self._resync_seconds = resync_seconds
        self._lagged = lagged
        self._tasks: list[asyncio.Task[None]] = []
        self._random = random.Random()  # noqa: S311 - spreads resyncs

    def start(self) -> None:
        """Start everything."""
        self._spawn("lag", self._measure_lag())
        self._spawn("resync", self._resync())
        for reflector in self._reflectors:
            self._spawn(f"reflector {reflector.kind} {reflector.namespace or ''}".rstrip(), reflector.run())
        for number in range(self._workers):
            self._spawn(f"worker {number}", self._work())

    async def stop(self) -> None:
        """End everything, at once."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task

    def synced(self) -> bool:
        """Tell whether every reflector has listed its kind once."""
        return all(reflector.synced.is_set() for reflector in self._reflectors)

    def trouble(self) -> str:
        """Return in words why this process should be restarted; empty while it should not."""
        for task in self._tasks:
            if task.done():
                return f"task {task.get_name()} has ended"
        if not self.synced() or not self._term.leading():
            return ""
        now = asyncio.get_running_loop().time()
        if now - (self._queue.held_since() or now) > STUCK_SECONDS:
            return f"a worker has held one ModelDeployment for more than {STUCK_SECONDS:.0f} s"
        if self._queue.overdue() > STUCK_SECONDS:
            return f"a ModelDeployment has waited for a worker for more than {STUCK_SECONDS:.0f} s"
        return ""

    def heard(self) -> float:
        """Return the seconds since the API server was last heard on any watch of children."""
        return min((reflector.age() for reflector in self._reflectors), default=0.0)

    def wake(self, keys: Iterable[Key]) -> None:
        """Have these keys looked at now: their ModelDeployments have changed."""
        for key in keys:
            self._queue.wake(key)

    def wake_by_child(self, keys: Iterable[Key], *, deleted: bool = False) -> None:
        """Have these keys looked at because of their children: at once where one is gone, else soon."""
        for key in keys:
            if deleted:
                self._reconciler.child_deleted(key)
                self._queue.wake(key)
            else:
                self._queue.wake_after(key, CHILD_SECONDS)

    def take_over(self) -> None:
        """Have everything looked at: this process leads from now on, and another one may have been at work."""
        self._reconciler.taken_over()
        self.wake(self._store.keys())

    def _spawn(self, name: str, job: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(job, name=f"slipway {name}"))

    async def _work(self) -> None:
        for reflector in self._reflectors:
            await reflector.synced.wait()  # a decision on half a picture would make what is already there
        while True:
            await self._term.acquired()
            key = await self._queue.get()
            try:
                if self._term.leading():
                    self._settle(key, await self._reconciler.reconcile(key))
                else:
                    self._queue.wake_after(key, _UNSURE_SECONDS)
            finally:
                self._queue.done(key)

    def _settle(self, key: Key, outcome: Outcome) -> None:
        if outcome.result in {Result.LATER, Result.ERROR}:
            seconds = self._queue.retry(key, outcome.retry_after)
            _log.debug("again in %.1f s", seconds, extra=logs.about(key))
            return
        self._queue.succeeded(key)
        if outcome.wake_after is not None:
            self._queue.wake_after(key, outcome.wake_after)

    async def _resync(self) -> None:
        """List everything now and then, and have looked at what turned out different."""
        while True:
            await asyncio.sleep(self._resync_seconds * self._random.uniform(0.9, 1.0))
            for namespace in self._namespaces:
                try:
                    found = await relist(self._source, self._store, KIND, namespace, news=self.wake)
                    self.wake(found.lost)
                except ClusterError as error:
                    _log.warning("resync of %s failed: %s", KIND, error)
            for reflector in self._reflectors:
                try:
                    await reflector.resync()
                except ClusterError as error:
                    _log.warning("resync of %s failed: %s", reflector.kind, error)

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_EVERY
            await asyncio.sleep(_LAG_EVERY)
            self._lagged(max(0.0, loop.time() - due))
