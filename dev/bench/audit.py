"""Counts requests in the API server's audit log. Pure, apart from reading the file.

The audit log is the one witness that neither the operator nor a client library can mislead: every request that reached
the server is in it, with the user's certificate name.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READS = frozenset({"get", "list", "head"})
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, slots=True)
class Request:
    """One request that the API server answered.

    Attributes:
        resource: plural with its subresource (`deployments`, `modeldeployments/status`), or the path of a request that
            concerns no resource (`/version`).
        dry_run: a dry run, which changes nothing.
        paged: a further page of a list.
    """

    user: str
    verb: str
    resource: str
    code: int
    dry_run: bool = False
    paged: bool = False

    @property
    def write(self) -> bool:
        """Tell whether it is meant to change something."""
        return self.verb in WRITES

    @property
    def label(self) -> str:
        """Return `verb resource`, the form in which requests are counted."""
        return f"{self.verb} {self.resource}{' (dry run)' if self.dry_run else ''}"


def parse(line: str) -> Request | None:
    """Return the request in one line of the audit log, or None if the line does not end a request.

    A watch is in the log twice, when it begins and when it ends; it counts when it begins. Everything else counts when
    it is done.

    Raises:
        ValueError: the line is no audit event.
    """
    event: Any = json.loads(line)
    if not isinstance(event, dict) or "stage" not in event or "verb" not in event:
        raise ValueError(f"not an event of the audit log: {line[:120]}")
    verb = event["verb"]
    counted = {"ResponseStarted"} if verb == "watch" else {"ResponseComplete", "Panic"}
    if event["stage"] not in counted:
        return None
    uri = event.get("requestURI", "")
    return Request(
        user=event["user"]["username"],
        verb=verb,
        resource=_resource(event.get("objectRef"), uri),
        code=event.get("responseStatus", {}).get("code", 0),
        dry_run="dryRun=" in uri,
        paged="continue=" in uri,
    )


def _resource(reference: dict[str, Any] | None, uri: str) -> str:
    if not reference or "resource" not in reference:
        return uri.partition("?")[0]
    name = str(reference["resource"])
    return f"{name}/{reference['subresource']}" if reference.get("subresource") else name


@dataclass(frozen=True)
class Tally:
    """What one user requested of the API server within some time, apart from keeping its Lease.

    Attributes:
        requests: how often each `verb resource` was requested, watches and lists among them.
        writes: how many of all were meant to change something.
        watches: how many were watches.
        lists: how many lists were begun (their further pages are not counted again).
        refused: how many were answered with 400 or above.
        leases: requests for the Lease, which are in none of the other numbers.
    """

    requests: dict[str, int]
    writes: int = 0
    watches: int = 0
    lists: int = 0
    refused: int = 0
    leases: int = 0

    @property
    def total(self) -> int:
        """Return the number of requests apart from watches and the Lease."""
        return sum(self.requests.values()) - self.watches

    @property
    def reads(self) -> int:
        """Return the number of requests that change nothing, apart from watches and the Lease."""
        return self.total - self.writes

    @property
    def beyond_upkeep(self) -> int:
        """Return the number of requests that are neither watch, nor list, nor Lease: an idle operator makes none."""
        listed = sum(count for label, count in self.requests.items() if label.startswith("list "))
        return self.total - listed

    def written(self, resource: str) -> int:
        """Return how many writes went to a resource, such as `deployments` or `modeldeployments/status`."""
        labels = (label.split(" ") for label in self.requests)
        return sum(self.requests[" ".join(words)] for words in labels if words[0] in WRITES and words[1] == resource)


def tally(requests: Iterable[Request], user: str) -> Tally:
    """Count the requests of one user."""
    labels: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    for request in requests:
        if request.user != user:
            continue
        if request.resource == "leases":
            numbers["leases"] += 1
            continue
        labels[request.label] += 1
        numbers["writes"] += request.write
        numbers["watches"] += request.verb == "watch"
        numbers["lists"] += request.verb == "list" and not request.paged
        numbers["refused"] += request.code >= 400
    return Tally(dict(sorted(labels.items())), **numbers)


class AuditLog:
    """A growing audit log, read from marks on. The file is read only when it is needed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def mark(self) -> int:
        """Return the position that the log has reached."""
        return self._path.stat().st_size if self._path.exists() else 0

    def since(self, mark: int, until: int | None = None) -> Iterator[Request]:
        """Yield the requests between two marks, or up to now; a line that is still being written is left out."""
        with self._path.open("rb") as log:
            log.seek(mark)
            for line in log:
                if not line.endswith(b"\n") or (until is not None and log.tell() > until):
                    return
                request = parse(line.decode())
                if request is not None:
                    yield request

    def tally(self, user: str, mark: int, until: int | None = None) -> Tally:
        """Count the requests of one user between two marks, or up to now."""
        return tally(self.since(mark, until), user)
