"""Executor: carries out the actions of a plan, in order. It repeats neither an apply without effect nor a rejected action.

What it remembers only saves requests: losing it, as at a restart, changes no decision.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import orjson

from slipway import logs
from slipway.api import Reason
from slipway.controller.metrics import Metrics
from slipway.domain.objects import Action, Apply, Delete, Key, Manifest, Ref, Rejection
from slipway.kube import (
    ApiError,
    Cache,
    ConflictError,
    NamespaceEndsError,
    NotFoundError,
    RejectedError,
    RetryableError,
)

_MIN_BACKOFF = 1.0
_MAX_BACKOFF = 300.0
_ESSENTIAL = frozenset({"Deployment", "ControllerRevision"})
"""What comes after them builds on them; a foreign Deployment must not get our autoscaler."""
_log = logging.getLogger("slipway.executor")


class Writer(Protocol):
    """The API requests that actions need; see `kube.client.Client`."""

    async def apply(self, key: Key, action: Apply) -> None:
        """Server-side apply one child."""

    async def delete(self, key: Key, action: Delete) -> bool:
        """Delete one child; return whether it is gone."""


@dataclass(slots=True)
class Execution:
    """Result of carrying out a plan's actions.

    Attributes:
        written: number of successful writes.
        rejections: what the API server rejected, now or recently.
        requeue_after: seconds until the next attempt; None for never.
        retry: the error that ended the execution early and may pass, or None.
    """

    written: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    requeue_after: float | None = None
    retry: RetryableError | None = None

    def requeue(self, seconds: float) -> None:
        """Requeue after at most so many seconds."""
        self.requeue_after = seconds if self.requeue_after is None else min(seconds, self.requeue_after)


@dataclass(slots=True)
class _Backoff:
    """A rejected action: it is not sent again before `until`, unless it changes. Without a rejection, its namespace goes."""

    digest: int
    rejection: Rejection | None
    until: float
    pause: float


class Executor:
    """Carries out actions; calls for different keys may overlap."""

    def __init__(self, client: Writer, cache: Cache, metrics: Metrics, *, clock: Callable[[], float]) -> None:
        """Connect; `clock` is monotonic seconds."""
        self._client = client
        self._cache = cache
        self._metrics = metrics
        self._clock = clock
        self._applied: dict[Key, dict[Ref, tuple[int, int]]] = {}
        """Hash of the last apply of each child, and of the object that it led to."""
        self._backoffs: dict[Key, dict[Ref, _Backoff]] = {}

    def forget(self, key: Key) -> None:
        """Forget a ModelDeployment."""
        self._applied.pop(key, None)
        self._backoffs.pop(key, None)

    async def execute(self, key: Key, actions: Iterable[Action]) -> Execution:
        """Carry out actions in order; stop where going on would do harm."""
        done = Execution()
        for action in actions:
            backoff = self._backoff(key, action)
            if backoff is None and self._is_settled(key, action):
                continue
            if backoff is None:
                try:
                    await self._carry_out(key, action)
                    done.written += 1
                    if action.ref.kind == "ConfigMap":
                        done.requeue(0.0)  # what waited for the pin can go on; the pin's event changes nothing
                except RetryableError as error:
                    done.retry = error
                    break
                except (ConflictError, RejectedError, NotFoundError) as error:
                    backoff = self._reject(key, action, error)
            if backoff is not None:
                done.requeue(backoff.until - self._clock())
                if backoff.rejection is None:
                    break  # nothing can be created in the namespace any more
                done.rejections.append(backoff.rejection)
                if action.ref.kind in _ESSENTIAL:
                    break
        return done

    async def _carry_out(self, key: Key, action: Action) -> None:
        if isinstance(action, Apply):
            await self._client.apply(key, action)
            self._backoffs.get(key, {}).pop(action.ref, None)
            self._applied.setdefault(key, {})[action.ref] = (_digest(action), self._object_digest(key, action.ref))
        else:
            try:
                gone = await self._client.delete(key, action)
            except (NotFoundError, ConflictError):
                gone = True  # another object may have the name by now: the one that was meant is gone
            if gone:
                self._cache.forget(action.ref.kind, key.namespace, action.ref.name, action.uid)
        verb = "applied" if isinstance(action, Apply) else "deleted"
        _log.debug("%s %s", verb, action.ref, extra=logs.about(key))

    def _is_settled(self, key: Key, action: Action) -> bool:
        """Return whether the same apply already led to the present object: the server keeps another spelling of it."""
        known = self._applied.get(key, {}).get(action.ref)
        if known is None or not isinstance(action, Apply):
            return False
        return known == (_digest(action), self._object_digest(key, action.ref))

    def _backoff(self, key: Key, action: Action) -> _Backoff | None:
        """Return the backoff of a rejected action; None if it may be sent."""
        known = self._backoffs.get(key, {}).get(action.ref)
        if known is None or known.until <= self._clock() or known.digest != _digest(action):
            return None
        return known

    def _reject(self, key: Key, action: Action, error: ApiError) -> _Backoff:
        rejection = Rejection(action.ref, _reason(action, error), str(error))
        ends = isinstance(error, NamespaceEndsError)  # no fault of the ModelDeployment, which goes with it
        backoffs = self._backoffs.setdefault(key, {})
        known, digest = backoffs.get(action.ref), _digest(action)
        repeated = known is not None and known.digest == digest
        pause = min(_MAX_BACKOFF, known.pause * 2) if known is not None and repeated else _MIN_BACKOFF
        backoff = _Backoff(digest, None if ends else rejection, self._clock() + pause, pause)
        backoffs[action.ref] = backoff
        self._metrics.failed(type(error).__name__)
        _log.log(
            logging.INFO if ends else logging.WARNING,
            "%s was rejected: %s",
            rejection.ref,
            error,
            extra=logs.about(key),
        )
        return backoff

    def _object_digest(self, key: Key, ref: Ref) -> int:
        """Return a hash of an object without what changes by itself; 0 if it is not known."""
        if ref.kind != "Deployment":
            return self._cache.digest(key, ref)  # these are kept without their status
        body = self._cache.child(key, ref)
        if body is None:
            return 0
        changing = {"resourceVersion", "generation"}
        metadata = {name: value for name, value in body["metadata"].items() if name not in changing}
        return hash(repr((metadata, body.get("spec"))))


def _digest(action: Action) -> int:
    if isinstance(action, Delete):
        return hash(action.uid)
    return hash((action.manager, action.create, _hash_rendered(action.manifest)))


def _hash_rendered(manifest: Manifest) -> int:
    """Return a hash of a rendered manifest; renderers always use the same order of keys, so it needs no sorting."""
    return hash(orjson.dumps(manifest))


def _reason(action: Action, error: ApiError) -> Reason:
    if isinstance(error, ConflictError) and isinstance(action, Apply) and action.create:
        return Reason.NAME_CONFLICT
    return Reason.QUOTA_EXCEEDED if "exceeded quota" in str(error) else Reason.APPLY_FAILED
