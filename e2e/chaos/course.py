"""Rounds of promotion and rollback under load, undisturbed first, then with something going wrong in the middle.

Every disturbed phase must end exactly as the undisturbed one did, within a minute of its end being first seen, and the
number of pods that have been Ready and are not taken away is never below `spec.replicas`.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from dev.cluster.api_client import ApiError
from dev.kit.model_namespace import Object
from e2e.chaos import snapshot
from e2e.chaos.ground import say
from e2e.chaos.lane import NAME, WRITES, Lane

RESUME_SECONDS = 60
QUIET_SECONDS = 10
"""Longer than a status may be held back."""
REPLICAS = 2
NAME_LABEL = "serving.slipway.dev/name"


@dataclass(frozen=True)
class Phase:
    """What a phase took when nothing happened: seconds, and writes of the operator."""

    seconds: float
    writes: int


def _leave(lane: Lane) -> None:
    """Leave the lane as it is."""


@dataclass(frozen=True)
class Disturbance:
    """What goes wrong: words for people, and what surrounds the phase, from just before the change to its end.

    `after` puts right what the next phase must not see, when the end state has been compared.
    """

    words: str
    around: Callable[[Lane, Phase], AbstractContextManager[None]]
    after: Callable[[Lane], None] = _leave


@contextmanager
def nothing(lane: Lane, phase: Phase) -> Iterator[None]:
    """Disturb nothing."""
    yield


NOTHING = Disturbance("undisturbed", nothing)


@dataclass
class Course:
    """What the undisturbed rounds were like, by phase and by the good model: costs and end states."""

    lane: Lane
    bad: str = "corrupt"
    label: str = ""
    phases: dict[str, Phase] = field(default_factory=dict)
    ends: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    base: int = 0

    def learn(self) -> None:
        """Run undisturbed rounds: one whose history is shorter, one of each good model, one that must repeat them."""
        self._round(self._measure)
        for _ in range(2):
            self._round(self._measure)
        first = dict(self.ends)
        self._round(self._measure)
        for key, end in self.ends.items():
            wrong = snapshot.differences(first[key], end)
            assert not wrong, f"two undisturbed rounds end differently, {key}:\n" + "\n".join(wrong)

    def round(self, promoting: Disturbance = NOTHING, rolling_back: Disturbance = NOTHING) -> None:
        """Promote a good revision, then push a bad one that is rolled back."""
        chosen = {"promote": promoting, "rollback": rolling_back}

        def run(phase: str, act: Callable[[], None], done: Callable[[], bool]) -> str:
            return self._disturbed(phase, act, done, chosen[phase])

        self._round(run)

    def _round(self, run: Callable[[str, Callable[[], None], Callable[[], bool]], str]) -> None:
        lane = self.lane
        self.base = lane.revision()
        self._phase("promote", run, lane.promote, lane.promoted)
        before = self._serving()
        self._phase("rollback", run, lambda: lane.request(self.bad), lane.rolled_back)
        assert self._serving() == before, "the pods that serve live through a rollback, and are never restarted"

    def _phase(
        self,
        phase: str,
        run: Callable[[str, Callable[[], None], Callable[[], bool]], str],
        act: Callable[[], None],
        done: Callable[[], bool],
    ) -> None:
        with capacity(self.lane) as least:
            outcome = run(phase, act, done)
        assert least() >= REPLICAS, f"{phase}, {outcome}: only {least()} pods served"
        say(f"{self.label}{phase}: {outcome}")

    def _measure(self, phase: str, act: Callable[[], None], done: Callable[[], bool]) -> str:
        began, before = time.monotonic(), self._writes()
        act()
        self.lane.until(done, phase)
        took, wrote = time.monotonic() - began, self._writes() - before
        time.sleep(QUIET_SECONDS)  # what may still come, comes
        self.phases[phase] = Phase(took, wrote)
        self.ends[phase, self.lane.good] = self._state()
        return f"undisturbed: {took:.1f} s, {wrote} writes"

    def _disturbed(self, phase: str, act: Callable[[], None], done: Callable[[], bool], by: Disturbance) -> str:
        began = time.monotonic()
        with by.around(self.lane, self.phases[phase]):
            act()
            self.lane.until(done, f"{phase}, {by.words}")
        until = time.monotonic() + RESUME_SECONDS
        while wrong := snapshot.differences(self.ends[phase, self.lane.good], self._state()):
            assert time.monotonic() < until, f"{phase}, {by.words}, ends differently:\n" + "\n".join(wrong)
            time.sleep(0.3)
        took = time.monotonic() - began
        by.after(self.lane)
        return f"{by.words}: {took:.1f} s"

    def _state(self) -> dict[str, Any]:
        return snapshot.take(self.lane.world, NAME, self.base)

    def _serving(self) -> set[tuple[str, int]]:
        """Return identity and restarts of the servers."""
        found = snapshot.living(self.lane.world, NAME)
        return {
            (pod["metadata"]["uid"], status["restartCount"])
            for pod in found
            for status in pod["status"]["containerStatuses"]
        }

    def _writes(self) -> int:
        return sum(self.lane.proxy.count(verb) for verb in WRITES)


@dataclass
class Serving:
    """The pods that have been Ready once and are not on their way out.

    A pod that misses a probe on a busy machine still counts: it was not taken away.
    """

    pods: set[str] = field(default_factory=set)
    least: int = REPLICAS

    def see(self, event: Object) -> None:
        """Take in an event of the watch of pods."""
        pod = event["object"]
        metadata = pod["metadata"]
        if metadata.get("labels", {}).get(NAME_LABEL) != NAME:
            return
        ready = any(
            item["type"] == "Ready" and item["status"] == "True" for item in pod["status"].get("conditions", [])
        )
        if event["type"] == "DELETED" or "deletionTimestamp" in metadata:
            self.pods.discard(metadata["uid"])
        elif ready:
            self.pods.add(metadata["uid"])
        self.least = min(self.least, len(self.pods))


@contextmanager
def capacity(lane: Lane) -> Iterator[Callable[[], int]]:
    """Watch the pods; yield what returns the fewest that served at any moment of the body."""
    api, path = lane.ground.api(), lane.world.path("Pod")
    found = api.get(path)
    seen = Serving()
    for pod in found["items"]:
        seen.see({"type": "ADDED", "object": pod})
    seen.least = len(seen.pods)
    over = threading.Event()

    def work(version: str) -> None:
        while not over.is_set():
            try:
                for event in api.watch(path, version, seconds=5):
                    error = event["type"] == "ERROR"
                    version = "0" if error else event["object"]["metadata"]["resourceVersion"]
                    if event["type"] not in {"ERROR", "BOOKMARK"}:
                        seen.see(event)
            except (ApiError, OSError):  # the API server may be what is disturbed; it goes on from where it was
                over.wait(0.2)

    watcher = threading.Thread(target=work, args=(found["metadata"]["resourceVersion"],), name="capacity", daemon=True)
    watcher.start()
    try:
        yield lambda: seen.least
    finally:
        over.set()
        watcher.join()
