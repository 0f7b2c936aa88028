"""Says what is: the whole new status, as JSON, from what is observed and what was decided. Pure.

Stable: nothing in it changes while nothing happens. The only times are those at which a condition or a verdict flipped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from slipway import conditions, history, loose, names, remembered, views
from slipway.api import ConditionStatus, ConditionType, PodState, Reason
from slipway.conditions import old_condition
from slipway.failure import worst_first
from slipway.observed import Failure, Key, Manifest, Observed, Plan, Pod
from slipway.views import Says, View

MOST_PODS = 50
_CONDITION_MESSAGE = 4096
_POD_MESSAGE = 1024
_GOOD = frozenset(
    {
        Reason.READY,
        Reason.COMPLETE,
        Reason.AVAILABLE,
        Reason.SCALED_TO_ZERO,
        Reason.ROLLING_OUT,
        Reason.SCALING,
        Reason.DRAINING_FIRST,
        Reason.NOT_AVAILABLE,
        Reason.NOT_ROLLED_BACK,
        Reason.ROLLING_BACK,
    }
)
"""Reasons that are no trouble by themselves: no Warning tells of them."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth telling: `type` is Normal or Warning."""

    type: str
    reason: str
    message: str


def compute(key: Key, observed: Observed, plan: Plan, failures: tuple[Failure, ...], now: datetime) -> Manifest:
    """Return the new status of a ModelDeployment. Never raises, whatever the old status holds.

    Args:
        key: which ModelDeployment.
        observed: everything known of it.
        plan: what was decided.
        failures: actions of the plan that the API server refused.
        now: the present time, aware.
    """
    if observed.resource is None:
        return {}
    view = views.read(key, observed, plan, failures, now)
    metadata = loose.mapping(observed.resource.get("metadata"))
    generation = max(0, loose.number(metadata.get("generation")) or 0)
    time = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    said = {
        ConditionType.READY: conditions.ready(view),
        ConditionType.AVAILABLE: conditions.available(view),
        ConditionType.PROGRESSING: conditions.progressing(view),
        ConditionType.ROLLED_BACK: conditions.rolled_back(view),
    }
    old = loose.mapping(observed.resource.get("status"))
    recorded = history.compute(view, observed, time)
    served: Manifest = next((entry for entry in recorded if entry["revision"] == view.served), {})
    found = {
        "observedGeneration": generation,
        "revision": view.revision,
        "stableRevision": history.stable(view),
        "servedRevision": view.served,
        "modelVersion": served.get("modelVersion"),
        "digest": served.get("digest"),
        "endpoints": _endpoints(key) if view.revision is not None else None,
        **_numbers(view),
        "selector": f"{names.NAME_LABEL}={key.name}",
        "conditions": [_condition(old, kind, says, generation, time) for kind, says in said.items()],
        "pods": [_pod(pod) for pod in sorted(view.pods, key=worst_first)[:MOST_PODS]],
        "history": recorded,
    }
    return {field: value for field, value in found.items() if value is not None}


def events(old: Manifest, new: Manifest) -> tuple[Event, ...]:
    """Return what is worth telling of a change of status: trouble, its end, and a pod that goes before its successor.

    A roll-out that goes well is not told: the conditions hold it, and each Event is a request to the API server.
    """
    return tuple(_events(old, new))


def urgent(old: Manifest, new: Manifest) -> bool:
    """Tell whether a change of status must be written at once.

    Counts, phases of pods, and the end of a pod's trouble may wait and be merged: as failed pods go one by one, each
    would otherwise cost a write.
    """
    return _headlines(old) != _headlines(new) or not _troubles(new) <= _troubles(old)


def calls_for_action(old: Manifest, new: Manifest) -> bool:
    """Tell whether the next decision is another one because a status has been written.

    It is when that holds a verdict Failed, or notes the stable revision before another one is turned to.
    """
    before, after = remembered.read(old), remembered.read(new)
    if after.revision is None:
        return False
    noted = after.stable not in {before.stable, after.revision}
    return noted or (after.failed(after.revision) and not before.failed(after.revision))


def _condition(old: Manifest, kind: ConditionType, says: Says, generation: int, time: str) -> Manifest:
    before = old_condition(old, kind)
    since = before.get("lastTransitionTime")
    kept = before.get("status") == says.status and isinstance(since, str)
    return {
        "type": str(kind),
        "status": str(says.status),
        "reason": str(says.reason),
        "message": loose.one_line(says.message, _CONDITION_MESSAGE),
        "observedGeneration": generation,
        "lastTransitionTime": since if kept else time,
    }


def _numbers(view: View) -> dict[str, int]:
    counts = view.counts
    if counts is None:
        return {"replicas": 0, "readyReplicas": 0, "updatedReplicas": 0}
    current = view.rolled_out and counts.current
    updated = counts.updated if current else sum(1 for pod in view.pods if _counts_as_updated(pod, view.served))
    return {"replicas": counts.replicas, "readyReplicas": counts.ready, "updatedReplicas": updated}


def _counts_as_updated(pod: Pod, revision: int | None) -> bool:
    gone = pod.state is PodState.TERMINATING or pod.reason is Reason.EVICTED
    return pod.revision == revision and not gone


def _endpoints(key: Key) -> Manifest:
    host = f"{names.service(key.name)}.{key.namespace}.svc"
    headless = f"{names.headless_service(key.name)}.{key.namespace}.svc"
    return {
        "grpc": f"{host}:{names.GRPC_PORT}",
        "rest": f"http://{host}:{names.REST_PORT}/v1/models/{key.name}",
        "headless": f"dns:///{headless}:{names.GRPC_PORT}",
    }


def _pod(pod: Pod) -> Manifest:
    return {
        "name": pod.name,
        "revision": pod.revision,
        "state": str(pod.state),
        "reason": str(pod.reason or ""),
        "message": loose.one_line(pod.message, _POD_MESSAGE),
        "restarts": pod.restarts,
    }


def _events(old: Manifest, new: Manifest) -> Iterator[Event]:
    before, after = (old_condition(status, ConditionType.READY) for status in (old, new))
    reason, was = loose.text(after.get("reason")), loose.text(before.get("reason"))
    told = loose.text(after.get("message"))
    if after.get("status") == ConditionStatus.FALSE and reason not in _GOOD and reason != was:
        yield Event("Warning", reason, told)
    if after.get("status") == ConditionStatus.TRUE and before and was not in _GOOD:
        yield Event("Normal", reason, told)
    before, after = (old_condition(status, ConditionType.PROGRESSING) for status in (old, new))
    if after.get("reason") == Reason.DRAINING_FIRST != before.get("reason"):
        yield Event("Normal", str(Reason.DRAINING_FIRST), loose.text(after.get("message")))
    if after.get("reason") == Reason.PAUSED != before.get("reason"):
        yield Event("Warning", str(Reason.PAUSED), told)
    before, after = (old_condition(status, ConditionType.ROLLED_BACK) for status in (old, new))
    if after.get("status") == ConditionStatus.TRUE != before.get("status"):
        yield Event("Warning", str(Reason.ROLLED_BACK), loose.text(after.get("message")))


def _headlines(status: Manifest) -> tuple[object, ...]:
    """Return what of a status may not wait."""
    return (
        status.get("observedGeneration"),
        status.get("revision"),
        status.get("stableRevision"),
        status.get("servedRevision"),
        status.get("endpoints"),
        [(item.get("status"), item.get("reason")) for item in loose.items(status.get("conditions"))],
        [(item.get("revision"), item.get("verdict")) for item in loose.items(status.get("history"))],
    )


def _troubles(status: Manifest) -> set[tuple[str, str]]:
    """Return the pods that have a reason not to be Ready, with it."""
    pods = loose.items(status.get("pods"))
    return {(str(item.get("name")), str(item.get("reason"))) for item in pods if item.get("reason")}
