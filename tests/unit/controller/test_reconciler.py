"""The reconciler's policies, against a client that records its calls and fails where the test says so."""

import random

import pytest

from slipway.controller.reconciler import Result
from slipway.controller.status_writer import FIRST_STATUS_SECONDS, MERGE_SECONDS
from slipway.domain.objects import Key, Manifest, Ref
from slipway.kube import ConflictError, NamespaceEndsError, NotFoundError, RejectedError, RetryableError
from slipway.kube.verification import Verification
from slipway.status import transitions
from tests.kit.reconciler_bench import KEY, Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


CREATION = [
    "apply ControllerRevision digits-1",
    "apply Service digits",
    "apply Service digits-headless",
    "apply Deployment digits",
]


async def test_a_second_reconciliation_does_nothing(bench: Bench) -> None:
    bench.resource()
    first = await bench.reconciler.reconcile(KEY)
    assert bench.client.take_calls() == CREATION
    assert first.result is Result.CHANGED
    assert first.requeue_after is not None
    assert first.requeue_after <= FIRST_STATUS_SECONDS
    bench.time += FIRST_STATUS_SECONDS
    await bench.reconciler.reconcile(KEY)
    assert bench.client.take_calls() == ["status"]
    for _ in range(3):
        bench.time += 100
        outcome = await bench.reconciler.reconcile(KEY)
        assert outcome.result is Result.UNCHANGED
    assert bench.client.take_calls() == []


async def test_the_first_status_waits_no_longer_than_for_the_first_pod(bench: Bench) -> None:
    bench.resource()
    await bench.reconciler.reconcile(KEY)
    bench.client.take_calls()
    bench.pod()
    await bench.reconciler.reconcile(KEY)
    assert bench.client.take_calls() == ["status"]


async def test_a_fault_does_not_wait(bench: Bench) -> None:
    bench.resource(autoscaling={"minReplicas": 5, "maxReplicas": 2})
    outcome = await bench.reconciler.reconcile(KEY)
    assert outcome.result is Result.UNCHANGED
    assert bench.client.take_calls()[0] == "status"
    assert bench.client.statuses[-1]["conditions"][0]["reason"] == "InvalidSpec"


async def test_changes_of_counts_are_merged_before_they_are_written(bench: Bench) -> None:
    bench.resource()
    bench.pod()
    await bench.reconciler.reconcile(KEY)
    bench.client.take_calls()
    bench.pod(initContainerStatuses=[{"name": "fetch", "state": {"running": {}}}])
    outcome = await bench.reconciler.reconcile(KEY)
    assert bench.client.take_calls() == []
    assert outcome.requeue_after is not None
    assert 0 < outcome.requeue_after <= MERGE_SECONDS
    bench.time += MERGE_SECONDS
    await bench.reconciler.reconcile(KEY)
    assert bench.client.take_calls() == ["status"]


async def test_a_rejection_is_reported_and_retried_with_growing_pauses(bench: Bench) -> None:
    bench.resource()
    message = 'services "digits" is forbidden: exceeded quota: small'
    bench.client.errors["apply Service digits"] = [RejectedError(message)]
    outcome = await bench.reconciler.reconcile(KEY)
    assert outcome.result is Result.REJECTED
    assert bench.client.statuses[-1]["conditions"][0]["reason"] == "QuotaExceeded"
    assert "small" in bench.client.statuses[-1]["conditions"][0]["message"]
    assert "apply Deployment digits" in bench.client.take_calls(), "the other children are created"
    sent = []
    for second in range(1, 64):
        bench.time = 1000.0 + second
        await bench.reconciler.reconcile(KEY)
        if "apply Service digits" in bench.client.take_calls():
            sent.append(second)
    assert sent == [1, 3, 7, 15, 31, 63], "however often it is reconciled in between"
    del bench.client.errors["apply Service digits"]
    bench.time += 1000
    await bench.reconciler.reconcile(KEY)
    assert "apply Service digits" in bench.client.take_calls()
    await bench.reconciler.reconcile(KEY)
    assert bench.client.statuses[-1]["conditions"][0]["reason"] != "QuotaExceeded"


async def test_a_namespace_that_is_being_deleted_is_no_fault_of_its_models(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.resource()
    bench.pod()
    await bench.reconciler.reconcile(KEY)
    for kind in ("Service digits", "Service digits-headless", "Deployment digits", "ControllerRevision digits-1"):
        message = f"{kind} is forbidden: unable to create new content in namespace ns because it is being terminated"
        bench.client.errors[f"apply {kind}"] = [NamespaceEndsError(message)]
        bench.child_deleted(Ref(*kind.split()))
    bench.client.take_calls()
    outcome = await bench.reconciler.reconcile(KEY)
    assert outcome.result is not Result.REJECTED
    assert outcome.requeue_after is not None
    calls = bench.client.take_calls()
    assert len([call for call in calls if call.startswith("apply")]) == 1, "nor can anything else be created"
    assert not any(call.startswith("create Event") for call in calls)
    assert not any(item["reason"] == "ApplyFailed" for item in bench.client.statuses[-1]["conditions"])
    assert not [record for record in caplog.records if record.levelname != "INFO"]
    await bench.reconciler.reconcile(KEY)
    assert not any(call.startswith("apply") for call in bench.client.take_calls()), "not again with each event"


async def test_a_foreign_deployment_ends_the_plan(bench: Bench) -> None:
    bench.resource(autoscaling={"minReplicas": 1, "maxReplicas": 3}, resources={"requests": {"cpu": "1"}})
    bench.client.errors["apply Deployment digits"] = [ConflictError("Apply failed with 3 conflicts")]
    outcome = await bench.reconciler.reconcile(KEY)
    assert outcome.result is Result.REJECTED
    calls = bench.client.take_calls()
    assert "apply HorizontalPodAutoscaler digits" not in calls
    assert bench.client.statuses[-1]["conditions"][0]["reason"] == "NameConflict"


async def test_an_overloaded_server_gets_no_further_requests(bench: Bench) -> None:
    bench.resource()
    bench.client.errors["apply Service digits"] = [RetryableError("overloaded", 7.0)]
    outcome = await bench.reconciler.reconcile(KEY)
    assert (outcome.result, outcome.retry_after) == (Result.RETRY, 7.0)
    assert bench.client.take_calls() == CREATION[:2], "no further request is sent"


async def test_a_deleted_child_is_created_again_after_its_owner_is_verified(bench: Bench) -> None:
    bench.resource()
    bench.pod()
    await bench.reconciler.reconcile(KEY)
    bench.client.take_calls()
    assert bench.child_deleted(Ref("Service", "digits")) == {KEY}
    await bench.reconciler.reconcile(KEY)
    assert bench.client.take_calls() == ["get ModelDeployment digits", "apply Service digits"]


async def test_children_of_a_deleted_owner_are_not_created_again(bench: Bench) -> None:
    bench.resource()
    bench.pod()
    await bench.reconciler.reconcile(KEY)
    bench.client.take_calls()
    bench.child_deleted(Ref("Service", "digits"))
    bench.client.exists = False
    outcome = await bench.reconciler.reconcile(KEY)
    assert outcome.result is Result.GONE
    assert bench.client.take_calls() == ["get ModelDeployment digits"]
    assert bench.cache.snapshot(KEY).resource is None


async def test_a_servers_other_spelling_is_not_applied_for_ever(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The diff finds a difference for ever; the response to the apply proves that there is none."""
    bench.resource()
    bench.pod()
    await bench.reconciler.reconcile(KEY)
    bench.client.take_calls()
    monkeypatch.setattr("slipway.decide.diff.in_sync", lambda *_: False)
    await bench.reconciler.reconcile(KEY)
    first = bench.client.take_calls()
    assert first, "once, to find out"
    await bench.reconciler.reconcile(KEY)
    assert bench.client.take_calls() == []


async def test_a_status_that_the_server_spells_differently_is_written_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = bench.client.apply_status

    async def other_spelling(key: Key, uid: str, status: Manifest) -> Manifest:
        return await real(key, uid, status | {"observedGeneration": 1.0, "extra": []})

    monkeypatch.setattr(bench.client, "apply_status", other_spelling)
    bench.resource()
    bench.pod()
    for _ in range(3):
        await bench.reconciler.reconcile(KEY)
        bench.time += 60
    assert bench.client.take_calls().count("status") == 1


async def test_a_spec_that_changes_while_the_status_is_written_is_reconciled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The response to the status write contains the newer spec: its own event then changes nothing."""
    real = bench.client.apply_status

    async def meanwhile(key: Key, uid: str, status: Manifest) -> Manifest:
        bench.resource(generation=2, replicas=3)
        return await real(key, uid, status)

    bench.resource()
    bench.pod()
    with monkeypatch.context() as patched:
        patched.setattr(bench.client, "apply_status", meanwhile)
        first = await bench.reconciler.reconcile(KEY)
    assert first.requeue_after == 0
    bench.client.take_calls()
    second = await bench.reconciler.reconcile(KEY)
    assert bench.client.statuses[-1]["observedGeneration"] == 2
    assert second.requeue_after != 0


async def test_an_unexpected_error_is_reported_and_affects_one_key(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.resource()

    def broken(*_: object) -> None:
        raise ZeroDivisionError("this is unexpected")

    monkeypatch.setattr("slipway.controller.reconciler.make_plan", broken)
    outcome = await bench.reconciler.reconcile(KEY)
    assert outcome.result is Result.ERROR
    assert "this is unexpected" in bench.client.statuses[-1]["conditions"][0]["message"]
    monkeypatch.setattr("slipway.status.report.compute", broken)
    assert (await bench.reconciler.reconcile(KEY)).result is Result.ERROR, "even then it does not raise"


async def test_a_resource_that_is_being_deleted_is_left_to_the_garbage_collector(bench: Bench) -> None:
    bench.resource()
    body = bench.cache.snapshot(KEY).resource
    assert body is not None
    body["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "500"}
    bench.cache.upsert(body)
    assert (await bench.reconciler.reconcile(KEY)).result is Result.GONE
    assert bench.client.take_calls() == []


async def test_a_resource_that_does_not_exist_costs_no_request(bench: Bench) -> None:
    assert (await bench.reconciler.reconcile(KEY)).result is Result.GONE
    assert bench.client.take_calls() == []


async def test_any_pattern_of_failures_ends_in_the_same_state(bench: Bench) -> None:
    """Random errors for a while; afterwards the same children and one true status."""
    rng = random.Random(3)
    bench.resource()
    for _ in range(200):
        bench.client.errors = {
            call: [rng.choice([RetryableError("x"), RejectedError("no"), ConflictError("mine"), NotFoundError("gone")])]
            for call in [*CREATION, "status"]
            if rng.random() < 0.4
        }
        await bench.reconciler.reconcile(KEY)
        bench.time += rng.random() * 20
        if not bench.cache.snapshot(KEY).resource:  # its status write returned 404: the next list brings it back
            bench.client.version += 1000
            bench.resource(generation=bench.client.version)
    bench.client.errors = {}
    for _ in range(4):
        bench.time += 400
        await bench.reconciler.reconcile(KEY)
    children = set(bench.cache.snapshot(KEY).children)
    assert {Ref("Deployment", "digits"), Ref("Service", "digits"), Ref("Service", "digits-headless")} <= children
    bench.client.take_calls()
    bench.time += 400
    assert (await bench.reconciler.reconcile(KEY)).result is Result.UNCHANGED
    assert bench.client.take_calls() == []
    resource = bench.cache.snapshot(KEY).resource
    assert resource is not None
    assert not transitions.urgent(resource["status"], bench.client.statuses[-1])


async def test_a_new_leader_verifies_before_it_changes_a_deployment(bench: Bench) -> None:
    """The leader before it wrote a verdict and rolled back; this one's informer has yet to receive the verdict."""
    bench.resource()
    bench.pod()
    await bench.reconciler.reconcile(KEY)
    bench.resource(model={"uri": "pvc://models/other"})
    await bench.reconciler.reconcile(KEY)
    assert "get ModelDeployment digits" not in bench.client.take_calls(), "this one knows what it wrote"
    bench.cache.verification = Verification()  # of the new process
    successor = bench.new_reconciler()
    bench.resource(model={"uri": "pvc://models/third"})
    await successor.reconcile(KEY)
    calls = bench.client.take_calls()
    assert calls[0] == "get ModelDeployment digits"
    assert "apply Deployment digits" in calls
    bench.resource(model={"uri": "pvc://models/fourth"})
    await successor.reconcile(KEY)
    assert "get ModelDeployment digits" not in bench.client.take_calls(), "once is enough"
