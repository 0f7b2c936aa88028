"""The conditions: for each a chain of checks, of which the first that applies decides. Pure; part of the status."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from slipway.api import ConditionStatus, ConditionType, Reason, Verdict
from slipway.domain import lenient, names
from slipway.domain.objects import Manifest
from slipway.status import messages
from slipway.status.status_input import StatusInput

_DIFFERENT = 2


@dataclass(frozen=True, slots=True)
class ConditionState:
    """A condition without its type and times."""

    status: ConditionStatus
    reason: Reason
    message: str


_Check = Callable[[StatusInput], ConditionState | None]


def compute(given: StatusInput) -> dict[ConditionType, ConditionState]:
    """Return all conditions."""
    return {
        ConditionType.READY: ready(given),
        ConditionType.AVAILABLE: available(given),
        ConditionType.PROGRESSING: progressing(given),
        ConditionType.ROLLED_BACK: rolled_back(given),
    }


def find(status: Manifest, kind: ConditionType) -> Manifest:
    """Return a condition of a written status, or an empty one."""
    return next((item for item in lenient.items(status.get("conditions")) if item.get("type") == kind), {})


def ready(given: StatusInput) -> ConditionState:
    """Return Ready: every desired pod runs the update revision and answers, or why not."""
    checks = (_refused, _rolled_back_instead, _paused, _done, _faulty_pod, _pods_rejected, _overdue, _in_progress)
    return _first(given, checks) or _false(Reason.NOT_AVAILABLE, messages.revision_counts(given))


def available(given: StatusInput) -> ConditionState:
    """Return Available: the Deployment's own condition, whatever revision its pods run."""
    deployment = given.state.deployment
    if deployment is None:
        return _false(Reason.NOT_AVAILABLE, "There is no Deployment")
    counts = deployment.counts
    if counts.desired == 0:
        return _true(Reason.SCALED_TO_ZERO, "No pods are desired")
    message = f"{counts.available} of {messages.pods(counts.desired)} available"
    return _true(Reason.AVAILABLE, message) if deployment.available else _false(Reason.NOT_AVAILABLE, message)


def progressing(given: StatusInput) -> ConditionState:
    """Return Progressing: pods are being replaced or scaled, or why not."""
    if (found := _first(given, (_refused, _waits_for_user, _finished, _stuck))) is not None:
        return found
    judgement, message = given.judgement, messages.revision_counts(given)
    old_pods = any(pod.revision != judgement.target for pod in given.state.pods)
    if given.plan.terminate_first and judgement.deployed and old_pods:
        return _true(Reason.TERMINATING_FIRST, f"An old pod terminates before a new one starts: {message}")
    if judgement.rolled_back:
        return _true(Reason.ROLLING_BACK, message)
    # A revision that has been complete before needs pods only because of its scale.
    was_ready = given.state.recorded.verdict(judgement.target or 0) is Verdict.READY
    return _true(Reason.SCALING if judgement.deployed and was_ready else Reason.ROLLING_OUT, message)


def rolled_back(given: StatusInput) -> ConditionState:
    """Return RolledBack: the update revision has failed and another one is served instead."""
    if not given.judgement.rolled_back or not given.judgement.deployed:
        return _false(Reason.NOT_ROLLED_BACK, "The update revision is not rolled back")
    reason, message = _recorded_failure(given)
    return _true(reason, f"{message}. Revision {given.judgement.target} is served instead")


def failure(given: StatusInput) -> tuple[Reason, str]:
    """Return reason and message of an update revision that fails at this moment."""
    pod = given.judgement.failing_pod
    if pod is not None and pod.reason is not None:
        return pod.reason, messages.pod_fault(given, pod)
    found = _pods_rejected(given) or _overdue(given)
    return (found.reason, found.message) if found is not None else (Reason.NOT_AVAILABLE, "")


def _first(given: StatusInput, checks: tuple[_Check, ...]) -> ConditionState | None:
    return next((found for check in checks if (found := check(given)) is not None), None)


def _refused(given: StatusInput) -> ConditionState | None:
    """The spec cannot be carried out, or the API server rejected an action."""
    if given.plan.problem is not None:
        return _false(given.plan.problem.reason, given.plan.problem.message)
    if (rejection := given.rejection) is not None:
        return _false(rejection.reason, f"{rejection.ref} could not be applied: {rejection.message}")
    return None


def _rolled_back_instead(given: StatusInput) -> ConditionState | None:
    """What failed, what is served instead, and what to do."""
    judgement = given.judgement
    if not judgement.rolled_back:
        return None
    reason, message = _recorded_failure(given)
    if judgement.complete and given.counts is not None:
        instead = f"Revision {judgement.target} serves on {messages.pods(given.counts.ready)}"
    elif (pod := judgement.worst_pod) is not None:
        instead = f"Rolling back to revision {judgement.target}: {messages.pod_fault(given, pod)}"
    else:
        instead = f"Rolling back: {messages.revision_counts(given, capitalize=False)}"
    return _false(reason, f"{message}. {instead}. {_remedy(given)}")


def _paused(given: StatusInput) -> ConditionState | None:
    if not given.plan.paused:
        return None
    reason, message = _recorded_failure(given)
    others = sum(1 for pod in given.state.pods if pod.revision != given.judgement.update and pod.ready)
    serving = f"{messages.pods(others)} of revision {given.plan.current} {'is' if others == 1 else 'are'} ready"
    return _false(reason, f"{message}. The rollout is paused (spec.rollout.onFailure); {serving}. {_remedy(given)}")


def _recorded_failure(given: StatusInput) -> tuple[Reason, str]:
    """Return reason and message of the recorded verdict on the failed update revision."""
    update = given.judgement.update
    entry = given.state.recorded.history.get(update or 0, {})
    found, message = lenient.text(entry.get("reason")), lenient.text(entry.get("message")).rstrip(". ")
    reason = Reason(found) if found in set(Reason) else Reason.NOT_AVAILABLE
    return reason, f"Revision {update} failed: {message or reason}"


def _remedy(given: StatusInput) -> str:
    """Return what a user can do about a revision that has failed."""
    if given.plan.pinned:
        return "Set spec.pinnedRevision to another revision, or remove it"
    used = {revision.retry for revision in given.state.revisions}  # these tokens have no effect any more
    token = next(number for number in count(given.judgement.update or 1) if str(number) not in used)
    command = f"kubectl annotate mdep {given.key.name} -n {given.key.namespace}"
    return f"Change the spec, or try again with: {command} {names.RETRY_ANNOTATION}={token} --overwrite"


def _done(given: StatusInput) -> ConditionState | None:
    if not given.judgement.complete or given.counts is None:
        return None
    target = given.judgement.target
    if given.counts.desired == 0:
        return _true(Reason.SCALED_TO_ZERO, f"Revision {target} is scaled to zero: set spec.replicas to serve it")
    ready_on = f"Revision {target} is ready on {messages.pods(given.counts.ready)}"
    return _true(Reason.READY, f"{ready_on}{_mixed_content(given)}")


def _mixed_content(given: StatusInput) -> str:
    """Warn if the source has changed under its address, so that pods of one revision serve different content."""
    state, target = given.state, given.judgement.target or 0
    reported = [pod for pod in state.pods if pod.revision == target and pod.ready and pod.digest]
    pin = state.pins.get(target)
    if pin is None:
        differ = len({pod.digest for pod in reported}) >= _DIFFERENT
        return "; its pods serve different content: set spec.model.version or spec.model.digest" if differ else ""
    others = sorted(pod.name for pod in reported if pod.digest != pin.digest)
    if not others:
        return ""
    delete = f"kubectl delete pod -n {given.key.namespace} {' '.join(others)}"
    serve = "serves" if len(others) == 1 else "serve"
    return f"; {', '.join(others)} {serve} other content than the pinned {pin.digest}: {delete}"


def _faulty_pod(given: StatusInput) -> ConditionState | None:
    """The worst pod of the target revision."""
    pod = given.judgement.worst_pod
    if pod is None or pod.reason is None:
        return None
    return _false(pod.reason, f"{messages.pod_fault(given, pod)}{_no_rollback(given)}")


def _no_rollback(given: StatusInput) -> str:
    """Say that there is nothing to roll back to, and what to do, if a failing revision has none before it."""
    update = given.judgement.update
    if given.plan.current is not None or update is None:
        return ""
    if not given.judgement.failing and not given.state.recorded.failed(update):
        return ""
    return f". There is no earlier revision to roll back to, so Kubernetes keeps retrying. {_remedy(given)}"


def _pods_rejected(given: StatusInput) -> ConditionState | None:
    """The API server rejects the creation of the pods."""
    deployment = given.state.deployment
    if deployment is None or not given.judgement.deployed or not (rejection := deployment.pod_rejection):
        return None
    reason = Reason.QUOTA_EXCEEDED if "exceeded quota" in rejection else Reason.APPLY_FAILED
    advice = messages.rejection_advice(rejection)
    return _false(reason, f"A pod cannot be created: {rejection}{f' ({advice})' if advice else ''}")


def _overdue(given: StatusInput) -> ConditionState | None:
    if not given.judgement.overdue:
        return None
    made = f"Revision {given.judgement.target} has made no progress within spec.rollout.progressDeadline"
    return _false(Reason.PROGRESS_DEADLINE_EXCEEDED, f"{made}: {messages.counts(given)}")


def _in_progress(given: StatusInput) -> ConditionState | None:
    found = progressing(given)
    return _false(found.reason, found.message) if found.status is ConditionStatus.TRUE else None


def _waits_for_user(given: StatusInput) -> ConditionState | None:
    if not given.plan.paused:
        return None
    failed = f"Revision {given.judgement.update} failed and the rollout is paused"
    return _false(Reason.PAUSED, f"{failed}: {messages.counts(given)}")


def _finished(given: StatusInput) -> ConditionState | None:
    judgement = given.judgement
    if not judgement.complete:
        return None
    if judgement.rolled_back:
        message = f"Revision {judgement.update} failed, revision {judgement.target} is complete"
        return _false(Reason.ROLLED_BACK, message)
    return _false(Reason.COMPLETE, f"Revision {judgement.target} is complete")


def _stuck(given: StatusInput) -> ConditionState | None:
    overdue, pod = _overdue(given), given.judgement.worst_pod
    if pod is not None and pod.reason is not None and (pod.failed or overdue):
        return _false(pod.reason, f"Revision {given.judgement.target} is stuck: {messages.counts(given)}")
    return overdue and (_pods_rejected(given) or overdue)


def _true(reason: Reason, message: str) -> ConditionState:
    return ConditionState(ConditionStatus.TRUE, reason, message)


def _false(reason: Reason, message: str) -> ConditionState:
    return ConditionState(ConditionStatus.FALSE, reason, message)
