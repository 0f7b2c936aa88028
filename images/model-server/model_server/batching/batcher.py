"""Server-side batching: requests of one signature that wait at the same time run as one.

A `Batcher` stands in front of one session. Each combination of inputs and outputs has its own `BatchQueue`; the queues of all
models share the threads of one `BatchScheduler`, which takes a batch when it is full or its first request has waited
`batch_timeout_micros`. Errors are those of the C++ server's BatchingSession.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

from model_server.batching.tensors import Feeds, Results, batch_size, concatenated, merge, round_up, split
from model_server.config.settings import BatchingConfig
from model_server.errors import Code, ServingError, invalid_argument
from model_server.metrics import Metrics
from model_server.runtime.servable import Done, Runner
from model_server.tensors.host_tensor import HostTensor


@dataclass(slots=True)
class _Task:
    feeds: Feeds
    size: int
    timeout_ms: int
    enqueued: float
    settle: "Callable[[Results | Exception], None]"

    @property
    def deadline(self) -> float:
        return self.enqueued + self.timeout_ms / 1000 if self.timeout_ms > 0 else float("inf")


@dataclass(slots=True)
class _Batch:
    tasks: list[_Task] = field(default_factory=list)
    size: int = 0
    closed: bool = False


_NONE = -1


def _room(batches: Sequence[_Batch], limit: int) -> int:
    """Examples that the last batch can still take; less than 0 if it takes nothing, not even an empty task."""
    return _NONE if not batches or batches[-1].closed else limit - batches[-1].size


class BatchQueue:
    """Batches of one signature. Its state belongs to the scheduler's lock."""

    def __init__(self, fetches: tuple[str, ...], config: BatchingConfig, session: Runner, metrics: Metrics) -> None:
        self._fetches, self._config, self._session, self._metrics = fetches, config, session, metrics
        self._batches: deque[_Batch] = deque()

    def add(self, tasks: Sequence[_Task]) -> None:
        """Put the tasks of one request into the open batch and new ones; UNAVAILABLE, and none is put, without room for all."""
        limit = execution_limit(self._config)
        if len(self._batches) + self._missing(tasks, limit) > self._config.max_enqueued_batches:
            raise ServingError(
                Code.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full; currently "
                f"{len(self._batches)} batches enqueued and max_enqueued_batches is "
                f"{self._config.max_enqueued_batches}",
            )
        for task in tasks:
            if _room(self._batches, limit) < task.size:
                if self._batches:
                    self._batches[-1].closed = True
                self._batches.append(_Batch())
            batch = self._batches[-1]
            batch.tasks.append(task)
            batch.size += task.size
            batch.closed = batch.size >= limit

    def _missing(self, tasks: Sequence[_Task], limit: int) -> int:
        """How many batches the tasks need beyond those that are there."""
        missing, room = 0, _room(self._batches, limit)
        for task in tasks:
            if room < task.size:
                missing, room = missing + 1, limit
            room = room - task.size or _NONE
        return missing

    def due(self) -> float | None:
        """When the first batch may run (monotonic seconds), or None if there is none."""
        if not self._batches:
            return None
        first = self._batches[0]
        return 0.0 if first.closed else first.tasks[0].enqueued + self._config.batch_timeout_micros / 1e6

    def take(self) -> _Batch:
        """Remove the first batch."""
        return self._batches.popleft()

    def process(self, batch: _Batch) -> None:
        """Run a batch and settle its tasks. Never raises."""
        results: Sequence[Results | Exception]
        try:
            results = self._run(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, the waiting requests must be told
            results = [error] * len(batch.tasks)
        for task, result in zip(batch.tasks, results, strict=True):
            task.settle(result)

    def _run(self, batch: _Batch) -> list[Results]:
        now = time.monotonic()
        for task in batch.tasks:
            self._metrics.queuing_latency.observe((now - task.enqueued) * 1e6, self._config.thread_pool_name)
        latest = max(task.deadline for task in batch.tasks)
        if latest <= now:
            raise ServingError(Code.RESOURCE_EXHAUSTED, "Run() timeout exceeded while waiting in batching queue")
        timeout_ms = 0 if latest == float("inf") else max(int((latest - now) * 1000), 1)
        target = round_up(batch.size, self._config.allowed_batch_sizes)
        self._metrics.padding_size.observe(target - batch.size, str(target))
        self._metrics.processed_batch_size.observe(target)
        feeds = merge(
            [task.feeds for task in batch.tasks],
            target - batch.size,
            pad_variable=self._config.pad_variable_length_inputs,
        )
        self._metrics.wrapped_run_count.add()
        outputs = self._session.run(feeds, self._fetches, timeout_ms)
        return split(dict(zip(self._fetches, outputs, strict=True)), [task.size for task in batch.tasks], target)


class BatchScheduler:
    """Threads that run the batches of all queues, the longest due first."""

    def __init__(self, threads: int) -> None:
        self._wake = threading.Condition()
        self._queues: list[BatchQueue] = []
        for number in range(threads):
            threading.Thread(target=self._work, name=f"batch-{number}", daemon=True).start()

    def attach(self, queue: BatchQueue) -> None:
        """Take care of a queue from now on."""
        with self._wake:
            self._queues.append(queue)

    def detach(self, queue: BatchQueue) -> None:
        """Forget a queue, which must be empty."""
        with self._wake:
            self._queues.remove(queue)

    def submit(self, queue: BatchQueue, tasks: Sequence[_Task]) -> None:
        """Enqueue tasks that belong together; UNAVAILABLE if there is no room for one of them."""
        with self._wake:
            queue.add(tasks)
            self._wake.notify()

    def _work(self) -> None:
        while True:
            with self._wake:
                queue, batch = self._next()
            queue.process(batch)

    def _next(self) -> tuple[BatchQueue, _Batch]:
        while True:
            due = [(when, queue) for queue in self._queues if (when := queue.due()) is not None]
            if not due:
                self._wake.wait()
                continue
            when, queue = min(due, key=lambda item: item[0])
            delay = when - time.monotonic()
            if delay <= 0:
                batch = queue.take()
                if len(due) > 1 or queue.due() is not None:
                    self._wake.notify()
                return queue, batch
            self._wake.wait(delay)


class _Collected:
    """The outcomes of a request's tasks, of which there are several where it was split."""

    def __init__(self, tasks: int, fetches: Sequence[str], done: Done) -> None:
        self._results: list[Results | Exception | None] = [None] * tasks
        self._missing, self._fetches, self._done = tasks, fetches, done
        self._lock = threading.Lock()

    def settle(self, position: int, result: Results | Exception) -> None:
        """Note the outcome of one task; the last one ends the request."""
        with self._lock:
            self._results[position] = result
            self._missing -= 1
            if self._missing:
                return
        try:
            outcome: list[HostTensor] | Exception = self._joined()
        except Exception as error:  # noqa: BLE001 - whatever it is, the request must be told, and the thread goes on
            outcome = error
        self._done(outcome)

    def _joined(self) -> list[HostTensor]:
        results: list[Results] = []
        for item in self._results:
            if isinstance(item, Exception):
                raise item
            if item is not None:
                results.append(item)
        if len(results) == 1:
            return [results[0][name] for name in self._fetches]
        return [concatenated([result[name] for result in results]) for name in self._fetches]


class Batcher:
    """Runs requests of one session in batches; a `Runner` like the session itself."""

    def __init__(self, session: Runner, config: BatchingConfig, scheduler: BatchScheduler, metrics: Metrics) -> None:
        self._session, self._config, self._scheduler, self._metrics = session, config, scheduler, metrics
        self._queues: dict[tuple[tuple[str, ...], tuple[str, ...]], BatchQueue] = {}
        self._lock = threading.Lock()

    def run(self, feeds: Sequence[tuple[str, HostTensor]], fetches: Sequence[str], timeout_ms: int) -> list[HostTensor]:
        """Enqueue, wait for the batch, give this request's share of its outputs."""
        outcome: Future[list[HostTensor]] = Future()

        def done(result: list[HostTensor] | Exception) -> None:
            if isinstance(result, Exception):
                outcome.set_exception(result)
            else:
                outcome.set_result(result)

        self.submit(feeds, fetches, timeout_ms, done)
        return outcome.result()

    def submit(
        self, feeds: Sequence[tuple[str, HostTensor]], fetches: Sequence[str], timeout_ms: int, done: Done
    ) -> None:
        """Enqueue and return; `done` gets the values of `fetches`, or why there are none, on the thread that ran the batch.

        ServingError if the request cannot be enqueued; then `done` is not called. `done` must not raise.
        """
        size = batch_size(feeds)
        for _ in feeds:
            self._metrics.input_batch_size.observe(size)
        limit = self._config.max_batch_size
        if size > limit:
            raise invalid_argument(f"Task size {size} is larger than maximum input batch size {limit}")
        ordered = sorted(feeds, key=lambda item: item[0])
        parts = self._parts(ordered, size)
        collected = _Collected(len(parts), fetches, done)
        now = time.monotonic()
        tasks = [
            _Task(part, batch_size(part), timeout_ms, now, partial(collected.settle, position))
            for position, part in enumerate(parts)
        ]
        self._scheduler.submit(self._queue(ordered, fetches), tasks)

    def close(self) -> None:
        """Detach the queues and close the session."""
        for queue in self._queues.values():
            self._scheduler.detach(queue)
        self._session.close()

    def _parts(self, feeds: Feeds, size: int) -> list[Feeds]:
        step = execution_limit(self._config)
        if not self._config.enable_large_batch_splitting or size <= step:
            return [feeds]
        return [
            [(name, HostTensor(tensor.dtype, tensor.array[start : start + step])) for name, tensor in feeds]
            for start in range(0, size, step)
        ]

    def _queue(self, feeds: Feeds, fetches: Sequence[str]) -> BatchQueue:
        key = (tuple(name for name, _ in feeds), tuple(sorted(set(fetches))))
        with self._lock:
            queue = self._queues.get(key)
            if queue is None:
                queue = self._queues[key] = BatchQueue(key[1], self._config, self._session, self._metrics)
                self._scheduler.attach(queue)
            return queue


def execution_limit(config: BatchingConfig) -> int:
    """The largest batch that runs at once."""
    return config.max_execution_batch_size if config.enable_large_batch_splitting else config.max_batch_size
