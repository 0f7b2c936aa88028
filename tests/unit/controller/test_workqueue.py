"""The queue keeps client-go's promises, whatever the order of what happens to it."""

import asyncio
import heapq
import random
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from slipway.controller.workqueue import BASE_BACKOFF, COALESCE, MAX_BACKOFF, WorkQueue


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

    def waited(self, seconds: float) -> None:
        self.waits.append(seconds)


def make() -> tuple[WorkQueue[str], FakeClock, Counts]:
    clock, counts = FakeClock(), Counts()
    return WorkQueue(clock, counts, rng=random.Random(1)), clock, counts


def test_a_key_woken_many_times_is_handed_out_once() -> None:
    queue, clock, counts = make()
    for _ in range(5):
        queue.wake("a")
    assert queue.take() is None, "news of one change is still coming in"
    clock.advance(COALESCE)
    assert queue.take() == "a"
    assert queue.take() is None
    assert counts.adds == 1


def test_a_held_key_is_not_handed_to_a_second_worker_but_again_afterwards() -> None:
    queue, clock, _ = make()
    queue.wake("a")
    clock.advance(1)
    assert queue.take() == "a"
    queue.wake("a")
    clock.advance(1)
    assert queue.take() is None
    queue.done("a")
    assert queue.take() == "a"
    queue.done("a")
    clock.advance(1)
    assert queue.take() is None


def test_an_earlier_time_wins_over_a_later_one() -> None:
    queue, clock, _ = make()
    queue.requeue_after("a", 60)
    queue.requeue_after("a", 5)
    queue.requeue_after("a", 30)
    clock.advance(4.9)
    assert queue.take() is None
    clock.advance(0.2)
    assert queue.take() == "a"
    queue.done("a")
    clock.advance(100)
    assert queue.take() is None, "the later times were replaced"


def test_failures_back_off_exponentially_up_to_the_bound_and_success_forgets_them() -> None:
    queue, _, counts = make()
    pauses = [queue.retry("a") for _ in range(20)]
    for number, pause in enumerate(pauses):
        expected = min(MAX_BACKOFF, BASE_BACKOFF * 2**number)
        assert 0.75 * expected <= pause <= expected
    assert counts.retries == 20
    queue.succeeded("a")
    assert queue.retry("a") <= BASE_BACKOFF


def test_the_servers_wish_is_kept_and_spread() -> None:
    queue, _, _ = make()
    pauses = {queue.retry(f"k{number}", at_least=10) for number in range(50)}
    assert all(10 <= pause <= 12.5 for pause in pauses)
    assert len(pauses) > 40, "not all come back in the same moment"


def test_depth_counts_what_is_due_and_nothing_else() -> None:
    queue, clock, _ = make()
    queue.requeue_after("later", 100)
    queue.wake("now")
    clock.advance(1)
    assert len(queue) == 1
    assert queue.overdue() == pytest.approx(1 - COALESCE)
    assert queue.take() == "now"
    assert (len(queue), queue.overdue(), queue.held_since()) == (0, 0.0, clock.now)


async def test_waiting_workers_get_keys_in_order_of_arrival() -> None:
    queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop(), Counts(), coalesce=0)
    takers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    for key in "abc":
        queue.wake(key)
    assert await asyncio.gather(*takers) == ["a", "b", "c"]


async def test_a_cancelled_worker_loses_no_key() -> None:
    queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop(), Counts(), coalesce=0)
    first = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.wake("a")  # handed over …
    first.cancel()  # … in the moment of cancellation
    with pytest.raises(asyncio.CancelledError):
        await first
    async with asyncio.timeout(5):
        assert await queue.get() == "a"


async def test_a_worker_cancelled_while_waiting_is_passed_over() -> None:
    queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop(), Counts(), coalesce=0)
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    queue.wake("a")
    async with asyncio.timeout(5):
        assert await second == "a"


class QueueMachine(RuleBasedStateMachine):
    """Random wakes, takes and givings back against a model: which keys have news that no worker has looked at."""

    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.queue, self.clock, self.counts = make()
        self.news: set[str] = set()
        self.held: set[str] = set()

    @rule(target=keys, name=st.sampled_from("abcde"))
    def name(self, name: str) -> str:
        return name

    @rule(key=keys)
    def wake(self, key: str) -> None:
        self.queue.wake(key)
        self.news.add(key)

    @rule(key=keys, seconds=st.floats(0, 20))
    def requeue_after(self, key: str, seconds: float) -> None:
        self.queue.requeue_after(key, seconds)
        self.news.add(key)

    @rule(key=keys)
    def retry(self, key: str) -> None:
        self.queue.retry(key)
        self.news.add(key)

    @rule()
    def take(self) -> None:
        key = self.queue.take()
        if key is not None:
            assert key not in self.held, "two workers on one key"
            assert key in self.news, "a key without news"
            self.held.add(key)
            self.news.discard(key)

    @rule(key=keys)
    def done(self, key: str) -> None:
        if key in self.held:
            self.held.discard(key)
            self.queue.done(key)

    @rule(seconds=st.floats(0, 30))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def waits_are_not_negative(self) -> None:
        assert all(wait >= 0 for wait in self.counts.waits)

    def teardown(self) -> None:
        """However it went, in the end every key with news is handed out exactly once."""
        for key in sorted(self.held):
            self.queue.done(key)
        self.clock.advance(10 * MAX_BACKOFF)
        handed = []
        while (taken := self.queue.take()) is not None:
            handed.append(taken)
            self.queue.done(taken)
        assert sorted(handed) == sorted(self.news)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
