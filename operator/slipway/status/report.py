"""The whole status of a ModelDeployment, as JSON, from its state and what was decided. Pure.

Stable: nothing in it changes while nothing happens. Its only times are those of transitions.
"""

from datetime import UTC, datetime
from urllib.parse import quote

from slipway.api import ConditionType, PodState, Reason
from slipway.decide import Plan, State, judge
from slipway.domain import lenient, names
from slipway.domain.objects import Manifest, Pod, Rejection
from slipway.status import conditions, history
from slipway.status.conditions import ConditionState
from slipway.status.messages import restarts
from slipway.status.status_input import StatusInput

MAX_PODS = 50
_CONDITION_MESSAGE_LENGTH = 4096
_POD_MESSAGE_LENGTH = 1024


def compute(state: State, plan: Plan, rejections: tuple[Rejection, ...], now: datetime) -> Manifest:
    """Return the new status of a ModelDeployment. Never raises, whatever the old status contains.

    Args:
        state: of the ModelDeployment.
        plan: what was decided.
        rejections: actions of the plan that the API server rejected.
        now: the present time, aware.
    """
    given = StatusInput(state, plan, judge(state, plan, now), rejections[0] if rejections else None)
    judgement = given.judgement
    generation = max(0, lenient.number(state.metadata.get("generation")) or 0)
    time = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    entries = history.compute(given, time)
    target: Manifest = next((entry for entry in entries if entry["revision"] == judgement.target), {})
    found = {
        "observedGeneration": generation,
        "updateRevision": judgement.update,
        "currentRevision": judgement.current,
        "targetRevision": judgement.target,
        "modelVersion": target.get("modelVersion"),
        "digest": target.get("digest"),
        "endpoints": _endpoints(state, judgement.target) if judgement.update is not None else None,
        **_numbers(given),
        "selector": f"{names.NAME_LABEL}={state.key.name}",
        "conditions": [
            _condition(state.status, kind, new, generation, time) for kind, new in conditions.compute(given).items()
        ],
        "pods": [_pod(pod) for pod in sorted(state.pods, key=Pod.severity)[:MAX_PODS]],
        "history": entries,
    }
    return {field: value for field, value in found.items() if value is not None}


def _condition(status: Manifest, kind: ConditionType, new: ConditionState, generation: int, time: str) -> Manifest:
    before = conditions.find(status, kind)
    since = before.get("lastTransitionTime")
    kept = before.get("status") == new.status and isinstance(since, str)
    return {
        "type": str(kind),
        "status": str(new.status),
        "reason": str(new.reason),
        "message": lenient.one_line(new.message, _CONDITION_MESSAGE_LENGTH),
        "observedGeneration": generation,
        "lastTransitionTime": since if kept else time,
    }


def _numbers(given: StatusInput) -> dict[str, int]:
    counts, target = given.counts, given.judgement.target
    if counts is None:
        return {"replicas": 0, "readyReplicas": 0, "updatedReplicas": 0}
    # In a restart the Deployment counts the pods of its new template, which all run the same revision.
    current = (
        given.judgement.deployed and counts.observed and not (counts.updated < counts.replicas and restarts(given))
    )
    updated = counts.updated if current else sum(1 for pod in given.state.pods if _is_updated(pod, target))
    return {"replicas": counts.replicas, "readyReplicas": counts.ready, "updatedReplicas": updated}


def _is_updated(pod: Pod, target: int | None) -> bool:
    gone = pod.state is PodState.TERMINATING or pod.reason is Reason.EVICTED
    return pod.revision == target and not gone


def _endpoints(state: State, target: int | None) -> Manifest:
    key, revision = state.key, state.revision(target)
    model = (revision.served_name if revision else "") or key.name
    host = f"{names.service(key.name)}.{key.namespace}.svc"
    headless = f"{names.headless_service(key.name)}.{key.namespace}.svc"
    return {
        "grpc": f"{host}:{names.GRPC_PORT}",
        "rest": f"http://{host}:{names.REST_PORT}/v1/models/{quote(model, safe='')}",
        "headless": f"dns:///{headless}:{names.GRPC_PORT}",
    }


def _pod(pod: Pod) -> Manifest:
    return {
        "name": pod.name,
        "revision": pod.revision,
        "state": str(pod.state),
        "reason": str(pod.reason or ""),
        "message": lenient.one_line(pod.message, _POD_MESSAGE_LENGTH),
        "restarts": pod.restarts,
    }
