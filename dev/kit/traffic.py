"""Clients of a model: single requests, a channel that is held, and a crowd that sends requests all the time."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import grpc
import numpy as np

from dev.kit.kubectl import Kubectl
from dev.kit.prediction import Predictor, connect
from dev.kit.reach import service

IN_A_ROW = 10
X = 4.0
"""What is sent; y = X / 2 + b tells the model that answered."""


def predict(predictor: Predictor, model: str, seconds: float = 10, *, patient: bool = True) -> float:
    """Return y for X."""
    answer = predictor.predict(model, {"x": np.array([X], np.float32)}, seconds, wait_for_ready=patient)
    return float(answer["y"][0])


def answer_of(offset: float) -> float:
    """Return what y = X / 2 + offset is."""
    return X / 2 + offset


@contextmanager
def held(kubectl: Kubectl, model: str) -> Iterator[Predictor]:
    """Yield a client whose channel to the Service stays open for as long as the body runs."""
    with service(kubectl, model) as route, connect(route.grpc) as predictor:
        yield predictor


def predict_once(kubectl: Kubectl, model: str) -> float:
    """Return y for X over a channel of its own."""
    with held(kubectl, model) as predictor:
        return predict(predictor, model)


def settled(kubectl: Kubectl, model: str, answer: float, seconds: float = 120) -> None:
    """Wait until ten new channels in a row get this answer."""
    deadline, right = time.monotonic() + seconds, 0
    while right < IN_A_ROW:
        assert time.monotonic() < deadline, f"after {seconds:.0f} s not every new channel is answered {answer}"
        right = right + 1 if predict_once(kubectl, model) == answer else 0


@dataclass
class Crowd:
    """What happened to a crowd's calls: how often each answer came, and every failure with its words."""

    answers: Counter[float] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition, repr=False)

    @property
    def calls(self) -> int:
        """Return how many calls came to an end."""
        return sum(self.answers.values()) + len(self.failures)


def wait_for(seen: Crowd, holds: Callable[[], bool], seconds: float = 180) -> None:
    """Wait until the crowd has seen something; it wakes this up at every call that ends."""
    with seen.changed:
        assert seen.changed.wait_for(holds, seconds), f"not within {seconds:.0f} s: {seen}"


@contextmanager
def crowd(kubectl: Kubectl, model: str, clients: int = 4, pause: float = 0.02) -> Iterator[Crowd]:
    """Send requests all the time over long-lived channels, one for each client, while the body runs.

    No call is tried again, and none waits for a connection to come back. `pause` is what each client rests between calls,
    in seconds.
    """
    seen, stop = Crowd(), threading.Event()

    def run(predictor: Predictor) -> None:
        while not stop.is_set():
            try:
                answer = predict(predictor, model, 20, patient=False)
                words = ""
            except grpc.RpcError as error:
                words = f"{time.strftime('%H:%M:%S')} {error.code()}: {error.details()}"
            with seen.changed:
                if words:
                    seen.failures.append(words)
                else:
                    seen.answers[answer] += 1
                seen.changed.notify_all()
            stop.wait(pause)

    with ExitStack() as stack:
        predictors = [stack.enter_context(held(kubectl, model)) for _ in range(clients)]
        threads = [threading.Thread(target=run, args=(predictor,)) for predictor in predictors]
        for thread in threads:
            thread.start()
        try:
            yield seen
        finally:
            stop.set()
            for thread in threads:
                thread.join()
