"""Phrases that several conditions share: numbers of pods, and a pod's fault with advice."""

from slipway.api import Reason
from slipway.domain import names
from slipway.domain.objects import Pod
from slipway.status.status_input import StatusInput


def pods(number: int) -> str:
    """Return `1 pod`, `2 pods` and so on."""
    return f"{number} pod" if number == 1 else f"{number} pods"


def revision_counts(given: StatusInput, *, capitalize: bool = True) -> str:
    """Return the target revision with the numbers of its rollout."""
    return f"{'R' if capitalize else 'r'}evision {given.judgement.target}: {counts(given)}"


def counts(given: StatusInput) -> str:
    """Return the numbers of a rollout: `2 of 3 pods updated, 2 ready in all, 1 of an older revision`.

    After `kubectl rollout restart` the older pods are of the same revision.
    """
    found = given.counts
    if found is None:
        return "the Deployment is being created"
    if not given.judgement.deployed or not found.observed:
        return "the Deployment controller has yet to act on it"
    old = max(0, found.replicas - found.updated)
    other = "another" if given.judgement.rolled_back else "an older"
    rest = f" in all, {old} of {other} revision" if old else ""
    if old and restarts(given):
        rest = f" in all, {old} from before the restart of the Deployment"
    more = "; more start once the first is ready" if given.plan.held_at_one else ""
    return f"{found.updated} of {pods(found.desired)} updated, {found.ready} ready{rest}{more}"


def restarts(given: StatusInput) -> bool:
    """Return whether the pods are replaced by others of the same revision, as `kubectl rollout restart` does.

    Terminating pods count: at the end of a rollout the Deployment's numbers lag behind them.
    """
    pods_there = given.state.pods
    return bool(pods_there) and all(pod.revision == given.judgement.target for pod in pods_there)


def pod_fault(given: StatusInput, pod: Pod) -> str:
    """Return the fault of a pod in the words of its source, with advice if those words contain none."""
    advice = _advice(given, pod)
    return f"Pod {pod.name}: {pod.message}{f' ({advice})' if advice else ''}"


def _advice(given: StatusInput, pod: Pod) -> str | None:
    logs = f"kubectl logs -n {given.key.namespace} {pod.name} -c {names.SERVER_CONTAINER}"
    if pod.reason is Reason.GPU_UNAVAILABLE:
        return _gpu_advice(given, pod)
    found = {
        Reason.UNSCHEDULABLE: "free or add capacity, or request less in spec.resources and spec.podTemplate",
        Reason.VOLUME_NOT_FOUND: "create it, or correct spec.model.uri",
        Reason.IMAGE_PULL_FAILED: "correct spec.runtime, or let the node pull it (spec.podTemplate.imagePullSecrets)",
        Reason.OOM_KILLED: "raise spec.resources.limits.memory",
        Reason.CRASH_LOOP: f"see {logs} --previous",
        Reason.LOAD_FAILED: f"see {logs} --previous",
        Reason.UNHEALTHY: f"see {logs}",
        Reason.GATE_FAILED: "serve a model that passes, or correct spec.rollout.gate",
    }
    return found.get(pod.reason) if pod.reason else None


def _gpu_advice(given: StatusInput, pod: Pod) -> str:
    if pod.failed:
        return "correct spec.gpu, or add a node with such a GPU"
    surging = given.state.deployed == given.judgement.target and not given.plan.terminate_first
    if surging and any(other.revision != given.judgement.target for other in given.state.pods):
        return "free a GPU, add a node with one, or set spec.rollout.strategy: TerminateFirst"
    return "free a GPU or add a node with one"
