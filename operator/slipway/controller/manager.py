"""Manager: the tasks of one operator process: leader election, informers, resync, and workers while this process leads.

Its tasks are created once, before Kopf runs, because Kopf ends every task younger than itself when it stops.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from slipway import logs
from slipway.controller.reconciler import Outcome, Reconciler, Result
from slipway.controller.workqueue import WorkQueue
from slipway.domain.objects import Key
from slipway.kube import ApiError, Cache
from slipway.kube.informer import Informer
from slipway.kube.lease import Leadership
from slipway.kube.scope import Scope

STUCK_SECONDS = 300.0
"""A worker that processes one key for so long, or a key that waits for a worker for so long, means that the process is stuck."""
_UNSURE_SECONDS = 0.5
"""Delay of a key while it is not certain that this process still leads."""
_LAG_INTERVAL = 1.0
_log = logging.getLogger("slipway.manager")


class Manager:
    """Starts, watches over and ends the tasks."""

    def __init__(  # noqa: PLR0913 - what it connects
        self,
        cache: Cache,
        queue: WorkQueue[Key],
        reconciler: Reconciler,
        leadership: Leadership,
        informers: Sequence[Informer],
        scopes: Sequence[Scope],
        *,
        workers: int,
        resync_seconds: float,
        lagged: Callable[[float], None],
    ) -> None:
        """Connect; `lagged` counts the seconds by which the event loop is late."""
        self._cache = cache
        self._queue = queue
        self._reconciler = reconciler
        self._leadership = leadership
        self._informers = informers
        self._scopes = scopes
        self._any_usable = asyncio.Event()
        for scope in scopes:
            scope.on_change = self._changed
        self._workers = workers
        self._resync_seconds = resync_seconds
        self._lagged = lagged
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping: list[asyncio.Task[None]] = []
        self._random = random.Random()  # noqa: S311 - jitter needs no secrecy

    def start(self) -> None:
        """Start all tasks."""
        self._spawn("leader election", self._leadership.run())
        self._spawn("lag", self._measure_lag())
        self._spawn("resync", self._resync())
        for informer in self._informers:
            where = ", ".join(scope.namespace for scope in informer.scopes if scope.namespace)
            self._spawn(
                f"informer {informer.kind} {where}".rstrip(), informer.run(), stops_itself=informer.stops_itself
            )
        for number in range(self._workers):
            self._spawn(f"worker {number}", self._work())

    async def stop(self) -> None:
        """End all tasks at once, release the Lease, then wait for the informers that stop by themselves."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._leadership.release()
        await asyncio.gather(*self._stopping, return_exceptions=True)

    def unready(self) -> str:
        """Return why the process is not ready; empty if it is.

        A namespace that fails by itself does not count, as long as another one is watched: it is reported elsewhere.
        """
        if not self._any_usable.is_set():
            return next((reason for scope in self._scopes if (reason := scope.unready())), "")
        reasons = [scope.unready() for scope in self._scopes if not scope.failing()]
        reasons += [informer.unready() for informer in self._informers]
        return next((reason for reason in reasons if reason), "")

    def fault(self) -> str:
        """Return why the process should be restarted; empty if it should not."""
        for task in (*self._tasks, *self._stopping):
            if task.done():
                return f"task {task.get_name()} has ended"
        api_age = min((informer.age() for informer in self._informers), default=0.0)
        for informer in self._informers:
            if fault := informer.fault(api_age):
                return fault
        if not self._any_usable.is_set() or not self._leadership.leading():
            return ""
        now = asyncio.get_running_loop().time()
        if now - (self._queue.processing_since() or now) > STUCK_SECONDS:
            return f"a worker has processed one ModelDeployment for more than {STUCK_SECONDS:.0f} s"
        if self._queue.overdue() > STUCK_SECONDS:
            return f"a ModelDeployment has waited for a worker for more than {STUCK_SECONDS:.0f} s"
        return ""

    def lead(self) -> None:
        """Reconcile everything: this process leads from now on, and another one may have been at work."""
        self._cache.verification.invalidate()
        for key in self._cache.all_keys():
            self._queue.add(key)

    def _usable(self, key: Key) -> bool:
        """Return whether all there is of a ModelDeployment is known: a decision on half of it would create what exists."""
        return any(scope.usable() for scope in self._scopes if key in scope)

    def _changed(self, scope: Scope) -> None:
        """Reconcile everything in a namespace that has become usable; drop what is known of one that is lost."""
        if any(each.usable() for each in self._scopes):
            self._any_usable.set()
        else:
            self._any_usable.clear()
        self._cache.verification.invalidate()  # it may be long since anything there was read
        for key in [key for key in self._cache.all_keys() if key in scope]:
            if scope.usable():
                self._queue.add(key)
            else:
                self._reconciler.forget(key)

    def _spawn(self, name: str, job: Coroutine[Any, Any, None], *, stops_itself: bool = False) -> None:
        task = asyncio.create_task(job, name=f"slipway {name}")
        (self._stopping if stops_itself else self._tasks).append(task)

    async def _work(self) -> None:
        while True:
            await self._any_usable.wait()
            await self._leadership.acquired()
            key = await self._queue.get()
            try:
                if not self._usable(key):
                    self._reconciler.forget(key)  # it is enqueued again when its namespace is usable
                elif self._leadership.leading():
                    self._requeue(key, await self._reconciler.reconcile(key))
                else:
                    self._queue.add_after(key, _UNSURE_SECONDS)
            finally:
                self._queue.done(key)

    def _requeue(self, key: Key, outcome: Outcome) -> None:
        if outcome.result in {Result.RETRY, Result.ERROR}:
            seconds = self._queue.add_rate_limited(key, outcome.retry_after)
            _log.debug("requeued after %.1f s", seconds, extra=logs.about(key))
            return
        self._queue.forget(key)
        if outcome.requeue_after is not None:
            self._queue.add_after(key, outcome.requeue_after)

    async def _resync(self) -> None:
        """List everything from time to time, and reconcile what differs from the cache."""
        while True:
            await asyncio.sleep(self._resync_seconds * self._random.uniform(0.9, 1.0))
            for informer in self._informers:
                for scope in informer.scopes:
                    if not scope.lost():
                        await self._resync_one(informer, scope)

    async def _resync_one(self, informer: Informer, scope: Scope) -> None:
        try:
            await informer.resync(scope)
        except ApiError as error:
            _log.warning("resync of %ss in %s failed: %s", informer.kind, scope, error)

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_INTERVAL
            await asyncio.sleep(_LAG_INTERVAL)
            self._lagged(max(0.0, loop.time() - due))
