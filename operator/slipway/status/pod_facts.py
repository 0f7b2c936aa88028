"""The parts of a pod's JSON that the checks read, what a check finds, and how a container terminated."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from slipway.api import PodState, Reason
from slipway.domain import lenient, names
from slipway.domain.objects import Manifest

MESSAGE_LENGTH = 1024
KILLED = 137
"""Exit code of a process that got SIGKILL."""
MEMORY_USED_FOR = {
    names.FETCH_CONTAINER: "fetching the model",
    names.SERVER_CONTAINER: "loading or serving the model",
    names.PROBER_CONTAINER: "checking the golden set",
}
"""What each container needs memory for; messages end with it."""
_OOM_KILLED = "OOMKilled"
_NODE_LOST = frozenset({"ContainerStatusUnknown", "Unknown"})


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; see `Pod` for the fields.

    Attributes:
        restarts: of the faulty container, if it is not the server.
    """

    state: PodState
    reason: Reason | None = None
    message: str = ""
    failed: bool = False
    grace_seconds: int = 0
    restarts: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """The parts of a pod's JSON that the checks read, each of its proper type."""

    metadata: Manifest
    spec: Manifest
    status: Manifest
    conditions: Mapping[str, Manifest]
    init: Mapping[str, Manifest]
    containers: Mapping[str, Manifest]

    @property
    def fetch(self) -> Manifest:
        """Status of the container that fetches the model."""
        return self.init.get(names.FETCH_CONTAINER, {})

    @property
    def prober(self) -> Manifest:
        """Status of the sidecar that checks the gate; empty without a gate."""
        return self.init.get(names.PROBER_CONTAINER, {})

    @property
    def server(self) -> Manifest:
        """Status of the server's container."""
        return self.containers.get(names.SERVER_CONTAINER, {})

    @property
    def ready(self) -> Manifest:
        """The condition Ready."""
        return self.conditions.get("Ready", {})


def read(body: Manifest) -> Facts:
    """Return the facts in a pod's JSON; what is missing in it has not happened yet."""
    status = lenient.mapping(body.get("status"))
    return Facts(
        metadata=lenient.mapping(body.get("metadata")),
        spec=lenient.mapping(body.get("spec")),
        status=status,
        conditions=_by_name(status.get("conditions"), "type"),
        init=_by_name(status.get("initContainerStatuses"), "name"),
        containers=_by_name(status.get("containerStatuses"), "name"),
    )


def moment(text: object) -> datetime | None:
    """Return a time in RFC 3339 with its zone; None for anything else."""
    try:
        found = datetime.fromisoformat(lenient.text(text))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def restarts(status: Manifest) -> int:
    """Return how often a container has been restarted."""
    return lenient.number(status.get("restartCount")) or 0


def exit_code(status: Manifest) -> object:
    """Return the exit code of a container that has terminated and was not restarted; None for any other."""
    return lenient.mapping(lenient.mapping(status.get("state")).get("terminated")).get("exitCode")


def failure(status: Manifest, *, init: bool) -> Manifest | None:
    """Return the last termination of a container, if it is a failure that it has not recovered from.

    Args:
        status: of the container.
        init: it is an init container, for which exit code 0 is success.
    """
    state = lenient.mapping(status.get("state"))
    ended = lenient.mapping(state.get("terminated")) or lenient.mapping(
        lenient.mapping(status.get("lastState")).get("terminated")
    )
    if not ended or (init and (ended.get("exitCode") == 0 or exit_code(status) == 0)):
        return None
    # The node came back: how the container terminated is unknown, and not its fault.
    return None if "terminated" not in state and lenient.text(ended.get("reason")) in _NODE_LOST else ended


def was_ready(facts: Facts, status: Manifest) -> bool:
    """Return whether the pod, which is not Ready, was Ready after this container last started."""
    since = lenient.text(lenient.mapping(lenient.mapping(status.get("state")).get("running")).get("startedAt"))
    changed = lenient.text(facts.ready.get("lastTransitionTime"))
    return bool(since) and changed > since  # RFC 3339 in UTC sorts by time


def oom_killed(ended: Manifest) -> bool:
    """Return whether a container was killed for exceeding its memory limit."""
    return ended.get("reason") == _OOM_KILLED


def out_of_memory(container: str) -> Finding:
    """Return the finding for one of Slipway's containers that was killed."""
    message = f"a container was killed for exceeding its memory limit while {MEMORY_USED_FOR[container]}"
    return Finding(PodState.FAILED, Reason.OOM_KILLED, message, failed=True)


def describe(ended: Manifest) -> str:
    """Return how a container terminated, with its last output if there is any."""
    code = ended.get("exitCode")
    killed = f" ({lenient.text(ended.get('reason'))}, killed)" if code == KILLED else ""
    words = lenient.text(ended.get("message")).strip()
    # The end of a log is more telling than its beginning.
    return f"exited with code {code}{killed}" + (f": {words[-MESSAGE_LENGTH // 2 :]}" if words else "")


def waiting(facts: Facts) -> Iterator[tuple[str, Manifest, Manifest]]:
    """Yield name, status and waiting state of the waiting containers."""
    for group in (facts.init, facts.containers):
        for name, status in group.items():
            if found := lenient.mapping(lenient.mapping(status.get("state")).get("waiting")):
                yield name, status, found


def _by_name(items: object, label: str) -> dict[str, Manifest]:
    return {lenient.text(item.get(label)): item for item in lenient.items(items)}
