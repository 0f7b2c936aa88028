"""Work queue: between the informers, which add keys, and the workers, which get them.

The semantics are those of client-go's rate-limited work queue: a key is in it at most once; a key that a worker processes is
never returned to a second one, and is returned again afterwards if it was added meanwhile; failures back off exponentially,
each key on its own.
"""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Hashable
from itertools import count
from typing import Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)
COALESCE_SECONDS = 0.02
"""Delay of a key that is added: one change arrives as several events."""
BASE_BACKOFF = 0.05
MAX_BACKOFF = 300.0


class Handle(Protocol):
    """A timer that can be cancelled."""

    def cancel(self) -> None:
        """Cancel it."""


class Clock(Protocol):
    """Time for the queue; an event loop provides it."""

    def time(self) -> float:
        """Return monotonic seconds."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        """Call `callback` at that time."""


class QueueMetrics(Protocol):
    """Counts what happens in the queue."""

    def added(self) -> None:
        """Count a key that was added and was not in the queue."""

    def retried(self) -> None:
        """Count a key that was added again after a failure."""

    def queued(self, seconds: float) -> None:
        """Count the time between a key being due and a worker getting it."""


class WorkQueue(Generic[K]):
    """A queue of keys with at most one worker per key."""

    def __init__(
        self,
        clock: Clock,
        metrics: QueueMetrics,
        *,
        coalesce: float = COALESCE_SECONDS,
        rng: random.Random | None = None,
    ) -> None:
        """Make an empty queue; `rng` adds jitter to retries."""
        self._clock = clock
        self._metrics = metrics
        self._coalesce = coalesce
        self._random = rng or random.Random()  # noqa: S311 - jitter needs no secrecy
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._sequence = count()
        self._processing: dict[K, float] = {}
        self._dirty: set[K] = set()
        self._failures: dict[K, int] = {}
        self._waiters: deque[asyncio.Future[K]] = deque()
        self._timer: Handle | None = None
        self._timer_due = float("inf")

    def __len__(self) -> int:
        """Return how many keys are due and wait for a worker; delayed ones do not count."""
        now = self._clock.time()
        return sum(due <= now for due in self._due.values()) + len(self._dirty)

    def add(self, key: K) -> None:
        """Add a key."""
        self.add_after(key, self._coalesce)

    def add_after(self, key: K, seconds: float) -> None:
        """Add a key after a delay; if it is already in the queue, the earlier time counts."""
        due = self._clock.time() + max(0.0, seconds)
        known = self._due.get(key)
        if known is not None and known <= due:
            return
        if known is None and key not in self._dirty:
            self._metrics.added()
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._sequence), key))
        self._dispatch()

    def add_rate_limited(self, key: K, at_least: float = 0.0) -> float:
        """Add a key after its backoff, which doubles with each failure; return the delay in seconds.

        `at_least` is the delay of the API server's Retry-After.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        backoff = min(MAX_BACKOFF, BASE_BACKOFF * 2.0 ** min(failures, 32))
        seconds = max(at_least, backoff * self._random.uniform(0.75, 1.0)) + at_least * self._random.uniform(0, 0.25)
        self._metrics.retried()
        self.add_after(key, seconds)
        return seconds

    def forget(self, key: K) -> None:
        """Reset the backoff of a key."""
        self._failures.pop(key, None)

    def get_nowait(self) -> K | None:
        """Return a key that is due and not being processed, for the caller to process; None if there is none."""
        now = self._clock.time()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) != due:
                continue  # an earlier entry has replaced it
            del self._due[key]
            if key in self._processing:
                self._dirty.add(key)
                continue
            self._processing[key] = now
            self._metrics.queued(now - due)
            return key
        return None

    def done(self, key: K) -> None:
        """Mark a key as processed; if it was added meanwhile, it is due at once."""
        self._processing.pop(key, None)
        if key in self._dirty:
            self._dirty.discard(key)
            now = self._clock.time()
            self._due[key] = now
            heapq.heappush(self._heap, (now, next(self._sequence), key))
        self._dispatch()

    async def get(self) -> K:
        """Wait for a key that is due; the caller processes it and calls `done`."""
        if not self._waiters and (key := self.get_nowait()) is not None:
            return key
        waiter: asyncio.Future[K] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._dispatch()
        try:
            key = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.done(key := waiter.result())  # it was assigned in the moment of cancellation
                self.add_after(key, 0)
            raise
        return key

    def processing_since(self) -> float | None:
        """Return since when the key that is processed longest has been; None if none is."""
        return min(self._processing.values(), default=None)

    def overdue(self) -> float:
        """Return for how many seconds the first key has been due; 0 if none is."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return max(0.0, self._clock.time() - self._heap[0][0]) if self._heap else 0.0

    def _dispatch(self) -> None:
        while self._waiters:
            if self._waiters[0].done():  # its worker was cancelled
                self._waiters.popleft()
                continue
            if (key := self.get_nowait()) is None:
                self._arm()
                return
            self._waiters.popleft().set_result(key)

    def _arm(self) -> None:
        if not self._heap:
            return
        due = self._heap[0][0]
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._clock.call_at(due, self._fire)

    def _fire(self) -> None:
        self._timer, self._timer_due = None, float("inf")
        self._dispatch()
