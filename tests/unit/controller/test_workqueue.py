"""The queue has the semantics of client-go's, whatever the order of the calls."""

import asyncio
import heapq
import random
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from slipway.controller.workqueue import BASE_BACKOFF, COALESCE_SECONDS, MAX_BACKOFF, WorkQueue


class Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, int, Timer]] = []
        self._number = count()

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(callback)
        heapq.heappush(self._timers, (when, next(self._number), timer))
        return timer

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            self.now, _, timer = heapq.heappop(self._timers)
            if timer.callback:
                timer.callback()
        self.now = until


class Counts:
    def __init__(self) -> None:
        self.adds = self.retries = 0
        self.waits: list[float] = []

    def added(self) -> None:
        self.adds += 1

    def retried(self) -> None:
        self.retries += 1

    def queued(self, seconds: float) -> None:
        self.waits.append(seconds)


def make() -> tuple[WorkQueue[str], FakeClock, Counts]:
    clock, counts = FakeClock(), Counts()
    return WorkQueue(clock, counts, rng=random.Random(1)), clock, counts


def test_a_key_that_is_added_many_times_is_returned_once() -> None:
    queue, clock, counts = make()
    for _ in range(5):
        queue.add("a")
    assert queue.get_nowait() is None, "further events of one change may follow"
    clock.advance(COALESCE_SECONDS)
    assert queue.get_nowait() == "a"
    assert queue.get_nowait() is None
    assert counts.adds == 1


def test_a_key_that_is_processed_is_returned_to_no_second_worker_but_again_afterwards() -> None:
    queue, clock, _ = make()
    queue.add("a")
    clock.advance(1)
    assert queue.get_nowait() == "a"
    queue.add("a")
    clock.advance(1)
    assert queue.get_nowait() is None
    queue.done("a")
    assert queue.get_nowait() == "a"
    queue.done("a")
    clock.advance(1)
    assert queue.get_nowait() is None


def test_an_earlier_time_wins_over_a_later_one() -> None:
    queue, clock, _ = make()
    queue.add_after("a", 60)
    queue.add_after("a", 5)
    queue.add_after("a", 30)
    clock.advance(4.9)
    assert queue.get_nowait() is None
    clock.advance(0.2)
    assert queue.get_nowait() == "a"
    queue.done("a")
    clock.advance(100)
    assert queue.get_nowait() is None, "the later times were replaced"


def test_failures_back_off_exponentially_up_to_the_maximum_and_forget_resets_them() -> None:
    queue, _, counts = make()
    pauses = [queue.add_rate_limited("a") for _ in range(20)]
    for number, pause in enumerate(pauses):
        expected = min(MAX_BACKOFF, BASE_BACKOFF * 2**number)
        assert 0.75 * expected <= pause <= expected
    assert counts.retries == 20
    queue.forget("a")
    assert queue.add_rate_limited("a") <= BASE_BACKOFF


def test_retry_after_is_respected_and_spread() -> None:
    queue, _, _ = make()
    pauses = {queue.add_rate_limited(f"k{number}", at_least=10) for number in range(50)}
    assert all(10 <= pause <= 12.5 for pause in pauses)
    assert len(pauses) > 40, "not all are retried in the same moment"


def test_depth_counts_due_keys_and_no_others() -> None:
    queue, clock, _ = make()
    queue.add_after("later", 100)
    queue.add("now")
    clock.advance(1)
    assert len(queue) == 1
    assert queue.overdue() == pytest.approx(1 - COALESCE_SECONDS)
    assert queue.get_nowait() == "now"
    assert (len(queue), queue.overdue(), queue.processing_since()) == (0, 0.0, clock.now)


async def test_waiting_workers_get_keys_in_order_of_arrival() -> None:
    queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop(), Counts(), coalesce=0)
    getters = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    for key in "abc":
        queue.add(key)
    assert await asyncio.gather(*getters) == ["a", "b", "c"]


async def test_a_cancelled_worker_loses_no_key() -> None:
    queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop(), Counts(), coalesce=0)
    first = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")  # assigned …
    first.cancel()  # … in the moment of cancellation
    with pytest.raises(asyncio.CancelledError):
        await first
    async with asyncio.timeout(5):
        assert await queue.get() == "a"


async def test_a_worker_cancelled_while_it_waits_is_skipped() -> None:
    queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop(), Counts(), coalesce=0)
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    queue.add("a")
    async with asyncio.timeout(5):
        assert await second == "a"


class QueueMachine(RuleBasedStateMachine):
    """Random calls against a model: which keys were added and not returned to a worker since."""

    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.queue, self.clock, self.counts = make()
        self.added: set[str] = set()
        self.processing: set[str] = set()

    @rule(target=keys, name=st.sampled_from("abcde"))
    def name(self, name: str) -> str:
        return name

    @rule(key=keys)
    def add(self, key: str) -> None:
        self.queue.add(key)
        self.added.add(key)

    @rule(key=keys, seconds=st.floats(0, 20))
    def add_after(self, key: str, seconds: float) -> None:
        self.queue.add_after(key, seconds)
        self.added.add(key)

    @rule(key=keys)
    def add_rate_limited(self, key: str) -> None:
        self.queue.add_rate_limited(key)
        self.added.add(key)

    @rule()
    def get(self) -> None:
        key = self.queue.get_nowait()
        if key is not None:
            assert key not in self.processing, "two workers on one key"
            assert key in self.added, "a key that was not added"
            self.processing.add(key)
            self.added.discard(key)

    @rule(key=keys)
    def done(self, key: str) -> None:
        if key in self.processing:
            self.processing.discard(key)
            self.queue.done(key)

    @rule(seconds=st.floats(0, 30))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def waits_are_not_negative(self) -> None:
        assert all(wait >= 0 for wait in self.counts.waits)

    def teardown(self) -> None:
        """Whatever happened, in the end every added key is returned exactly once."""
        for key in sorted(self.processing):
            self.queue.done(key)
        self.clock.advance(10 * MAX_BACKOFF)
        returned = []
        while (due := self.queue.get_nowait()) is not None:
            returned.append(due)
            self.queue.done(due)
        assert sorted(returned) == sorted(self.added)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
