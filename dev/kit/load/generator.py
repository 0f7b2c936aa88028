"""Open-loop gRPC load, a process of its own: `python -m dev.kit.load.generator '{"target": "HOST:PORT", …}'`.

Calls start at fixed times whatever the answers do, over channels that are held and over channels made for one call each.
No call is tried again by this program and none waits for a server to come back; what gRPC itself does by default
(connecting, a call that never left is sent over the next connection) is left as every client has it.

It prints one JSON object a line: `{"sent": …, "ended": …, "failed": …}` four times a second, at the end the report. It
ends when its time or its number of calls is over, or at the end of its standard input.
"""

import asyncio
import base64
import json
import os
import sys
import time
from array import array
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

import grpc

PREDICT = "/tensorflow.serving.PredictionService/Predict"
_ROUND_ROBIN = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})
_MOST_OUTSTANDING = 4000
_PROGRESS_SECONDS = 0.25
_WORDS_KEPT = 50


@dataclass(frozen=True)
class Plan:
    """What is sent, to whom, and how often.

    Attributes:
        target: as gRPC knows it: `HOST:PORT` or `dns://SERVER/NAME:PORT`.
        request: the serialized request, base64.
        rate: calls a second.
        channels: how many channels are held.
        fresh: calls a second, of these, over a channel made for the call.
        seconds: after so long no call starts.
        calls: after so many no call starts.
        deadline: of one call, in seconds.
        balanced: the client spreads its calls over all addresses of the name.
    """

    target: str
    request: str
    rate: float = 200
    channels: int = 16
    fresh: float = 10
    seconds: float = 600
    calls: int = 1_000_000
    deadline: float = 30
    balanced: bool = False


@dataclass
class Report:
    """What came of it. Latencies count from when a call was due, in milliseconds; `late` is how late calls started.

    `unsent` calls were due while too many were under way, and were left out: then, or when calls start late, this program
    and not the server is the limit.
    """

    sent: int = 0
    unsent: int = 0
    seconds: float = 0
    codes: dict[str, int] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    latency: dict[str, float] = field(default_factory=dict)
    late: dict[str, float] = field(default_factory=dict)


def percentiles(values: "array[float]") -> dict[str, float]:
    """Return p50, p99 and the maximum of some seconds, in milliseconds."""
    ordered = sorted(values) or [0.0]
    picks = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {
        name: round(ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1000, 2)
        for name, share in picks.items()
    }


class Load:
    """One run of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._request = plan, base64.b64decode(plan.request)
        self._codes, self._answers = Counter[str](), Counter[bytes]()
        self._failures: list[str] = []
        self._latency, self._late = array("d"), array("d")
        self._under_way: set[asyncio.Task[None]] = set()
        self._sent = self._unsent = self._failed = 0
        self._stop = asyncio.Event()

    async def run(self) -> Report:
        """Send until it is enough, wait for what is under way, return what came of it."""
        progress, listening = asyncio.create_task(self._tell()), asyncio.create_task(self._listen())
        held = [self._channel() for _ in range(self._plan.channels)]
        calls = [channel.unary_unary(PREDICT) for channel in held]
        started = time.monotonic()
        await self._send(calls, started)
        lasted = time.monotonic() - started
        while self._under_way:
            await asyncio.wait(self._under_way)
        for task in (progress, listening):
            task.cancel()
        for channel in held:
            await channel.close()
        answers = {base64.b64encode(key).decode(): count for key, count in self._answers.items()}
        return Report(
            self._sent, self._unsent, round(lasted, 2), dict(self._codes), answers, self._failures,
            percentiles(self._latency), percentiles(self._late),
        )  # fmt: skip

    async def _send(self, calls: list[Any], started: float) -> None:
        plan, number = self._plan, 0
        fresh_each = round(plan.rate / plan.fresh) if plan.fresh else 0
        while number < plan.calls and not self._stop.is_set():
            due = started + number / plan.rate
            if due - started > plan.seconds:
                return
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            if len(self._under_way) >= _MOST_OUTSTANDING:
                self._unsent += 1
            else:
                call = None if fresh_each and number % fresh_each == 0 else calls[number % len(calls)]
                task = asyncio.create_task(self._ask(call, due))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
                self._sent += 1
            number += 1

    async def _ask(self, call: Any, due: float) -> None:
        self._late.append(time.monotonic() - due)
        channel = None
        if call is None:
            channel = self._channel()
            call = channel.unary_unary(PREDICT)
        try:
            answer: bytes = await call(self._request, timeout=self._plan.deadline)
        except grpc.aio.AioRpcError as error:
            self._codes[error.code().name] += 1
            self._failed += 1
            if len(self._failures) < _WORDS_KEPT:
                kind = "fresh" if channel else "held"
                words = " ".join((error.details() or "").split())
                self._failures.append(f"{time.strftime('%H:%M:%S')} {kind} {error.code().name}: {words}")
        else:
            self._codes["OK"] += 1
            self._answers[answer] += 1
        finally:
            self._latency.append(time.monotonic() - due)
            if channel is not None:
                await channel.close()

    def _channel(self) -> grpc.aio.Channel:
        # Without a pool of its own a channel would share connections with the others of this process.
        options: list[tuple[str, Any]] = [("grpc.use_local_subchannel_pool", 1)]
        if self._plan.balanced:
            options.append(("grpc.service_config", _ROUND_ROBIN))
        return grpc.aio.insecure_channel(self._plan.target, options=options)

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(_PROGRESS_SECONDS)
            print(json.dumps({"sent": self._sent, "ended": self._codes.total(), "failed": self._failed}), flush=True)

    async def _listen(self) -> None:
        await asyncio.to_thread(sys.stdin.read)
        self._stop.set()


async def main(plan: Plan) -> None:
    """Run a plan and print what came of it."""
    report = await Load(plan).run()
    print(json.dumps(asdict(report)), flush=True)
    # The thread that waits for the end of standard input may still be waiting.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(Plan(**json.loads(sys.argv[1]))))
