"""The act in which a bad version is pushed while requests go on: refused by the gate, rolled back, taken back."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import grpc

from dev.demo import progress
from dev.demo.tour import NAME as SERVED
from dev.demo.tour import READY_SECONDS, Test
from dev.errors import DevError
from dev.kit import example_models, reach
from dev.kit.conditions import condition
from dev.kit.console import Console
from dev.kit.example_models import Model, Published
from dev.kit.kubectl import Kubectl, Manifest
from dev.kit.prediction import Predictor, connect

NAME = "digits-shuffled"
CLIENTS = 4
PAUSE = 0.02
"""Seconds that each client rests between two requests."""
GATE_SECONDS = 120


@dataclass
class Requests:
    """What became of the requests that were sent meanwhile; no call is tried again.

    Attributes:
        sent: how many came to an end.
        right: how many were answered with the right digit.
        failed: the words of those that were not answered.
    """

    sent: int = 0
    right: int = 0
    failed: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __str__(self) -> str:
        """Return it in one line."""
        answered = max(1, self.sent - len(self.failed))
        return f"{self.sent} sent, {len(self.failed)} failed, {self.right / answered:.1%} of the answers right"


def push(kubectl: Kubectl, shuffled: Model, test: Test, console: Console) -> None:
    """Publish a model that answers nonsense as the next version, roll it out, and watch what happens.

    Raises:
        DevError: it was not rolled back, a request failed, or a pod that served was lost.
    """
    console.detail(f"$ kubectl get mdep -n {kubectl.namespace}\n{kubectl.run('get', 'mdep').stdout}")
    pods = serving_pods(kubectl)
    published = example_models.publish(kubectl, SERVED, shuffled.folder)
    console.detail(
        f"\nversion {published.version}: the same network, trained on shuffled labels; "
        f"accuracy on the test split {shuffled.metrics['accuracy']:.3f}"
    )
    with requests(kubectl, test) as meanwhile:
        console.detail(f"{CLIENTS} clients send requests all the time")
        started = time.monotonic()
        console.detail(f"\n$ {change(kubectl, published.version)}")
        state = progress.wait(kubectl, SERVED, GATE_SECONDS, console.detail, progress.rolled_back)
        seconds = time.monotonic() - started
        wait_for_more(meanwhile, 100)
    console.detail(f"\nrefused and rolled back {seconds:.1f} s after the change\nrequests meanwhile: {meanwhile}")
    console.detail(f"\n$ kubectl get mdep -n {kubectl.namespace}\n{kubectl.run('get', 'mdep').stdout}")
    complain(state, meanwhile, pods, serving_pods(kubectl))


def change(kubectl: Kubectl, version: int) -> str:
    """Request another version; return the command that does the same."""
    kubectl.patch("modeldeployment", SERVED, {"spec": {"model": {"version": version}}})
    return f'kubectl patch mdep {SERVED} --type=merge -p \'{{"spec":{{"model":{{"version":{version}}}}}}}\''


def serving_pods(kubectl: Kubectl) -> set[str]:
    """Return the names of the pods that get requests."""
    slices = kubectl.items("endpointslices", f"kubernetes.io/service-name={SERVED}")
    endpoints = [endpoint for found in slices for endpoint in found.get("endpoints") or []]
    return {endpoint["targetRef"]["name"] for endpoint in endpoints if endpoint["conditions"].get("ready")}


@contextmanager
def requests(kubectl: Kubectl, test: Test) -> Iterator[Requests]:
    """Request one digit after the other over long-lived channels, one for each client, while the body runs."""
    found, stop = Requests(), threading.Event()
    with ExitStack() as stack:
        route = stack.enter_context(reach.service(kubectl, SERVED))
        predictors = [stack.enter_context(connect(route.grpc)) for _ in range(CLIENTS)]
        threads = [
            threading.Thread(target=_predict, args=(predictor, test, start, found, stop))
            for start, predictor in enumerate(predictors)
        ]
        for thread in threads:
            thread.start()
        try:
            yield found
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def _predict(predictor: Predictor, test: Test, start: int, found: Requests, stop: threading.Event) -> None:
    place = start
    while not stop.wait(PAUSE):
        index = place % len(test.digits)
        place += CLIENTS
        try:
            answer = predictor.predict(SERVED, {"image": test.images[index : index + 1]}, 20, wait_for_ready=False)
        except grpc.RpcError as error:
            with found.lock:
                found.sent += 1
                found.failed.append(f"{error.code().name}: {error.details()}")
            continue
        with found.lock:
            found.sent += 1
            found.right += int(answer["digit"][0] == test.digits[index])


def wait_for_more(found: Requests, count: int, seconds: float = 20) -> None:
    """Wait until so many further requests came to an end: those after the rollback count as well."""
    least, deadline = found.sent + count, time.monotonic() + seconds
    while found.sent < least and time.monotonic() < deadline:
        time.sleep(PAUSE)


def complain(state: Manifest, meanwhile: Requests, before: set[str], after: set[str]) -> None:
    """Raise DevError unless everything went as it should."""
    reason = condition(state, "RolledBack")["reason"]
    if reason != "GateFailed":
        raise DevError(f"the bad version was rolled back for another reason than its answers: {reason}")
    if meanwhile.failed:
        raise DevError(f"{len(meanwhile.failed)} of {meanwhile.sent} requests failed: {meanwhile.failed[0]}")
    if before != after:
        raise DevError(f"the pods that serve were {sorted(before)} and are {sorted(after)}")


def take_back(kubectl: Kubectl, published: Published, console: Console) -> None:
    """Request the good version again, and see that no pod had to be restarted for it."""
    before = serving_pods(kubectl)
    console.detail(f"$ {change(kubectl, published.version)}")
    progress.wait(kubectl, SERVED, READY_SECONDS, console.detail)
    if before != serving_pods(kubectl):
        raise DevError("taking the change back replaced pods of the revision that was served all the time")
    console.detail(f"$ kubectl get mdep -n {kubectl.namespace}\n{kubectl.run('get', 'mdep').stdout}")
