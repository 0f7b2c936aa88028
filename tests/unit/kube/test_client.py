"""The client's verbs, over a transport that records requests and plays responses."""

import copy
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from slipway.domain.objects import Apply, Delete, Key, Manifest, Ref
from slipway.kube import (
    ApiError,
    Cache,
    Client,
    ConflictError,
    NotFoundError,
    RejectedError,
    ResourceExpiredError,
    RetryableError,
    Transport,
)
from slipway.kube.errors import classify
from slipway.kube.transport import Request
from slipway.status.pod import project

KEY = Key("ns", "digits")


class Fence:
    def remaining(self) -> float:
        return 4.0


class FakeTransport:
    def __init__(self) -> None:
        self.sent: list[Request] = []
        self.responses: list[Any] = []
        self.lines: list[bytes] = []

    async def send(self, request: Request) -> Any:
        self.sent.append(request)
        response = self.responses.pop(0)
        if isinstance(response, ApiError):
            raise response
        return response

    async def stream(self, request: Request, idle: float) -> AsyncIterator[bytes]:
        self.sent.append(request)
        yield b""
        for line in self.lines:
            yield line


class RecordingCache(Cache):
    """Records what is upserted."""

    def __init__(self) -> None:
        super().__init__(project)
        self.upserted: list[Manifest] = []

    def upsert(self, body: Manifest) -> frozenset[Key]:
        self.upserted.append(copy.deepcopy(body))
        del body["metadata"]["resourceVersion"]  # the cache modifies bodies
        return frozenset()


def make() -> tuple[Client, FakeTransport, list[Manifest]]:
    transport, cache = FakeTransport(), RecordingCache()
    return Client(transport, cache, Fence(), 75.0), transport, cache.upserted  # type: ignore[arg-type]


def service(version: int, name: str = "digits") -> Manifest:
    metadata = {"name": name, "namespace": "ns", "uid": "u", "resourceVersion": str(version)}
    return {"kind": "Service", "apiVersion": "v1", "metadata": metadata}


def event(event_type: str, body: Manifest) -> bytes:
    return json.dumps({"type": event_type, "object": body}, separators=(",", ":")).encode()


async def watched(client: Client) -> list[tuple[str, str]]:
    events = client.watch("Service", None, "a=b", "10")
    assert await anext(events) == ("OPENED", {}), "whoever waits for it learns that the watch was accepted"
    return [(event_type, body["metadata"]["resourceVersion"]) async for event_type, body in events]


@pytest.mark.parametrize(("create", "force"), [(True, "false"), (False, "true")])
async def test_an_apply_is_bounded_by_the_fence_and_forces_only_what_exists(*, create: bool, force: str) -> None:
    client, transport, upserted = make()
    transport.responses = [service(5)]
    await client.apply(KEY, Apply(service(1), create=create, manager="slipway"))
    (sent,) = transport.sent
    assert (sent.method, sent.path) == ("PATCH", "/api/v1/namespaces/ns/services/digits")
    assert sent.query == {"fieldManager": "slipway", "force": force}
    assert sent.content_type == "application/apply-patch+yaml"
    assert sent.timeout is not None
    assert sent.timeout() == 4.0
    assert upserted == [service(5)]


@pytest.mark.parametrize(("create", "version"), [(True, "1"), (False, None)])
async def test_a_new_child_is_applied_with_a_version_that_no_object_has(*, create: bool, version: str | None) -> None:
    client, transport, _ = make()
    transport.responses = [service(5)]
    manifest = {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "digits"}}
    await client.apply(KEY, Apply(manifest, create=create, manager="slipway"))
    assert transport.sent[0].body["metadata"].get("resourceVersion") == version
    assert "resourceVersion" not in manifest["metadata"]


def listed(*managers: tuple[str, str]) -> Manifest:
    body = service(7)
    body["metadata"]["managedFields"] = [{"manager": manager, "operation": how} for manager, how in managers]
    return {"metadata": {"resourceVersion": "9"}, "items": [body]}


@pytest.mark.parametrize("managers", [[], [("kubectl", "Apply")], [("slipway", "Update"), ("kubectl", "Update")]])
async def test_another_owners_object_is_not_applied_to(managers: list[tuple[str, str]]) -> None:
    client, transport, upserted = make()
    transport.responses = [ConflictError("the object has been modified"), listed(*managers)]
    with pytest.raises(ConflictError, match="another owner's object has this name; it is left alone"):
        await client.apply(KEY, Apply(service(1), create=True, manager="slipway"))
    assert [sent.verb for sent in transport.sent] == ["apply", "list"]
    assert upserted == []


async def test_what_was_applied_before_and_is_not_in_the_cache_is_adopted() -> None:
    client, transport, upserted = make()
    transport.responses = [ConflictError("the object has been modified"), listed(("slipway", "Apply")), service(8)]
    manifest = {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "digits"}}
    await client.apply(KEY, Apply(manifest, create=True, manager="slipway"))
    last = transport.sent[-1]
    assert (last.verb, last.body, last.query) == ("apply", manifest, {"fieldManager": "slipway", "force": "false"})
    assert transport.sent[1].query == {"fieldSelector": "metadata.name=digits"}
    assert upserted == [service(8)]


async def test_what_was_deleted_in_between_is_retried() -> None:
    client, transport, _ = make()
    transport.responses = [
        ConflictError("the object has been modified"),
        {"metadata": {"resourceVersion": "9"}, "items": []},
    ]
    with pytest.raises(RetryableError, match="was deleted a moment ago"):
        await client.apply(KEY, Apply(service(1), create=True, manager="slipway"))


async def test_the_event_of_an_own_apply_becomes_a_bookmark_and_no_other_does() -> None:
    client, transport, _ = make()
    transport.responses = [service(20)]
    await client.apply(KEY, Apply(service(1), create=True, manager="slipway"))
    transport.lines = [
        event("ADDED", service(20)),
        event("MODIFIED", service(21)),
        event("DELETED", service(22)),
        event("ADDED", service(20)),  # sent again by a watch that was restarted: no longer known, and harmless
    ]
    assert await watched(client) == [("BOOKMARK", "20"), ("MODIFIED", "21"), ("DELETED", "22"), ("ADDED", "20")]


async def test_a_deletion_is_always_yielded() -> None:
    client, transport, _ = make()
    transport.responses = [service(20)]
    await client.apply(KEY, Apply(service(1), create=True, manager="slipway"))
    transport.lines = [event("DELETED", service(20))]
    assert await watched(client) == [("DELETED", "20")]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (event("ERROR", {"code": 410, "message": "too old"}), ResourceExpiredError),
        (event("ERROR", {"code": 500, "message": "no leader"}), RetryableError),
        (b'{"type":"ADDED"', RetryableError),
        (b"[1, 2]", RetryableError),
        (b"<html>", RetryableError),
    ],
)
async def test_an_error_in_a_watch_ends_it(line: bytes, error: type[ApiError]) -> None:
    client, transport, _ = make()
    transport.lines = [line]
    with pytest.raises(error):
        await watched(client)


async def test_a_list_is_read_to_its_last_page() -> None:
    client, transport, _ = make()
    transport.responses = [
        {"metadata": {"resourceVersion": "7", "continue": "token"}, "items": [{"metadata": {"name": "a"}}]},
        {"metadata": {"resourceVersion": "7"}, "items": None},
    ]
    pages = [page async for page in client.list_pages("Service", "ns", "a=b")]
    assert pages == [([{"metadata": {"name": "a"}, "kind": "Service", "apiVersion": "v1"}], "7"), ([], "7")]
    assert transport.sent[1].query == {"limit": "100", "labelSelector": "a=b", "continue": "token"}


async def test_a_deletion_has_the_uid_as_a_precondition() -> None:
    client, transport, _ = make()
    transport.responses = [{"kind": "Status"}, service(5) | {"metadata": {"deletionTimestamp": "now"}}]
    action = Delete(Ref("Service", "digits"), "u")
    assert await client.delete(KEY, action)
    assert transport.sent[0].body["preconditions"] == {"uid": "u"}
    assert not await client.delete(KEY, action), "a finalizer holds it"


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("Precondition failed: UID in precondition: x, UID in object meta: y", NotFoundError),
        ("Operation cannot be fulfilled: the object has been modified", RetryableError),
    ],
)
async def test_a_status_for_another_object_is_not_written(message: str, error: type[ApiError]) -> None:
    client, transport, _ = make()
    transport.responses = [ConflictError(message)]
    with pytest.raises(error):
        await client.apply_status(KEY, "x", {})


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, NotFoundError),
        (409, ConflictError),
        (410, ResourceExpiredError),
        (422, RejectedError),
        (403, RejectedError),
        (429, RetryableError),
        (503, RetryableError),
    ],
)
def test_every_http_status_has_its_error(status: int, error: type[ApiError]) -> None:
    found = classify(status, "text", "apply services", 3.0)
    assert type(found) is error
    assert "text" in str(found)
    if isinstance(found, RetryableError):
        assert found.retry_after == 3.0


@pytest.mark.parametrize(
    "message",
    [
        "failed to create typed patch object (team-a/digits; apps/v1, Kind=Deployment): .spec: expected map, got &{1}",
        # A quantity like 1e.5, which the pattern of quantities allows.
        "failed to convert new object (team-a/digits; apps/v1, Kind=Deployment) to proper version: quantities must match",
    ],
)
def test_a_malformed_body_is_rejected_whatever_the_http_status(message: str) -> None:
    assert type(classify(500, message, "apply deployments", 1.0)) is RejectedError


async def test_without_a_lease_nothing_is_sent() -> None:
    class Meter:
        def requested(self, *_: object) -> None:
            raise AssertionError("nothing may be sent")

    transport = Transport("", "", timeout=1, parallel=1, meter=Meter())
    with pytest.raises(RetryableError):
        await transport.send(Request("apply", "services", "PATCH", "/", timeout=lambda: -1.0))


def pin(version: int, **changed: Any) -> Manifest:
    metadata = {
        "name": "digits-1",
        "namespace": "ns",
        "uid": "u",
        "resourceVersion": str(version),
        "ownerReferences": [{"kind": "ControllerRevision", "name": "digits-1", "uid": "revision"}],
    }
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": {"version": "3"}} | changed


CREATE_PIN = Apply(pin(1), create=True, manager="slipway")
EXISTS = ConflictError('configmaps "digits-1" already exists')


async def test_a_pin_is_created_not_applied() -> None:
    """Server-side apply would add our keys to a user's ConfigMap of that name, and take it over."""
    client, transport, upserted = make()
    transport.responses = [pin(5)]
    await client.apply(KEY, CREATE_PIN)
    (sent,) = transport.sent
    assert (sent.method, sent.path) == ("POST", "/api/v1/namespaces/ns/configmaps")
    assert (sent.query, sent.content_type) == ({"fieldManager": "slipway"}, "application/json")
    assert sent.timeout is not None
    assert sent.timeout() == 4.0
    assert upserted == [pin(5)]


async def test_a_pin_whose_creation_got_no_response_is_found() -> None:
    client, transport, upserted = make()
    kept = pin(5)
    del kept["kind"], kept["apiVersion"]  # as in a list
    transport.responses = [EXISTS, {"metadata": {"resourceVersion": "9"}, "items": [kept]}]
    await client.apply(KEY, CREATE_PIN)
    assert transport.sent[1].method == "GET"
    assert transport.sent[1].query == {
        "labelSelector": "app.kubernetes.io/managed-by=slipway",
        "fieldSelector": "metadata.name=digits-1",
    }
    assert upserted == [pin(5)]


@pytest.mark.parametrize(
    "items",
    [
        None,
        [],
        [pin(5, data={"version": "4"})],
        [pin(5, data=None)],
        [pin(5, metadata={"name": "digits-1", "resourceVersion": "5"})],
    ],
)
async def test_another_owners_configmap_of_that_name_is_a_conflict(items: list[Manifest] | None) -> None:
    client, transport, upserted = make()
    transport.responses = [EXISTS, {"metadata": {"resourceVersion": "9"}, "items": items}]
    with pytest.raises(ConflictError, match="another owner's object has this name"):
        await client.apply(KEY, CREATE_PIN)
    assert upserted == []
