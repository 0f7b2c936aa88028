"""Asks the golden examples, all of them for the answers, some of them for the time they take, and judges the bounds."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slipway_tools.pilot import metrics, tensors
from slipway_tools.pilot.binding import Plan, Task
from slipway_tools.pilot.client import Client, Request, SilentError
from slipway_tools.pilot.errors import GateFailedError, GateInvalidError
from slipway_tools.pilot.gate import LATENCIES, Bound, Check, Gate, Metric
from slipway_tools.pilot.tally import Measured, Tally
from slipway_tools.pilot.verdict import Verdict, finite

# A 99th percentile of fewer requests is the slowest of them.
MIN_SAMPLES = 100
MAX_SAMPLES = 1000
SAMPLING_SECONDS = 20.0
# A graph is optimised, and its memory pools grow, over the first requests.
WARM_REQUESTS = 10
WARM_SECONDS = 10.0
MILLIS = 1000.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One bound and what was measured for it."""

    check: Check
    output: str
    bound: Bound
    measured: Measured

    @property
    def holds(self) -> bool:
        """Tell whether the bound is kept."""
        return self.bound.holds(self.measured.value)


class Asker:
    """Asks one server for what the plans say."""

    def __init__(
        self, gate: Gate, plans: Sequence[Plan], client: Client, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._gate = gate
        self._plans = plans
        self._client = client
        self._clock = clock
        self.alive: Callable[[], None] = lambda: None

    def one(self, timeout: float) -> None:
        """Ask the first examples alone, whatever the answer is.

        Raises:
            AskError: when there is none.
        """
        self._client.predict(self._request(self._plans[0], 0), timeout)

    def answers(self) -> list[Finding]:
        """Ask every example once and return what the answers are worth.

        Raises:
            AskError: when an answer fails to come.
            GateInvalidError: when answers and golden set have different shapes.
        """
        return [finding for plan in self._plans for finding in self._answers(plan)]

    def _answers(self, plan: Plan) -> Iterator[Finding]:
        tallies = [(task, Tally(self._gate, task)) for task in plan.tasks if task.wants(set(Metric) - LATENCIES)]
        for request in self._requests(plan):
            self.alive()
            answer = self._client.predict(request, self._gate.timeout)
            for task, tally in tallies:
                tally.add(request.start, _output(task, answer, request))
        for task, tally in tallies:
            for bound in task.check.bounds:
                if bound.metric not in LATENCIES:
                    yield Finding(task.check, task.output, bound, tally.result(bound.metric))

    def warm_up(self) -> None:
        """Ask each signature whose time counts a few times more; the answers have been asked for once already."""
        for plan in self._timed_plans():
            batches = self._batches(plan)
            deadline = self._clock() + WARM_SECONDS
            for turn in range(batches, WARM_REQUESTS):
                if self._clock() >= deadline:
                    break
                self._client.predict(self._request(plan, turn % batches), self._gate.timeout)

    def latencies(self) -> list[Finding]:
        """Time requests one after the other: the golden inputs again and again, 100 to 1000 of them within 20 s.

        A request that is not answered in time counts as that long.

        Raises:
            AskError: when an answer fails to come for another reason.
        """
        found = []
        for plan in self._timed_plans():
            millis = [seconds * MILLIS for seconds in self._sample(plan)]
            for task in plan.tasks:
                for bound in task.check.bounds:
                    if bound.metric in LATENCIES:
                        percent = 50 if bound.metric is Metric.P50_LATENCY_MILLIS else 99
                        value = metrics.percentile(millis, percent)
                        found.append(Finding(task.check, task.output, bound, Measured(value, len(millis))))
        return found

    def _sample(self, plan: Plan) -> list[float]:
        # A last batch with fewer examples is left out, unless it is the only one.
        batches = max(1, plan.count // self._gate.batch_size)
        wanted = min(max(MIN_SAMPLES, batches), MAX_SAMPLES)
        deadline = self._clock() + SAMPLING_SECONDS
        samples: list[float] = []
        while len(samples) < wanted and (not samples or self._clock() < deadline):
            self.alive()
            request = self._request(plan, len(samples) % batches)
            begun = self._clock()
            try:
                self._client.predict(request, self._gate.timeout)
            except SilentError:
                samples.append(self._gate.timeout)
            else:
                samples.append(self._clock() - begun)
        return samples

    def _timed_plans(self) -> list[Plan]:
        return [plan for plan in self._plans if any(task.wants(LATENCIES) for task in plan.tasks)]

    def _requests(self, plan: Plan) -> Iterator[Request]:
        for number in range(self._batches(plan)):
            yield self._request(plan, number)

    def _batches(self, plan: Plan) -> int:
        return -(-plan.count // self._gate.batch_size)

    def _request(self, plan: Plan, number: int) -> Request:
        """Encode batch `number`: anew each time, so that the golden set is in memory once."""
        start = number * self._gate.batch_size
        rows = {name: array[start : start + self._gate.batch_size] for name, array in plan.inputs.items()}
        outputs = sorted({task.output for task in plan.tasks})
        return self._client.request(plan.signature, rows, plan.dtypes, outputs, start)


def _output(task: Task, answer: Mapping[str, Any], request: Request) -> tensors.Array:
    """Decode one output and check that it has a row for each example."""
    where = f"output {task.output!a} of signature {task.check.signature!a}"
    message = answer.get(task.output)
    if message is None:
        raise GateInvalidError(f"{task.check.field}.output: the server's answer has no {where}; name another output")
    if tensors.name_of(message.dtype) != task.spec.dtype:
        raise GateInvalidError(
            f"{task.check.field}.output: {where} answers {tensors.name_of(message.dtype)}, its signature says "
            f"{task.spec.dtype}; export the model again or name another output"
        )
    try:
        array = tensors.from_proto(message)
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


def judge(findings: Sequence[Finding], stage: str) -> None:
    """Raise the verdict of the first bound that does not hold; the sentence names the others too.

    Raises:
        GateFailedError: when one does not hold.
    """
    broken = [finding for finding in findings if not finding.holds]
    if not broken:
        return
    first = broken[0]
    others = "" if len(broken) == 1 else f"; also broken: {', '.join(_brief(finding) for finding in broken[1:])}"
    example = first.measured.example
    wrong = "" if example is None else f"; {example.text()}"
    message = (
        f"{_brief(first)} over {first.measured.samples} {_unit(first)}, output {first.output!a} of signature "
        f"{first.check.signature!a}{wrong}{others}"
    )
    details = {
        "metric": str(first.bound.metric),
        "measured": finite(first.measured.value),
        "bound": first.bound.text,
        "samples": first.measured.samples,
        "signature": first.check.signature,
        "output": first.output,
    }
    raise GateFailedError(Verdict(message, details, example, stage))


def _brief(finding: Finding) -> str:
    value = finding.measured.value
    number = f"{value:.4g}" if np.isfinite(value) else "not finite"
    return f"{finding.bound.metric} is {number}, the gate wants {finding.bound.text}"


def _unit(finding: Finding) -> str:
    return "requests" if finding.bound.metric in LATENCIES else "examples"
