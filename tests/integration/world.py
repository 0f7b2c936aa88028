"""What the integration tests share: a namespace of their control plane, and what the audit log has of a user's requests."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from dev.cluster.controlplane import ControlPlane
from dev.kit.eventually import eventually
from dev.kit.model_namespace import Namespace


class World(Namespace):
    """One namespace of a control plane of these tests."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        super().__init__(plane.api(), namespace)
        self.plane = plane


def now() -> datetime:
    """Return the time that `requests` and `writes` compare with: what is visible by now was received before."""
    return datetime.now(UTC)


def requests(
    plane: ControlPlane, user: str, since: datetime, count: int = 0, *, without: str = ""
) -> list[tuple[str, str]]:
    """Return verb and resource of each finished request of a user, without the lease's, from the audit log.

    A request is logged after its effect is visible, on a busy machine much later. So `since` is compared with when a request
    was received, and the log is read until it has `count` of them: pass as many as there must be.

    Args:
        plane: whose API server.
        user: whose requests.
        since: requests that were received before are left out.
        count: how many there are at least.
        without: a resource whose requests are left out.
    """
    found: list[tuple[str, str]] = []

    def enough() -> bool:
        found[:] = [item for item in _requests(plane, user, since) if item[1] != without]
        return len(found) >= count

    eventually(enough, f"{count} requests of {user} are logged; found {found}", 30)
    return found


def _requests(plane: ControlPlane, user: str, since: datetime) -> Iterator[tuple[str, str]]:
    for event in plane.audit_events():
        if event["user"]["username"] != user or event["stage"] != "ResponseComplete" or event["verb"] == "watch":
            continue
        reference = event.get("objectRef") or {}
        resource = "/".join(part for part in (reference.get("resource", ""), reference.get("subresource", "")) if part)
        if resource != "leases" and datetime.fromisoformat(event["requestReceivedTimestamp"]) >= since:
            yield event["verb"], resource


def writes(plane: ControlPlane, user: str, since: datetime, count: int = 0) -> Counter[tuple[str, str]]:
    """Return how often a user wrote what; as with `requests`, `count` writes are waited for."""
    reading = {"get", "list", "watch"}
    found: Counter[tuple[str, str]] = Counter()

    def enough() -> bool:
        found.clear()
        found.update(item for item in requests(plane, user, since) if item[0] not in reading)
        return found.total() >= count

    eventually(enough, f"{count} writes of {user} are logged", 30)
    return found
