"""The load of `dev.kit.load.generator` as seen from a test: started against both Services of a model, watched, ended, judged."""

import base64
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest

from dev.kit.kubectl import Kubectl
from dev.kit.load import dns_cache
from dev.kit.load.generator import Plan, Report
from dev.kit.prediction import from_tensor, to_tensor
from dev.kit.reach import GRPC_PORT, answers
from dev.kit.serving_messages import predict_pb2
from dev.kit.traffic import X
from dev.repository import ROOT

LATE_MILLIS = 2000
"""When more than one call in a hundred starts later than this after its time, the generator does not keep its rate."""
_END_SECONDS = 60


def request(model: str) -> str:
    """Return a Predict request for X, serialized, base64."""
    made = predict_pb2.PredictRequest()
    made.model_spec.name = model
    made.inputs["x"].CopyFrom(to_tensor(np.array([X], np.float32)))
    return base64.b64encode(made.SerializeToString()).decode()


def value(answer: str) -> float:
    """Return y of a serialized answer, base64."""
    found = predict_pb2.PredictResponse.FromString(base64.b64decode(answer))
    return float(from_tensor(found.outputs["y"])[0])


def plans(kubectl: Kubectl, service: str, model: str, dns: str = "", **changes: Any) -> dict[str, Plan]:
    """Return the plan for each kind of Service; skip the test where this machine has no route to their addresses.

    Args:
        kubectl: with the namespace of the Services.
        service: the name of the ClusterIP Service.
        model: the name of the model.
        dns: `HOST:PORT` of the DNS server that clients of the headless Service use (the cluster's).
        changes: fields of the plans.
    """
    found = kubectl.get("service", service) or {}
    address, resolver = found["spec"]["clusterIP"], dns or f"{dns_cache.cluster_dns(kubectl)}:53"
    if not answers(address, GRPC_PORT):
        pytest.skip("the load runs on this machine, which has no route to the cluster's Services")
    name = f"{service}-headless.{kubectl.namespace}.svc.cluster.local"
    payload = request(model)
    return {
        "ClusterIP": Plan(f"{address}:{GRPC_PORT}", payload, **changes),
        "headless": Plan(f"dns://{resolver}/{name}:{GRPC_PORT}", payload, balanced=True, **changes),
    }


@dataclass
class Running:
    """A generator at work: `progress` is what it said last, `report` is there when it has ended."""

    process: "subprocess.Popen[str]"
    progress: dict[str, int] = field(default_factory=lambda: {"sent": 0, "ended": 0, "failed": 0})
    report: Report | None = None
    changed: threading.Condition = field(default_factory=threading.Condition, repr=False)

    def read(self) -> None:
        """Take in what the generator says until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            with self.changed:
                if "codes" in said:
                    self.report = Report(**said)
                else:
                    self.progress = said
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def wait(self, holds: Callable[[dict[str, int]], bool], seconds: float = 120) -> None:
        """Wait until its progress is as wanted; fail when it ends before."""
        with self.changed:
            self.changed.wait_for(lambda: holds(self.progress) or self.process.poll() is not None, seconds)
            assert holds(self.progress), f"not within {seconds:.0f} s: {self.progress}"


@dataclass(frozen=True)
class Loads:
    """The generators of one test, by kind of Service."""

    running: dict[str, Running]

    def more(self, calls: int, seconds: float = 120) -> None:
        """Wait until each generator has had so many more answers (or failures)."""
        targets = {kind: one.progress["ended"] + calls for kind, one in self.running.items()}
        for kind, one in self.running.items():
            one.wait(partial(_has_ended, targets[kind]), seconds)

    def reach(self, calls: int, seconds: float = 900) -> None:
        """Wait until each generator has had so many answers (or failures) in all."""
        for one in self.running.values():
            one.wait(partial(_has_ended, calls), seconds)

    def reports(self) -> dict[str, Report]:
        """Return what came of it; only after the end."""
        found = {kind: one.report for kind, one in self.running.items()}
        missing = [kind for kind, report in found.items() if report is None]
        assert not missing, f"no report of {missing}"
        return {kind: report for kind, report in found.items() if report is not None}


def _has_ended(calls: int, progress: dict[str, int]) -> bool:
    return progress["ended"] >= calls


@contextmanager
def against(wanted: dict[str, Plan]) -> Iterator[Loads]:
    """Run one generator for each plan while the body runs; afterwards their reports are there."""
    with ExitStack() as stack:
        running = {kind: stack.enter_context(_one(plan)) for kind, plan in wanted.items()}
        yield Loads(running)


@contextmanager
def _one(plan: Plan) -> Iterator[Running]:
    argv = [sys.executable, "-m", "dev.kit.load.generator", json.dumps(asdict(plan))]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        one = Running(process)
        reader = threading.Thread(target=one.read)
        reader.start()
        try:
            one.wait(lambda seen: seen["ended"] > 0, _END_SECONDS)
            yield one
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            reader.join()


def judge(reports: dict[str, Report], least: int, late_millis: float = LATE_MILLIS) -> str:
    """Return a line for each generator; fail when one of them could not keep its rate or sent too little."""
    lines = []
    for kind, report in reports.items():
        failed = report.sent - report.codes.get("OK", 0)
        lines.append(
            f"{kind}: {failed} failed of {report.sent} calls in {report.seconds:.0f} s, {report.codes}, "
            f"latency ms {report.latency}, started late ms {report.late}"
        )
        assert report.unsent == 0, f"the generator was the limit: {lines[-1]}"
        assert report.late["p99"] < late_millis, f"the generator did not keep its rate: {lines[-1]}"
        assert report.sent >= least, f"too few calls to say anything: {lines[-1]}"
    return "\n".join(lines)


def lost(reports: dict[str, Report]) -> dict[str, list[str]]:
    """Return the words of failed calls by kind of Service; nothing of those without any."""
    return {kind: report.failures for kind, report in reports.items() if set(report.codes) != {"OK"}}


def values(report: Report) -> Counter[float]:
    """Return how often each y came."""
    found = Counter[float]()
    for answer, count in report.answers.items():
        found[value(answer)] += count
    return found
