"""The informer of children, against a scripted server: lists, watches and the ways in which they break."""

import pytest

from slipway.domain.objects import Ref
from slipway.kube import RejectedError, ResourceExpiredError, RetryableError
from tests.kit.scripted_source import KEY, Script, Scripted, play, service


async def test_a_list_in_pages_then_a_watch_from_there() -> None:
    pages = [([service("a", 1)], "10"), ([service("b", 2)], "10")]
    bookmark = {"metadata": {"resourceVersion": "30"}}
    watch = [("ADDED", service("c", 20)), ("DELETED", service("a", 21)), ("BOOKMARK", bookmark)]
    script = Script([pages], [watch])
    scripted = await play(script)
    assert scripted.names == {"b", "c"}
    assert script.requests == ["list", "watch 10", "watch 30"], "a watch that ends is resumed where it was"
    assert scripted.causes == []
    assert scripted.queue.deleted == [KEY]
    assert scripted.cache.verification.is_stale(KEY)
    assert scripted.scope.usable()
    assert scripted.informer.age() < 20


async def test_an_expired_watch_lists_again_and_finds_what_was_deleted_meanwhile() -> None:
    lists = [[([service("a", 1), service("b", 2)], "10")], [([service("b", 2)], "50")]]
    script = Script(lists, [[ResourceExpiredError("too old")]])
    scripted = await play(script)
    assert scripted.names == {"b"}
    assert script.requests == ["list", "watch 10", "list", "watch 50"]
    assert scripted.causes == ["expired"]
    assert scripted.queue.deleted == [KEY]
    assert scripted.cache.verification.is_stale(KEY)


async def test_a_broken_watch_resumes_twice_then_lists() -> None:
    broken = [RetryableError("reset")]
    script = Script([[([], "10")], [([], "60")]], [broken, broken, broken])
    scripted = await play(script)
    assert script.requests == ["list", "watch 10", "watch 10", "watch 10", "list", "watch 60"]
    assert scripted.causes == ["error"] * 3


async def test_an_event_resets_the_count_of_failures() -> None:
    broken = [RetryableError("reset")]
    script = Script([[([], "10")]], [broken, broken, [("ADDED", service("a", 11)), RetryableError("reset")], broken])
    await play(script)
    assert script.requests == ["list", "watch 10", "watch 10", "watch 10", "watch 11", "watch 11"]


async def test_a_list_that_breaks_off_removes_nothing() -> None:
    scripted = Scripted(Script([[([service("b", 5)], "10"), RetryableError("reset")]], []))
    scripted.cache.upsert(service("a", 1))
    with pytest.raises(RetryableError):
        await scripted.informer.resync(scripted.scope)
    assert scripted.names == {"a", "b"}


async def test_the_first_list_is_retried_until_it_succeeds() -> None:
    script = Script([[RetryableError("down")], [RetryableError("down")], [([service("a", 1)], "7")]], [])
    scripted = await play(script)
    assert Ref("Service", "a") in scripted.cache.snapshot(KEY).children
    assert scripted.causes == ["error", "error"]


async def test_a_watch_that_ends_at_once_without_an_event_is_not_restarted_without_a_pause() -> None:
    script = Script([[([], "10")], [([], "20")]], [[], [], []])
    scripted = await play(script)
    assert scripted.causes == ["error"] * 3
    assert script.requests == ["list", "watch 10", "watch 10", "watch 10", "list", "watch 20"]


async def test_a_refused_list_makes_the_scope_lost_until_it_is_answered() -> None:
    refused = [RejectedError("services is forbidden")]
    scripted = Scripted(Script([refused, refused, [([service("a", 1)], "7")]], []))
    seen: list[tuple[bool, str, float | None]] = []
    scripted.scope.on_change = lambda scope: seen.append(
        (scope.usable(), scope.lost(), scripted.informer.age_unless_lost())
    )
    await scripted.play()
    assert [entry[:2] for entry in seen] == [(False, "services is forbidden"), (True, "")]
    assert seen[0][2] is None, "it is no silence of the API server"
    assert scripted.causes == ["rejected", "rejected"]


async def test_a_refused_watch_is_noticed_although_lists_are_answered() -> None:
    scripted = Scripted(Script([[([], "10")]], [[RejectedError("cannot watch")]]))
    failing: list[str] = []
    listed = scripted.scope.failed
    scripted.scope.failed = lambda kind, error: (listed(kind, error), failing.append(scripted.scope.failing()))  # type: ignore[assignment,func-returns-value]
    await scripted.play()
    assert failing == ["cannot watch"]
    assert scripted.scope.failing() == "", "the watch was accepted at last"
