"""Counting in the audit log: every request once, the Lease apart, pages and dry runs told apart."""

import json
from pathlib import Path

import pytest

from dev.bench.audit import AuditLog, Request, parse, tally


def event(
    verb: str = "create",
    stage: str = "ResponseComplete",
    uri: str = "/apis/apps/v1/deployments",
    code: int = 201,
    **reference: str,
) -> str:
    found = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "stage": stage,
        "requestURI": uri,
        "verb": verb,
        "user": {"username": "slipway"},
        "responseStatus": {"metadata": {}, "code": code},
    }
    return json.dumps(found | ({"objectRef": reference} if reference else {}))


def test_a_request_is_read_with_its_subresource() -> None:
    line = event(
        "patch", uri="/apis/x/y?fieldManager=slipway", code=200, resource="modeldeployments", subresource="status"
    )
    assert parse(line) == Request("slipway", "patch", "modeldeployments/status", 200)


def test_a_request_without_a_resource_is_known_by_its_path() -> None:
    request = parse(event("get", uri="/version?timeout=5s", code=200))
    assert request is not None
    assert (request.resource, request.write) == ("/version", False)


@pytest.mark.parametrize(
    ("verb", "stage", "counted"),
    [
        ("watch", "ResponseStarted", True),
        ("watch", "ResponseComplete", False),
        ("create", "ResponseStarted", False),
        ("create", "ResponseComplete", True),
        ("create", "Panic", True),
        ("create", "RequestReceived", False),
    ],
)
def test_each_request_counts_once(verb: str, stage: str, *, counted: bool) -> None:
    assert (parse(event(verb, stage, resource="pods")) is not None) is counted


def test_dry_runs_and_further_pages_are_told_apart() -> None:
    dry = parse(event("update", uri="/apis/apps/v1/deployments/a?dryRun=All", resource="deployments"))
    page = parse(event("list", uri="/api/v1/pods?limit=500&continue=abc", resource="pods"))
    assert dry is not None
    assert dry.label == "update deployments (dry run)"
    assert page is not None
    assert page.paged


@pytest.mark.parametrize("line", ["{}", "[]", '{"stage": "ResponseComplete"}', "not json"])
def test_what_is_no_audit_event_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"not an event|Expecting value"):
        parse(line)


def test_a_tally_counts_one_user_and_keeps_the_lease_apart() -> None:
    requests = [
        Request("slipway", "create", "deployments", 201),
        Request("slipway", "create", "deployments", 409),
        Request("slipway", "patch", "modeldeployments/status", 200),
        Request("slipway", "update", "leases", 200),
        Request("slipway", "watch", "pods", 200),
        Request("slipway", "list", "pods", 200),
        Request("slipway", "list", "pods", 200, paged=True),
        Request("slipway", "get", "/version", 200),
        Request("somebody", "delete", "deployments", 200),
    ]
    found = tally(requests, "slipway")
    assert found.requests == {
        "create deployments": 2,
        "get /version": 1,
        "list pods": 2,
        "patch modeldeployments/status": 1,
        "watch pods": 1,
    }
    assert (found.writes, found.watches, found.lists, found.leases, found.refused) == (3, 1, 1, 1, 1)
    assert (found.total, found.reads, found.beyond_upkeep) == (6, 3, 4)
    assert found.written("deployments") == 2
    assert found.written("modeldeployments") == 0
    assert found.written("pods") == 0


def test_a_log_is_read_between_marks_and_without_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(path)
    assert log.mark() == 0
    path.write_text(event(resource="services") + "\n")
    first = log.mark()
    with path.open("a") as out:
        out.write(event(resource="deployments") + "\n")
        out.flush()
        second = log.mark()
        out.write(event("watch", "ResponseComplete", resource="pods") + "\n" + event(resource="pods")[:40])
    assert [request.resource for request in log.since(first)] == ["deployments"]
    assert [request.resource for request in log.since(0, first)] == ["services"]
    assert log.tally("slipway", 0, second).writes == 2
