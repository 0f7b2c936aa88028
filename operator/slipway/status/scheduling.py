"""What scheduler, kubelet and API server report of a pod: node, images, creation of containers, termination."""

import re
from collections.abc import Iterator

from slipway.api import PodState, Reason
from slipway.domain import lenient
from slipway.domain.objects import Manifest
from slipway.status.pod_facts import Facts, Finding, moment, waiting

PRODUCT_LABEL = "nvidia.com/gpu.product"
GRACE_SECONDS = 20
"""How long a registry may be unreachable, or the creation of a container fail, before that counts as permanent."""
_IMAGE_REASONS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_NEVER_PULLED = frozenset({"InvalidImageName", "ErrImageNeverPull"})
_CONFIG_REASONS = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PreCreateHookError",
        "PreStartHookError",
    }
)
_BUSY_NODE = re.compile(
    "timed out waiting for the condition|context deadline exceeded|not yet been read at least once"
    "|is reserved for|connection refused|i/o timeout"
)
"""Messages of a kubelet that has just started, is overloaded or cannot reach the API server: no fault of the container."""
_NOISE = re.compile(r'^(Back-off pulling image "[^"]*"(: )?|ErrImagePull: |rpc error: code = \w+ desc = )+')
_NO_MATCH = "didn't match Pod's node affinity/selector"
_CLAIM = re.compile(r'persistentvolumeclaim "([^"]*)" not found')


def terminating(facts: Facts) -> Finding | None:
    """Find a pod that is terminating: its grace period bounds how long, unless finalizers hold the object."""
    ends = facts.metadata.get("deletionTimestamp")
    if not ends:
        return None
    message = f"its grace period ends at {ends}" if moment(ends) else ""
    finalizers = facts.metadata.get("finalizers")
    if held := [lenient.text(name) for name in finalizers] if isinstance(finalizers, list) else []:
        message = f"{message}; it stays until its finalizers are removed: {', '.join(held)}".removeprefix("; ")
    return Finding(PodState.TERMINATING, message=message)


def ended(facts: Facts) -> Finding | None:
    """Find a pod that has terminated as a whole, such as one that was evicted."""
    if lenient.text(facts.status.get("phase")) not in {"Failed", "Succeeded"}:
        return None
    reason, words = lenient.text(facts.status.get("reason")), lenient.text(facts.status.get("message"))
    # Not `failed`: the Deployment has already replaced it.
    message = ": ".join(filter(None, (reason or "the pod has terminated", words)))
    return Finding(PodState.FAILED, Reason.EVICTED, message)


def not_scheduled(facts: Facts) -> Finding | None:
    """Find a pod that the scheduler cannot place."""
    condition = facts.conditions.get("PodScheduled", {})
    if condition.get("status") != "False":
        return None
    words = (
        lenient.text(condition.get("message"))
        .partition(" preemption:")[0]
        .removesuffix(" no new claims to deallocate,")
    )
    if claim := _CLAIM.search(words):
        message = f'PersistentVolumeClaim "{claim[1]}" does not exist in this namespace'
        return Finding(PodState.UNSCHEDULABLE, Reason.VOLUME_NOT_FOUND, message, failed=True)
    if any(f"Insufficient {resource}" in words for resource in _extended_resources(facts.spec)):
        return Finding(PodState.UNSCHEDULABLE, Reason.GPU_UNAVAILABLE, f"no GPU is free: {words}")
    selector = lenient.mapping(facts.spec.get("nodeSelector"))
    product = selector.get(PRODUCT_LABEL)
    if product and _NO_MATCH in words:
        message = f"no node has this GPU ({PRODUCT_LABEL}={product}): {words}"
        return Finding(PodState.UNSCHEDULABLE, Reason.GPU_UNAVAILABLE, message, failed=True)
    if selector and _NO_MATCH in words and "Insufficient" not in words:
        # The scheduler does not say which label is missing, and some of them are not written in the spec.
        wanted = ", ".join(f"{label}={value}" for label, value in selector.items())
        words = f"{words.rstrip('.')}; the pod needs a node with {wanted}"
    return Finding(PodState.UNSCHEDULABLE, Reason.UNSCHEDULABLE, words or lenient.text(condition.get("reason")))


def image_not_pulled(facts: Facts) -> Finding | None:
    """Find an image that cannot be pulled."""
    for _, status, found in waiting(facts):
        if (reason := lenient.text(found.get("reason"))) in _IMAGE_REASONS:
            cause = _NOISE.sub("", lenient.text(found.get("message"))) or reason
            message = f'image "{lenient.text(status.get("image"))}" cannot be pulled: {cause}'
            grace = 0 if reason in _NEVER_PULLED else GRACE_SECONDS
            return Finding(PodState.FAILED, Reason.IMAGE_PULL_FAILED, message, failed=True, grace_seconds=grace)
    return None


def not_created(facts: Facts) -> Finding | None:
    """Find a container that the kubelet cannot create."""
    for name, _, found in waiting(facts):
        if (reason := lenient.text(found.get("reason"))) in _CONFIG_REASONS:
            words = lenient.text(found.get("message")) or reason
            message, failed = f"container {name} cannot be started: {words}", _BUSY_NODE.search(words) is None
            return Finding(PodState.FAILED, Reason.CONTAINER_CONFIG_FAILED, message, failed, GRACE_SECONDS)
    return None


def _extended_resources(spec: Manifest) -> Iterator[str]:
    for container in lenient.items(spec.get("containers")):
        limits = lenient.mapping(lenient.mapping(container.get("resources")).get("limits"))
        yield from (resource for resource in limits if "/" in resource)
