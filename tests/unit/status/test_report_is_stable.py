"""A status rests: computed again from itself, at another time, it is the same."""

from datetime import UTC, datetime, timedelta
from typing import Any

from slipway.api import Reason
from slipway.decide import Plan, State
from slipway.domain.objects import Key, Observed, Problem, Ref
from slipway.status import report

KEY = Key("ns", "digits")
NOW = datetime(2026, 2, 1, tzinfo=UTC)


def record(number: int) -> dict[str, Any]:
    metadata = {
        "name": f"digits-{number}",
        "uid": f"record-{number}",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "ownerReferences": [{"controller": True, "uid": "u", "kind": "ModelDeployment", "name": "digits"}],
    }
    return {"metadata": metadata, "revision": number, "data": {"spec": {"model": {"uri": "pvc://a"}}, "template": {}}}


def test_while_the_spec_is_invalid_and_the_status_never_told_of_the_newest_record() -> None:
    """The record was made, the status could not be written, and then the spec became one that nothing is planned by."""
    records = {Ref("ControllerRevision", f"digits-{number}"): record(number) for number in (1, 2)}
    since = "2026-01-01T00:00:00Z"
    status: dict[str, Any] = {
        "updateRevision": 1,
        "currentRevision": 1,
        "history": [{"revision": 1, "verdict": "Ready", "lastTransitionTime": since, "startTime": since}],
    }
    plan = Plan(problem=Problem(Reason.INVALID_SPEC, "spec.model.uri: is missing"))
    for seconds in (0, 30):
        body = {"metadata": {"uid": "u", "generation": 3}, "spec": {}, "status": status}
        status, before = (
            report.compute(State.gather(KEY, Observed(body, records)), plan, (), NOW + timedelta(seconds=seconds)),
            status,
        )
    assert status == before
    assert [entry["verdict"] for entry in status["history"]] == ["Progressing", "Ready"]
