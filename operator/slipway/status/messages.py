"""Phrases that several conditions share: numbers of pods, and a pod's fault with advice."""

import re
from collections.abc import Iterable

from slipway.api import Reason
from slipway.domain import names
from slipway.domain.objects import Pod
from slipway.status.pod_facts import MEMORY_USED_FOR
from slipway.status.status_input import StatusInput

_RESOURCES = {
    names.SERVER_CONTAINER: "spec.resources",
    names.FETCH_CONTAINER: "spec.podTemplate.fetchResources",
    names.PROBER_CONTAINER: "spec.podTemplate.proberResources",
}
"""The field that sets the resources of each container."""
_VALUES = {
    names.FETCH_CONTAINER: "modelPods.fetchResources",
    names.PROBER_CONTAINER: "modelPods.proberResources",
}
"""The chart's value that sets them for all models."""
_UNSET = re.compile(r"must specify [^;]*? for: ([^;\s]+)")
"""A ResourceQuota: `failed quota: NAME: must specify limits.cpu for: fetch,prober; requests.cpu for: prober`."""
_NAMES_CONTAINER = re.compile(r"(?:the |(?:init )?container )(\S+) (?:exited with code|is not ready)")
"""How a fault begins whose words name a container."""
_OUT_OF_RANGE = re.compile(r"(minimum|maximum) \S+ usage per |max limit to request ratio per ")
"""A LimitRange: `minimum cpu usage per Container is 50m, but request is 10m`; it names no container."""


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
    named = _NAMES_CONTAINER.match(pod.message)
    container = named.group(1) if named else names.SERVER_CONTAINER
    logs = f"kubectl logs -n {given.key.namespace} {pod.name} -c {container}"
    if pod.reason is Reason.GPU_UNAVAILABLE:
        return _gpu_advice(given, pod)
    found = {
        Reason.UNSCHEDULABLE: _placement_advice(pod),
        Reason.VOLUME_NOT_FOUND: "create it, or correct spec.model.uri",
        Reason.IMAGE_PULL_FAILED: "correct spec.runtime, or let the node pull it (spec.podTemplate.imagePullSecrets)",
        Reason.OOM_KILLED: _memory_advice(pod),
        Reason.CRASH_LOOP: f"see {logs} --previous",
        Reason.LOAD_FAILED: f"see {logs} --previous",
        Reason.UNHEALTHY: f"see {logs}",
        Reason.GATE_FAILED: "serve a model that passes, or correct spec.rollout.gate",
    }
    return found.get(pod.reason) if pod.reason else None


def _memory_advice(pod: Pod) -> str:
    container = next((name for name, doing in MEMORY_USED_FOR.items() if pod.message.endswith(doing)), None)
    return f"raise {_RESOURCES[container or names.SERVER_CONTAINER]}.limits.memory"


def rejection_advice(words: str) -> str:
    """Return what a user can do about the API server's refusal to create a pod; empty if its words have to suffice."""
    if "exceeded quota" in words:
        return "raise the quota, or request less in spec.resources or spec.replicas"
    if unset := _UNSET.findall(words):
        found = {name for text in unset for name in text.split(",")}
        return _where_to_set(name for name in _RESOURCES if name in found)
    return _where_to_set(_RESOURCES) if _OUT_OF_RANGE.search(words) else ""


def _where_to_set(containers: Iterable[str]) -> str:
    """Return the fields, and the chart's values, that set the resources of containers."""
    found = tuple(containers)
    if not found:
        return ""
    fields = " and ".join(f"{_RESOURCES[name]} ({name})" for name in found)
    values = " and ".join(_VALUES[name] for name in found if name in _VALUES)
    return f"set {fields}" + (f"; for all models, the chart's {values}" if values else "")


def _placement_advice(pod: Pod) -> str:
    if "the pod needs a node with" in pod.message:
        return "add such a node, or correct spec.podTemplate.nodeSelector"
    return "free or add capacity, or request less in spec.resources and spec.podTemplate"


def _gpu_advice(given: StatusInput, pod: Pod) -> str:
    if pod.failed:
        return "correct spec.gpu, or add a node with such a GPU"
    surging = given.state.deployed == given.judgement.target and not given.plan.terminate_first
    if surging and any(other.revision != given.judgement.target for other in given.state.pods):
        return "free a GPU, add a node with one, or set spec.rollout.strategy: TerminateFirst"
    return "free a GPU or add a node with one"
