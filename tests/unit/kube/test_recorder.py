"""Events are few: a repeated one raises a count, and one ModelDeployment has a budget."""

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from slipway.domain.objects import Key, Manifest
from slipway.kube import ApiError, ConflictError, NamespaceEndsError, NotFoundError, RetryableError
from slipway.kube.recorder import EventRecorder

KEY = Key("ns", "digits")


@dataclass(frozen=True)
class Event:
    type: str = "Warning"
    reason: str = "FetchFailed"
    message: str = "no such host"


class Writer:
    def __init__(self) -> None:
        self.created: list[Manifest] = []
        self.patched: list[tuple[str, Manifest]] = []
        self.error: ApiError | None = None

    async def create(self, kind: str, namespace: str, body: Manifest) -> Manifest:
        if self.error:
            raise self.error
        self.created.append(body)
        return body

    async def merge_patch(self, kind: str, namespace: str, name: str, patch: Manifest) -> Manifest:
        self.patched.append((name, patch))
        return patch


class Bench:
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
def bench() -> Bench:
    return Bench()


async def test_an_event_has_what_the_api_requires(bench: Bench) -> None:
    await bench.recorder.record(KEY, "uid", Event(message="x" * 5000))
    (event,) = bench.writer.created
    assert event["eventTime"] == "2026-01-01T00:00:00.000000Z"
    assert len(event["note"]) == 1024
    assert event["regarding"]["uid"] == "uid"
    assert event["metadata"]["name"].startswith("digits.")
    assert event["action"]
    assert event["reportingController"]
    assert event["reportingInstance"]


async def test_the_same_event_raises_a_count(bench: Bench) -> None:
    for _ in range(3):
        await bench.recorder.record(KEY, "uid", Event())
    await bench.recorder.record(KEY, "uid", Event(message="another"))
    assert len(bench.writer.created) == 2
    assert [patch["series"]["count"] for _, patch in bench.writer.patched] == [2, 3]
    assert {name for name, _ in bench.writer.patched} == {bench.writer.created[0]["metadata"]["name"]}


async def test_an_event_of_the_process_before_is_continued(bench: Bench) -> None:
    bench.writer.error = ConflictError("exists")
    await bench.recorder.record(KEY, "uid", Event())
    assert [patch["series"]["count"] for _, patch in bench.writer.patched] == [2]


async def test_the_budget_of_one_is_not_that_of_another(bench: Bench) -> None:
    for number in range(50):
        await bench.recorder.record(KEY, "uid", Event(message=str(number)))
    assert len(bench.writer.created) == 10
    assert bench.counts.count("dropped") == 40
    await bench.recorder.record(Key("ns", "other"), "uid", Event())
    assert len(bench.writer.created) == 11
    bench.time += 3600
    await bench.recorder.record(KEY, "uid", Event(message="later"))
    assert len(bench.writer.created) == 12


@pytest.mark.parametrize("error", [RetryableError("down"), NotFoundError("it has expired")])
async def test_an_event_that_cannot_be_written_raises_nothing(bench: Bench, error: ApiError) -> None:
    bench.writer.error = error
    await bench.recorder.record(KEY, "uid", Event())
    bench.writer.error = None
    await bench.recorder.record(KEY, "uid", Event())
    assert len(bench.writer.created) == 1


async def test_an_event_of_a_namespace_that_ends_is_dropped(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.writer.error = NamespaceEndsError("it is being terminated")
    await bench.recorder.record(KEY, "uid", Event())
    assert bench.counts == ["dropped"], "it is no failure: nobody could read it"
    assert caplog.records == []
