"""Event recorder: publishes what happened to a ModelDeployment as Kubernetes Events, sparingly.

A repeated Event raises the count of the existing one (`series`), and each ModelDeployment has a budget, so that a fault that
repeats does not fill the API server. Losing an Event is no failure: the status is complete.
"""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from slipway import logs
from slipway.api import API_VERSION, KIND
from slipway.domain.objects import Key, Manifest
from slipway.kube.errors import ApiError, ConflictError, NamespaceEndsError, NotFoundError

_BURST = 10
_REFILL_SECONDS = 120.0
_MAX_KNOWN = 2048
_NOTE_LENGTH = 1024
_log = logging.getLogger("slipway.recorder")


class Event(Protocol):
    """What to record; see `status.transitions.Event`."""

    @property
    def type(self) -> str:
        """Normal or Warning."""

    @property
    def reason(self) -> str:
        """One word."""

    @property
    def message(self) -> str:
        """The same in words."""


class Writer(Protocol):
    """The API requests that recording needs."""

    async def create(self, kind: str, namespace: str, body: Manifest) -> Manifest:
        """Create an Event."""

    async def merge_patch(self, kind: str, namespace: str, name: str, patch: Manifest) -> Manifest:
        """Patch an Event."""


class EventRecorder:
    """Records Events."""

    def __init__(
        self,
        writer: Writer,
        instance: str,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        count: Callable[[str], None],
    ) -> None:
        """Connect; `instance` identifies this process, `count` counts the Events by result."""
        self._writer = writer
        self._instance = instance
        self._clock = clock
        self._now = now
        self._count = count
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._budget: OrderedDict[Key, tuple[float, float]] = OrderedDict()

    async def record(self, key: Key, uid: str, event: Event) -> None:
        """Create an Event, or raise the count of the same one; never raises an ApiError."""
        if not self._within_budget(key):
            self._count("dropped")
            return
        digest = hashlib.sha256(f"{uid}|{event.type}|{event.reason}|{event.message}".encode()).hexdigest()[:16]
        name = f"{key.name}.{digest}"
        times = self._counts.pop(name, 0) + 1
        try:
            if times > 1:
                await self._repeat(key.namespace, name, times)
            else:
                await self._create(key, uid, event, name)
        except NamespaceEndsError:
            times = 0
            self._count("dropped")
        except NotFoundError:  # it has expired
            times = 0
        except ApiError as error:
            times -= 1
            self._count("failed")
            _log.warning("event %s was not written: %s", event.reason, error, extra=logs.about(key))
        else:
            self._count("sent")
        if times > 0:
            self._counts[name] = times
            if len(self._counts) > _MAX_KNOWN:
                self._counts.popitem(last=False)

    async def _create(self, key: Key, uid: str, event: Event, name: str) -> None:
        body: dict[str, Any] = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": key.namespace},
            "eventTime": self._stamp(),
            "type": event.type,
            "reason": event.reason,
            "note": event.message[:_NOTE_LENGTH],
            "action": "Reconcile",
            "reportingController": "slipway.dev/operator",
            "reportingInstance": self._instance[:128],
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "namespace": key.namespace,
                "name": key.name,
                "uid": uid,
            },
        }
        try:
            await self._writer.create("Event", key.namespace, body)
        except ConflictError:  # created by the process before this one
            await self._repeat(key.namespace, name, 2)

    async def _repeat(self, namespace: str, name: str, times: int) -> None:
        series = {"series": {"count": times, "lastObservedTime": self._stamp()}}
        await self._writer.merge_patch("Event", namespace, name, series)

    def _within_budget(self, key: Key) -> bool:
        now = self._clock()
        tokens, since = self._budget.pop(key, (float(_BURST), now))
        tokens = min(float(_BURST), tokens + (now - since) / _REFILL_SECONDS)
        affordable = tokens >= 1
        self._budget[key] = (tokens - affordable, now)
        if len(self._budget) > _MAX_KNOWN:
            self._budget.popitem(last=False)
        return affordable

    def _stamp(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
