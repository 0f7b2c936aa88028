"""Status writer: computes the status, writes it if it changed and may not wait, then records the Events of the change.

Changes of counts and pod states are merged for a few seconds, so a rollout does not cost one write for each pod; while many
rollouts start at once, so are their starts.
"""

import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import orjson

from slipway import logs
from slipway.api import KIND
from slipway.controller.metrics import Metrics
from slipway.decide import Plan, State
from slipway.domain.objects import Key, Manifest, Rejection
from slipway.kube import Cache, NotFoundError, RejectedError
from slipway.kube.recorder import EventRecorder
from slipway.status import report, transitions

MERGE_SECONDS = 9.0
"""Longest time that a change of counts and pod states waits for further changes; with its way, 10 s."""
PROMPT_STARTS, PROMPT_SECONDS = 5, 60.0
"""So many starts of rollouts within so many seconds are written at once; further ones wait like counts. When a hundred change
at once, their controllers take more than `MERGE_SECONDS` for each, and the start would be a write of its own."""
FIRST_STATUS_SECONDS = 3.0
"""Longest time that the first status of a new ModelDeployment waits for its first pod."""
_REJECTED_SECONDS = 300.0
"""A status that the API server rejected is written again after this time, although nothing has changed."""
_log = logging.getLogger("slipway.status")


class Writer(Protocol):
    """The API request that a status needs; see `kube.client.Client`."""

    async def apply_status(self, key: Key, uid: str, status: Manifest) -> Manifest:
        """Write the status; return it as the server keeps it."""


@dataclass(slots=True)
class _Write:
    """The last status that was sent, and the one that the server kept; a rejected one is sent again after `until`."""

    sent: int
    kept: int
    until: float = math.inf


class StatusWriter:
    """Writes statuses; calls for different keys may overlap."""

    def __init__(
        self,
        client: Writer,
        cache: Cache,
        recorder: EventRecorder,
        metrics: Metrics,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        """Connect; `clock` is monotonic seconds, `now` the wall clock in UTC."""
        self._client = client
        self._cache = cache
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock
        self._now = now
        self._writes: dict[Key, _Write] = {}
        self._pending_since: dict[Key, float] = {}
        self._prompt_starts: deque[float] = deque(maxlen=PROMPT_STARTS)
        self._merged_starts: set[Key] = set()
        """Those whose rollout's start is not written at once."""

    def forget(self, key: Key) -> None:
        """Forget a ModelDeployment."""
        self._writes.pop(key, None)
        self._written(key)
        self._metrics.forget(key)

    async def write(self, state: State, plan: Plan, rejections: tuple[Rejection, ...]) -> float | None:
        """Write the status if it changed and may not wait; return the seconds until it is due, None for never.

        Raises:
            RetryableError: the API server did not take it.
        """
        key, old = state.key, state.status
        new = report.compute(state, plan, rejections, self._now())
        self._metrics.show(key, new, plan.replicas)
        settled = math.inf if new == old else self._settled_for(key, new, old)
        if settled > 0:
            self._written(key)
            return None if settled == math.inf else settled
        wait = self._merge_wait(key, old, new, faulty=bool(rejections or plan.problem))
        return wait if wait > 0 else await self._write(state, new)

    async def _write(self, state: State, new: Manifest) -> float | None:
        key, old, uid = state.key, state.status, state.owner.uid
        self._written(key)
        try:
            kept = await self._client.apply_status(key, uid, new)
        except NotFoundError:
            self._cache.forget(KIND, key.namespace, key.name, uid)
            return 0.0
        except RejectedError as error:
            self._metrics.failed(type(error).__name__)
            _log.error("the status was rejected: %s", error, extra=logs.about(key))
            self._writes[key] = _Write(_hash(new), _hash(old), self._clock() + _REJECTED_SECONDS)
            return _REJECTED_SECONDS
        self._writes[key] = _Write(_hash(new), _hash(kept))
        self._cache.verification.mark_written(key)
        for event in transitions.events(old, new):
            await self._recorder.record(key, uid, event)
        # The response may contain what a user wrote in the same moment; the event that follows then changes nothing.
        changed = _desired(self._cache.resource(key)) != (_without_version(state.metadata), state.raw_spec)
        return 0.0 if changed or transitions.changes_decision(old, kept) else None

    def _settled_for(self, key: Key, new: Manifest, old: Manifest) -> float:
        """Return for how many seconds a status need not be sent: it was sent last, and the server keeps another spelling.

        Infinite for one that was accepted; 0 or less for one that is to be sent.
        """
        known = self._writes.get(key)
        if known is None or known.sent != _hash(new) or known.kept != _hash(old):
            return 0.0
        return known.until - self._clock()

    def _merge_wait(self, key: Key, old: Manifest, new: Manifest, *, faulty: bool) -> float:
        """Return for how many seconds the new status may still wait for further changes; 0 for none."""
        since = self._pending_since.setdefault(key, self._clock())
        if not old and not faulty:
            limit = 0.0 if new.get("pods") else FIRST_STATUS_SECONDS
        elif transitions.urgent(old, new):
            limit = MERGE_SECONDS if transitions.starts_rollout(old, new) and not self._is_prompt(key) else 0.0
        else:
            limit = MERGE_SECONDS
        return max(0.0, since + limit - self._clock())

    def _is_prompt(self, key: Key) -> bool:
        """Return whether the start of a rollout is written at once: few others have been lately."""
        if key in self._merged_starts:
            return False
        starts, now = self._prompt_starts, self._clock()
        if len(starts) == PROMPT_STARTS and now - starts[0] < PROMPT_SECONDS:
            self._merged_starts.add(key)
            return False
        starts.append(now)
        return True

    def _written(self, key: Key) -> None:
        """Note that no change of a status waits."""
        self._pending_since.pop(key, None)
        self._merged_starts.discard(key)


def _hash(value: Any) -> int:
    return hash(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


def _desired(resource: Manifest | None) -> tuple[object, object]:
    """Return what of a ModelDeployment Slipway does not write itself."""
    return _without_version((resource or {}).get("metadata") or {}), (resource or {}).get("spec")


def _without_version(metadata: Manifest) -> Manifest:
    return {field: value for field, value in metadata.items() if field != "resourceVersion"}
