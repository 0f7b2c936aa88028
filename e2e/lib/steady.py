"""A model in service that takes bad updates one after the other, and what must hold of it after each."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dev.kit import gates, traffic, wait
from dev.kit.conditions import current
from dev.kit.kubectl import Kubectl, Manifest
from dev.kit.model_deployments import KIND, pods, uids
from dev.kit.prediction import Predictor
from e2e.lib import endpoints
from e2e.lib.endpoints import Endpoints


@dataclass
class Steady:
    """A model in service: its first pods must live through everything.

    Attributes:
        good: the manifest that is served.
        first: uids of the pods that served first.
        revision: number of the revision that they run.
        predictor: a channel that is never closed.
        seen: everything that its endpoints ever were.
    """

    kubectl: Kubectl
    name: str
    good: Manifest
    first: set[str]
    revision: int
    predictor: Predictor
    seen: Endpoints

    def changed(self, spec: dict[str, Any]) -> Manifest:
        """Return the good manifest with another spec, field by field at the top level."""
        return {**self.good, "spec": self.good["spec"] | spec}

    def untouched(self) -> None:
        """Fail unless the first pods are the only ones, were never restarted, and alone have ever been in an endpoint."""
        found = pods(self.kubectl, self.name)
        assert uids(found) == self.first
        containers = ("containerStatuses", "initContainerStatuses")
        restarts = [status["restartCount"] for pod in found for kind in containers for status in pod["status"][kind]]
        assert set(restarts) == {0}
        assert self.seen.served == self.first

    def goes_back(self, spec: dict[str, Any], reason: str, words: str, seconds: float = 240) -> Manifest:
        """Apply a bad update and follow it to its end: refused, never served, rolled back, and reported."""
        self.kubectl.apply(self.changed(spec))
        requested = (self.kubectl.get(KIND, self.name) or {})["spec"]
        state = gates.rolled_back(self.kubectl, self.name, reason, words, seconds)
        number = state["status"]["updateRevision"]
        assert number > self.revision
        assert state["spec"] == requested  # the user's wish stays as it was written
        assert current(state, "Available")["status"] == "True"
        assert state["status"]["currentRevision"] == state["status"]["targetRevision"] == self.revision
        assert gates.verdicts(state)[number] == ("Failed", reason)
        wait.until(self.kubectl, "deployment", self.name, lambda _: uids(pods(self.kubectl, self.name)) == self.first)
        self.untouched()
        self.reported(state, reason, words)
        return state

    def reported(self, state: Manifest, reason: str, words: str) -> None:
        """Fail unless `kubectl get` and `kubectl describe` alone say what is served, what failed, why, and what to do."""
        number = state["status"]["updateRevision"]
        message = current(state, "Ready")["message"]
        for part in (f"revision {number}", f"revision {self.revision}", "retry", words):
            assert part.lower() in message.lower(), message
        header, row = self.kubectl.run("get", "mdep", self.name).stdout.splitlines()
        columns = dict(zip(header.split(), row.split(), strict=False))
        shown = [columns[name] for name in ("NAME", "READY", "REVISION", "TARGET")]
        assert shown == [self.name, "False", str(number), str(self.revision)]
        described = self.kubectl.run("describe", "mdep", self.name).stdout
        for part in (reason, "RolledBack", words):
            assert part.lower() in described.lower(), described

    def stays_so(self, state: Manifest) -> None:
        """Fail if the failed spec is tried again: a change that makes no revision wakes the operator, and nothing comes."""
        pods_before = set(self.seen.revisions)
        limit = {"rollout": self.good["spec"].get("rollout", {}) | {"revisionHistoryLimit": 20}}
        generation = (self.kubectl.get(KIND, self.name) or {})["metadata"]["generation"]
        self.kubectl.patch(KIND, self.name, {"spec": limit})

        def answered(found: Manifest) -> bool:
            return bool(found["status"].get("observedGeneration", 0) > generation)

        after = wait.until(self.kubectl, KIND, self.name, answered)
        assert after["status"]["updateRevision"] == state["status"]["updateRevision"]
        assert current(after, "RolledBack")["status"] == "True"
        assert set(self.seen.revisions) == pods_before
        self.untouched()


@contextmanager
def steady(kubectl: Kubectl, good: Manifest) -> Iterator[Steady]:
    """Yield a model as soon as it serves."""
    name = good["metadata"]["name"]
    with endpoints.watched(kubectl, name) as seen:
        kubectl.apply(good)
        state = wait.ready(kubectl, name)
        with traffic.held(kubectl, name) as predictor:
            first = uids(pods(kubectl, name))
            found = Steady(kubectl, name, good, first, state["status"]["updateRevision"], predictor, seen)
            yield found
