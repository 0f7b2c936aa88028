"""No key is left behind: a change that reaches the cache in an unusual way is reconciled, too."""

import copy

from slipway.controller.reconciler import Result
from slipway.controller.status_writer import FIRST_STATUS_SECONDS
from slipway.domain.objects import Manifest, Ref
from slipway.kube import RejectedError, RetryableError
from tests.kit import scripted_source
from tests.kit.reconciler_bench import KEY, Bench
from tests.kit.scripted_source import Script, play, service


async def test_what_a_list_brought_before_it_broke_off_is_enqueued() -> None:
    pages = [([service("a", 5)], "10"), RetryableError("reset")]
    script = Script([pages, [([service("a", 5)], "11")]], [])
    scripted = await play(script)
    assert scripted.causes == ["error"]
    assert scripted.queue.changed == [scripted_source.KEY], (
        "the second list finds it in the cache already, and enqueues nothing"
    )


async def test_a_successor_that_verification_finds_is_reconciled() -> None:
    """Verification finds another ModelDeployment of that name, before any watch has announced it."""
    bench = Bench()
    bench.resource()
    await bench.reconciler.reconcile(KEY)
    bench.client.take_calls()
    successor = copy.deepcopy(bench.cache.resource(KEY))
    assert successor is not None
    successor["metadata"] |= {"uid": "another", "resourceVersion": "900"}

    async def get(kind: str, namespace: str, name: str) -> Manifest:
        return copy.deepcopy(successor)

    bench.client.get = get  # type: ignore[method-assign]  # of this one client, not of the class
    bench.child_deleted(Ref("Service", "digits"))
    outcome = await bench.reconciler.reconcile(KEY)
    assert bench.client.take_calls() == []
    assert bench.cache.upsert(copy.deepcopy(successor)) == frozenset(), "the watch event enqueues nothing"
    assert (outcome.result, outcome.requeue_after) == (Result.GONE, 0.0)
    await bench.reconciler.reconcile(KEY)
    assert "status" in bench.client.take_calls(), "the garbage collector has yet to delete the old one's children"


async def test_a_rejected_status_is_written_again_although_nothing_changes() -> None:
    """A role that is being replaced forbids for a moment what it then allows again; no event announces that."""
    bench = Bench()
    bench.resource()
    await bench.reconciler.reconcile(KEY)
    bench.time += FIRST_STATUS_SECONDS
    bench.client.errors["status"] = [RejectedError("forbidden")]
    outcome = await bench.reconciler.reconcile(KEY)
    assert "status" in bench.client.take_calls()
    bench.client.errors.clear()
    while not bench.client.statuses:
        assert outcome.requeue_after is not None
        assert outcome.requeue_after > 0, "but not at once, for ever"
        bench.time += outcome.requeue_after
        outcome = await bench.reconciler.reconcile(KEY)
    assert bench.client.take_calls() == ["status"]
    bench.time += 10_000
    outcome = await bench.reconciler.reconcile(KEY)
    assert (outcome.requeue_after, bench.client.take_calls()) == (None, [])


async def test_a_process_that_leads_again_verifies_before_it_changes_a_deployment() -> None:
    """Another process led meanwhile; this one's informer has yet to receive the verdict that it wrote."""
    bench = Bench()
    bench.resource()
    bench.pod()
    await bench.reconciler.reconcile(KEY)
    bench.cache.verification.invalidate()
    bench.client.take_calls()
    bench.resource(model={"uri": "pvc://models/other"})
    await bench.reconciler.reconcile(KEY)
    assert bench.client.take_calls()[0] == "get ModelDeployment digits"
    bench.resource(model={"uri": "pvc://models/third"})
    await bench.reconciler.reconcile(KEY)
    assert "get ModelDeployment digits" not in bench.client.take_calls(), "once is enough"
