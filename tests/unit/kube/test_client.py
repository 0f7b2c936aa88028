"""The cluster's verbs, over a connection that records requests and plays answers."""

import copy
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from slipway.kube import (
    Cluster,
    ApiError,
    ConflictError,
    ResourceExpiredError,
    NotFoundError,
    RejectedError,
    RetryableError,
)
from slipway.kube.transport import Connection, Request, _classify
from slipway.domain.objects import Apply, Delete, Key, Ref

KEY = Key("ns", "digits")
Object = dict[str, Any]


class Fence:
    def remaining(self) -> float:
        return 4.0


class FakeConnection:
    def __init__(self) -> None:
        self.sent: list[Request] = []
        self.answers: list[Any] = []
        self.lines: list[bytes] = []

    async def send(self, request: Request) -> Any:
        self.sent.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, ApiError):
            raise answer
        return answer

    async def stream(self, request: Request, idle: float) -> AsyncIterator[bytes]:
        self.sent.append(request)
        for line in self.lines:
            yield line


def make() -> tuple[Cluster, FakeConnection, list[Object]]:
    connection, learned = FakeConnection(), []

    def learn(body: Object) -> None:
        learned.append(copy.deepcopy(body))
        del body["metadata"]["resourceVersion"]  # the store takes bodies apart

    return Cluster(connection, learn, Fence(), 75.0), connection, learned  # type: ignore[arg-type]


def service(version: int, name: str = "digits") -> Object:
    metadata = {"name": name, "namespace": "ns", "uid": "u", "resourceVersion": str(version)}
    return {"kind": "Service", "apiVersion": "v1", "metadata": metadata}


def event(happened: str, body: Object) -> bytes:
    return json.dumps({"type": happened, "object": body}, separators=(",", ":")).encode()


async def watched(cluster: Cluster) -> list[tuple[str, str]]:
    events = cluster.watch("Service", None, "a=b", "10")
    return [(happened, body["metadata"]["resourceVersion"]) async for happened, body in events]


@pytest.mark.parametrize(("create", "force"), [(True, "false"), (False, "true")])
async def test_an_apply_is_bounded_by_the_lease_and_forces_only_what_is_ours(*, create: bool, force: str) -> None:
    cluster, connection, learned = make()
    connection.answers = [service(5)]
    await cluster.apply(KEY, Apply(service(1), create=create, manager="slipway"))
    (sent,) = connection.sent
    assert (sent.method, sent.path) == ("PATCH", "/api/v1/namespaces/ns/services/digits")
    assert sent.query == {"fieldManager": "slipway", "force": force}
    assert sent.content_type == "application/apply-patch+yaml"
    assert sent.seconds is not None
    assert sent.seconds() == 4.0
    assert learned == [service(5)]


@pytest.mark.parametrize(("create", "version"), [(True, "1"), (False, None)])
async def test_what_is_not_there_is_applied_with_a_version_that_nothing_has(
    *, create: bool, version: str | None
) -> None:
    cluster, connection, _ = make()
    connection.answers = [service(5)]
    wanted = {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "digits"}}
    await cluster.apply(KEY, Apply(wanted, create=create, manager="slipway"))
    assert connection.sent[0].body["metadata"].get("resourceVersion") == version
    assert "resourceVersion" not in wanted["metadata"]


def held(*managers: tuple[str, str]) -> Object:
    body = service(7)
    body["metadata"]["managedFields"] = [{"manager": manager, "operation": how} for manager, how in managers]
    return {"metadata": {"resourceVersion": "9"}, "items": [body]}


@pytest.mark.parametrize("managers", [[], [("kubectl", "Apply")], [("slipway", "Update"), ("kubectl", "Update")]])
async def test_what_somebody_else_made_is_not_applied_to(managers: list[tuple[str, str]]) -> None:
    cluster, connection, learned = make()
    connection.answers = [ConflictError("the object has been modified"), held(*managers)]
    with pytest.raises(ConflictError, match="somebody else's object has this name; it is left alone"):
        await cluster.apply(KEY, Apply(service(1), create=True, manager="slipway"))
    assert [sent.verb for sent in connection.sent] == ["apply", "list"]
    assert learned == []


async def test_what_was_applied_before_and_lost_from_sight_is_applied_again() -> None:
    cluster, connection, learned = make()
    connection.answers = [ConflictError("the object has been modified"), held(("slipway", "Apply")), service(8)]
    wanted = {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "digits"}}
    await cluster.apply(KEY, Apply(wanted, create=True, manager="slipway"))
    last = connection.sent[-1]
    assert (last.verb, last.body, last.query) == ("apply", wanted, {"fieldManager": "slipway", "force": "false"})
    assert connection.sent[1].query == {"fieldSelector": "metadata.name=digits"}
    assert learned == [service(8)]


async def test_what_went_away_in_between_is_made_later() -> None:
    cluster, connection, _ = make()
    connection.answers = [
        ConflictError("the object has been modified"),
        {"metadata": {"resourceVersion": "9"}, "items": []},
    ]
    with pytest.raises(RetryableError, match="went away"):
        await cluster.apply(KEY, Apply(service(1), create=True, manager="slipway"))


async def test_the_event_of_an_own_apply_is_no_news_but_all_others_are() -> None:
    cluster, connection, _ = make()
    connection.answers = [service(20)]
    await cluster.apply(KEY, Apply(service(1), create=True, manager="slipway"))
    connection.lines = [
        event("ADDED", service(20)),
        event("MODIFIED", service(21)),
        event("DELETED", service(22)),
        event("ADDED", service(20)),  # replayed by a watch that began again: it is known no longer, and harmless
    ]
    assert await watched(cluster) == [("BOOKMARK", "20"), ("MODIFIED", "21"), ("DELETED", "22"), ("ADDED", "20")]


async def test_a_deletion_is_always_news() -> None:
    cluster, connection, _ = make()
    connection.answers = [service(20)]
    await cluster.apply(KEY, Apply(service(1), create=True, manager="slipway"))
    connection.lines = [event("DELETED", service(20))]
    assert await watched(cluster) == [("DELETED", "20")]


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
async def test_what_is_wrong_in_a_watch_ends_it(line: bytes, error: type[ApiError]) -> None:
    cluster, connection, _ = make()
    connection.lines = [line]
    with pytest.raises(error):
        await watched(cluster)


async def test_a_list_goes_on_until_its_end() -> None:
    cluster, connection, _ = make()
    connection.answers = [
        {"metadata": {"resourceVersion": "7", "continue": "token"}, "items": [{"metadata": {"name": "a"}}]},
        {"metadata": {"resourceVersion": "7"}, "items": None},
    ]
    pages = [page async for page in cluster.list_pages("Service", "ns", "a=b")]
    assert pages == [([{"metadata": {"name": "a"}, "kind": "Service", "apiVersion": "v1"}], "7"), ([], "7")]
    assert connection.sent[1].query == {"limit": "100", "labelSelector": "a=b", "continue": "token"}


async def test_a_deletion_names_the_uid_that_it_means() -> None:
    cluster, connection, _ = make()
    connection.answers = [{"kind": "Status"}, service(5) | {"metadata": {"deletionTimestamp": "now"}}]
    action = Delete(Ref("Service", "digits"), "u")
    assert await cluster.delete(KEY, action)
    assert connection.sent[0].body["preconditions"] == {"uid": "u"}
    assert not await cluster.delete(KEY, action), "a finalizer holds it"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("Precondition failed: UID in precondition: x, UID in object meta: y", NotFoundError),
        ("Operation cannot be fulfilled: the object has been modified", RetryableError),
    ],
)
async def test_a_status_for_another_object_is_not_written(words: str, error: type[ApiError]) -> None:
    cluster, connection, _ = make()
    connection.answers = [ConflictError(words)]
    with pytest.raises(error):
        await cluster.apply_status(KEY, "x", {})


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
def test_every_answer_has_its_kind(status: int, error: type[ApiError]) -> None:
    found = _classify(status, "words", 3.0, Request("apply", "services", "PATCH", "/"))
    assert type(found) is error
    assert "words" in str(found)
    if isinstance(found, RetryableError):
        assert found.retry_after == 3.0


@pytest.mark.parametrize(
    "words",
    [
        "failed to create typed patch object (team-a/digits; apps/v1, Kind=Deployment): .spec: expected map, got &{1}",
        # A quantity like 1e.5, which the pattern of quantities allows.
        "failed to convert new object (team-a/digits; apps/v1, Kind=Deployment) to proper version: quantities must match",
    ],
)
def test_a_body_that_will_never_do_is_refused_whatever_its_status(words: str) -> None:
    assert type(_classify(500, words, 1.0, Request("apply", "deployments", "PATCH", "/"))) is RejectedError


async def test_without_a_lease_nothing_is_written() -> None:
    class Meter:
        def requested(self, *_: object) -> None:
            raise AssertionError("nothing may be sent")

    connection = Connection("", "", timeout=1, parallel=1, meter=Meter())
    with pytest.raises(RetryableError):
        await connection.send(Request("apply", "services", "PATCH", "/", seconds=lambda: -1.0))


def pin(version: int, **changed: Any) -> Object:
    metadata = {
        "name": "digits-1",
        "namespace": "ns",
        "uid": "u",
        "resourceVersion": str(version),
        "ownerReferences": [{"kind": "ControllerRevision", "name": "digits-1", "uid": "record"}],
    }
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": {"version": "3"}} | changed


CREATE_PIN = Apply(pin(1), create=True, manager="slipway")
TAKEN = ConflictError('configmaps "digits-1" already exists')


async def test_a_pin_is_created_not_applied() -> None:
    """Server-side apply would put our keys into a user's ConfigMap of that name and make it ours to be deleted."""
    cluster, connection, learned = make()
    connection.answers = [pin(5)]
    await cluster.apply(KEY, CREATE_PIN)
    (sent,) = connection.sent
    assert (sent.method, sent.path) == ("POST", "/api/v1/namespaces/ns/configmaps")
    assert (sent.query, sent.content_type) == ({"fieldManager": "slipway"}, "application/json")
    assert sent.seconds is not None
    assert sent.seconds() == 4.0
    assert learned == [pin(5)]


async def test_a_pin_whose_creation_was_not_answered_is_found() -> None:
    cluster, connection, learned = make()
    kept = pin(5)
    del kept["kind"], kept["apiVersion"]  # as in a list
    connection.answers = [TAKEN, {"metadata": {"resourceVersion": "9"}, "items": [kept]}]
    await cluster.apply(KEY, CREATE_PIN)
    assert connection.sent[1].method == "GET"
    assert connection.sent[1].query == {
        "labelSelector": "app.kubernetes.io/managed-by=slipway",
        "fieldSelector": "metadata.name=digits-1",
    }
    assert learned == [pin(5)]


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
async def test_somebody_elses_configmap_of_that_name_is_a_conflict(items: list[Object] | None) -> None:
    cluster, connection, learned = make()
    connection.answers = [TAKEN, {"metadata": {"resourceVersion": "9"}, "items": items}]
    with pytest.raises(ConflictError, match="already exists"):
        await cluster.apply(KEY, CREATE_PIN)
    assert learned == []
