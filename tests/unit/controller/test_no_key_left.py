"""No key is left without a look: news that reaches the store on a by-way wakes its ModelDeployment, too."""

import copy
from typing import Any

from slipway.kube import RejectedError, RetryableError
from slipway.controller.reconciler import FIRST_STATUS_SECONDS, Result
from tests.unit.loop import test_reconcile, test_watch
from tests.unit.loop.test_reconcile import Bench
from tests.unit.loop.test_watch import Script, play, service

KEY = test_reconcile.KEY


async def test_what_a_list_brought_before_it_broke_off_is_news() -> None:
    pages = [([service("a", 5)], "10"), RetryableError("reset")]
    script = Script([pages, [([service("a", 5)], "11")]], [])
    _, status, causes, _ = await play(script)
    assert causes == ["error"]
    assert status.changed == [test_watch.KEY], "the second list finds it in the store already, and would tell nobody"


async def test_one_that_was_made_anew_behind_the_watchs_back_is_looked_at() -> None:
    """The question whether the owner is still there is answered by its successor, before any watch tells of it."""
    bench = Bench()
    bench.resource()
    await bench.reconciler.reconcile(KEY)
    bench.cluster.taken()
    successor = copy.deepcopy(bench.store.resource(KEY))
    assert successor is not None
    successor["metadata"] |= {"uid": "another", "resourceVersion": "900"}

    async def get(kind: str, namespace: str, name: str) -> dict[str, Any]:
        return copy.deepcopy(successor)

    bench.cluster.get = get  # type: ignore[method-assign]  # of this one cluster, not of the class
    bench.store.remove("Service", KEY.namespace, "digits", "uid-Service-digits")
    bench.reconciler.child_deleted(KEY)
    outcome = await bench.reconciler.reconcile(KEY)
    assert bench.cluster.taken() == []
    assert bench.store.put(copy.deepcopy(successor)) == frozenset(), "the watch wakes nobody"
    assert (outcome.result, outcome.requeue_after) == (Result.GONE, 0.0)
    await bench.reconciler.reconcile(KEY)
    assert "status" in bench.cluster.taken(), "the collector has yet to take the old one's children"


async def test_a_status_that_was_refused_is_sent_again_though_nothing_changes() -> None:
    """A role that is being replaced forbids for a moment what it allows again; nothing else would ever tell."""
    bench = Bench()
    bench.resource()
    await bench.reconciler.reconcile(KEY)
    bench.time += FIRST_STATUS_SECONDS
    bench.cluster.refusals["status"] = [RejectedError("forbidden")]
    outcome = await bench.reconciler.reconcile(KEY)
    assert "status" in bench.cluster.taken()
    bench.cluster.refusals.clear()
    while not bench.cluster.status:
        assert outcome.requeue_after is not None
        assert outcome.requeue_after > 0, "but not at once, for ever"
        bench.time += outcome.requeue_after
        outcome = await bench.reconciler.reconcile(KEY)
    assert bench.cluster.taken() == ["status"]
    bench.time += 10_000
    outcome = await bench.reconciler.reconcile(KEY)
    assert (outcome.requeue_after, bench.cluster.taken()) == (None, [])


async def test_one_that_leads_again_looks_before_it_turns_a_deployment() -> None:
    """Another process led meanwhile; of the verdict that it wrote, the watch of this one has yet to tell."""
    bench = Bench()
    bench.resource()
    bench.pod()
    await bench.reconciler.reconcile(KEY)
    bench.reconciler.taken_over()
    bench.cluster.taken()
    bench.resource(model={"uri": "pvc://models/other"})
    await bench.reconciler.reconcile(KEY)
    assert bench.cluster.taken()[0] == "get ModelDeployment digits"
    bench.resource(model={"uri": "pvc://models/third"})
    await bench.reconciler.reconcile(KEY)
    assert "get ModelDeployment digits" not in bench.cluster.taken(), "once is enough"
