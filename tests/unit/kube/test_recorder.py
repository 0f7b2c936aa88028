"""Events are few: the same news raises a count, and one ModelDeployment has a budget."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.kube import ApiError, ConflictError, NotFoundError, RetryableError
from slipway.kube.recorder import EventRecorder
from slipway.domain.objects import Key

KEY = Key("ns", "digits")


@dataclass(frozen=True)
class Fact:
    type: str = "Warning"
    reason: str = "FetchFailed"
    message: str = "no such host"


class Writer:
    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []
        self.merged: list[tuple[str, dict[str, Any]]] = []
        self.refusal: ApiError | None = None

    async def create(self, kind: str, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        if self.refusal:
            raise self.refusal
        self.created.append(body)
        return body

    async def merge(self, kind: str, namespace: str, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        self.merged.append((name, patch))
        return patch


class Desk:
    def __init__(self) -> None:
        self.writer, self.time = Writer(), 0.0
        self.counts: list[str] = []
        self.recorder = EventRecorder(
            self.writer,
            "operator-1",
            clock=lambda: self.time,
            now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
            count=self.counts.append,
        )


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_an_event_has_what_the_api_asks_for(desk: Desk) -> None:
    await desk.recorder.tell(KEY, "uid", Fact(message="x" * 5000))
    (event,) = desk.writer.created
    assert event["eventTime"] == "2026-01-01T00:00:00.000000Z"
    assert len(event["note"]) == 1024
    assert event["regarding"]["uid"] == "uid"
    assert event["metadata"]["name"].startswith("digits.")
    assert event["action"]
    assert event["reportingController"]
    assert event["reportingInstance"]


async def test_the_same_news_raises_a_count(desk: Desk) -> None:
    for _ in range(3):
        await desk.recorder.tell(KEY, "uid", Fact())
    await desk.recorder.tell(KEY, "uid", Fact(message="another"))
    assert len(desk.writer.created) == 2
    assert [patch["series"]["count"] for _, patch in desk.writer.merged] == [2, 3]
    assert {name for name, _ in desk.writer.merged} == {desk.writer.created[0]["metadata"]["name"]}


async def test_an_event_of_the_process_before_is_continued(desk: Desk) -> None:
    desk.writer.refusal = ConflictError("exists")
    await desk.recorder.tell(KEY, "uid", Fact())
    assert [patch["series"]["count"] for _, patch in desk.writer.merged] == [2]


async def test_the_budget_of_one_is_not_that_of_another(desk: Desk) -> None:
    for number in range(50):
        await desk.recorder.tell(KEY, "uid", Fact(message=str(number)))
    assert len(desk.writer.created) == 10
    assert desk.counts.count("dropped") == 40
    await desk.recorder.tell(Key("ns", "other"), "uid", Fact())
    assert len(desk.writer.created) == 11
    desk.time += 3600
    await desk.recorder.tell(KEY, "uid", Fact(message="later"))
    assert len(desk.writer.created) == 12


@pytest.mark.parametrize("refusal", [RetryableError("down"), NotFoundError("namespace is going")])
async def test_an_event_that_cannot_be_written_harms_nobody(desk: Desk, refusal: ApiError) -> None:
    desk.writer.refusal = refusal
    await desk.recorder.tell(KEY, "uid", Fact())
    desk.writer.refusal = None
    await desk.recorder.tell(KEY, "uid", Fact())
    assert len(desk.writer.created) == 1
