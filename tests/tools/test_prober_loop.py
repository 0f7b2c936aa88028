"""The prober's loop on a clock of the test's own: answers and errors that a real server gives only now and then."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from slipway_tools.prober import resolved_gate, tensor_proto
from slipway_tools.prober.gate_errors import GateFailedError, GateInvalidError
from slipway_tools.prober.golden_set import Examples
from slipway_tools.prober.probe_loop import ProbeLoop
from slipway_tools.prober.prober_status import ProberStatus
from slipway_tools.prober.serving_client import (
    DeadlineExceededError,
    OverloadedError,
    Request,
    RequestError,
    ServingClient,
    Signature,
    StatusError,
    TensorSpec,
    UnreachableError,
)
from tests.tools.probers import resolved

X = np.ones((4, 1), np.float32)
GOLDEN = {"serving_default": Examples(4, {"x": X}, {"y": X})}
MODEL = {"serving_default": Signature({"x": TensorSpec("float32", (-1, 1))}, {"y": TensorSpec("float32", (-1, 1))})}


@dataclass
class Scripted(ServingClient):
    """A server that answers its input after `seconds`, unless the script has an error for the request of that number."""

    errors: dict[int, RequestError] = field(default_factory=dict)
    seconds: Callable[[int], float] = lambda number: 0.001
    now: float = 0.0
    requests: int = 0
    metadata: int = 0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def listening(self) -> bool:
        return True

    def signatures(self, timeout: float) -> dict[str, Signature]:
        self.metadata += 1
        return MODEL

    def request(
        self,
        signature: str,
        inputs: Mapping[str, tensor_proto.Array],
        dtypes: Mapping[str, str],
        outputs: Sequence[str],
        start: int,
    ) -> Request:
        return Request(tensor_proto.to_proto(inputs["x"], "float32"), start, len(inputs["x"]))

    def predict(self, request: Request, timeout: float) -> dict[str, object]:
        self.requests += 1
        self.now += self.seconds(self.requests)
        if error := self.errors.get(self.requests):
            raise error
        return {"y": request.message}


def started(server: Scripted, metrics: str = '{"matches": ">=1"}') -> ProbeLoop:
    lines: list[str] = []
    gate = resolved_gate.parse(json.dumps(resolved({"metrics": json.loads(metrics), "timeout": "30s"})))
    loop = ProbeLoop(
        gate, GOLDEN, server, ProberStatus("m", "1", clock=server.clock),
        lines.append, clock=server.clock, sleep=server.sleep, chance=lambda: 0.5,
    )  # fmt: skip
    loop._start()
    return loop


def checks(loop: ProbeLoop, result: str) -> bool:
    return f'result="{result}"}} 1.0' in loop.status.exposition()


def test_a_server_that_goes_away_during_the_gate_is_waited_for() -> None:
    server = Scripted({3: UnreachableError("reset")})
    assert checks(started(server), "passed")
    assert server.metadata == 2


@pytest.mark.parametrize("error", [OverloadedError("full"), DeadlineExceededError("late")])
def test_a_little_trouble_is_forgiven(error: RequestError) -> None:
    assert checks(started(Scripted({1: error, 2: error})), "passed")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OverloadedError("OOM when allocating"), "30 times, before it had any other request: OOM when allocating"),
        (DeadlineExceededError("late"), "no answer within 30 s, 3 times in a row"),
        (StatusError("INTERNAL", "no kernel"), "INTERNAL: no kernel"),
    ],
)
def test_trouble_that_lasts_is_a_verdict(error: RequestError, words: str) -> None:
    with pytest.raises(GateFailedError) as caught:
        started(Scripted(dict.fromkeys(range(1, 100), error)))
    assert words in caught.value.verdict.message
    assert caught.value.verdict.stage == "start"


def test_a_latency_that_is_missed_once_is_measured_again() -> None:
    # Four answers and six to warm up; the first hundred samples meet a busy node.
    server = Scripted(seconds=lambda number: 0.2 if 10 < number <= 110 else 0.01)
    loop = started(server, '{"p99LatencyMillis": "<=50"}')
    assert checks(loop, "passed")
    assert server.requests == 210


def test_a_latency_that_is_missed_three_times_counts() -> None:
    server = Scripted(seconds=lambda number: 0.1)
    with pytest.raises(GateFailedError) as caught:
        started(server, '{"p99LatencyMillis": "<=50", "matches": ">=1"}')
    assert caught.value.verdict.details["metric"] == "p99LatencyMillis"
    assert server.requests == 310


def test_sampling_ends_in_time() -> None:
    server = Scripted(seconds=lambda number: 1.0)
    loop = started(server, '{"p50LatencyMillis": "<=2000"}')
    assert 'slipway_gate_samples{model="m",revision="1",signature="serving_default"' in loop.status.exposition()
    # Four answers, six to warm up, twenty samples of a second each.
    assert server.requests == 30


def test_a_request_that_times_out_counts_as_that_long() -> None:
    late = DeadlineExceededError("late")
    server = Scripted(dict.fromkeys(range(11, 1000), late), seconds=lambda number: 0.001)
    with pytest.raises(GateFailedError) as caught:
        started(server, '{"p50LatencyMillis": "<=50"}')
    assert caught.value.verdict.details["measured"] == 30_000


class Casting(Scripted):
    """A server that answers in another dtype than it says."""

    def predict(self, request: Request, timeout: float) -> dict[str, object]:
        return {"y": tensor_proto.to_proto(tensor_proto.from_proto(request.message).astype(np.int64), "int64")}


@pytest.mark.parametrize("metrics", ['{"matches": ">=1"}', '{"maxAbsoluteError": "<=1"}'])
def test_an_answer_of_another_dtype_than_the_signature_says(metrics: str) -> None:
    with pytest.raises(GateInvalidError, match="is int64 in the answer, and float32 in the signature"):
        started(Casting(), metrics)


def test_what_hangs_leaves_the_endpoints_with_its_reason() -> None:
    server = Scripted()
    loop = started(server)
    evaluator = loop._connect()
    server.errors = {server.requests + 1: UnreachableError("connection refused")}
    loop._serve(evaluator)
    loop._become_unready()
    assert not loop.status.ready
    assert "connection refused" in loop.status.reason
