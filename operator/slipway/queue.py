"""Work queue: which key is next. Between the watches, which wake keys, and the workers, which take them.

The semantics are those of client-go's rate-limited work queue: a key waits at most once; a key that a worker holds is
never handed to a second one, and is handed out again afterwards if it was woken meanwhile; failures back off
exponentially, each key on its own.
"""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Hashable
from itertools import count
from typing import Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)
COALESCE = 0.02
"""Seconds that a woken key waits for more news of itself: one change arrives as several events."""
BASE_BACKOFF = 0.05
MAX_BACKOFF = 300.0


class Handle(Protocol):
    """A timer that can be called off."""

    def cancel(self) -> None:
        """Call it off."""


class Clock(Protocol):
    """Time as the queue needs it; an event loop is one."""

    def time(self) -> float:
        """Return monotonic seconds."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        """Call back at that time."""


class Hooks(Protocol):
    """Who counts."""

    def added(self) -> None:
        """Count a key that was put in and was not waiting yet."""

    def retried(self) -> None:
        """Count a key that was put back after a failure."""

    def waited(self, seconds: float) -> None:
        """Count the time between a key being due and a worker taking it."""


class WorkQueue(Generic[K]):
    """A queue of keys with one worker per key."""

    def __init__(
        self, clock: Clock, hooks: Hooks, *, coalesce: float = COALESCE, rng: random.Random | None = None
    ) -> None:
        """Make an empty queue; `rng` spreads retries."""
        self._clock = clock
        self._hooks = hooks
        self._coalesce = coalesce
        self._random = rng or random.Random()  # noqa: S311 - jitter needs no secrecy
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._sequence = count()
        self._held: dict[K, float] = {}
        self._parked: set[K] = set()
        self._failures: dict[K, int] = {}
        self._takers: deque[asyncio.Future[K]] = deque()
        self._timer: Handle | None = None
        self._timer_due = float("inf")

    def __len__(self) -> int:
        """Return how many keys are due and wait for a worker; those that sleep until later do not count."""
        now = self._clock.time()
        return sum(due <= now for due in self._due.values()) + len(self._parked)

    def wake(self, key: K) -> None:
        """Hand the key out soon."""
        self.wake_after(key, self._coalesce)

    def wake_after(self, key: K, seconds: float) -> None:
        """Hand the key out after so many seconds, or earlier if it is already due earlier."""
        due = self._clock.time() + max(0.0, seconds)
        known = self._due.get(key)
        if known is not None and known <= due:
            return
        if known is None and key not in self._parked:
            self._hooks.added()
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._sequence), key))
        self._dispatch()

    def retry(self, key: K, at_least: float = 0.0) -> float:
        """Hand the key out after its backoff, which doubles with each failure; return the seconds.

        `at_least` is what the API server asked for.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        backoff = min(MAX_BACKOFF, BASE_BACKOFF * 2.0 ** min(failures, 32))
        seconds = max(at_least, backoff * self._random.uniform(0.75, 1.0)) + at_least * self._random.uniform(0, 0.25)
        self._hooks.retried()
        self.wake_after(key, seconds)
        return seconds

    def failures(self, key: K) -> int:
        """Return how often the key has failed since it last succeeded."""
        return self._failures.get(key, 0)

    def succeeded(self, key: K) -> None:
        """Forget the failures of the key."""
        self._failures.pop(key, None)

    def take(self) -> K | None:
        """Return a key that is due and that nobody holds, now held by the caller; None where there is none."""
        now = self._clock.time()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) != due:
                continue  # an earlier entry has replaced this one
            del self._due[key]
            if key in self._held:
                self._parked.add(key)
                continue
            self._held[key] = now
            self._hooks.waited(now - due)
            return key
        return None

    def done(self, key: K) -> None:
        """Give the key back; if it was woken meanwhile, it is due at once."""
        self._held.pop(key, None)
        if key in self._parked:
            self._parked.discard(key)
            now = self._clock.time()
            self._due[key] = now
            heapq.heappush(self._heap, (now, next(self._sequence), key))
        self._dispatch()

    async def get(self) -> K:
        """Wait for a key that is due and take it."""
        if not self._takers and (key := self.take()) is not None:
            return key
        taker: asyncio.Future[K] = asyncio.get_running_loop().create_future()
        self._takers.append(taker)
        self._dispatch()
        try:
            key = await taker
        except asyncio.CancelledError:
            if taker.done() and not taker.cancelled():
                self.done(key := taker.result())  # it was handed over in the very moment of cancellation
                self.wake_after(key, 0)
            raise
        return key

    def held_since(self) -> float | None:
        """Return when the key that is held longest was taken; None where no key is held."""
        return min(self._held.values(), default=None)

    def overdue(self) -> float:
        """Return for how many seconds the key at the head has been due; 0 where none is."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return max(0.0, self._clock.time() - self._heap[0][0]) if self._heap else 0.0

    def _dispatch(self) -> None:
        while self._takers:
            if self._takers[0].done():  # its worker was cancelled
                self._takers.popleft()
                continue
            if (key := self.take()) is None:
                self._arm()
                return
            self._takers.popleft().set_result(key)

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
