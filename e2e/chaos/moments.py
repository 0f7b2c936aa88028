"""When the operator is killed: at a share of the time that a phase takes, or at one of its writes, before the API server
has heard of it or after it has carried it out.
"""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from dev.kit.fault_proxy import Fault, Kind
from e2e.chaos.course import Disturbance, Phase
from e2e.chaos.disturbances import meanwhile
from e2e.chaos.lane import WRITES, Lane

_PAUSES = (0.0, 0.5, 3.0)
"""Seconds until somebody starts it again."""


class How(StrEnum):
    TIME = "at a time"
    BEFORE = "before the API server heard of a write"
    AFTER = "after a write, before its answer"


@dataclass(frozen=True)
class Moment:
    """One kill: how, at which share of the phase, and how long the operator is away."""

    how: How
    share: float
    pause: float

    def disturbance(self) -> Disturbance:
        """Return the kill as a disturbance of a phase."""

        @contextmanager
        def around(lane: Lane, phase: Phase) -> Iterator[None]:
            with _killed(lane, self, phase):
                yield

        return Disturbance(f"kill -9 {self.how}, at {self.share:.0%}, back after {self.pause} s", around)


def choose(rng: random.Random, count: int) -> list[Moment]:
    """Return seeded moments: of each kind as many, spread over the phase, each at random in its share of it."""
    kinds = list(How)
    each = -(-count // len(kinds))
    return [
        Moment(kinds[number % len(kinds)], (number // len(kinds) + rng.random()) / each, rng.choice(_PAUSES))
        for number in range(count)
    ]


@contextmanager
def _killed(lane: Lane, moment: Moment, phase: Phase) -> Iterator[None]:
    """Kill the lane's operator at that moment of the body and start it again.

    Where the write that is meant never comes, the operator is killed at the end of the body: what is looked at then is
    the work of the next one.
    """
    dead = threading.Event()

    def kill() -> None:
        lane.operator.kill()
        dead.set()

    def work(over: threading.Event) -> None:
        if moment.how is How.TIME:
            over.wait(moment.share * phase.seconds)
            kill()
        else:
            fault = Fault(Kind.BEFORE if moment.how is How.BEFORE else Kind.AFTER, then=kill)
            rule = lane.proxy.add(fault, verbs=WRITES, times=1, skip=int(moment.share * phase.writes))
            while not dead.wait(0.05):
                if over.is_set():
                    kill()
            lane.proxy.remove(rule)
        time.sleep(moment.pause)
        lane.operator.start(ready=False)

    with meanwhile(work):
        yield
