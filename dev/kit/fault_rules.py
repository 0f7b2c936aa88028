"""What the fault proxy can do to a request, when it does it, and what requests are called."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What happens to a request."""

    STATUS = "respond with an HTTP status"
    RESET = "reset the connection, before or during the response"
    SILENCE = "keep the connection open and send nothing any more"
    WATCH_ERROR = "send an ERROR event in the watch, then end it"
    BEFORE = "call back, then drop the request: the API server never receives it"
    AFTER = "let the API server carry it out, call back, and drop the response"


@dataclass(frozen=True)
class Fault:
    """A fault with its parameters: HTTP status and headers, or none."""

    kind: Kind
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "etcdserver: no leader"
    then: Callable[[], object] | None = None
    """What BEFORE and AFTER call back, on a thread of its own."""


@dataclass(eq=False)
class Rule:
    """A fault, and the requests to which it applies."""

    fault: Fault
    verbs: frozenset[str]
    resources: frozenset[str]
    share: float
    times: float
    skip: int = 0
    hits: int = 0
    on: asyncio.Event = field(default_factory=asyncio.Event)

    def matches(self, verb: str, resource: str) -> bool:
        """Return whether the rule applies to a request."""
        return (not self.verbs or verb in self.verbs) and (not self.resources or resource in self.resources)


@dataclass(frozen=True)
class Call:
    """One request that the proxy received."""

    verb: str
    resource: str
    status: int


def parse(method: str, path: str, query: Any) -> tuple[str, str]:
    """Return verb and resource of a request, as the API server's audit log calls them."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[:1] == ["namespaces"] and parts[2:]:
        parts = parts[2:]
    resource = "/".join([*parts[:1], *parts[2:3]])
    if method == "GET":
        verb = "watch" if query.get("watch") in {"1", "true"} else "get" if len(parts) > 1 else "list"
    else:
        verb = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[method]
    return verb, resource
