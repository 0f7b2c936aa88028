"""Says what is: the whole new status, as JSON, from what is observed and what was decided. Pure.

Stable: nothing in it changes while nothing happens. The only times are those at which a condition or a verdict flipped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from slipway import names, revisions, rollout
from slipway.api import ConditionStatus, ConditionType, PodState, Reason, Verdict
from slipway.observed import Apply, Failure, Key, Manifest, Observed, Plan, Pod
from slipway.revisions import Record
from slipway.rollout import Counts

MOST_PODS = 50
_CONDITION_MESSAGE = 4096
_POD_MESSAGE = 1024
_HISTORY_MESSAGE = 1024
_MOST_HISTORY = 100
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
    }
)
"""Reasons that are no trouble by themselves: no Warning tells of them."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth telling: `type` is Normal or Warning."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class _Says:
    """A condition without its times."""

    status: ConditionStatus
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class _View:
    """Everything that the conditions are made of, read once."""

    key: Key
    plan: Plan
    old: Manifest
    live: Manifest | None
    counts: Counts | None
    pods: tuple[Pod, ...]
    failure: Failure | None
    revision: int | None

    @property
    def rolled_out(self) -> bool:
        """The Deployment's template is that of the wanted revision."""
        return self.live is not None and rollout.number(self.live) == self.revision

    @property
    def complete(self) -> bool:
        """All wanted pods, and no others, run the wanted revision and answer."""
        return self.rolled_out and self.counts is not None and self.counts.complete

    @property
    def trouble(self) -> Pod | None:
        """The pod of the wanted revision that is worst off."""
        stuck = [pod for pod in self.pods if pod.revision == self.revision and pod.reason not in {None, Reason.EVICTED}]
        return min(stuck, key=_worst_first, default=None)


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
    view = _view(key, observed, plan, failures)
    metadata = _mapping(observed.resource.get("metadata"))
    generation = _whole(metadata.get("generation"))
    time = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    said = {
        ConditionType.READY: _ready(view),
        ConditionType.AVAILABLE: _available(view),
        ConditionType.PROGRESSING: _progressing(view),
    }
    history = _history(view, observed, str(metadata.get("uid", "")), time)
    newest: Manifest = next((entry for entry in history if entry["revision"] == view.revision), {})
    found = {
        "observedGeneration": generation,
        "revision": view.revision,
        "modelVersion": newest.get("modelVersion"),
        "digest": newest.get("digest"),
        "endpoints": _endpoints(key) if view.revision is not None else None,
        **_numbers(view),
        "selector": f"{names.NAME_LABEL}={key.name}",
        "conditions": [_condition(view.old, kind, says, generation, time) for kind, says in said.items()],
        "pods": [_pod(pod) for pod in sorted(view.pods, key=_worst_first)[:MOST_PODS]],
        "history": history,
    }
    return {field: value for field, value in found.items() if value is not None}


def events(old: Manifest, new: Manifest) -> tuple[Event, ...]:
    """Return what is worth telling of a change of status: trouble, its end, and a pod that goes before its successor.

    A roll-out that goes well is not told: the conditions hold it, and each Event is a request to the API server.
    """
    return tuple(_events(old, new))


def urgent(old: Manifest, new: Manifest) -> bool:
    """Tell whether a change of status must be written at once; counts and phases of pods may wait and be merged."""
    return _headlines(old) != _headlines(new)


def _view(key: Key, observed: Observed, plan: Plan, failures: tuple[Failure, ...]) -> _View:
    resource = observed.resource or {}
    uid = str(_mapping(resource.get("metadata")).get("uid", ""))
    old = _mapping(resource.get("status"))
    live = rollout.live_deployment(key, uid, observed.children)
    revision = plan.revision if plan.revision is not None else _number(old.get("revision"))
    return _View(
        key=key,
        plan=plan,
        old=old,
        live=live,
        counts=rollout.counts(live) if live else None,
        pods=observed.pods,
        failure=failures[0] if failures else None,
        revision=revision,
    )


# Ready: a chain of checks; the first that speaks wins.


def _ready(view: _View) -> _Says:
    for check in (_refused, _done, _stuck, _overdue, _under_way):
        if (says := check(view)) is not None:
            return says
    return _Says(ConditionStatus.FALSE, Reason.NOT_AVAILABLE, _count_pods(view))


def _refused(view: _View) -> _Says | None:
    """What the user wrote, or what the API server would not take."""
    if view.plan.problem is not None:
        return _no(view.plan.problem.reason, view.plan.problem.message)
    if view.failure is not None:
        return _no(view.failure.reason, f"{view.failure.ref} could not be applied: {view.failure.message}")
    return None


def _done(view: _View) -> _Says | None:
    if not view.complete or view.counts is None:
        return None
    if view.counts.wanted == 0:
        message = f"Revision {view.revision} is scaled to zero: set spec.replicas to serve it"
        return _Says(ConditionStatus.TRUE, Reason.SCALED_TO_ZERO, message)
    return _Says(ConditionStatus.TRUE, Reason.READY, f"Revision {view.revision} answers on {_pods(view.counts.ready)}")


def _stuck(view: _View) -> _Says | None:
    """The newest revision's worst pod, in its own words."""
    pod = view.trouble
    if pod is None or pod.reason is None:
        return None
    return _no(pod.reason, f"Pod {pod.name}: {pod.message}{_advice(view, pod)}")


def _overdue(view: _View) -> _Says | None:
    if view.live is None or not view.rolled_out:
        return None
    condition = rollout.condition(view.live, "Progressing")
    if condition.get("reason") != "ProgressDeadlineExceeded":
        return None
    message = f"Revision {view.revision} has made no progress within spec.rollout.progressDeadline: {_count_pods(view)}"
    return _no(Reason.PROGRESS_DEADLINE_EXCEEDED, message)


def _under_way(view: _View) -> _Says | None:
    progressing = _progressing(view)
    if progressing.status is not ConditionStatus.TRUE:
        return None
    return _no(progressing.reason, progressing.message)


def _available(view: _View) -> _Says:
    counts = view.counts
    if view.live is None or counts is None:
        return _no(Reason.NOT_AVAILABLE, "No pod answers: there is no Deployment")
    if counts.wanted == 0:
        return _Says(ConditionStatus.TRUE, Reason.SCALED_TO_ZERO, "No pod is wanted")
    message = f"{counts.available} of {_pods(counts.wanted)} available"
    if rollout.condition(view.live, "Available").get("status") == "True":
        return _Says(ConditionStatus.TRUE, Reason.AVAILABLE, message)
    return _no(Reason.NOT_AVAILABLE, message)


def _progressing(view: _View) -> _Says:
    if (refused := _refused(view)) is not None:
        return refused
    if view.complete:
        return _no(Reason.COMPLETE, f"Revision {view.revision} is complete")
    overdue, pod = _overdue(view), view.trouble
    if pod is not None and pod.reason is not None and (pod.failed or overdue):
        return _no(pod.reason, f"Revision {view.revision} is stuck: {_count_pods(view)}")
    if overdue is not None:
        return overdue
    if view.plan.draining and view.rolled_out and view.counts is not None and not view.counts.replaced:
        message = f"An old pod goes before a new one comes: {_count_pods(view)}"
        return _Says(ConditionStatus.TRUE, Reason.DRAINING_FIRST, message)
    reason = Reason.SCALING if view.rolled_out and _was_ready(view) else Reason.ROLLING_OUT
    return _Says(ConditionStatus.TRUE, reason, _count_pods(view))


def _was_ready(view: _View) -> bool:
    """Tell whether the wanted revision has been complete before: pods that are missing now are a matter of scale."""
    return _old_history(view.old).get(view.revision or 0, {}).get("verdict") == Verdict.READY


def _no(reason: Reason, message: str) -> _Says:
    return _Says(ConditionStatus.FALSE, reason, message)


def _count_pods(view: _View) -> str:
    counts = view.counts
    if counts is None:
        return f"Revision {view.revision}: the Deployment is being created"
    if not view.rolled_out or not counts.current:
        return f"Revision {view.revision}: the Deployment takes it up"
    old = max(0, counts.replicas - counts.updated)
    rest = f", {old} of an older revision" if old else ""
    return f"Revision {view.revision}: {counts.updated} of {_pods(counts.wanted)} there, {counts.ready} ready{rest}"


def _pods(number: int) -> str:
    return f"{number} pod" if number == 1 else f"{number} pods"


def _advice(view: _View, pod: Pod) -> str:
    """Say what to do, where the words of scheduler, kubelet, fetch or server do not."""
    logs = f"kubectl logs -n {view.key.namespace} {pod.name} -c {names.SERVER_CONTAINER}"
    waits = rollout.number(view.live) == view.revision and not view.plan.draining
    found = {
        Reason.GPU_UNAVAILABLE: "free a GPU, add a node with one, or let an old pod go first with "
        "spec.rollout.strategy: DrainFirst"
        if waits and any(other.revision != view.revision for other in view.pods)
        else "free a GPU or add a node with one",
        Reason.UNSCHEDULABLE: "free or add capacity, or ask for less in spec.resources and spec.podTemplate",
        Reason.VOLUME_NOT_FOUND: "create it, or correct spec.model.uri",
        Reason.IMAGE_PULL_FAILED: "correct spec.runtime, or see that the node may pull it "
        "(spec.podTemplate.imagePullSecrets)",
        Reason.OUT_OF_MEMORY: "raise spec.resources.limits.memory",
        Reason.CRASH_LOOP: f"see {logs} --previous",
        Reason.LOAD_FAILED: f"see {logs} --previous",
        Reason.UNHEALTHY: f"see {logs}",
    }
    advice = found.get(pod.reason) if pod.reason else None
    return f" ({advice})" if advice else ""


# Everything else.


def _condition(old: Manifest, kind: ConditionType, says: _Says, generation: int, time: str) -> Manifest:
    before = _old_condition(old, kind)
    since = before.get("lastTransitionTime")
    kept = before.get("status") == says.status and isinstance(since, str)
    return {
        "type": str(kind),
        "status": str(says.status),
        "reason": str(says.reason),
        "message": _cut(says.message, _CONDITION_MESSAGE),
        "observedGeneration": generation,
        "lastTransitionTime": since if kept else time,
    }


def _numbers(view: _View) -> dict[str, int]:
    counts = view.counts
    if counts is None:
        return {"replicas": 0, "readyReplicas": 0, "updatedReplicas": 0}
    current = view.rolled_out and counts.current
    updated = counts.updated if current else sum(1 for pod in view.pods if _counts_as_updated(pod, view.revision))
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
        "message": _cut(pod.message, _POD_MESSAGE),
        "restarts": pod.restarts,
    }


def _worst_first(pod: Pod) -> tuple[bool, bool, bool, str]:
    return (not pod.failed, pod.reason is None, pod.ready, pod.name)


def _history(view: _View, observed: Observed, uid: str, time: str) -> list[Manifest]:
    records = list(revisions.read(observed.children, view.key.name, uid))
    known = {record.number for record in records}
    records += [record for record in _recorded_now(view.plan) if record.number not in known]
    records.sort(key=lambda record: record.number, reverse=True)
    before = _old_history(view.old)
    return [_entry(view, record, before.get(record.number, {}), time) for record in records[:_MOST_HISTORY]]


def _recorded_now(plan: Plan) -> Iterator[Record]:
    for action in plan.actions:
        if isinstance(action, Apply) and action.manifest["kind"] == revisions.KIND:
            yield Record(action.manifest["revision"], action.manifest["data"])


def _entry(view: _View, record: Record, before: Manifest, time: str) -> Manifest:
    verdict, reason, message = _verdict(view, record, before)
    version, digest = _served(view.pods, record.number)
    same = before.get("verdict") == verdict and isinstance(before.get("time"), str)
    found = {
        "revision": record.number,
        "uri": str(_mapping(record.spec.get("model")).get("uri", "")),
        "image": record.image,
        "modelVersion": version if version is not None else _number(before.get("modelVersion")),
        "digest": digest or (before.get("digest") if isinstance(before.get("digest"), str) else None),
        "verdict": str(verdict),
        "reason": reason,
        "message": _cut(message, _HISTORY_MESSAGE),
        "time": before["time"] if same else time,
    }
    return {field: value for field, value in found.items() if value is not None}


def _verdict(view: _View, record: Record, before: Manifest) -> tuple[Verdict, str, str]:
    """Return how a revision fared: once Ready it stays so; once Failed it stays so until it is Ready."""
    said = before.get("verdict")
    if said == Verdict.READY:
        return Verdict.READY, "", ""
    kept = _text(before.get("reason")), _text(before.get("message"))
    if view.plan.revision is None:  # nothing was decided: nothing is new
        return (Verdict(said), *kept) if said in set(Verdict) else (Verdict.PROGRESSING, "", "")
    if record.number != view.revision:
        return (Verdict.FAILED, *kept) if said == Verdict.FAILED else (Verdict.SUPERSEDED, "", "")
    if view.complete:
        return Verdict.READY, "", ""
    progressing = _progressing(view)
    if view.plan.problem is None and view.failure is None and progressing.status is ConditionStatus.FALSE:
        ready = _ready(view)
        return Verdict.FAILED, str(ready.reason), ready.message
    return (Verdict.FAILED, *kept) if said == Verdict.FAILED else (Verdict.PROGRESSING, "", "")


def _served(pods: tuple[Pod, ...], revision: int) -> tuple[int | None, str | None]:
    """Return the version and digest that a pod of the revision has fetched: of a ready one, if there is one."""
    fetched = [pod for pod in pods if pod.revision == revision and pod.digest is not None]
    pod = min(fetched, key=lambda pod: (not pod.ready, pod.name), default=None)
    return (pod.model_version, pod.digest) if pod else (None, None)


def _events(old: Manifest, new: Manifest) -> Iterator[Event]:
    before, after = (_old_condition(status, ConditionType.READY) for status in (old, new))
    reason, was = _text(after.get("reason")), _text(before.get("reason"))
    told = _text(after.get("message"))
    if after.get("status") == ConditionStatus.FALSE and reason not in _GOOD and reason != was:
        yield Event("Warning", reason, told)
    if after.get("status") == ConditionStatus.TRUE and before and was not in _GOOD:
        yield Event("Normal", reason, told)
    before, after = (_old_condition(status, ConditionType.PROGRESSING) for status in (old, new))
    if after.get("reason") == Reason.DRAINING_FIRST != before.get("reason"):
        yield Event("Normal", str(Reason.DRAINING_FIRST), _text(after.get("message")))


def _headlines(status: Manifest) -> tuple[object, ...]:
    """Return what of a status may not wait."""
    return (
        status.get("observedGeneration"),
        status.get("revision"),
        status.get("endpoints"),
        [(item.get("status"), item.get("reason")) for item in _items(status.get("conditions"))],
        [(item.get("revision"), item.get("verdict")) for item in _items(status.get("history"))],
        sorted(
            (str(item.get("name")), str(item.get("reason")))
            for item in _items(status.get("pods"))
            if item.get("reason")
        ),
    )


def _old_condition(status: Manifest, kind: ConditionType) -> Manifest:
    return next((item for item in _items(status.get("conditions")) if item.get("type") == kind), {})


def _old_history(status: Manifest) -> dict[int, Manifest]:
    return {
        number: item for item in _items(status.get("history")) if (number := _number(item.get("revision"))) is not None
    }


def _items(value: object) -> list[Manifest]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _whole(value: object) -> int:
    return max(0, _number(value) or 0)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
