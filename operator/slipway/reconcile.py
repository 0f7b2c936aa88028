"""Reconciler: makes one ModelDeployment what its spec asks for. Between the queue, which says when, and the cluster.

Level-based: each call looks at everything known and does what is missing; nothing depends on which event led here.
Error policy: what the server refuses is told in the status and tried again with growing pauses; what may pass (an
overloaded server, a lost connection) goes to the queue's backoff; an exception nobody expected is the trouble of this
ModelDeployment alone.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from slipway import logs, metrics, plan, rollout, status
from slipway.api import KIND, Reason
from slipway.cluster import ClusterError, Conflict, Gone, Refused, TryLater
from slipway.events import Recorder
from slipway.memory import Memory
from slipway.observed import Apply, Delete, Failure, Key, Manifest, Observed, Plan, Problem, Ref
from slipway.runtimes import Defaults
from slipway.store import Store

MERGE_SECONDS = 8.0
"""Longest time that a change of counts and pod phases waits for more of its kind before it is written."""
FIRST_STATUS_SECONDS = 3.0
"""Longest time that the first status of a new ModelDeployment waits for its first pod to be seen."""
_TERMINATING = "because it is being terminated"
_log = logging.getLogger("slipway.reconcile")


class Result(StrEnum):
    """How a reconciliation ended; a label of metrics."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    REFUSED = "refused"
    LATER = "later"
    ERROR = "error"
    GONE = "gone"


class Cluster(Protocol):
    """The API requests that reconciling needs; see `slipway.cluster.Cluster`."""

    async def apply(self, key: Key, action: Apply) -> None:
        """Server-side apply one child."""

    async def delete(self, key: Key, action: Delete) -> bool:
        """Delete one child; return whether it is gone."""

    async def apply_status(self, key: Key, uid: str, status: Manifest) -> Manifest:
        """Write the status; return it as the server keeps it."""

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return one object."""


@dataclass(slots=True)
class Outcome:
    """What one reconciliation found out.

    Attributes:
        result: how it ended.
        wake_after: seconds until the key should be looked at without an event; None for never.
        retry_after: seconds that the API server asked to be left alone for; only with LATER.
    """

    result: Result
    wake_after: float | None = None
    retry_after: float = 0.0


@dataclass(slots=True)
class _Done:
    """What acting on a plan came to."""

    written: int = 0
    failures: list[Failure] = field(default_factory=list)
    wait: float | None = None
    """Seconds until the next look; None for never."""
    later: TryLater | None = None


class Reconciler:
    """Makes ModelDeployments what they should be, one key at a time; calls for different keys may overlap."""

    def __init__(  # noqa: PLR0913 - what it connects
        self,
        store: Store,
        cluster: Cluster,
        defaults: Defaults,
        recorder: Recorder,
        counters: metrics.Metrics,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        """Connect; `clock` is monotonic seconds, `now` the wall clock in UTC."""
        self._store = store
        self._cluster = cluster
        self._defaults = defaults
        self._recorder = recorder
        self._metrics = counters
        self._clock = clock
        self._now = now
        self._memory = Memory()

    def child_deleted(self, key: Key) -> None:
        """Take in that a child is gone: before it is made again the ModelDeployment itself is looked up."""
        self._memory.suspect(key)

    def taken_over(self) -> None:
        """Take in that this process leads from now on: before it turns a Deployment it looks up what others have decided."""
        self._memory.estrange()

    async def reconcile(self, key: Key) -> Outcome:
        """Do what is missing for one ModelDeployment; whatever goes wrong is in the outcome, and counted."""
        started = self._clock()
        try:
            outcome = await self._reconcile(key)
        except TryLater as error:
            self._metrics.failed("TryLater")
            _log.info("the API server is to be tried later: %s", error, extra=logs.about(key))
            outcome = Outcome(Result.LATER, retry_after=error.retry_after)
        except Exception as error:  # noqa: BLE001 - one poisoned resource never disturbs another
            self._metrics.failed(type(error).__name__)
            _log.exception("reconciliation failed", extra=logs.about(key))
            await self._report_crash(key, error)
            outcome = Outcome(Result.ERROR)
        self._metrics.reconciled(outcome.result, self._clock() - started)
        return outcome

    async def _reconcile(self, key: Key) -> Outcome:
        # 1. observe
        observed = self._store.snapshot(key)
        if observed.resource is None or observed.resource["metadata"].get("deletionTimestamp"):
            return self._forget(key)
        # 2. plan
        planned = plan.decide(key, observed, self._defaults, self._now())
        # 3. act
        if planned.actions and (
            self._memory.suspected(key) or (rollout.turns(planned.actions) and not self._memory.met(key))
        ):
            if not await self._exists(key, observed):
                # Another one may have its name: the event that tells of it brings no news any more, and no wake.
                return replace(self._forget(key), wake_after=None if self._store.uid(key) is None else 0.0)
            observed = self._store.snapshot(key)
            planned = plan.decide(key, observed, self._defaults, self._now())
        done = await self._act(key, planned)
        # 4. observe again, say what is
        if done.written:
            observed = self._store.snapshot(key)
        wait = await self._say(key, observed, planned, done.failures)
        # 5. when to look again
        if done.later is not None:
            raise done.later
        waits = [seconds for seconds in (planned.wake_after, done.wait, wait) if seconds is not None]
        result = Result.REFUSED if done.failures else Result.CHANGED if done.written else Result.UNCHANGED
        return Outcome(result, wake_after=min(waits, default=None))

    def _forget(self, key: Key) -> Outcome:
        self._memory.forget(key)
        self._metrics.forget(key)
        return Outcome(Result.GONE)

    async def _exists(self, key: Key, observed: Observed) -> bool:
        """Ask whether the ModelDeployment is still there, and how: that may be news which a watch has yet to bring.

        Without this, children that the garbage collector takes would be made again, once for each event; and a process
        that has just taken over, and has yet to hear of the verdict that the one before wrote last, would turn the
        Deployment to the failed revision once more.
        """
        assert observed.resource is not None
        uid = observed.resource["metadata"]["uid"]
        try:
            body = await self._cluster.get(KIND, key.namespace, key.name)
        except Gone:
            self._store.remove(KIND, key.namespace, key.name, uid)
            return False
        self._memory.trust(key)
        self._store.put(body)
        return bool(body["metadata"]["uid"] == uid) and not body["metadata"].get("deletionTimestamp")

    async def _act(self, key: Key, planned: Plan) -> _Done:
        """Carry out the actions in order; stop where going on would do harm."""
        done = _Done()
        for action in planned.actions:
            ref = action.ref
            known = self._memory.refusal(key, action, self._clock())
            if known is not None:
                failure, wait = known
                done.failures.append(failure)
                done.wait = wait if done.wait is None else min(wait, done.wait)
            elif self._memory.settled(key, ref, action, self._store):
                continue  # the server's answer to exactly this was exactly what is there: it keeps another spelling
            else:
                try:
                    await self._do(key, ref, action)
                    done.written += 1
                    if ref.kind == "ConfigMap":
                        done.wait = 0.0  # what waited for the pin can go on; its event is no news
                except TryLater as error:
                    done.later = error
                    break
                except (Conflict, Refused, Gone) as error:
                    self._refused(key, action, error, done)
            if done.failures and done.failures[-1].ref == ref and ref.kind in {"Deployment", "ControllerRevision"}:
                break  # the rest builds on it; a foreign Deployment must not get our autoscaler
        return done

    def _refused(self, key: Key, action: Apply | Delete, error: ClusterError, done: _Done) -> None:
        failure = Failure(action.ref, _reason(action, error), str(error))
        wait = self._memory.refuse(key, action, failure, self._clock())
        done.failures.append(failure)
        done.wait = wait if done.wait is None else min(wait, done.wait)
        self._metrics.failed(type(error).__name__)
        level = logging.INFO if _TERMINATING in failure.message else logging.WARNING
        _log.log(level, "%s was refused: %s", failure.ref, error, extra=logs.about(key))

    async def _do(self, key: Key, ref: Ref, action: Apply | Delete) -> None:
        if isinstance(action, Delete):
            try:
                gone = await self._cluster.delete(key, action)
            except (Gone, Conflict):
                gone = True  # another object may have the name by now: the one that was meant is gone
            if gone:
                self._store.remove(ref.kind, key.namespace, ref.name, action.uid)
        else:
            await self._cluster.apply(key, action)
            self._memory.applied(key, ref, action, self._store)
        _log.debug("%s %s", "deleted" if isinstance(action, Delete) else "applied", ref, extra=logs.about(key))

    async def _say(self, key: Key, observed: Observed, planned: Plan, failures: list[Failure]) -> float | None:
        """Write the status if it changed and may not wait, then tell what is worth it; return how long it may wait."""
        if observed.resource is None:
            return None
        new = status.compute(key, observed, planned, tuple(failures), self._now())
        old: Manifest = observed.resource.get("status") or {}
        self._metrics.show(key, metrics.facts(new, planned.scaled))
        quiet = math.inf if new == old else self._memory.said(key, new, old, self._clock())
        if quiet > 0:
            self._memory.nothing_to_say(key)
            return None if quiet == math.inf else quiet
        wait = self._patience(key, old, new, trouble=bool(failures or planned.problem))
        if wait > 0:
            return wait
        uid = observed.resource["metadata"]["uid"]
        try:
            kept = await self._cluster.apply_status(key, uid, new)
        except Gone:
            self._store.remove(KIND, key.namespace, key.name, uid)
            return 0.0
        except Refused as error:
            self._metrics.failed("Refused")
            _log.error("the status was refused: %s", error, extra=logs.about(key))
            return self._memory.keep_quiet(key, new, old, self._clock())
        self._memory.say(key, new, kept)
        for fact in status.events(old, new):
            await self._recorder.tell(key, uid, fact)
        # The answer can hold what its user wrote in the same moment; the event that follows then brings no news, and no wake.
        overtaken = _asked(self._store.resource(key)) != _asked(observed.resource)
        return 0.0 if overtaken or status.calls_for_action(old, kept) else None

    def _patience(self, key: Key, old: Manifest, new: Manifest, *, trouble: bool) -> float:
        """Return how many seconds the new status may still wait to be merged with what comes next; 0 for none."""
        since = self._memory.unsaid_since(key, self._clock())
        if not old and not trouble:
            limit = 0.0 if new.get("pods") else FIRST_STATUS_SECONDS
        elif status.urgent(old, new):
            limit = 0.0
        else:
            limit = MERGE_SECONDS
        return max(0.0, since + limit - self._clock())

    async def _report_crash(self, key: Key, error: Exception) -> None:
        """Say in the status that the operator could not cope; a second failure here is only logged."""
        try:
            observed = self._store.snapshot(key)
            text = f"The operator met an unexpected error and keeps trying: {type(error).__name__}: {error}"[:1000]
            await self._say(key, observed, Plan(problem=Problem(Reason.APPLY_FAILED, text)), [])
        except Exception as second:  # noqa: BLE001 - see above
            _log.warning("nor could that be said in the status: %r", second, extra=logs.about(key))


def _asked(resource: Manifest | None) -> tuple[object, object]:
    """Return what of a ModelDeployment is not Slipway's own writing."""
    metadata = dict((resource or {}).get("metadata") or {})
    metadata.pop("resourceVersion", None)
    return metadata, (resource or {}).get("spec")


def _reason(action: Apply | Delete, error: ClusterError) -> Reason:
    if isinstance(error, Conflict) and isinstance(action, Apply) and action.create:
        return Reason.NAME_CONFLICT
    return Reason.QUOTA_EXCEEDED if "exceeded quota" in str(error) else Reason.APPLY_FAILED
