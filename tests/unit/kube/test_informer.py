"""The informer of children, against a scripted server: lists, watches and the ways in which they break."""

import pytest

from slipway.domain.objects import Ref
from slipway.kube import ResourceExpiredError, RetryableError
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
    assert scripted.informer.synced.is_set()
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
        await scripted.informer.resync()
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
