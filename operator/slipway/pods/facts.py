"""The parts of a pod's JSON that the checks look at, what a check finds, and how a container's end is read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from slipway import loose, names
from slipway.api import PodState, Reason
from slipway.observed import Manifest

MESSAGE_LENGTH = 1024
KILLED = 137
"""Exit code of a process that got SIGKILL."""
_OUT_OF_MEMORY = "OOMKilled"
_NODE_LOST = frozenset({"ContainerStatusUnknown", "Unknown"})


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        state: where the pod is.
        reason: what is wrong, or None.
        message: in whose words.
        failed: waiting does not cure it.
        patience: seconds after it was scheduled before which it may pass all the same.
        restarts: of the container in trouble, where it is not the server.
    """

    state: PodState
    reason: Reason | None = None
    message: str = ""
    failed: bool = False
    patience: int = 0
    restarts: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """The parts of a pod's JSON that the checks look at, each of its proper shape."""

    metadata: Manifest
    spec: Manifest
    status: Manifest
    conditions: Mapping[str, Manifest]
    init: Mapping[str, Manifest]
    containers: Mapping[str, Manifest]

    @property
    def fetch(self) -> Manifest:
        """Status of the container that brings the model."""
        return self.init.get(names.FETCH_CONTAINER, {})

    @property
    def pilot(self) -> Manifest:
        """Status of the sidecar that asks for the golden set; empty without a gate."""
        return self.init.get(names.PILOT_CONTAINER, {})

    @property
    def server(self) -> Manifest:
        """Status of the server's container."""
        return self.containers.get(names.SERVER_CONTAINER, {})

    @property
    def ready(self) -> Manifest:
        """The condition Ready."""
        return self.conditions.get("Ready", {})


def read(body: Manifest) -> Facts:
    """Return the facts in a pod's JSON; whatever is missing in it is taken as not having happened yet."""
    status = loose.mapping(body.get("status"))
    return Facts(
        metadata=loose.mapping(body.get("metadata")),
        spec=loose.mapping(body.get("spec")),
        status=status,
        conditions=_by_name(status.get("conditions"), "type"),
        init=_by_name(status.get("initContainerStatuses"), "name"),
        containers=_by_name(status.get("containerStatuses"), "name"),
    )


def moment(text: object) -> datetime | None:
    """Return a time as Kubernetes writes it, with its zone; None for anything else."""
    try:
        found = datetime.fromisoformat(loose.text(text))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def restarts(status: Manifest) -> int:
    """Return how often a container has been restarted."""
    return loose.number(status.get("restartCount")) or 0


def exit_code(status: Manifest) -> object:
    """Return the exit code of a container that has ended and was not started again; None for any other."""
    return loose.mapping(loose.mapping(status.get("state")).get("terminated")).get("exitCode")


def failure(status: Manifest, *, may_end: bool) -> Manifest | None:
    """Return how a container ended last, if it failed and has not got past that since.

    Args:
        status: of the container.
        may_end: exit code 0 is success, as for an init container.
    """
    state = loose.mapping(status.get("state"))
    ended = loose.mapping(state.get("terminated")) or loose.mapping(
        loose.mapping(status.get("lastState")).get("terminated")
    )
    if not ended or (may_end and (ended.get("exitCode") == 0 or exit_code(status) == 0)):
        return None
    # The node came back: nobody knows how it ended, and it is no fault of the container.
    return None if "terminated" not in state and loose.text(ended.get("reason")) in _NODE_LOST else ended


def been_ready(facts: Facts, status: Manifest) -> bool:
    """Tell whether the pod, which is not ready, has been ready since this container was started last."""
    since = loose.text(loose.mapping(loose.mapping(status.get("state")).get("running")).get("startedAt"))
    changed = loose.text(facts.ready.get("lastTransitionTime"))
    return bool(since) and changed > since  # RFC 3339 in UTC sorts by time


def short_of_memory(ended: Manifest) -> bool:
    """Tell whether a container ended because it used more memory than it may."""
    return ended.get("reason") == _OUT_OF_MEMORY


def out_of_memory(doing: str) -> Finding:
    """Return the finding of a container that was killed while it did something."""
    said = f"a container was killed for using more memory than its limit while {doing}"
    return Finding(PodState.FAILED, Reason.OUT_OF_MEMORY, said, failed=True)


def how(ended: Manifest) -> str:
    """Say how a container ended, in its own last words where there are any."""
    code = ended.get("exitCode")
    killed = f" ({loose.text(ended.get('reason'))}, killed)" if code == KILLED else ""
    words = loose.text(ended.get("message")).strip()
    # The end of a log says more than its beginning.
    return f"ended with exit code {code}{killed}" + (f": {words[-MESSAGE_LENGTH // 2 :]}" if words else "")


def waiting(facts: Facts) -> Iterator[tuple[str, Manifest, Manifest]]:
    """Yield name, status and waiting state of the containers that wait."""
    for group in (facts.init, facts.containers):
        for name, status in group.items():
            if found := loose.mapping(loose.mapping(status.get("state")).get("waiting")):
                yield name, status, found


def _by_name(items: object, label: str) -> dict[str, Manifest]:
    return {loose.text(item.get(label)): item for item in loose.items(items)}
