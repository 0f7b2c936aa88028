"""What a change of status means: which Events it brings, whether it is urgent, whether the next decision changes. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from slipway.api import ConditionStatus, ConditionType, Reason, Verdict
from slipway.decide.recorded import Recorded
from slipway.domain import lenient
from slipway.domain.objects import Manifest
from slipway.status.conditions import find

_NORMAL = frozenset(
    {
        Reason.READY,
        Reason.COMPLETE,
        Reason.AVAILABLE,
        Reason.SCALED_TO_ZERO,
        Reason.ROLLING_OUT,
        Reason.SCALING,
        Reason.TERMINATING_FIRST,
        Reason.NOT_AVAILABLE,
        Reason.NOT_ROLLED_BACK,
        Reason.ROLLING_BACK,
    }
)
"""Reasons that are no fault by themselves: they bring no Warning."""


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event to record; `type` is Normal or Warning."""

    type: str
    reason: str
    message: str


def events(old: Manifest, new: Manifest) -> tuple[Event, ...]:
    """Return the Events of a change of status: a fault, its end, and a pod that terminates before its successor starts.

    A rollout that goes well brings none: the conditions show it, and each Event is a request to the API server.
    """
    return tuple(_events(old, new))


def urgent(old: Manifest, new: Manifest) -> bool:
    """Return whether a change of status must be written at once.

    Counts, states of pods, and the end of a pod's fault may wait and be merged: as failed pods are deleted one by one,
    each would otherwise cost a write.
    """
    return _essentials(old) != _essentials(new) or not _faulty_pods(new) <= _faulty_pods(old)


def starts_rollout(old: Manifest, new: Manifest) -> bool:
    """Return whether a change of status is nothing but the start of a rollout: what served still does, and nothing failed."""
    before, after = Recorded.read(old), Recorded.read(new)
    ready_before, ready_after = find(old, ConditionType.READY), find(new, ConditionType.READY)
    return (
        ready_before.get("status") == ConditionStatus.TRUE
        and ready_after.get("reason") == Reason.ROLLING_OUT
        and before.current == after.current
        and _standing(old) == _standing(new)
        and _failures(new) <= _failures(old)
        and _faulty_pods(new) <= _faulty_pods(old)
        and not changes_decision(old, new)
    )


def changes_decision(old: Manifest, new: Manifest) -> bool:
    """Return whether the next decision differs because a status has been written.

    It does if the status records a failure, or the current revision before another one is deployed.
    """
    before, after = Recorded.read(old), Recorded.read(new)
    if after.update is None:
        return False
    new_current = after.current not in {before.current, after.update}
    return new_current or (after.failed(after.update) and not before.failed(after.update))


def _events(old: Manifest, new: Manifest) -> Iterator[Event]:
    before, after = (find(status, ConditionType.READY) for status in (old, new))
    reason, old_reason = lenient.text(after.get("reason")), lenient.text(before.get("reason"))
    message = lenient.text(after.get("message"))
    if after.get("status") == ConditionStatus.FALSE and reason not in _NORMAL and reason != old_reason:
        yield Event("Warning", reason, message)
    if after.get("status") == ConditionStatus.TRUE and before and old_reason not in _NORMAL:
        yield Event("Normal", reason, message)
    before, after = (find(status, ConditionType.PROGRESSING) for status in (old, new))
    if after.get("reason") == Reason.TERMINATING_FIRST != before.get("reason"):
        yield Event("Normal", str(Reason.TERMINATING_FIRST), lenient.text(after.get("message")))
    if after.get("reason") == Reason.PAUSED != before.get("reason"):
        yield Event("Warning", str(Reason.PAUSED), message)
    before, after = (find(status, ConditionType.ROLLED_BACK) for status in (old, new))
    if after.get("status") == ConditionStatus.TRUE != before.get("status"):
        yield Event("Warning", str(Reason.ROLLED_BACK), lenient.text(after.get("message")))


def _essentials(status: Manifest) -> tuple[object, ...]:
    """Return the part of a status whose changes must not wait."""
    return (
        status.get("observedGeneration"),
        status.get("updateRevision"),
        status.get("currentRevision"),
        status.get("targetRevision"),
        status.get("endpoints"),
        [(item.get("status"), item.get("reason")) for item in lenient.items(status.get("conditions"))],
        [(item.get("revision"), item.get("verdict")) for item in lenient.items(status.get("history"))],
    )


def _standing(status: Manifest) -> list[tuple[object, object]]:
    """Return the conditions that the start of a rollout leaves as they are."""
    kept = {str(ConditionType.AVAILABLE), str(ConditionType.ROLLED_BACK)}
    items = lenient.items(status.get("conditions"))
    return [(item.get("type"), item.get("status")) for item in items if item.get("type") in kept]


def _failures(status: Manifest) -> set[object]:
    """Return the revisions that have failed."""
    items = lenient.items(status.get("history"))
    return {str(item.get("revision")) for item in items if item.get("verdict") == Verdict.FAILED}


def _faulty_pods(status: Manifest) -> set[tuple[str, str]]:
    """Return the pods with a fault, each with its reason."""
    pods = lenient.items(status.get("pods"))
    return {(str(item.get("name")), str(item.get("reason"))) for item in pods if item.get("reason")}
