"""The prober's life cycle: wait for the server, evaluate the gate, then go on probing while the pod serves.

    wait for the server -> fit gate, golden set and model -> every example -> warm-up -> latencies -> ready
    ready: one batch every 10 s (readiness.py has the rule), every example each `interval`
    out of the endpoints: one attempt each second; ready again when every example is answered correctly

A model that answers wrongly ends the prober with a verdict; a server that does not answer never does.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from slipway_tools.prober.evaluation import BoundResult, Evaluator, raise_for_failures
from slipway_tools.prober.evaluation_plan import build_plans
from slipway_tools.prober.gate_errors import GateFailedError
from slipway_tools.prober.gate_verdict import Verdict
from slipway_tools.prober.golden_set import GoldenSet
from slipway_tools.prober.prober_status import ProberStatus
from slipway_tools.prober.readiness import ProbeResult, Readiness
from slipway_tools.prober.resolved_gate import Gate
from slipway_tools.prober.serving_client import (
    DeadlineExceededError,
    OverloadedError,
    RequestError,
    ServingClient,
    StatusError,
    UnreachableError,
)

START, SERVING = "start", "serving"
_LATENCY_ATTEMPTS = 3
_DEADLINE_ATTEMPTS = 3
# Before the pod has any load of its own.
_OVERLOADED_ATTEMPTS = 30
_METADATA_SECONDS = 10.0
# For /healthz: longer than anything that has a deadline of its own.
_MARGIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Intervals:
    """Times between requests, in seconds.

    Attributes:
        waiting: between attempts to reach a server that is starting.
        heartbeat: between single batches while the pod is ready.
        unready: between attempts while the pod is out of the endpoints.
        overloaded: before an evaluation is repeated that an overloaded server rejected.
        jitter: share by which the gate's interval varies, so that the pods of a model do not evaluate in step.
    """

    waiting: float = 0.1
    heartbeat: float = 10.0
    unready: float = 1.0
    overloaded: float = 10.0
    jitter: float = 0.1


@dataclass
class ProbeLoop:
    """One prober; clock, sleep and chance are injected."""

    gate: Gate
    golden: GoldenSet
    client: ServingClient
    status: ProberStatus
    log: Callable[[str], None]
    intervals: Intervals = field(default_factory=Intervals)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random
    _last_error: str = ""

    def run(self) -> None:
        """Run until the gate fails.

        Raises:
            GateFailedError: the verdict.
            GateInvalidError: gate, golden set and model do not fit together.
        """
        evaluator = self._start()
        self._become_ready("every bound holds")
        while True:
            self._serve(evaluator)
            self._become_unready()
            evaluator = self._recover()
            self._become_ready("the server answers correctly again")

    def _start(self) -> Evaluator:
        late = overloaded = 0
        while True:
            try:
                return self._evaluate_gate(self._connect())
            except UnreachableError as error:
                self._note(f"lost the server during the evaluation: {error}")
            except OverloadedError as error:
                overloaded += 1
                self._note(f"the server is overloaded: {error}")
                if overloaded >= _OVERLOADED_ATTEMPTS:
                    raise self._failed(
                        f"the server rejected the golden examples as overloaded {overloaded} times, before it had any other "
                        f"request: {error}; give it more memory, or the gate a smaller spec.rollout.gate.batchSize"
                    ) from None
                self._pause(self.intervals.unready)
            except DeadlineExceededError:
                late += 1
                self._note(f"no answer within {self.gate.timeout_seconds:g} s")
                if late >= _DEADLINE_ATTEMPTS:
                    raise self._failed(
                        f"the server gave no answer within {self.gate.timeout_seconds:g} s, {late} times in a row; make the "
                        "model faster, or spec.rollout.gate.timeout longer"
                    ) from None
            except StatusError as error:
                raise self._failed(
                    f"the server answered the golden examples with {error.code}: {error.details}; "
                    "the model cannot compute them"
                ) from None

    def _failed(self, message: str) -> GateFailedError:
        self.status.record("failed")
        return GateFailedError(Verdict(message, stage=START))

    def _connect(self) -> Evaluator:
        """Wait until the server returns its signatures, and fit gate and golden set to them."""
        begun = self.clock()
        self.status.set("waiting for the server", ready=False)
        while True:
            self._keep_alive()
            reason = "nothing listens yet"
            if self.client.listening():
                try:
                    model = self.client.signatures(_METADATA_SECONDS)
                    break
                except RequestError as error:
                    reason = str(error)
            if self.clock() - begun > _MARGIN_SECONDS:
                begun = self.clock()
                self._note(f"still waiting for the server: {reason}")
            self.sleep(self.intervals.waiting)
        plans = build_plans(self.gate, self.golden, model)
        return Evaluator(self.gate, plans, self.client, self.clock, self._keep_alive)

    def _evaluate_gate(self, evaluator: Evaluator) -> Evaluator:
        """Evaluate every bound for the first time, latencies included."""
        self._note("sending the golden examples")
        answers = evaluator.evaluate()
        self._require(answers, START)
        self._note("measuring latencies")
        evaluator.warm_up()
        for attempt in range(_LATENCY_ATTEMPTS):
            latencies = evaluator.measure_latencies()
            if all(result.holds for result in latencies):
                break
            self._log_results(latencies, f"a latency bound was missed in attempt {attempt + 1} of {_LATENCY_ATTEMPTS}")
        self._require([*answers, *latencies], START)
        self.status.record("passed", [*answers, *latencies])
        self._log_results([*answers, *latencies], "every bound holds")
        return evaluator

    def _require(self, results: Sequence[BoundResult], stage: str) -> None:
        try:
            raise_for_failures(results, stage)
        except GateFailedError:
            self.status.record("failed", results)
            raise

    def _serve(self, evaluator: Evaluator) -> None:
        """Probe until the server has to leave the endpoints."""
        readiness = Readiness()
        next_evaluation = self._next_evaluation()
        next_probe = self.clock() + self.intervals.heartbeat
        while not readiness.lost:
            self._pause(max(0.0, min(next_probe, next_evaluation) - self.clock()))
            if self.clock() >= next_evaluation:
                try:
                    self._evaluate_answers(evaluator)
                    readiness, next_evaluation = readiness.after(ProbeResult.ANSWERED), self._next_evaluation()
                except RequestError as error:
                    self._record_error(error)
                    next_evaluation = self.clock() + self.intervals.overloaded
                    readiness = (
                        readiness.after(self._classify(error))
                        if isinstance(error, UnreachableError | OverloadedError)
                        else self._probe(evaluator, readiness)
                    )
            else:
                readiness = self._probe(evaluator, readiness)
            next_probe = self.clock() + (self.intervals.heartbeat if readiness == Readiness() else 0.0)

    def _next_evaluation(self) -> float:
        if self.gate.interval_seconds is None:
            return float("inf")
        return self.clock() + self.gate.interval_seconds * (1 + self.intervals.jitter * (2 * self.chance() - 1))

    def _evaluate_answers(self, evaluator: Evaluator) -> None:
        """Evaluate every bound but latencies, which are measured only before the pod is ready."""
        results = evaluator.evaluate()
        self._require(results, SERVING)
        self.status.record("passed", results)

    def _record_error(self, error: RequestError) -> None:
        self.status.record("overloaded" if isinstance(error, OverloadedError) else "unanswered")

    def _probe(self, evaluator: Evaluator, readiness: Readiness) -> Readiness:
        deadline = readiness.deadline(self.gate.timeout_seconds)
        self._keep_alive(deadline + self.gate.timeout_seconds)
        try:
            evaluator.probe(deadline)
        except RequestError as error:
            self._note(f"probe failed: {error}")
            return readiness.after(self._classify(error))
        return readiness.after(ProbeResult.ANSWERED)

    def _classify(self, error: RequestError) -> ProbeResult:
        self._last_error = str(error)
        results: Mapping[type[RequestError], ProbeResult] = {
            UnreachableError: ProbeResult.UNREACHABLE,
            OverloadedError: ProbeResult.OVERLOADED,
            StatusError: ProbeResult.ERROR,
        }
        if type(error) in results:
            return results[type(error)]
        try:
            self.client.signatures(self.gate.timeout_seconds)
        except (DeadlineExceededError, UnreachableError):
            return ProbeResult.HUNG
        except RequestError:
            return ProbeResult.SLOW
        return ProbeResult.SLOW

    def _become_unready(self) -> None:
        reason = f"the server does not answer: {self._last_error}"
        self.status.set(reason, ready=False)
        self.log(f"not ready: {reason}")

    def _recover(self) -> Evaluator:
        """Try again until every example is answered correctly."""
        while True:
            try:
                evaluator = self._connect()
                self.status.set("the server answers again; sending the golden examples", ready=False)
                self._evaluate_answers(evaluator)
            except RequestError as error:
                self._record_error(error)
                self.status.set(f"the server does not answer: {error}", ready=False)
                self._pause(self.intervals.unready)
            else:
                return evaluator

    def _become_ready(self, reason: str) -> None:
        self.status.set(reason, ready=True)
        self.log(f"ready: {reason}")

    def _pause(self, seconds: float) -> None:
        self._keep_alive(seconds)
        self.sleep(seconds)

    def _keep_alive(self, seconds: float = 0.0) -> None:
        self.status.alive_for(seconds + self.gate.timeout_seconds + _METADATA_SECONDS + _MARGIN_SECONDS)

    def _note(self, reason: str) -> None:
        if not self.status.ready:
            self.status.set(reason, ready=False)
        self.log(reason)

    def _log_results(self, results: Sequence[BoundResult], message: str) -> None:
        numbers = ", ".join(
            f"{result.bound.metric} {result.measurement.value:.4g} ({result.bound.text})" for result in results
        )
        self.log(f"{message}: {numbers}")
