"""Checked again while it serves: a server that hangs or starts to answer wrongly leaves the endpoints, and comes back."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from dev.kit import traffic, wait
from dev.kit.archive_server import url
from dev.kit.conditions import current
from dev.kit.gates import config_map, gated, half_plus, npz, verdicts
from dev.kit.kubectl import Kubectl, Manifest
from dev.kit.model_deployments import deployment, pods
from dev.kit.prediction import connect
from dev.kit.tiny_models import HALVES

OFFSET = HALVES["half_plus_two"]
AGAIN = gated({"configMap": "half"}, interval="10s", timeout="1s")
Holds = Callable[[Manifest], bool]


@pytest.fixture(scope="module")
def started(shared_namespace: Kubectl) -> Kubectl:
    """Two models that are checked again every ten seconds."""
    shared_namespace.apply(config_map("half", golden__npz=npz(half_plus(OFFSET))))
    shared_namespace.apply(
        deployment("hangs", url("half_plus_two.tar.gz"), rollout=AGAIN),
        deployment("strays", url("tunable.tar.gz"), rollout=AGAIN),
    )
    return shared_namespace


def endpoint(kubectl: Kubectl, name: str, *, ready: bool, seconds: float) -> None:
    """Wait until the only endpoint of a model takes requests, or none does."""

    def holds(slices: Manifest) -> bool:
        states = [found["conditions"]["ready"] for found in slices.get("endpoints") or []]
        return any(states) == ready

    [found] = kubectl.items("endpointslices", f"kubernetes.io/service-name={name}")
    wait.until(kubectl, "endpointslice", found["metadata"]["name"], holds, seconds)


def server_process(pod: Manifest) -> int:
    """Return the process of a pod's server on this machine; skip the test where the node is another machine."""
    uid = re.compile(pod["metadata"]["uid"].replace("-", "[-_]"))
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            inside = uid.search((folder / "cgroup").read_text())
            is_server = b"--model_base_path=" in (folder / "cmdline").read_bytes()
        except OSError:  # it has ended meanwhile
            continue
        if inside and is_server:
            return int(folder.name)
    pytest.skip("the node's processes cannot be seen from here: only those of the local provider can")


@contextmanager
def stopped(process: int) -> Iterator[None]:
    """Freeze a process while the body runs."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def test_a_server_that_hangs_is_taken_out_until_it_answers(started: Kubectl) -> None:
    wait.ready(started, "hangs")
    [pod] = pods(started, "hangs")
    with stopped(server_process(pod)):
        endpoint(started, "hangs", ready=False, seconds=120)
    endpoint(started, "hangs", ready=True, seconds=180)
    state = wait.ready(started, "hangs")
    assert [found["metadata"]["uid"] for found in pods(started, "hangs")] == [pod["metadata"]["uid"]]
    assert verdicts(state) == {1: ("Ready", "")}
    assert traffic.predict_once(started, "hangs") == traffic.answer_of(OFFSET)


def tune(kubectl: Kubectl, pod: Manifest, offset: float) -> None:
    """Set what the model adds, past the Service: while it answers wrongly the Service leads nowhere."""
    with (
        kubectl.port_forward(f"pod/{pod['metadata']['name']}", (8500,)) as ports,
        connect(f"127.0.0.1:{ports[8500]}") as predictor,
    ):
        predictor.predict("strays", {"offset": np.array([offset], np.float32)}, signature="tune")


def test_a_server_that_starts_to_answer_wrongly_is_taken_out_until_it_is_right(started: Kubectl) -> None:
    wait.ready(started, "strays")
    [pod] = pods(started, "strays")
    tune(started, pod, OFFSET + 1)
    endpoint(started, "strays", ready=False, seconds=120)
    state = wait.refused(started, "strays", "GateFailed", "matches")
    assert current(state, "Available")["status"] == "False"
    assert current(state, "RolledBack")["status"] == "False"  # it had served: nothing is gained by another revision
    tune(started, pod, OFFSET)
    endpoint(started, "strays", ready=True, seconds=300)  # the kubelet waits longer after each refusal
    state = wait.ready(started, "strays")
    assert [found["metadata"]["uid"] for found in pods(started, "strays")] == [pod["metadata"]["uid"]]
    assert verdicts(state) == {1: ("Ready", "")}
