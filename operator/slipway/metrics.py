"""Metrics: what the operator counts about itself, and a few facts about each ModelDeployment.

Label values come from closed sets (verbs, resources, codes, results) or are names of ModelDeployments, whose families
are made at the moment of asking from one small record each, and vanish with it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from slipway import __version__
from slipway.observed import Key, Manifest

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_CODES = frozenset({"200", "201", "400", "401", "403", "404", "409", "410", "422", "429", "500", "503", "504", "error"})

_REVISIONS = {"asked": "revision", "stable": "stableRevision", "served": "servedRevision"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is shown of one ModelDeployment."""

    revision: str
    model_version: str
    reason: str
    ready: bool
    wanted: int | None
    replicas: int
    ready_replicas: int
    updated_replicas: int
    revisions: tuple[tuple[str, int], ...]
    """The revisions that are asked for, stable and served, as far as there are such."""
    rolled_back: bool


def facts(status: Mapping[str, Any], wanted: int | None) -> Facts:
    """Return the facts in a status; `wanted` is the number of replicas asked for, None while an autoscaler decides."""
    conditions: dict[object, Manifest] = {item.get("type"): item for item in status.get("conditions", ())}
    ready, rolled_back = conditions.get("Ready", {}), conditions.get("RolledBack", {})
    return Facts(
        revision=str(status.get("revision", "")),
        model_version=str(status.get("modelVersion", "")),
        reason=str(ready.get("reason", "")),
        ready=ready.get("status") == "True",
        wanted=wanted,
        replicas=int(status.get("replicas") or 0),
        ready_replicas=int(status.get("readyReplicas") or 0),
        updated_replicas=int(status.get("updatedReplicas") or 0),
        revisions=tuple((which, int(status[field])) for which, field in _REVISIONS.items() if status.get(field)),
        rolled_back=rolled_back.get("status") == "True",
    )


class _Asked(Collector):
    """Families whose samples are made when they are asked for."""

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
        self.registry = registry = CollectorRegistry(auto_describe=False)
        self._facts: dict[Key, Facts] = {}
        self._watches: dict[tuple[str, str], Callable[[], float]] = {}
        self._depth: Callable[[], int] = int
        self._build = Gauge("slipway_build_info", "Version of the operator.", ["version"], registry=registry)
        self._build.labels(__version__).set(1)
        self._reconciles = Counter("slipway_reconcile", "Reconciliations by result.", ["result"], registry=registry)
        self._errors = Counter(
            "slipway_reconcile_errors", "Reconciliations that failed, by kind of error.", ["error"], registry=registry
        )
        self._duration = Histogram(
            "slipway_reconcile_duration_seconds",
            "Duration of reconciliations.",
            ["result"],
            buckets=_FAST,
            registry=registry,
        )
        self._adds = Counter("slipway_queue_adds", "Keys put into the work queue.", registry=registry)
        self._retries = Counter("slipway_queue_retries", "Keys put back after a failure.", registry=registry)
        self._wait = Histogram(
            "slipway_queue_wait_seconds", "Time that a due key waited for a worker.", buckets=_FAST, registry=registry
        )
        self._requests = Counter(
            "slipway_api_requests",
            "Requests to the API server, without Kopf's.",
            ["verb", "resource", "code"],
            registry=registry,
        )
        self._request_duration = Histogram(
            "slipway_api_request_duration_seconds",
            "Duration of requests to the API server; watches are not in it.",
            ["verb"],
            buckets=_FAST,
            registry=registry,
        )
        self._leader = Gauge("slipway_leader", "1 while this process holds the lease.", registry=registry)
        self._restarts = Counter(
            "slipway_watch_restarts", "Watches that had to be begun again.", ["kind", "cause"], registry=registry
        )
        self._lag = Histogram(
            "slipway_loop_lag_seconds", "How late the event loop is.", buckets=_FAST, registry=registry
        )
        self._events = Counter(
            "slipway_events", "Kubernetes Events by what became of them.", ["result"], registry=registry
        )
        registry.register(_Asked(self._families))

    # the queue's hooks
    def added(self) -> None:
        """Count a key put in."""
        self._adds.inc()

    def retried(self) -> None:
        """Count a key put back."""
        self._retries.inc()

    def waited(self, seconds: float) -> None:
        """Count how long a key waited."""
        self._wait.observe(seconds)

    # the cluster's meter
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
        """Take in whether this process leads; a standby shows no ModelDeployments, the leader does."""
        self._leader.set(1 if leads else 0)
        if not leads:
            self._facts.clear()

    def restarted(self, kind: str, cause: str) -> None:
        """Count a watch begun again."""
        self._restarts.labels(kind, cause).inc()

    def lagged(self, seconds: float) -> None:
        """Count how late the loop was."""
        self._lag.observe(seconds)

    def event(self, result: str) -> None:
        """Count a Kubernetes Event: sent, dropped or failed."""
        self._events.labels(result).inc()

    def show(self, key: Key, known: Facts) -> None:
        """Show a ModelDeployment."""
        self._facts[key] = known

    def forget(self, key: Key) -> None:
        """Show it no longer."""
        self._facts.pop(key, None)

    def watch_queue(self, depth: Callable[[], int]) -> None:
        """Ask this for the depth of the queue."""
        self._depth = depth

    def watch_age(self, kind: str, namespace: str, age: Callable[[], float]) -> None:
        """Ask this for the age of a watch."""
        self._watches[kind, namespace] = age

    def _families(self) -> Iterator[GaugeMetricFamily]:
        depth = GaugeMetricFamily("slipway_queue_depth", "Keys that are due and wait for a worker.")
        depth.add_metric([], self._depth())
        yield depth
        age = GaugeMetricFamily(
            "slipway_watch_age_seconds",
            "Time since a watch last heard of the API server.",
            labels=["kind", "namespace"],
        )
        for labels, ask in self._watches.items():
            age.add_metric(labels, ask())
        yield age
        yield from self._deployments()

    def _deployments(self) -> Iterator[GaugeMetricFamily]:
        one = ["namespace", "name"]
        info = GaugeMetricFamily(
            "slipway_modeldeployment_info",
            "1 for each ModelDeployment, with what it serves and why it is as it is.",
            labels=[*one, "revision", "model_version", "reason"],
        )
        ready = GaugeMetricFamily("slipway_modeldeployment_ready", "1 where condition Ready is True.", labels=one)
        rolled_back = GaugeMetricFamily(
            "slipway_modeldeployment_rolled_back",
            "1 where another revision is served than the one that is asked for, because that has failed.",
            labels=one,
        )
        revision = GaugeMetricFamily(
            "slipway_modeldeployment_revision",
            "Number of the revision that is asked for, that is stable, that is served.",
            labels=[*one, "which"],
        )
        replicas = GaugeMetricFamily(
            "slipway_modeldeployment_replicas",
            "Pods: wanted (absent while an autoscaler decides), present, ready, updated.",
            labels=[*one, "state"],
        )
        for key, known in self._facts.items():
            labels = [key.namespace, key.name]
            info.add_metric([*labels, known.revision, known.model_version, known.reason], 1)
            ready.add_metric(labels, known.ready)
            rolled_back.add_metric(labels, known.rolled_back)
            for which, number in known.revisions:
                revision.add_metric([*labels, which], number)
            counts = {"present": known.replicas, "ready": known.ready_replicas, "updated": known.updated_replicas}
            if known.wanted is not None:
                counts["wanted"] = known.wanted
            for state, number in counts.items():
                replicas.add_metric([*labels, state], number)
        yield from (info, ready, rolled_back, revision, replicas)
