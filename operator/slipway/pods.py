"""What is kept of a pod: where it is on its way, and in whose words it is stuck. Runs once for each news of a pod.

The states are found by a chain of small checks, from the end of a pod's life to its beginning; the first that speaks
wins. Trouble stays said while a container tries again, until it has come further than where it failed: the state of a
pod that fails in a loop would otherwise change with every turn.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from slipway import loose, names
from slipway.api import PodState, Reason
from slipway.observed import Manifest, Pod

MESSAGE_LENGTH = 1024
PRODUCT_LABEL = "nvidia.com/gpu.product"
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
_CONFIG_REASONS = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PreCreateHookError",
        "PreStartHookError",
    }
)
_NOISE = re.compile(r'^(Back-off pulling image "[^"]*"(: )?|ErrImagePull: |rpc error: code = \w+ desc = )+')
_LOAD_ERROR = re.compile(r"Failed to start server\. Error: (.*)")
_NOT_STARTED = 255
"""Exit code of the server for whatever keeps it from starting."""
_CLAIM = re.compile(r'persistentvolumeclaim "([^"]*)" not found')
_PASSING = frozenset({"SourceUnreachable", "NoSpace", "InternalError"})
"""Reasons of fetch that waiting may cure."""
_KILLED = 137
_OUT_OF_MEMORY = "OOMKilled"
_NODE_LOST = frozenset({"ContainerStatusUnknown", "Unknown"})


@dataclass(frozen=True, slots=True)
class _Finding:
    """What one check found."""

    state: PodState
    reason: Reason | None = None
    message: str = ""
    failed: bool = False


@dataclass(frozen=True, slots=True)
class _Facts:
    """The parts of a pod's JSON that the checks look at, each of its proper shape."""

    metadata: Manifest
    spec: Manifest
    status: Manifest
    conditions: Mapping[str, Manifest]
    init: Mapping[str, Manifest]
    containers: Mapping[str, Manifest]
    fetch: Manifest = field(default_factory=dict)
    server: Manifest = field(default_factory=dict)


def project(body: Manifest) -> Pod:
    """Return what matters of a pod's JSON; whatever is missing in it is taken as not having happened yet."""
    facts = _facts(body)
    finding = next(found for check in _CHECKS if (found := check(facts)) is not None)
    fetched = _fetched(facts.fetch)
    version, digest = fetched.get("version"), fetched.get("digest")
    return Pod(
        name=loose.text(facts.metadata.get("name")),
        revision=names.revision_number(body),
        state=finding.state,
        reason=finding.reason,
        message=loose.one_line(finding.message, MESSAGE_LENGTH),
        failed=finding.failed,
        restarts=loose.number(facts.server.get("restartCount")) or 0,
        model_version=loose.number(version),
        digest=digest if isinstance(digest, str) else None,
    )


def _facts(body: Manifest) -> _Facts:
    status = loose.mapping(body.get("status"))
    init = _by_name(status.get("initContainerStatuses"))
    containers = _by_name(status.get("containerStatuses"))
    return _Facts(
        metadata=loose.mapping(body.get("metadata")),
        spec=loose.mapping(body.get("spec")),
        status=status,
        conditions=_by_name(status.get("conditions"), "type"),
        init=init,
        containers=containers,
        fetch=init.get(names.FETCH_CONTAINER, {}),
        server=containers.get(names.SERVER_CONTAINER, {}),
    )


# The checks, in their order.


def _terminating(facts: _Facts) -> _Finding | None:
    return _Finding(PodState.TERMINATING) if facts.metadata.get("deletionTimestamp") else None


def _ended(facts: _Facts) -> _Finding | None:
    if loose.text(facts.status.get("phase")) not in {"Failed", "Succeeded"}:
        return None
    reason, words = loose.text(facts.status.get("reason")), loose.text(facts.status.get("message"))
    # Not `failed`: the Deployment has already replaced it.
    said = ": ".join(filter(None, (reason or "the pod has ended", words)))
    return _Finding(PodState.FAILED, Reason.EVICTED, said)


def _not_scheduled(facts: _Facts) -> _Finding | None:
    condition = facts.conditions.get("PodScheduled", {})
    if condition.get("status") != "False":
        return None
    words = loose.text(condition.get("message")).partition(" preemption:")[0]
    if claim := _CLAIM.search(words):
        said = f'PersistentVolumeClaim "{claim[1]}" does not exist in this namespace'
        return _Finding(PodState.UNSCHEDULABLE, Reason.VOLUME_NOT_FOUND, said, failed=True)
    if any(f"Insufficient {resource}" in words for resource in _extended_resources(facts.spec)):
        return _Finding(PodState.UNSCHEDULABLE, Reason.GPU_UNAVAILABLE, f"no GPU is free: {words}")
    product = loose.mapping(facts.spec.get("nodeSelector")).get(PRODUCT_LABEL)
    if product and "didn't match Pod's node affinity/selector" in words:
        said = f"no node has this GPU ({PRODUCT_LABEL}={product}): {words}"
        return _Finding(PodState.UNSCHEDULABLE, Reason.GPU_UNAVAILABLE, said, failed=True)
    return _Finding(PodState.UNSCHEDULABLE, Reason.UNSCHEDULABLE, words or loose.text(condition.get("reason")))


def _image_missing(facts: _Facts) -> _Finding | None:
    for _, status, waiting in _waiting(facts):
        if loose.text(waiting.get("reason")) in _IMAGE_REASONS:
            cause = _NOISE.sub("", loose.text(waiting.get("message"))) or loose.text(waiting.get("reason"))
            said = f'image "{loose.text(status.get("image"))}" cannot be pulled: {cause}'
            return _Finding(PodState.FAILED, Reason.IMAGE_PULL_FAILED, said, failed=True)
    return None


def _not_created(facts: _Facts) -> _Finding | None:
    for name, _, waiting in _waiting(facts):
        if loose.text(waiting.get("reason")) in _CONFIG_REASONS:
            said = f"container {name} cannot be started: {loose.text(waiting.get('message')) or waiting['reason']}"
            return _Finding(PodState.FAILED, Reason.CONTAINER_CONFIG_FAILED, said, failed=True)
    return None


def _fetch_failed(facts: _Facts) -> _Finding | None:
    ended = _failure(facts.fetch, may_end=True)
    if ended is None:
        return None
    if ended.get("reason") == _OUT_OF_MEMORY:
        return _out_of_memory("fetching the model")
    said = loose.json_object(ended.get("message"))
    reason, words = loose.text(said.get("reason")), loose.text(said.get("message"))
    if not words:
        words = loose.text(ended.get("message")) or f"fetch ended with exit code {ended.get('exitCode')}"
    message = f"{reason}: {words}" if reason else words
    return _Finding(PodState.FAILED, Reason.FETCH_FAILED, message, failed=reason not in _PASSING)


def _init_failed(facts: _Facts) -> _Finding | None:
    """Speak of an init container that somebody else put into the pod."""
    for name, status in facts.init.items():
        ended = _failure(status, may_end=True)
        if name != names.FETCH_CONTAINER and ended is not None:
            return _Finding(PodState.FAILED, Reason.CRASH_LOOP, f"init container {name} {_how(ended)}", failed=True)
    return None


def _fetching(facts: _Facts) -> _Finding | None:
    if "running" in loose.mapping(facts.fetch.get("state")):
        return _Finding(PodState.FETCHING)
    return None if _exit_code(facts.fetch) == 0 else _Finding(PodState.PENDING)


def _server_failed(facts: _Facts) -> _Finding | None:
    ended = None if facts.server.get("started") else _failure(facts.server, may_end=False)
    if ended is None:
        return None
    if ended.get("reason") == _OUT_OF_MEMORY:
        return _out_of_memory("loading or serving the model")
    words = loose.text(ended.get("message"))
    load = _LOAD_ERROR.search(words)
    if load is None and (ended.get("exitCode") != _NOT_STARTED or not words):
        reason = Reason.LOAD_FAILED if ended.get("exitCode") == _NOT_STARTED else Reason.CRASH_LOOP
        return _Finding(PodState.FAILED, reason, f"the server {_how(ended)}", failed=True)
    # The kubelet keeps the end of a log: the beginning of a long error may be cut off.
    said = load[1] if load else words[-MESSAGE_LENGTH // 2 :]
    return _Finding(PodState.FAILED, Reason.LOAD_FAILED, f"the server could not load the model: {said}", failed=True)


def _ready(facts: _Facts) -> _Finding | None:
    return _Finding(PodState.READY) if facts.conditions.get("Ready", {}).get("status") == "True" else None


def _unhealthy(facts: _Facts) -> _Finding | None:
    """Tell a server that has stopped answering from one that has yet to answer for the first time."""
    if not facts.server.get("started"):
        return None
    if facts.server.get("ready"):
        others = ", ".join(name for name, status in facts.containers.items() if not status.get("ready"))
        said = f"container {others} is not ready" if others else "the server answers, but its node may be out of reach"
        return _Finding(PodState.UNHEALTHY, Reason.UNHEALTHY, said)
    since = loose.text(loose.mapping(loose.mapping(facts.server.get("state")).get("running")).get("startedAt"))
    changed = loose.text(facts.conditions.get("Ready", {}).get("lastTransitionTime"))
    if not since or changed <= since:  # RFC 3339 in UTC sorts by time; Ready has been False since before the start
        return None
    said = "the server has stopped answering its readiness probe"
    return _Finding(PodState.UNHEALTHY, Reason.UNHEALTHY, said)


def _loading(_: _Facts) -> _Finding | None:
    return _Finding(PodState.LOADING)


_CHECKS: tuple[Callable[[_Facts], _Finding | None], ...] = (
    _terminating,
    _ended,
    _not_scheduled,
    _ready,
    _image_missing,
    _not_created,
    _fetch_failed,
    _init_failed,
    _fetching,
    _server_failed,
    _unhealthy,
    _loading,
)


def _out_of_memory(doing: str) -> _Finding:
    said = f"a container was killed for using more memory than its limit while {doing}"
    return _Finding(PodState.FAILED, Reason.OUT_OF_MEMORY, said, failed=True)


def _how(ended: Manifest) -> str:
    """Say how a container ended, in its own last words where there are any."""
    code = ended.get("exitCode")
    killed = f" ({loose.text(ended.get('reason'))}, killed)" if code == _KILLED else ""
    words = loose.text(ended.get("message")).strip()
    # The end of a log says more than its beginning.
    return f"ended with exit code {code}{killed}" + (f": {words[-MESSAGE_LENGTH // 2 :]}" if words else "")


def _failure(status: Manifest, *, may_end: bool) -> Manifest | None:
    """Return how a container ended last, if it failed and has not got past that since.

    Args:
        status: of the container.
        may_end: exit code 0 is success, as for an init container.
    """
    state = loose.mapping(status.get("state"))
    ended = loose.mapping(state.get("terminated")) or loose.mapping(
        loose.mapping(status.get("lastState")).get("terminated")
    )
    if not ended or (may_end and (ended.get("exitCode") == 0 or _exit_code(status) == 0)):
        return None
    # The node came back: nobody knows how it ended, and it is no fault of the container.
    return None if "terminated" not in state and loose.text(ended.get("reason")) in _NODE_LOST else ended


def _exit_code(status: Manifest) -> object:
    return loose.mapping(loose.mapping(status.get("state")).get("terminated")).get("exitCode")


def _fetched(status: Manifest) -> Manifest:
    ended = loose.mapping(loose.mapping(status.get("state")).get("terminated"))
    return loose.json_object(ended.get("message")) if ended.get("exitCode") == 0 else {}


def _waiting(facts: _Facts) -> Iterator[tuple[str, Manifest, Manifest]]:
    for group in (facts.init, facts.containers):
        for name, status in group.items():
            if waiting := loose.mapping(loose.mapping(status.get("state")).get("waiting")):
                yield name, status, waiting


def _extended_resources(spec: Manifest) -> Iterator[str]:
    containers = spec.get("containers")
    for container in containers if isinstance(containers, list) else ():
        limits = loose.mapping(loose.mapping(loose.mapping(container).get("resources")).get("limits"))
        yield from (resource for resource in limits if "/" in resource)


def _by_name(items: object, label: str = "name") -> dict[str, Manifest]:
    return {
        loose.text(item.get(label)): item
        for item in (items if isinstance(items, list) else ())
        if isinstance(item, dict)
    }
