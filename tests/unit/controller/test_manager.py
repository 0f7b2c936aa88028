"""The manager: what its workers do while leadership is uncertain, and what happens when this process begins to lead."""

import asyncio

from slipway.api import KIND
from slipway.controller.manager import Manager
from slipway.controller.metrics import Metrics
from slipway.controller.reconciler import Outcome, Result
from slipway.controller.workqueue import WorkQueue
from slipway.domain.objects import Key
from slipway.kube import Cache, RejectedError, RetryableError
from slipway.kube.scope import Scope
from slipway.status.pod import project

KEY = Key("ns", "digits")


class UncertainLeadership:
    """Acquired, and not published as lost; but the lease may have expired until `certain` is set.

    So it is while the response to a renewal is late.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.certain = False

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def release(self) -> None:
        pass

    def remaining(self) -> float:
        return 1.0 if self.certain else 0.0

    def leading(self) -> bool:
        self.calls += 1
        return self.certain

    async def acquired(self) -> None:
        pass


class Reconciler:
    def __init__(self) -> None:
        self.called = asyncio.Event()
        self.keys: list[Key] = []
        self.forgotten: list[Key] = []

    def forget(self, key: Key) -> None:
        self.forgotten.append(key)

    async def reconcile(self, key: Key) -> Outcome:
        self.keys.append(key)
        self.called.set()
        return Outcome(Result.UNCHANGED)


def scope(namespace: str | None) -> Scope:
    return Scope(namespace, ("Service", KIND), clock=asyncio.get_running_loop().time)


def complete(*scopes: Scope) -> None:
    """Answer every list of some scopes."""
    for found in scopes:
        found.listed("Service")
        found.listed(KIND)


def make(
    reconciler: Reconciler, leadership: UncertainLeadership, *scopes: Scope
) -> tuple[Manager, Cache, WorkQueue[Key]]:
    cache, queue = Cache(project), WorkQueue[Key](asyncio.get_running_loop(), Metrics())
    manager = Manager(
        cache,
        queue,
        reconciler,  # type: ignore[arg-type]
        leadership,
        (),
        scopes,
        workers=1,
        resync_seconds=600,
        lagged=lambda _: None,
    )
    return manager, cache, queue


async def test_keys_are_delayed_without_a_busy_loop_and_none_is_lost() -> None:
    leadership, reconciler = UncertainLeadership(), Reconciler()
    everything = scope(None)
    manager, _, queue = make(reconciler, leadership, everything)
    complete(everything)
    manager.start()
    try:
        queue.add(KEY)
        await asyncio.sleep(0.45)  # a negative proof needs the time
        assert not reconciler.called.is_set()
        assert leadership.calls <= 2, "a slow machine checks less often, never more"
        leadership.certain = True
        await asyncio.wait_for(reconciler.called.wait(), 10)
    finally:
        await manager.stop()


async def test_a_new_leader_reconciles_everything_and_trusts_no_earlier_read() -> None:
    manager, cache, queue = make(Reconciler(), UncertainLeadership())
    metadata = {"namespace": "ns", "name": "digits", "uid": "u", "resourceVersion": "1"}
    cache.upsert({"kind": KIND, "metadata": metadata, "spec": {}})
    cache.verification.mark_verified(KEY)
    manager.lead()
    async with asyncio.timeout(5):
        assert await queue.get() == KEY
    assert not cache.verification.is_verified(KEY)


def store(cache: Cache, *keys: Key) -> None:
    for key in keys:
        metadata = {"namespace": key.namespace, "name": key.name, "uid": str(key), "resourceVersion": "1"}
        cache.upsert({"kind": KIND, "metadata": metadata, "spec": {}})


async def test_a_namespace_that_is_refused_takes_no_other_one_along() -> None:
    reconciler, leadership = Reconciler(), UncertainLeadership()
    leadership.certain = True
    kept, gone = scope("ns"), scope("gone")
    manager, cache, queue = make(reconciler, leadership, kept, gone)
    other = Key("gone", "digits")
    store(cache, KEY, other)
    assert "the first list of" in manager.unready()
    manager.start()
    try:
        gone.failed(KIND, RejectedError("modeldeployments is forbidden"))
        assert manager.unready() == "the first list of ModelDeployment, Service in namespace ns is not complete"
        complete(kept)
        assert manager.unready() == "", "it does its work for the others"
        queue.add(other)
        queue.add(KEY)
        await asyncio.wait_for(reconciler.called.wait(), 10)
        await asyncio.sleep(0.1)  # a negative proof needs the time
        assert set(reconciler.keys) == {KEY}
        reconciler.called.clear()
        complete(gone)
        gone.watched(KIND)
        await asyncio.wait_for(reconciler.called.wait(), 10)
        assert reconciler.keys[-1] == other, "it is picked up without an event"
        assert manager.fault() == ""
    finally:
        await manager.stop()


async def test_what_is_known_of_a_lost_namespace_is_forgotten() -> None:
    reconciler = Reconciler()
    time = [0.0]
    kept, lost = scope("ns"), Scope("gone", ("Service", KIND), clock=lambda: time[0])
    manager, cache, _ = make(reconciler, UncertainLeadership(), kept, lost)
    other = Key("gone", "digits")
    store(cache, KEY, other)
    complete(kept, lost)
    lost.failed("Service", RejectedError("services is forbidden"))
    assert lost.usable(), "an API server that starts refuses what it grants"
    time[0] = 11.0
    lost.failed("Service", RejectedError("services is forbidden"))
    assert (lost.usable(), lost.lost()) == (False, "services is forbidden")
    assert reconciler.forgotten == [other], "its series would be the last ones for ever"
    assert manager.unready() == ""
    kept.failed("Service", RetryableError("the server is overloaded"))
    assert (manager.unready(), kept.usable()) == ("", True), "what is overloaded is not lost"


async def test_without_any_namespace_it_is_not_ready() -> None:
    only = scope("gone")
    manager, _, _ = make(Reconciler(), UncertainLeadership(), only)
    only.failed(KIND, RejectedError("modeldeployments is forbidden"))
    assert manager.unready() == "namespace gone cannot be watched: modeldeployments is forbidden"


async def test_a_namespace_whose_lists_fail_for_ever_keeps_no_other_one_waiting() -> None:
    kept, broken = scope("ns"), scope("broken")
    manager, _, _ = make(Reconciler(), UncertainLeadership(), kept, broken)
    complete(kept)
    assert "namespace broken" in manager.unready()
    broken.failed("Service", RetryableError("illegal object in the store"))
    assert manager.unready() == ""
