"""Which revision has failed, which serves: the one module that judges. The status writes its verdicts and formats them.

A revision fails in two cases: none of its pods has been Ready yet and one of them reports a fault that waiting does not
cure; or the Deployment has made no progress within `spec.rollout.progressDeadline`. A fault that may pass is a failure only by
the deadline. A verdict takes effect once the status that records it has been written (`recorded.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from slipway.api import Reason, Verdict
from slipway.decide.plan import Plan
from slipway.decide.state import State
from slipway.domain.objects import Pod

_DEFINITE = frozenset(
    {
        Reason.FETCH_FAILED,
        Reason.LOAD_FAILED,
        Reason.GATE_FAILED,
        Reason.GATE_INVALID,
        Reason.OOM_KILLED,
        Reason.CONTAINER_CONFIG_FAILED,
        Reason.IMAGE_PULL_FAILED,
        Reason.CRASH_LOOP,
    }
)
_CRASHES = 2
"""Restarts after which a server that exits without an error message is expected to exit always."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The revisions of a ModelDeployment at one moment.

    Attributes:
        update: the update revision; the recorded one if the plan found none.
        target: the target revision, likewise.
        current: the last revision that served completely, the present moment included.
        deployed: the Deployment's pod template is that of the target revision.
        complete: all desired pods, and no others, run the target revision and are Ready.
        rolled_back: the update revision has failed, as recorded, and another one is the target.
        failing: the update revision, still the target, fails at this moment.
        failing_pod: the pod that shows why, if one does.
        worst_pod: the pod of the target revision with the worst fault, or None.
        overdue: the target revision has exceeded its progress deadline.
        answered: a pod of the update revision is, or has been, Ready in the present attempt.
        verdicts: on every revision.
    """

    update: int | None
    target: int | None
    current: int | None
    deployed: bool
    complete: bool
    rolled_back: bool
    failing: bool
    failing_pod: Pod | None
    worst_pod: Pod | None
    overdue: bool
    answered: bool
    verdicts: Mapping[int, Verdict]


def judge(state: State, plan: Plan, now: datetime) -> Judgement:
    """Return how the revisions fare.

    Args:
        state: of the ModelDeployment.
        plan: what was decided.
        now: the present time, aware.
    """
    decided = plan.update is not None
    update = plan.update if decided else state.recorded.update
    target = (plan.target if decided else state.recorded.target) or update
    deployment, recorded = state.deployment, state.recorded
    deployed = deployment is not None and deployment.revision == target
    complete = deployed and deployment is not None and deployment.counts.complete and not plan.held_at_one
    serves = complete and deployment is not None and deployment.counts.desired > 0
    current = target if serves else state.current if decided else recorded.current
    worst = _worst_pod(state, target)
    overdue = target is not None and _overdue(state, target, now)
    failing_pod = None
    on_trial = update is not None and update == target and update != plan.current
    if update is not None and on_trial:
        failing_pod = _definite_fault(state, update, now) or (worst if overdue else None)
    failing = on_trial and (failing_pod is not None or overdue)
    answered = update is not None and (
        recorded.answered(update) or any(pod.revision == update and pod.ready for pod in state.pods)
    )
    ready = {number for number in (plan.current, target if serves and target == update else None) if number is not None}
    return Judgement(
        update=update,
        target=target,
        current=current,
        deployed=deployed,
        complete=complete,
        rolled_back=update is not None and target != update and recorded.failed(update),
        failing=failing,
        failing_pod=failing_pod,
        worst_pod=worst,
        overdue=overdue,
        answered=answered,
        verdicts={
            revision.number: _verdict(state, plan, revision.number, ready=ready, failing=failing)
            for revision in state.revisions
        },
    )


def seconds_to_failure(state: State, update: int, now: datetime) -> float | None:
    """Return the seconds until time alone may turn what is observed now into a failure; None if it cannot."""
    waits = [_grace_left(pod, now) for pod in state.pods if pod.revision == update and _definite(pod)]
    began, deployment = state.recorded.attempt_began(update), state.deployment
    if began is not None and deployment is not None and deployment.revision == update and deployment.timed_out:
        waits.append((deployment.progress_deadline - (now - began)).total_seconds())
    return min((wait for wait in waits if wait > 0), default=None)


def _verdict(state: State, plan: Plan, number: int, *, ready: set[int], failing: bool) -> Verdict:
    """Return the verdict on a revision: Failed stays while it is the update revision; asked for anew, it progresses again."""
    recorded = state.recorded.verdict(number)
    if plan.update is None:  # nothing was decided: nothing changes
        return recorded or Verdict.PROGRESSING
    if number in ready:
        return Verdict.READY
    if number == plan.update:
        return Verdict.FAILED if failing or state.recorded.failed(number) else Verdict.PROGRESSING
    return recorded if recorded in {Verdict.FAILED, Verdict.READY} else Verdict.SUPERSEDED


def _worst_pod(state: State, target: int | None) -> Pod | None:
    faulty = [pod for pod in state.pods if pod.revision == target and pod.reason not in {None, Reason.EVICTED}]
    return min(faulty, key=Pod.severity, default=None)


def _definite_fault(state: State, number: int, now: datetime) -> Pod | None:
    """Return the pod whose fault ends the rollout of a revision, or None."""
    mine = [pod for pod in state.pods if pod.revision == number]
    if state.deployed != number or state.recorded.answered(number) or any(pod.ready for pod in mine):
        return None
    faulty = (pod for pod in mine if _definite(pod) and _grace_left(pod, now) <= 0)
    return min(faulty, key=Pod.severity, default=None)


def _overdue(state: State, number: int, now: datetime) -> bool:
    deployment = state.deployment
    if deployment is None or deployment.revision != number or not deployment.timed_out:
        return False
    if state.recorded.failed(number) or number == state.recorded.current:
        return True
    # The Deployment may still report an earlier attempt: it does so until pods of this one come.
    began = state.recorded.attempt_began(number)
    return began is not None and now - began >= deployment.progress_deadline


def _definite(pod: Pod) -> bool:
    return pod.failed and pod.reason in _DEFINITE and (pod.reason is not Reason.CRASH_LOOP or pod.restarts >= _CRASHES)


def _grace_left(pod: Pod, now: datetime) -> float:
    """Return the seconds within which the fault of a pod may still pass; 0 or less if it is final."""
    if pod.scheduled_at is None or pod.grace_seconds <= 0:
        return 0.0
    return pod.grace_seconds - (now - pod.scheduled_at).total_seconds()
