"""Events: tells people what happened to a ModelDeployment, sparingly.

The same news again raises the count of the Event that is there (`series`), and one ModelDeployment has a budget, so
that trouble in a circle does not fill the API server. Losing an Event is no failure: the status holds the truth.
"""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from slipway import logs
from slipway.api import KIND, ModelDeployment
from slipway.cluster import ClusterError, Conflict, Gone
from slipway.observed import Key, Manifest

_BURST = 10
_REFILL_SECONDS = 120.0
_REMEMBERED = 2048
_NOTE_LENGTH = 1024
_log = logging.getLogger("slipway.events")


class Fact(Protocol):
    """Something worth telling."""

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
    """The API requests that telling needs."""

    async def create(self, kind: str, namespace: str, body: Manifest) -> Manifest:
        """Create an Event."""

    async def merge(self, kind: str, namespace: str, name: str, patch: Manifest) -> Manifest:
        """Patch an Event."""


class Recorder:
    """Writes Events."""

    def __init__(
        self,
        writer: Writer,
        instance: str,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        count: Callable[[str], None],
    ) -> None:
        """Connect; `instance` is what this process is called, `count` counts what became of each Event."""
        self._writer = writer
        self._instance = instance
        self._clock = clock
        self._now = now
        self._count = count
        self._seen: OrderedDict[str, int] = OrderedDict()
        self._budget: OrderedDict[Key, tuple[float, float]] = OrderedDict()

    async def tell(self, key: Key, uid: str, fact: Fact) -> None:
        """Write one Event, or raise the count of the same one; never raises a ClusterError."""
        if not self._affordable(key):
            self._count("dropped")
            return
        digest = hashlib.sha256(f"{uid}|{fact.type}|{fact.reason}|{fact.message}".encode()).hexdigest()[:16]
        name = f"{key.name}.{digest}"
        times = self._seen.pop(name, 0) + 1
        try:
            if times > 1:
                await self._again(key.namespace, name, times)
            else:
                await self._first(key, uid, fact, name)
        except Gone:  # it has expired, or its namespace is going
            times = 0
        except ClusterError as error:
            times -= 1
            self._count("failed")
            _log.warning("event %s was not written: %s", fact.reason, error, extra=logs.about(key))
        else:
            self._count("sent")
        if times > 0:
            self._seen[name] = times
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)

    async def _first(self, key: Key, uid: str, fact: Fact, name: str) -> None:
        body: dict[str, Any] = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": key.namespace},
            "eventTime": self._stamp(),
            "type": fact.type,
            "reason": fact.reason,
            "note": fact.message[:_NOTE_LENGTH],
            "action": "Reconcile",
            "reportingController": "slipway.dev/operator",
            "reportingInstance": self._instance[:128],
            "regarding": {
                "apiVersion": ModelDeployment.api_version,
                "kind": KIND,
                "namespace": key.namespace,
                "name": key.name,
                "uid": uid,
            },
        }
        try:
            await self._writer.create("Event", key.namespace, body)
        except Conflict:  # told by the process before this one
            await self._again(key.namespace, name, 2)

    async def _again(self, namespace: str, name: str, times: int) -> None:
        series = {"series": {"count": times, "lastObservedTime": self._stamp()}}
        await self._writer.merge("Event", namespace, name, series)

    def _affordable(self, key: Key) -> bool:
        now = self._clock()
        tokens, since = self._budget.pop(key, (float(_BURST), now))
        tokens = min(float(_BURST), tokens + (now - since) / _REFILL_SECONDS)
        affordable = tokens >= 1
        self._budget[key] = (tokens - affordable, now)
        if len(self._budget) > _REMEMBERED:
            self._budget.popitem(last=False)
        return affordable

    def _stamp(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
