"""The three conditions: chains of small checks, of which the first that speaks wins. Pure; part of the status."""

from dataclasses import dataclass

from slipway import loose, names, rollout
from slipway.api import ConditionStatus, ConditionType, Reason, Verdict
from slipway.observed import Failure, Key, Manifest, Observed, Plan, Pod
from slipway.rollout import Counts


@dataclass(frozen=True, slots=True)
class Says:
    """A condition without its times."""

    status: ConditionStatus
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class View:
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
        return min(stuck, key=worst_first, default=None)


def view(key: Key, observed: Observed, plan: Plan, failures: tuple[Failure, ...]) -> View:
    """Read once what the conditions are made of; see `status.compute`."""
    resource = observed.resource or {}
    uid = str(loose.mapping(resource.get("metadata")).get("uid", ""))
    old = loose.mapping(resource.get("status"))
    live = rollout.live_deployment(key, uid, observed.children)
    revision = plan.revision if plan.revision is not None else loose.number(old.get("revision"))
    return View(
        key=key,
        plan=plan,
        old=old,
        live=live,
        counts=rollout.counts(live) if live else None,
        pods=observed.pods,
        failure=failures[0] if failures else None,
        revision=revision,
    )


def ready(view: View) -> Says:
    """Return what Ready says: the first of the checks that speaks."""
    for check in (_refused, _done, _stuck, _overdue, _under_way):
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


def _done(view: View) -> Says | None:
    if not view.complete or view.counts is None:
        return None
    if view.counts.wanted == 0:
        message = f"Revision {view.revision} is scaled to zero: set spec.replicas to serve it"
        return Says(ConditionStatus.TRUE, Reason.SCALED_TO_ZERO, message)
    message = f"Revision {view.revision} answers on {_pods(view.counts.ready)}{_torn(view)}"
    return Says(ConditionStatus.TRUE, Reason.READY, message)


def _torn(view: View) -> str:
    """Warn where the source has changed under its address, so that pods of one revision do not serve the same."""
    digests = {pod.digest for pod in view.pods if pod.revision == view.revision and pod.ready and pod.digest}
    if len(digests) < 2:  # noqa: PLR2004 - two of them differ
        return ""
    return "; its pods do not serve the same content: set spec.model.version or spec.model.digest"


def _stuck(view: View) -> Says | None:
    """The newest revision's worst pod, in its own words."""
    pod = view.trouble
    if pod is None or pod.reason is None:
        return None
    return _no(pod.reason, f"Pod {pod.name}: {pod.message}{_advice(view, pod)}")


def _overdue(view: View) -> Says | None:
    if view.live is None or not view.rolled_out:
        return None
    condition = rollout.condition(view.live, "Progressing")
    if condition.get("reason") != "ProgressDeadlineExceeded":
        return None
    message = f"Revision {view.revision} has made no progress within spec.rollout.progressDeadline: {_count_pods(view)}"
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
    if (refused := _refused(view)) is not None:
        return refused
    if view.complete:
        return _no(Reason.COMPLETE, f"Revision {view.revision} is complete")
    overdue, pod = _overdue(view), view.trouble
    if pod is not None and pod.reason is not None and (pod.failed or overdue):
        return _no(pod.reason, f"Revision {view.revision} is stuck: {_count_pods(view)}")
    if overdue is not None:
        return overdue
    if view.plan.draining and view.rolled_out and any(pod.revision != view.revision for pod in view.pods):
        message = f"An old pod goes before a new one comes: {_count_pods(view)}"
        return Says(ConditionStatus.TRUE, Reason.DRAINING_FIRST, message)
    reason = Reason.SCALING if view.rolled_out and _was_ready(view) else Reason.ROLLING_OUT
    return Says(ConditionStatus.TRUE, reason, _count_pods(view))


def _was_ready(view: View) -> bool:
    """Tell whether the wanted revision has been complete before: pods that are missing now are a matter of scale."""
    return old_history(view.old).get(view.revision or 0, {}).get("verdict") == Verdict.READY


def _no(reason: Reason, message: str) -> Says:
    return Says(ConditionStatus.FALSE, reason, message)


def _count_pods(view: View) -> str:
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


def _advice(view: View, pod: Pod) -> str:
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


def old_history(status: Manifest) -> dict[int, Manifest]:
    """Return the history in a status, by revision."""
    return {
        number: item
        for item in loose.items(status.get("history"))
        if (number := loose.number(item.get("revision"))) is not None
    }


def old_condition(status: Manifest, kind: ConditionType) -> Manifest:
    """Return a condition in a status, or an empty one."""
    return next((item for item in loose.items(status.get("conditions")) if item.get("type") == kind), {})


def worst_first(pod: Pod) -> tuple[bool, bool, bool, str]:
    """Sort pods: those in trouble first, then by name."""
    return (not pod.failed, pod.reason is None, pod.ready, pod.name)
