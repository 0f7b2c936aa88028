"""What a load test looks at beside the calls: who answered them, and how many endpoints were ready all the while."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dev.kit.kubectl import Kubectl, Manifest
from dev.kit.model_deployments import pods, selector
from dev.kit.prediction import http
from dev.kit.reach import REST_PORT

_COUNT = re.compile(r"^:tensorflow:serving:request_count\{.*\} (\S+)$", re.MULTILINE)
_POLL_SECONDS = 1


def answered(kubectl: Kubectl, model: str) -> dict[str, int]:
    """Return how many calls each pod has answered since its start, by its own counter."""
    found = {}
    for pod in pods(kubectl, model):
        page = http(f"http://{pod['status']['podIP']}:{REST_PORT}/monitoring/prometheus/metrics")
        found[pod["metadata"]["name"]] = total(page)
    return found


def total(page: str) -> int:
    """Return how many calls a server has answered, from its metrics."""
    return int(sum(map(float, _COUNT.findall(page))))


def between(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """Return what was answered between two looks at the same pods."""
    assert set(before) == set(after), f"not the same pods: {before} {after}"
    return {name: after[name] - before[name] for name in after}


def unevenness(counts: dict[str, int]) -> float:
    """Return how far the pod that is farthest off is from an equal share, as a part of that share."""
    share = sum(counts.values()) / len(counts)
    return max(abs(count - share) for count in counts.values()) / share


def settled(kubectl: Kubectl, holds: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait until something is as wanted; the message says what was waited for and shows the pods."""
    deadline = time.monotonic() + seconds
    while not holds():
        shown = kubectl.run("get", "pods", "--output=wide").stdout
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}\n{shown}"
        time.sleep(_POLL_SECONDS)


def only(kubectl: Kubectl, model: str, count: int, seconds: float = 240) -> None:
    """Wait until a model has so many pods, those on their way out included."""
    settled(kubectl, lambda: len(kubectl.items("pods", selector(model))) == count, f"{count} pods of {model}", seconds)


@dataclass
class Capacity:
    """How many endpoints were ready, each time that changed; the newest last."""

    seen: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def take(self, endpoint_slice: Manifest) -> None:
        """Count the ready endpoints of a state of the slice."""
        endpoints = endpoint_slice.get("endpoints") or []
        count = sum(bool(endpoint["conditions"].get("ready")) for endpoint in endpoints)
        if not self.seen or self.seen[-1] != count:
            self.seen.append(count)


@contextmanager
def capacity(kubectl: Kubectl, model: str, seconds: float = 600) -> Iterator[Capacity]:
    """Watch the EndpointSlice of a model's Service while the body runs."""
    [found] = kubectl.items("endpointslices", f"kubernetes.io/service-name={model}")
    watched = Capacity()
    stop = threading.Event()

    def follow() -> None:
        # One watch for all of it: between two of them a change could be missed.
        with kubectl.watch("endpointslice", found["metadata"]["name"], seconds, renew=seconds) as states:
            for state in states:
                watched.take(state)
                if stop.is_set():
                    return
        watched.problems.append("the watch ended by itself")

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    settled(kubectl, lambda: bool(watched.seen), "a first look at the endpoints", 60)
    yield watched
    assert not watched.problems, watched.problems
    stop.set()
    # A change that the watch is sure to see, so that nothing before it can have been missed.
    kubectl.run("annotate", "endpointslice", found["metadata"]["name"], f"e2e/looked={time.time()}", "--overwrite")
    thread.join(30)
    assert not thread.is_alive(), "the watch saw no more changes"
