"""The conditions: chains of small checks, of which the first that speaks wins. Pure; part of the status."""

from itertools import count

from slipway import failure, loose, names, rollout
from slipway.api import ConditionStatus, ConditionType, Reason, Verdict
from slipway.observed import Manifest, Pod
from slipway.views import Says, View

_LEAST_DIGESTS = 2


def failed(view: View) -> Says | None:
    """Return why the revision that is asked for fails at this moment, or None; see `slipway.failure`."""
    number = view.revision
    if number is None or number == view.plan.stable or number != view.served:
        return None
    pod = failure.culprit(number, view.live, view.pods, view.memory, view.now)
    if pod is not None and pod.reason is not None:
        return _no(pod.reason, _words(view, pod))
    if (overdue := _overdue(view)) is None:
        return None
    pod = view.trouble
    if pod is None or pod.reason is None:
        return _podless(view) or overdue
    return _no(pod.reason, _words(view, pod))


def ready(view: View) -> Says:
    """Return what Ready says: the first of the checks that speaks."""
    for check in (_refused, _instead, _paused, _done, _stuck, _podless, _overdue, _under_way):
        if (says := check(view)) is not None:
            return says
    return Says(ConditionStatus.FALSE, Reason.NOT_AVAILABLE, _count_pods(view))


def _refused(view: View) -> Says | None:
    """What the user wrote, or what the API server would not take."""
    if view.plan.problem is not None:
        return _no(view.plan.problem.reason, view.plan.problem.message)
    if view.failure is not None:
        return _no(view.failure.reason, f"{view.failure.ref} could not be applied: {view.failure.message}")
    return None


def _instead(view: View) -> Says | None:
    """What failed, what is served instead, and what to do."""
    if not view.back:
        return None
    reason, words = _verdict(view)
    if view.complete and view.counts is not None:
        serves = f"Revision {view.served} serves on {_pods(view.counts.ready)}"
    elif (pod := view.trouble) is not None:
        serves = f"Revision {view.served} is to serve instead: {_words(view, pod)}"
    else:
        serves = f"Going back: {_count_pods(view)[0].lower()}{_count_pods(view)[1:]}"
    return _no(reason, f"{words}. {serves}. {_remedy(view)}")


def _paused(view: View) -> Says | None:
    if not view.plan.paused:
        return None
    reason, words = _verdict(view)
    others = sum(1 for pod in view.pods if pod.revision != view.revision and pod.ready)
    answer = "answers" if others == 1 else "answer"
    serve = f"{_pods(others)} of revision {view.plan.stable} {answer}"
    return _no(reason, f"{words}. The roll-out is paused (spec.rollout.onFailure); {serve}. {_remedy(view)}")


def _verdict(view: View) -> tuple[Reason, str]:
    """Return why the revision that is asked for has failed, as its verdict says."""
    entry = view.memory.history.get(view.revision or 0, {})
    said, words = loose.text(entry.get("reason")), loose.text(entry.get("message")).rstrip(". ")
    reason = Reason(said) if said in set(Reason) else Reason.NOT_AVAILABLE
    return reason, f"Revision {view.revision} failed: {words or reason}"


def _remedy(view: View) -> str:
    """Say what a user can do about a revision that has failed."""
    if view.plan.pinned:
        return "Set spec.pinnedRevision to another revision, or remove it"
    again = f"kubectl annotate mdep {view.key.name} -n {view.key.namespace}"
    used = {record.retry for record in view.records}  # such a token would do nothing
    token = next(number for number in count(view.revision or 1) if str(number) not in used)
    return f"Change the spec, or try again with: {again} {names.RETRY_ANNOTATION}={token} --overwrite"


def _done(view: View) -> Says | None:
    if not view.complete or view.counts is None:
        return None
    if view.counts.wanted == 0:
        message = f"Revision {view.served} is scaled to zero: set spec.replicas to serve it"
        return Says(ConditionStatus.TRUE, Reason.SCALED_TO_ZERO, message)
    message = f"Revision {view.served} answers on {_pods(view.counts.ready)}{_torn(view)}"
    return Says(ConditionStatus.TRUE, Reason.READY, message)


def _torn(view: View) -> str:
    """Warn where the source has changed under its address, so that pods of one revision do not serve the same."""
    told = [pod for pod in view.pods if pod.revision == view.served and pod.ready and pod.digest]
    if view.pin is None:
        differ = len({pod.digest for pod in told}) >= _LEAST_DIGESTS
        return "; its pods do not serve the same content: set spec.model.version or spec.model.digest" if differ else ""
    others = sorted(pod.name for pod in told if pod.digest != view.pin.digest)
    if not others:
        return ""
    delete = f"kubectl delete pod -n {view.key.namespace} {' '.join(others)}"
    return f"; not the pinned content {view.pin.digest}, but another one, is served by {', '.join(others)}: {delete}"


def _stuck(view: View) -> Says | None:
    """The served revision's worst pod, in its own words."""
    pod = view.trouble
    if pod is None or pod.reason is None:
        return None
    return _no(pod.reason, f"{_words(view, pod)}{_last_resort(view)}")


def _podless(view: View) -> Says | None:
    """What the API server says where it refuses to make the pods."""
    if view.live is None or not view.rolled_out or not (words := rollout.refusal(view.live)):
        return None
    if "exceeded quota" not in words:
        return _no(Reason.APPLY_FAILED, f"A pod cannot be created: {words}")
    advice = "raise the quota, or ask for less in spec.resources or spec.replicas"
    return _no(Reason.QUOTA_EXCEEDED, f"A pod cannot be created: {words} ({advice})")


def _words(view: View, pod: Pod) -> str:
    return f"Pod {pod.name}: {pod.message}{_advice(view, pod)}"


def _last_resort(view: View) -> str:
    """Say that there is nothing to go back to, where a revision fails that has none before it."""
    if view.plan.stable is not None or view.revision is None:
        return ""
    if failed(view) is None and not view.memory.failed(view.revision):
        return ""
    return ". No earlier revision can serve instead, so Kubernetes goes on trying"


def _overdue(view: View) -> Says | None:
    if view.served is None or not failure.overdue(view.served, view.live, view.memory, view.now):
        return None
    message = f"Revision {view.served} has made no progress within spec.rollout.progressDeadline: {_counts(view)}"
    return _no(Reason.PROGRESS_DEADLINE_EXCEEDED, message)


def _under_way(view: View) -> Says | None:
    says = progressing(view)
    return _no(says.reason, says.message) if says.status is ConditionStatus.TRUE else None


def available(view: View) -> Says:
    """Return what Available says: the Deployment's own judgement, whatever revision its pods are of."""
    counts = view.counts
    if view.live is None or counts is None:
        return _no(Reason.NOT_AVAILABLE, "No pod answers: there is no Deployment")
    if counts.wanted == 0:
        return Says(ConditionStatus.TRUE, Reason.SCALED_TO_ZERO, "No pod is wanted")
    message = f"{counts.available} of {_pods(counts.wanted)} available"
    if rollout.condition(view.live, "Available").get("status") == "True":
        return Says(ConditionStatus.TRUE, Reason.AVAILABLE, message)
    return _no(Reason.NOT_AVAILABLE, message)


def progressing(view: View) -> Says:
    """Return what Progressing says: pods are being changed, or why not."""
    for check in (_refused, _waits, _finished, _in_trouble):
        if (says := check(view)) is not None:
            return says
    if view.plan.draining and view.rolled_out and any(pod.revision != view.served for pod in view.pods):
        message = f"An old pod goes before a new one comes: {_count_pods(view)}"
        return Says(ConditionStatus.TRUE, Reason.DRAINING_FIRST, message)
    going = Reason.ROLLING_BACK if view.back else Reason.ROLLING_OUT
    reason = Reason.SCALING if view.rolled_out and _was_ready(view) and not view.back else going
    return Says(ConditionStatus.TRUE, reason, _count_pods(view))


def _waits(view: View) -> Says | None:
    if not view.plan.paused:
        return None
    return _no(Reason.PAUSED, f"Revision {view.revision} failed and is left as it is: {_counts(view)}")


def _finished(view: View) -> Says | None:
    if not view.complete:
        return None
    if view.back:
        return _no(Reason.ROLLED_BACK, f"Revision {view.revision} failed, revision {view.served} is complete")
    return _no(Reason.COMPLETE, f"Revision {view.served} is complete")


def _in_trouble(view: View) -> Says | None:
    overdue, pod = _overdue(view), view.trouble
    if pod is not None and pod.reason is not None and (pod.failed or overdue):
        return _no(pod.reason, f"Revision {view.served} is stuck: {_counts(view)}")
    return overdue and (_podless(view) or overdue)


def rolled_back(view: View) -> Says:
    """Return what RolledBack says: whether another revision is served than the one that is asked for, and why."""
    if not view.back or not view.rolled_out:
        return _no(Reason.NOT_ROLLED_BACK, "No other revision is served than the one that is asked for")
    reason, words = _verdict(view)
    return Says(ConditionStatus.TRUE, reason, f"{words}. Revision {view.served} is served instead")


def _was_ready(view: View) -> bool:
    """Tell whether the served revision has been complete before: pods that are missing now are a matter of scale."""
    return view.memory.verdict(view.served or 0) is Verdict.READY


def _no(reason: Reason, message: str) -> Says:
    return Says(ConditionStatus.FALSE, reason, message)


def _count_pods(view: View) -> str:
    return f"Revision {view.served}: {_counts(view)}"


def _counts(view: View) -> str:
    counts = view.counts
    if counts is None:
        return "the Deployment is being created"
    if not view.rolled_out or not counts.current:
        return "the Deployment takes it up"
    old = max(0, counts.replicas - counts.updated)
    rest = f" in all, {old} of {'an older' if not view.back else 'another'} revision" if old else ""
    more = "; more come when the first has told what it fetched" if view.plan.throttled else ""
    return f"{counts.updated} of {_pods(counts.wanted)} there, {counts.ready} ready{rest}{more}"


def _pods(number: int) -> str:
    return f"{number} pod" if number == 1 else f"{number} pods"


def _advice(view: View, pod: Pod) -> str:
    """Say what to do, where the words of scheduler, kubelet, fetch or server do not."""
    logs = f"kubectl logs -n {view.key.namespace} {pod.name} -c {names.SERVER_CONTAINER}"
    waits = rollout.number(view.live) == view.served and not view.plan.draining
    found = {
        Reason.GPU_UNAVAILABLE: "correct spec.gpu, or add a node with such a GPU"
        if pod.failed
        else "free a GPU, add a node with one, or let an old pod go first with spec.rollout.strategy: DrainFirst"
        if waits and any(other.revision != view.served for other in view.pods)
        else "free a GPU or add a node with one",
        Reason.UNSCHEDULABLE: "free or add capacity, or ask for less in spec.resources and spec.podTemplate",
        Reason.VOLUME_NOT_FOUND: "create it, or correct spec.model.uri",
        Reason.IMAGE_PULL_FAILED: "correct spec.runtime, or see that the node may pull it "
        "(spec.podTemplate.imagePullSecrets)",
        Reason.OUT_OF_MEMORY: "raise spec.resources.limits.memory",
        Reason.CRASH_LOOP: f"see {logs} --previous",
        Reason.LOAD_FAILED: f"see {logs} --previous",
        Reason.UNHEALTHY: f"see {logs}",
        Reason.GATE_FAILED: "serve a model that passes, or correct spec.rollout.gate",
    }
    advice = found.get(pod.reason) if pod.reason else None
    return f" ({advice})" if advice else ""


def old_condition(status: Manifest, kind: ConditionType) -> Manifest:
    """Return a condition in a status, or an empty one."""
    return next((item for item in loose.items(status.get("conditions")) if item.get("type") == kind), {})
