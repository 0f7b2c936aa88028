"""Reconciler: brings one ModelDeployment to what its spec asks for. Between the work queue and the API server.

Level-based: each call reads everything known and does what is missing; nothing depends on which event led here.
Errors: what the API server rejects is reported in the status and retried with growing pauses; what may pass (an overloaded
server, a lost connection) goes to the queue's backoff; an unexpected exception affects this ModelDeployment alone.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from slipway import logs
from slipway.api import KIND, Reason
from slipway.controller.executor import Executor
from slipway.controller.metrics import Metrics
from slipway.controller.status_writer import StatusWriter
from slipway.decide import Plan, State, make_plan
from slipway.domain.objects import Apply, Key, Manifest, Observed, Problem, Rejection
from slipway.domain.servers import Defaults
from slipway.kube import Cache, NotFoundError, RetryableError

_log = logging.getLogger("slipway.reconciler")


class Result(StrEnum):
    """How a reconciliation ended; a label of metrics."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    REJECTED = "rejected"
    RETRY = "retry"
    ERROR = "error"
    GONE = "gone"


class Reader(Protocol):
    """The API request that verification needs; see `kube.client.Client`."""

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return one object."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one reconciliation returns to the queue.

    Attributes:
        result: how it ended.
        requeue_after: seconds until the key is to be reconciled without an event; None for never.
        retry_after: seconds of the API server's Retry-After; only with RETRY.
    """

    result: Result
    requeue_after: float | None = None
    retry_after: float = 0.0


class Reconciler:
    """Reconciles ModelDeployments, one key at a time; calls for different keys may overlap."""

    def __init__(  # noqa: PLR0913 - what it connects
        self,
        cache: Cache,
        client: Reader,
        executor: Executor,
        status_writer: StatusWriter,
        defaults: Defaults,
        metrics: Metrics,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        """Connect; `clock` is monotonic seconds, `now` the wall clock in UTC."""
        self._cache = cache
        self._client = client
        self._executor = executor
        self._status_writer = status_writer
        self._defaults = defaults
        self._metrics = metrics
        self._clock = clock
        self._now = now

    async def reconcile(self, key: Key) -> Outcome:
        """Do what is missing for one ModelDeployment; whatever goes wrong is in the outcome, and counted."""
        started = self._clock()
        try:
            outcome = await self._reconcile(key)
        except RetryableError as error:
            outcome = self._retry(key, error)
        except Exception as error:  # noqa: BLE001 - one faulty resource never affects another
            self._metrics.failed(type(error).__name__)
            _log.exception("reconciliation failed", extra=logs.about(key))
            await self._report_error(key, error)
            outcome = Outcome(Result.ERROR)
        self._metrics.reconciled(outcome.result, self._clock() - started)
        return outcome

    async def _reconcile(self, key: Key) -> Outcome:
        # 1. observe
        observed = self._cache.snapshot(key)
        if not _exists(observed):
            self.forget(key)
            return Outcome(Result.GONE)
        # 2. decide
        state = State.gather(key, observed)
        plan = make_plan(state, self._defaults, self._now())
        # 3. act, after reading the ModelDeployment itself where the cache may be behind
        if self._needs_verification(key, plan):
            if not await self._verify(key, state.owner.uid):
                # A new one of the same name may exist: the event that announced it changes nothing any more.
                self.forget(key)
                return Outcome(Result.GONE, requeue_after=None if self._cache.uid(key) is None else 0.0)
            state = State.gather(key, self._cache.snapshot(key))
            plan = make_plan(state, self._defaults, self._now())
        execution = await self._executor.execute(key, plan.actions)
        # 4. report
        wait = await self._report(key, state, plan, execution.written, tuple(execution.rejections))
        # 5. requeue
        if execution.retry is not None:
            return self._retry(key, execution.retry)
        waits = [seconds for seconds in (plan.requeue_after, execution.requeue_after, wait) if seconds is not None]
        changed = Result.CHANGED if execution.written else Result.UNCHANGED
        return Outcome(Result.REJECTED if execution.rejections else changed, requeue_after=min(waits, default=None))

    def forget(self, key: Key) -> None:
        """Forget what is remembered of a ModelDeployment that is gone, or may not be looked at; stop exporting it."""
        self._cache.verification.forget(key)
        self._executor.forget(key)
        self._status_writer.forget(key)

    def _retry(self, key: Key, error: RetryableError) -> Outcome:
        self._metrics.failed(type(error).__name__)
        _log.info("a request is to be retried: %s", error, extra=logs.about(key))
        return Outcome(Result.RETRY, retry_after=error.retry_after)

    def _needs_verification(self, key: Key, plan: Plan) -> bool:
        """Return whether the ModelDeployment must be read before its children are changed.

        Without that, children that the garbage collector deletes would be created again, once for each event; and a
        process that has just become the leader, and not yet received the verdict that the one before wrote last, would
        deploy the failed revision once more.
        """
        verification = self._cache.verification
        changes_deployment = any(
            isinstance(action, Apply) and not action.create and action.ref.kind == "Deployment"
            for action in plan.actions
        )
        unverified = changes_deployment and not verification.is_verified(key)
        return bool(plan.actions) and (verification.is_stale(key) or unverified)

    async def _verify(self, key: Key, uid: str) -> bool:
        """Read the ModelDeployment into the cache; return whether it still exists."""
        try:
            body = await self._client.get(KIND, key.namespace, key.name)
        except NotFoundError:
            self._cache.forget(KIND, key.namespace, key.name, uid)
            return False
        self._cache.verification.mark_verified(key)
        exists = bool(body["metadata"]["uid"] == uid) and not body["metadata"].get("deletionTimestamp")
        self._cache.upsert(body)
        return exists

    async def _report(
        self, key: Key, state: State, plan: Plan, written: int, rejections: tuple[Rejection, ...]
    ) -> float | None:
        """Write the status of what is observed after the actions; return when it is due if it may wait."""
        if written:
            observed = self._cache.snapshot(key)
            if observed.resource is None:
                return None
            state = State.gather(key, observed)
        return await self._status_writer.write(state, plan, rejections)

    async def _report_error(self, key: Key, error: Exception) -> None:
        """Report an unexpected error in the status; a second one is only logged."""
        message = f"The operator met an unexpected error and keeps retrying: {type(error).__name__}: {error}"[:1000]
        try:
            observed = self._cache.snapshot(key)
            if observed.resource is not None:
                plan = Plan(problem=Problem(Reason.APPLY_FAILED, message))
                await self._status_writer.write(State.gather(key, observed), plan, ())
        except Exception as second:  # noqa: BLE001 - see above
            _log.warning("nor could the status report it: %r", second, extra=logs.about(key))


def _exists(observed: Observed) -> bool:
    return observed.resource is not None and not observed.resource["metadata"].get("deletionTimestamp")
