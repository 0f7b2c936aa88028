"""The reconciler's policies, against a cluster that records what it is asked and refuses what the test says."""

import copy
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.status import report, transitions
from slipway.kube import ApiError, ConflictError, NotFoundError, RejectedError, RetryableError
from slipway.kube.recorder import EventRecorder
from slipway.controller.metrics import Metrics
from slipway.domain.objects import Apply, Delete, Key, Ref
from slipway.status.pod import project
from slipway.controller.reconciler import FIRST_STATUS_SECONDS, MERGE_SECONDS, Reconciler, Result
from slipway.domain.servers import Defaults
from slipway.kube.cache import Cache

KEY = Key("ns", "digits")
Object = dict[str, Any]


class FakeCluster:
    """Keeps what it is sent, as the API server would, without its defaults."""

    def __init__(self, store: Cache) -> None:
        self.store = store
        self.version = 100
        self.calls: list[str] = []
        self.refusals: dict[str, list[ApiError]] = {}
        self.status: list[Object] = []
        self.exists = True

    def _call(self, what: str) -> None:
        self.calls.append(what)
        queue = self.refusals.get(what, [])
        if queue:
            raise queue.pop(0) if len(queue) > 1 else queue[0]

    def taken(self) -> list[str]:
        calls, self.calls = self.calls, []
        return calls

    async def apply(self, key: Key, action: Apply) -> None:
        kind, name = action.manifest["kind"], action.manifest["metadata"]["name"]
        self._call(f"apply {kind} {name}")
        body = copy.deepcopy(action.manifest)
        self.version += 1
        body["metadata"] |= {"uid": f"uid-{kind}-{name}", "resourceVersion": str(self.version)}
        self.store.put(body)

    async def delete(self, key: Key, action: Delete) -> bool:
        self._call(f"delete {action.ref}")
        return True

    async def apply_status(self, key: Key, uid: str, status: Object) -> Object:
        self._call("status")
        body = self.store.snapshot(key).resource
        assert body is not None
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        body["status"] = status
        self.status.append(status)
        self.store.put(copy.deepcopy(body))
        return status

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        self._call(f"get {kind} {name}")
        body = self.store.snapshot(Key(namespace, name)).resource
        if not self.exists or body is None:
            raise NotFoundError("no such thing")
        return body

    async def create(self, kind: str, namespace: str, body: Object) -> Object:
        self._call(f"create {kind} {body['reason']}")
        return body

    async def merge(self, kind: str, namespace: str, name: str, patch: Object) -> Object:
        self._call(f"merge {kind}")
        return patch


class Bench:
    """A reconciler with everything round it."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.store = Cache(project)
        self.cluster = FakeCluster(self.store)
        self.metrics = Metrics()
        now = lambda: datetime.fromtimestamp(self.time, UTC)  # noqa: E731
        recorder = EventRecorder(self.cluster, "me", clock=lambda: self.time, now=now, count=self.metrics.event)
        defaults = Defaults("tensorflow/serving", "2.20.0", "slipway/tools:0.1.0", "IfNotPresent")
        self.reconciler = Reconciler(
            self.store, self.cluster, defaults, recorder, self.metrics, clock=lambda: self.time, now=now
        )

    def resource(self, generation: int = 1, **spec: Any) -> None:
        metadata = {"namespace": "ns", "name": "digits", "uid": "u", "generation": generation}
        metadata["resourceVersion"] = str(generation)
        known = self.store.snapshot(KEY).resource
        if known:
            self.cluster.version += 1
            metadata["resourceVersion"] = str(self.cluster.version)
        body = {
            "apiVersion": "serving.slipway.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": metadata,
            "spec": {"model": {"uri": "pvc://models/digits"}} | spec,
        }
        if known and "status" in known:
            body["status"] = known["status"]
        self.store.put(body)

    def pod(self, **status: Any) -> None:
        self.cluster.version += 1
        labels = {"serving.slipway.dev/name": "digits", "serving.slipway.dev/revision": "1"}
        metadata = {"namespace": "ns", "name": "digits-0", "uid": "p", "resourceVersion": str(self.cluster.version)}
        body = {"kind": "Pod", "metadata": metadata | {"labels": labels}, "spec": {}}
        body["status"] = {"phase": "Pending"} | status
        self.store.put(body)


@pytest.fixture
def bench() -> Bench:
    return Bench()


CREATION = [
    "apply ControllerRevision digits-1",
    "apply Service digits",
    "apply Service digits-headless",
    "apply Deployment digits",
]


async def test_a_second_look_does_nothing(bench: Bench) -> None:
    bench.resource()
    first = await bench.reconciler.reconcile(KEY)
    assert bench.cluster.taken() == CREATION
    assert first.result is Result.CHANGED
    assert first.requeue_after is not None
    assert first.requeue_after <= FIRST_STATUS_SECONDS
    bench.time += FIRST_STATUS_SECONDS
    await bench.reconciler.reconcile(KEY)
    assert bench.cluster.taken() == ["status"]
    for _ in range(3):
        bench.time += 100
        outcome = await bench.reconciler.reconcile(KEY)
        assert outcome.result is Result.UNCHANGED
    assert bench.cluster.taken() == []


async def test_the_first_status_waits_for_a_pod_no_longer_than_it_takes(bench: Bench) -> None:
    bench.resource()
    await bench.reconciler.reconcile(KEY)
    bench.cluster.taken()
    bench.pod()
    await bench.reconciler.reconcile(KEY)
    assert bench.cluster.taken() == ["status"]


async def test_trouble_does_not_wait(bench: Bench) -> None:
    bench.resource(autoscaling={"minReplicas": 5, "maxReplicas": 2})
    outcome = await bench.reconciler.reconcile(KEY)
    assert outcome.result is Result.UNCHANGED
    assert bench.cluster.taken()[0] == "status"
    assert bench.cluster.status[-1]["conditions"][0]["reason"] == "InvalidSpec"


async def test_counts_are_gathered_before_they_are_told(bench: Bench) -> None:
    bench.resource()
    bench.pod()
    await bench.reconciler.reconcile(KEY)
    bench.cluster.taken()
    bench.pod(initContainerStatuses=[{"name": "fetch", "state": {"running": {}}}])
    outcome = await bench.reconciler.reconcile(KEY)
    assert bench.cluster.taken() == []
    assert outcome.requeue_after is not None
    assert 0 < outcome.requeue_after <= MERGE_SECONDS
    bench.time += MERGE_SECONDS
    await bench.reconciler.reconcile(KEY)
    assert bench.cluster.taken() == ["status"]


async def test_a_refusal_is_told_and_tried_again_with_growing_pauses(bench: Bench) -> None:
    bench.resource()
    words = 'services "digits" is forbidden: exceeded quota: small'
    bench.cluster.refusals["apply Service digits"] = [RejectedError(words)]
    outcome = await bench.reconciler.reconcile(KEY)
    assert outcome.result is Result.REJECTED
    assert bench.cluster.status[-1]["conditions"][0]["reason"] == "QuotaExceeded"
    assert "small" in bench.cluster.status[-1]["conditions"][0]["message"]
    assert "apply Deployment digits" in bench.cluster.taken(), "the others are made"
    sent = []
    for second in range(1, 64):
        bench.time = 1000.0 + second
        await bench.reconciler.reconcile(KEY)
        if "apply Service digits" in bench.cluster.taken():
            sent.append(second)
    assert sent == [1, 3, 7, 15, 31, 63], "whatever wakes it in between"
    del bench.cluster.refusals["apply Service digits"]
    bench.time += 1000
    await bench.reconciler.reconcile(KEY)
    assert "apply Service digits" in bench.cluster.taken()
    await bench.reconciler.reconcile(KEY)
    assert bench.cluster.status[-1]["conditions"][0]["reason"] != "QuotaExceeded"


async def test_a_foreign_deployment_ends_the_plan(bench: Bench) -> None:
    bench.resource(autoscaling={"minReplicas": 1, "maxReplicas": 3}, resources={"requests": {"cpu": "1"}})
    bench.cluster.refusals["apply Deployment digits"] = [ConflictError("Apply failed with 3 conflicts")]
    outcome = await bench.reconciler.reconcile(KEY)
    assert outcome.result is Result.REJECTED
    calls = bench.cluster.taken()
    assert "apply HorizontalPodAutoscaler digits" not in calls
    assert bench.cluster.status[-1]["conditions"][0]["reason"] == "NameConflict"


async def test_a_server_in_trouble_is_left_alone(bench: Bench) -> None:
    bench.resource()
    bench.cluster.refusals["apply Service digits"] = [RetryableError("overloaded", 7.0)]
    outcome = await bench.reconciler.reconcile(KEY)
    assert (outcome.result, outcome.retry_after) == (Result.RETRY, 7.0)
    assert bench.cluster.taken() == CREATION[:2], "nothing more is sent"


async def test_a_deleted_child_is_made_again_after_asking_for_its_owner(bench: Bench) -> None:
    bench.resource()
    bench.pod()
    await bench.reconciler.reconcile(KEY)
    bench.cluster.taken()
    assert bench.store.remove("Service", "ns", "digits", "uid-Service-digits") == {KEY}
    bench.reconciler.child_deleted(KEY)
    await bench.reconciler.reconcile(KEY)
    assert bench.cluster.taken() == ["get ModelDeployment digits", "apply Service digits"]


async def test_children_of_a_lost_owner_are_not_made_again(bench: Bench) -> None:
    bench.resource()
    bench.pod()
    await bench.reconciler.reconcile(KEY)
    bench.cluster.taken()
    bench.store.remove("Service", "ns", "digits", "uid-Service-digits")
    bench.reconciler.child_deleted(KEY)
    bench.cluster.exists = False
    outcome = await bench.reconciler.reconcile(KEY)
    assert outcome.result is Result.GONE
    assert bench.cluster.taken() == ["get ModelDeployment digits"]
    assert bench.store.snapshot(KEY).resource is None


async def test_a_servers_other_spelling_is_no_reason_to_write_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison says "different" for ever; the answer to our apply is the proof that it is not."""
    bench.resource()
    bench.pod()
    await bench.reconciler.reconcile(KEY)
    bench.cluster.taken()
    monkeypatch.setattr("slipway.compare.in_sync", lambda *_: False)
    await bench.reconciler.reconcile(KEY)
    first = bench.cluster.taken()
    assert first, "once, to find out"
    await bench.reconciler.reconcile(KEY)
    assert bench.cluster.taken() == []


async def test_a_status_that_the_server_spells_differently_is_written_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = bench.cluster.apply_status

    async def other_spelling(key: Key, uid: str, status: Object) -> Object:
        return await real(key, uid, status | {"observedGeneration": 1.0, "extra": []})

    monkeypatch.setattr(bench.cluster, "apply_status", other_spelling)
    bench.resource()
    bench.pod()
    for _ in range(3):
        await bench.reconciler.reconcile(KEY)
        bench.time += 60
    assert bench.cluster.taken().count("status") == 1


async def test_what_the_user_wrote_while_the_status_was_written_is_not_overlooked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to the status holds the newer spec: its own event will be old news, and wakes nobody."""
    real = bench.cluster.apply_status

    async def meanwhile(key: Key, uid: str, status: Object) -> Object:
        bench.resource(generation=2, replicas=3)
        return await real(key, uid, status)

    bench.resource()
    bench.pod()
    with monkeypatch.context() as patched:
        patched.setattr(bench.cluster, "apply_status", meanwhile)
        first = await bench.reconciler.reconcile(KEY)
    assert first.requeue_after == 0
    bench.cluster.taken()
    second = await bench.reconciler.reconcile(KEY)
    assert bench.cluster.status[-1]["observedGeneration"] == 2
    assert second.requeue_after != 0


async def test_an_unexpected_error_is_told_counted_and_kept_to_one_key(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.resource()

    def broken(*_: object) -> None:
        raise ZeroDivisionError("nobody expected this")

    monkeypatch.setattr("slipway.plan.decide", broken)
    outcome = await bench.reconciler.reconcile(KEY)
    assert outcome.result is Result.ERROR
    assert "nobody expected this" in bench.cluster.status[-1]["conditions"][0]["message"]
    monkeypatch.setattr("slipway.status.compute", broken)
    assert (await bench.reconciler.reconcile(KEY)).result is Result.ERROR, "even then it does not raise"


async def test_a_resource_that_is_going_is_left_to_the_collector(bench: Bench) -> None:
    bench.resource()
    body = bench.store.snapshot(KEY).resource
    assert body is not None
    body["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "500"}
    bench.store.put(body)
    assert (await bench.reconciler.reconcile(KEY)).result is Result.GONE
    assert bench.cluster.taken() == []


async def test_any_pattern_of_failures_ends_in_the_same_state(bench: Bench) -> None:
    """Random refusals and troubles for a while; afterwards the same children and one true status."""
    rng = random.Random(3)
    bench.resource()
    for _ in range(200):
        bench.cluster.refusals = {
            call: [rng.choice([RetryableError("x"), RejectedError("no"), ConflictError("mine"), NotFoundError("gone")])]
            for call in [*CREATION, "status"]
            if rng.random() < 0.4
        }
        await bench.reconciler.reconcile(KEY)
        bench.time += rng.random() * 20
        if not bench.store.snapshot(KEY).resource:  # its status was said to be gone: the next list brings it back
            bench.cluster.version += 1000
            bench.resource(generation=bench.cluster.version)
    bench.cluster.refusals = {}
    for _ in range(4):
        bench.time += 400
        await bench.reconciler.reconcile(KEY)
    children = set(bench.store.snapshot(KEY).children)
    assert {Ref("Deployment", "digits"), Ref("Service", "digits"), Ref("Service", "digits-headless")} <= children
    bench.cluster.taken()
    bench.time += 400
    assert (await bench.reconciler.reconcile(KEY)).result is Result.UNCHANGED
    assert bench.cluster.taken() == []
    resource = bench.store.snapshot(KEY).resource
    assert resource is not None
    assert not status.urgent(resource["status"], bench.cluster.status[-1])


async def test_a_process_that_has_just_taken_over_looks_before_it_turns_a_deployment(bench: Bench) -> None:
    """The process before it wrote a verdict and went back; of the verdict this one has yet to hear."""
    bench.resource()
    bench.pod()
    await bench.reconciler.reconcile(KEY)
    bench.resource(model={"uri": "pvc://models/other"})
    await bench.reconciler.reconcile(KEY)
    assert "get ModelDeployment digits" not in bench.cluster.taken(), "this one knows what it wrote"
    successor = Reconciler(
        bench.store,
        bench.cluster,
        bench.reconciler._defaults,
        bench.reconciler._recorder,
        Metrics(),
        clock=lambda: bench.time,
        now=bench.reconciler._now,
    )
    bench.resource(model={"uri": "pvc://models/third"})
    await successor.reconcile(KEY)
    calls = bench.cluster.taken()
    assert calls[0] == "get ModelDeployment digits"
    assert "apply Deployment digits" in calls
    bench.resource(model={"uri": "pvc://models/fourth"})
    await successor.reconcile(KEY)
    assert "get ModelDeployment digits" not in bench.cluster.taken(), "once is enough"
