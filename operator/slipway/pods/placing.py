"""What scheduler, kubelet and API server say of a pod: has it a node, an image, its containers; is it going away?"""

import re
from collections.abc import Iterator

from slipway import loose
from slipway.api import PodState, Reason
from slipway.observed import Manifest
from slipway.pods.facts import Facts, Finding, moment, waiting

PRODUCT_LABEL = "nvidia.com/gpu.product"
PATIENCE_SECONDS = 20
"""How long a registry may be out of reach, or a container not be made, before that counts as something that stays."""
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
"""Words of a kubelet that has just started, is overloaded or does not reach the API server: no fault of the container."""
_NOISE = re.compile(r'^(Back-off pulling image "[^"]*"(: )?|ErrImagePull: |rpc error: code = \w+ desc = )+')
_CLAIM = re.compile(r'persistentvolumeclaim "([^"]*)" not found')


def terminating(facts: Facts) -> Finding | None:
    """Find a pod that is going away: its grace period bounds how long, unless something holds the object."""
    ends = facts.metadata.get("deletionTimestamp")
    if not ends:
        return None
    said = f"its grace period ends at {ends}" if moment(ends) else ""
    finalizers = facts.metadata.get("finalizers")
    if held := [loose.text(name) for name in finalizers] if isinstance(finalizers, list) else []:
        said = f"{said}; it stays until its finalizers are removed: {', '.join(held)}".removeprefix("; ")
    return Finding(PodState.TERMINATING, message=said)


def ended(facts: Facts) -> Finding | None:
    """Find a pod that has ended as a whole, such as one that was evicted."""
    if loose.text(facts.status.get("phase")) not in {"Failed", "Succeeded"}:
        return None
    reason, words = loose.text(facts.status.get("reason")), loose.text(facts.status.get("message"))
    # Not `failed`: the Deployment has already replaced it.
    said = ": ".join(filter(None, (reason or "the pod has ended", words)))
    return Finding(PodState.FAILED, Reason.EVICTED, said)


def not_scheduled(facts: Facts) -> Finding | None:
    """Find a pod for which the scheduler has no node."""
    condition = facts.conditions.get("PodScheduled", {})
    if condition.get("status") != "False":
        return None
    words = (
        loose.text(condition.get("message")).partition(" preemption:")[0].removesuffix(" no new claims to deallocate,")
    )
    if claim := _CLAIM.search(words):
        said = f'PersistentVolumeClaim "{claim[1]}" does not exist in this namespace'
        return Finding(PodState.UNSCHEDULABLE, Reason.VOLUME_NOT_FOUND, said, failed=True)
    if any(f"Insufficient {resource}" in words for resource in _extended_resources(facts.spec)):
        return Finding(PodState.UNSCHEDULABLE, Reason.GPU_UNAVAILABLE, f"no GPU is free: {words}")
    product = loose.mapping(facts.spec.get("nodeSelector")).get(PRODUCT_LABEL)
    if product and "didn't match Pod's node affinity/selector" in words:
        said = f"no node has this GPU ({PRODUCT_LABEL}={product}): {words}"
        return Finding(PodState.UNSCHEDULABLE, Reason.GPU_UNAVAILABLE, said, failed=True)
    return Finding(PodState.UNSCHEDULABLE, Reason.UNSCHEDULABLE, words or loose.text(condition.get("reason")))


def image_missing(facts: Facts) -> Finding | None:
    """Find an image that cannot be had."""
    for _, status, found in waiting(facts):
        if (reason := loose.text(found.get("reason"))) in _IMAGE_REASONS:
            cause = _NOISE.sub("", loose.text(found.get("message"))) or reason
            said = f'image "{loose.text(status.get("image"))}" cannot be pulled: {cause}'
            patience = 0 if reason in _NEVER_PULLED else PATIENCE_SECONDS
            return Finding(PodState.FAILED, Reason.IMAGE_PULL_FAILED, said, failed=True, patience=patience)
    return None


def not_created(facts: Facts) -> Finding | None:
    """Find a container that the kubelet cannot make."""
    for name, _, found in waiting(facts):
        if (reason := loose.text(found.get("reason"))) in _CONFIG_REASONS:
            words = loose.text(found.get("message")) or reason
            said, stays = f"container {name} cannot be started: {words}", _BUSY_NODE.search(words) is None
            return Finding(PodState.FAILED, Reason.CONTAINER_CONFIG_FAILED, said, stays, PATIENCE_SECONDS)
    return None


def _extended_resources(spec: Manifest) -> Iterator[str]:
    for container in loose.items(spec.get("containers")):
        limits = loose.mapping(loose.mapping(container.get("resources")).get("limits"))
        yield from (resource for resource in limits if "/" in resource)
