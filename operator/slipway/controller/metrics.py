"""Metrics: what the operator counts about itself, and a few facts about each ModelDeployment.

Label values come from closed sets (verbs, resources, codes, results) or are names of ModelDeployments, whose series are made at
scrape time from one small record each, and vanish with it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from slipway import __version__
from slipway.domain.objects import Key, Manifest

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_CODES = frozenset({"200", "201", "400", "401", "403", "404", "409", "410", "422", "429", "500", "503", "504", "error"})
_REVISIONS = {"update": "updateRevision", "current": "currentRevision", "target": "targetRevision"}
_ONE = ["namespace", "name"]


@dataclass(frozen=True, slots=True)
class ModelDeploymentFacts:
    """What is exported of one ModelDeployment.

    Attributes:
        target_revision: the revision that `model_version` belongs to; after a rollback not the one that the spec asks for.
        revisions: update, current and target revision, as far as they exist.
        desired_replicas: None while an autoscaler owns the number.
    """

    target_revision: str
    model_version: str
    reason: str
    ready: bool
    rolled_back: bool
    revisions: tuple[tuple[str, int], ...]
    desired_replicas: int | None
    replicas: int
    ready_replicas: int
    updated_replicas: int

    @classmethod
    def read(cls, status: Mapping[str, Any], desired_replicas: int | None) -> "ModelDeploymentFacts":
        """Return the facts in a status."""
        conditions: dict[object, Manifest] = {item.get("type"): item for item in status.get("conditions", ())}
        ready, rolled_back = conditions.get("Ready", {}), conditions.get("RolledBack", {})
        return cls(
            target_revision=str(status.get("targetRevision") or ""),
            model_version=str(status.get("modelVersion", "")),
            reason=str(ready.get("reason", "")),
            ready=ready.get("status") == "True",
            rolled_back=rolled_back.get("status") == "True",
            revisions=tuple((which, int(status[field])) for which, field in _REVISIONS.items() if status.get(field)),
            desired_replicas=desired_replicas,
            replicas=int(status.get("replicas") or 0),
            ready_replicas=int(status.get("readyReplicas") or 0),
            updated_replicas=int(status.get("updatedReplicas") or 0),
        )


class _AtScrape(Collector):
    """Metric families whose samples are made when they are scraped."""

    def __init__(self, make: Callable[[], Iterable[GaugeMetricFamily]]) -> None:
        self._make = make

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield from self._make()

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return ()


class Metrics:
    """All metrics, in a registry of their own."""

    def __init__(self) -> None:
        """Register everything."""
        self.registry = CollectorRegistry(auto_describe=False)
        self._facts: dict[Key, ModelDeploymentFacts] = {}
        self._watches: dict[tuple[str, str], Callable[[], float | None]] = {}
        self._scopes: dict[str, Callable[[], bool]] = {}
        self._depth: Callable[[], int] = int
        build = Gauge("slipway_build_info", "Version of the operator.", ["version"], registry=self.registry)
        build.labels(__version__).set(1)
        self._leader = Gauge("slipway_leader", "1 while this process leads.", registry=self.registry)
        self._reconciles = self._counter("slipway_reconcile", "Reconciliations by result.", ["result"])
        self._errors = self._counter("slipway_reconcile_errors", "Failed reconciliations by kind of error.", ["error"])
        self._duration = self._histogram(
            "slipway_reconcile_duration_seconds", "Duration of reconciliations.", ["result"]
        )
        self._adds = self._counter("slipway_workqueue_adds", "Keys added to the work queue.")
        self._retries = self._counter("slipway_workqueue_retries", "Keys added again after a failure.")
        self._queued = self._histogram(
            "slipway_workqueue_queue_duration_seconds", "Time that a due key waited for a worker."
        )
        self._requests = self._counter(
            "slipway_rest_client_requests",
            "Requests to the API server, without Kopf's.",
            ["verb", "resource", "code"],
        )
        self._request_duration = self._histogram(
            "slipway_rest_client_request_duration_seconds",
            "Duration of requests to the API server, without watches.",
            ["verb"],
        )
        self._restarts = self._counter("slipway_watch_restarts", "Watches that were restarted.", ["kind", "cause"])
        self._lag = self._histogram("slipway_event_loop_lag_seconds", "Delay of the event loop.")
        self._events = self._counter("slipway_events", "Kubernetes Events by result.", ["result"])
        self.registry.register(_AtScrape(self._families))

    def _counter(self, name: str, text: str, labels: Iterable[str] = ()) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, labels: Iterable[str] = ()) -> Histogram:
        return Histogram(name, text, labels, buckets=_BUCKETS, registry=self.registry)

    # workqueue.QueueMetrics
    def added(self) -> None:
        """Count a key that was added."""
        self._adds.inc()

    def retried(self) -> None:
        """Count a key that was added again after a failure."""
        self._retries.inc()

    def queued(self, seconds: float) -> None:
        """Count how long a due key waited."""
        self._queued.observe(seconds)

    # transport.Meter
    def requested(self, verb: str, resource: str, code: str, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(verb, resource, code if code in _CODES else "other").inc()
        if verb != "watch":
            self._request_duration.labels(verb).observe(seconds)

    def reconciled(self, result: str, seconds: float) -> None:
        """Count a reconciliation."""
        self._reconciles.labels(result).inc()
        self._duration.labels(result).observe(seconds)

    def failed(self, error: str) -> None:
        """Count a failure by its kind."""
        self._errors.labels(error).inc()

    def leading(self, leads: bool) -> None:  # noqa: FBT001 - a callback's only argument
        """Set whether this process leads; only the leader exports ModelDeployments."""
        self._leader.set(1 if leads else 0)
        if not leads:
            self._facts.clear()

    def restarted(self, kind: str, cause: str) -> None:
        """Count a watch that was restarted."""
        self._restarts.labels(kind, cause).inc()

    def lagged(self, seconds: float) -> None:
        """Count by how much the event loop was late."""
        self._lag.observe(seconds)

    def event(self, result: str) -> None:
        """Count a Kubernetes Event: sent, dropped or failed."""
        self._events.labels(result).inc()

    def show(self, key: Key, status: Mapping[str, Any], desired_replicas: int | None) -> None:
        """Export the facts in a status of a ModelDeployment."""
        self._facts[key] = ModelDeploymentFacts.read(status, desired_replicas)

    def forget(self, key: Key) -> None:
        """Stop exporting a ModelDeployment."""
        self._facts.pop(key, None)

    def watch_queue(self, depth: Callable[[], int]) -> None:
        """Export the depth of the work queue."""
        self._depth = depth

    def watch_age(self, kind: str, namespace: str, age: Callable[[], float | None]) -> None:
        """Export the age of a watch, unless it is None."""
        self._watches[kind, namespace] = age

    def watch_namespace(self, namespace: str, watched: Callable[[], bool]) -> None:
        """Export whether a namespace is watched; empty for all of them."""
        self._scopes[namespace] = watched

    def _families(self) -> Iterator[GaugeMetricFamily]:
        depth = GaugeMetricFamily("slipway_workqueue_depth", "Keys that are due and wait for a worker.")
        depth.add_metric([], self._depth())
        yield depth
        age = GaugeMetricFamily(
            "slipway_watch_age_seconds",
            "Time since a watch last heard the API server.",
            labels=["kind", "namespace"],
        )
        for labels, read in self._watches.items():
            if (seconds := read()) is not None:
                age.add_metric(labels, seconds)
        yield age
        watched = GaugeMetricFamily(
            "slipway_namespace_watched",
            "1 if the namespace is watched, 0 if it is gone or refused, or not listed yet.",
            labels=["namespace"],
        )
        for namespace, is_watched in self._scopes.items():
            watched.add_metric([namespace], is_watched())
        yield watched
        yield from _modeldeployment_families(self._facts)


def _modeldeployment_families(facts: Mapping[Key, ModelDeploymentFacts]) -> Iterator[GaugeMetricFamily]:
    info = GaugeMetricFamily(
        "slipway_modeldeployment_info",
        "1 for each ModelDeployment, with the target revision, the version that it serves, and the reason of condition Ready.",
        labels=[*_ONE, "revision", "model_version", "reason"],
    )
    ready = GaugeMetricFamily("slipway_modeldeployment_ready", "1 if condition Ready is True.", labels=_ONE)
    rolled_back = GaugeMetricFamily(
        "slipway_modeldeployment_rolled_back", "1 if condition RolledBack is True.", labels=_ONE
    )
    revision = GaugeMetricFamily(
        "slipway_modeldeployment_revision",
        "Number of the update, current and target revision.",
        labels=[*_ONE, "which"],
    )
    replicas = GaugeMetricFamily(
        "slipway_modeldeployment_replicas",
        "Pods: desired (absent while an autoscaler decides), present, ready, updated.",
        labels=[*_ONE, "state"],
    )
    for key, known in facts.items():
        labels = [key.namespace, key.name]
        info.add_metric([*labels, known.target_revision, known.model_version, known.reason], 1)
        ready.add_metric(labels, known.ready)
        rolled_back.add_metric(labels, known.rolled_back)
        for which, number in known.revisions:
            revision.add_metric([*labels, which], number)
        counts = {"present": known.replicas, "ready": known.ready_replicas, "updated": known.updated_replicas}
        if known.desired_replicas is not None:
            counts["desired"] = known.desired_replicas
        for state, number in counts.items():
            replicas.add_metric([*labels, state], number)
    yield from (info, ready, rolled_back, revision, replicas)
