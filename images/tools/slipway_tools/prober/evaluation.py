"""Evaluates the gate: sends the golden examples, measures answers and latencies, and compares them with the bounds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slipway_tools.prober import formulas, tensor_proto
from slipway_tools.prober.accumulators import Accumulator, Measurement
from slipway_tools.prober.evaluation_plan import EvaluationTask, SignaturePlan
from slipway_tools.prober.gate_errors import GateFailedError, GateInvalidError
from slipway_tools.prober.gate_verdict import Verdict, finite
from slipway_tools.prober.resolved_gate import LATENCIES, Bound, Check, Gate, Metric
from slipway_tools.prober.serving_client import DeadlineExceededError, Request, ServingClient

# A 99th percentile of fewer requests is the slowest of them.
MIN_SAMPLES = 100
MAX_SAMPLES = 1000
SAMPLING_SECONDS = 20.0
# A graph is optimised, and its memory pools grow, over the first requests.
WARM_REQUESTS = 10
WARM_SECONDS = 10.0
MILLIS = 1000.0


@dataclass(frozen=True, slots=True)
class BoundResult:
    """One bound and the measurement for it."""

    check: Check
    output: str
    bound: Bound
    measurement: Measurement

    @property
    def holds(self) -> bool:
        """Return whether the measurement is within the bound."""
        return self.bound.holds(self.measurement.value)


class Evaluator:
    """Sends the requests of the plans to one server, and measures the answers."""

    def __init__(
        self,
        gate: Gate,
        plans: Sequence[SignaturePlan],
        client: ServingClient,
        clock: Callable[[], float],
        keep_alive: Callable[[], None],
    ) -> None:
        self._gate = gate
        self._plans = plans
        self._client = client
        self._clock = clock
        self._keep_alive = keep_alive

    def probe(self, timeout: float) -> None:
        """Send the first batch alone; any answer will do.

        Args:
            timeout: seconds.

        Raises:
            RequestError: when there is no answer.
        """
        self._client.predict(self._request(self._plans[0], 0), timeout)

    def evaluate(self) -> list[BoundResult]:
        """Send every example once and return the results of all bounds but latencies.

        Raises:
            RequestError: when an answer is missing.
            GateInvalidError: when answers and golden set have different shapes.
        """
        return [result for plan in self._plans for result in self._evaluate(plan)]

    def _evaluate(self, plan: SignaturePlan) -> Iterator[BoundResult]:
        accumulators = [
            (task, Accumulator(self._gate, task)) for task in plan.tasks if task.measures(set(Metric) - LATENCIES)
        ]
        for request in self._requests(plan):
            self._keep_alive()
            answer = self._client.predict(request, self._gate.timeout_seconds)
            for task, accumulator in accumulators:
                accumulator.add(request.start, _output(task, answer, request))
        for task, accumulator in accumulators:
            for bound in task.check.bounds:
                if bound.metric not in LATENCIES:
                    yield BoundResult(task.check, task.output, bound, accumulator.result(bound.metric))

    def warm_up(self) -> None:
        """Send a few more requests to each signature with a latency bound, after `evaluate` has sent each batch once."""
        for plan in self._timed_plans():
            batches = self._batches(plan)
            deadline = self._clock() + WARM_SECONDS
            for turn in range(batches, WARM_REQUESTS):
                if self._clock() >= deadline:
                    break
                self._client.predict(self._request(plan, turn % batches), self._gate.timeout_seconds)

    def measure_latencies(self) -> list[BoundResult]:
        """Time 100 to 1000 requests, one after the other, for at most 20 s; return the results of latency bounds.

        A request that exceeds its deadline counts as long as the deadline.

        Raises:
            RequestError: when an answer is missing for another reason.
        """
        found = []
        for plan in self._timed_plans():
            millis = [seconds * MILLIS for seconds in self._sample(plan)]
            for task in plan.tasks:
                for bound in task.check.bounds:
                    if bound.metric in LATENCIES:
                        percent = 50 if bound.metric is Metric.P50_LATENCY_MILLIS else 99
                        value = formulas.percentile(millis, percent)
                        found.append(BoundResult(task.check, task.output, bound, Measurement(value, len(millis))))
        return found

    def _sample(self, plan: SignaturePlan) -> list[float]:
        # A last batch with fewer examples is not timed, unless it is the only one.
        batches = max(1, plan.count // self._gate.batch_size)
        wanted = min(max(MIN_SAMPLES, batches), MAX_SAMPLES)
        deadline = self._clock() + SAMPLING_SECONDS
        samples: list[float] = []
        while len(samples) < wanted and (not samples or self._clock() < deadline):
            self._keep_alive()
            request = self._request(plan, len(samples) % batches)
            begun = self._clock()
            try:
                self._client.predict(request, self._gate.timeout_seconds)
            except DeadlineExceededError:
                samples.append(self._gate.timeout_seconds)
            else:
                samples.append(self._clock() - begun)
        return samples

    def _timed_plans(self) -> list[SignaturePlan]:
        return [plan for plan in self._plans if any(task.measures(LATENCIES) for task in plan.tasks)]

    def _requests(self, plan: SignaturePlan) -> Iterator[Request]:
        for number in range(self._batches(plan)):
            yield self._request(plan, number)

    def _batches(self, plan: SignaturePlan) -> int:
        return -(-plan.count // self._gate.batch_size)

    def _request(self, plan: SignaturePlan, number: int) -> Request:
        """Encode batch `number`, again for each request: the golden set is in memory only once."""
        start = number * self._gate.batch_size
        rows = {name: array[start : start + self._gate.batch_size] for name, array in plan.inputs.items()}
        outputs = sorted({task.output for task in plan.tasks})
        return self._client.request(plan.signature, rows, plan.dtypes, outputs, start)


def _output(task: EvaluationTask, answer: Mapping[str, Any], request: Request) -> tensor_proto.Array:
    """Decode one output, which needs a row for each example."""
    where = f"output {task.output!a} of signature {task.check.signature!a}"
    message = answer.get(task.output)
    if message is None:
        raise GateInvalidError(f"{task.check.field}.output: the server's answer has no {where}; name another output")
    if tensor_proto.name_of(message.dtype) != task.spec.dtype:
        raise GateInvalidError(
            f"{task.check.field}.output: {where} is {tensor_proto.name_of(message.dtype)} in the answer, and "
            f"{task.spec.dtype} in the signature; export the model again or name another output"
        )
    try:
        array = tensor_proto.from_proto(message)
    except ValueError as error:
        raise GateInvalidError(
            f"{task.check.field}.output: {where} cannot be read: {error}; name another output"
        ) from None
    if array.ndim == 0 or array.shape[0] != request.count:
        raise GateInvalidError(
            f"{task.check.field}.output: {where} has shape {list(array.shape)} for {request.count} examples; it needs one row "
            "for each example: name another output"
        )
    return np.asarray(array)


def raise_for_failures(results: Sequence[BoundResult], stage: str) -> None:
    """Raise the verdict of the first missed bound; its message names the others too.

    Raises:
        GateFailedError: when a bound does not hold.
    """
    missed = [result for result in results if not result.holds]
    if not missed:
        return
    first = missed[0]
    others = "" if len(missed) == 1 else f"; also missed: {', '.join(_brief(result) for result in missed[1:])}"
    example = first.measurement.example
    wrong = "" if example is None else f"; {example.text()}"
    message = (
        f"{_brief(first)} over {first.measurement.samples} {_unit(first)}, output {first.output!a} of signature "
        f"{first.check.signature!a}{wrong}{others}"
    )
    details = {
        "metric": str(first.bound.metric),
        "measured": finite(first.measurement.value),
        "bound": first.bound.text,
        "samples": first.measurement.samples,
        "signature": first.check.signature,
        "output": first.output,
    }
    raise GateFailedError(Verdict(message, details, example, stage))


def _brief(result: BoundResult) -> str:
    value = result.measurement.value
    number = f"{value:.4g}" if np.isfinite(value) else "not finite"
    return f"{result.bound.metric} is {number}, the gate requires {result.bound.text}"


def _unit(result: BoundResult) -> str:
    return "requests" if result.bound.metric in LATENCIES else "examples"
