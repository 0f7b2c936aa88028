"""The reflector, against a scripted server: lists, streams and the ways in which they break."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from slipway.kube import ApiError, ResourceExpiredError, RetryableError
from slipway.domain.objects import Key, Pod, Ref
from slipway.kube.cache import Cache
from slipway.kube.informer import Reflector, relist

Object = dict[str, Any]
KEY = Key("ns", "digits")


def service(name: str, version: int) -> Object:
    labels = {"serving.slipway.dev/name": "digits"}
    metadata = {"namespace": "ns", "name": name, "uid": name, "resourceVersion": str(version), "labels": labels}
    return {"kind": "Service", "apiVersion": "v1", "metadata": metadata, "spec": {"v": version}}


class Script:
    """Answers lists and watches in turn; when the script is over, watches stay silent."""

    def __init__(self, lists: list[Any], watches: list[Any]) -> None:
        self.lists, self.watches = lists, watches
        self.asked: list[str] = []
        self.over = asyncio.Event()

    async def list_pages(self, kind: str, namespace: str | None, selector: str = "") -> AsyncIterator[Any]:
        self.asked.append("list")
        for page in self.lists.pop(0):
            if isinstance(page, ApiError):
                raise page
            yield page

    async def watch(self, kind: str, namespace: str | None, selector: str, version: str) -> AsyncIterator[Any]:
        self.asked.append(f"watch {version}")
        if not self.watches:
            self.over.set()
            await asyncio.Event().wait()
        for event in self.watches.pop(0):
            if isinstance(event, ApiError):
                raise event
            yield event


class Told:
    def __init__(self) -> None:
        self.changed: list[Key] = []
        self.lost: list[Key] = []

    def __call__(self, keys: Iterable[Key], *, deleted: bool = False) -> None:
        (self.lost if deleted else self.changed).extend(keys)


def make(script: Script) -> tuple[Reflector, Cache, Told, list[str]]:
    store, status = Cache(lambda _: Pod("", 0, None)), Told()  # type: ignore[arg-type]
    causes: list[str] = []
    restarted: Callable[[str, str], None] = lambda _, cause: causes.append(cause)  # noqa: E731
    clock = asyncio.get_running_loop().time
    reflector = Reflector(script, store, "Service", None, "a=b", wake=status, clock=clock, restarted=restarted)
    return reflector, store, status, causes


async def play(script: Script) -> tuple[Cache, Told, list[str], Reflector]:
    reflector, store, status, causes = make(script)
    task = asyncio.create_task(reflector.run())
    try:
        async with asyncio.timeout(20):
            await script.over.wait()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return store, status, causes, reflector


def names(store: Cache) -> set[str]:
    return {ref.name for ref in store.snapshot(KEY).children}


async def test_a_list_in_pages_then_a_watch_from_there() -> None:
    pages = [([service("a", 1)], "10"), ([service("b", 2)], "10")]
    bookmark = {"metadata": {"resourceVersion": "30"}}
    watch = [("ADDED", service("c", 20)), ("DELETED", service("a", 21)), ("BOOKMARK", bookmark)]
    script = Script([pages], [watch])
    store, status, causes, reflector = await play(script)
    assert names(store) == {"b", "c"}
    assert script.asked == ["list", "watch 10", "watch 30"], "a watch that ends goes on where it was"
    assert causes == []
    assert status.lost == [KEY]
    assert reflector.synced.is_set()
    assert reflector.age() < 20


async def test_an_expired_watch_lists_again_and_finds_what_was_deleted_meanwhile() -> None:
    script = Script([[([service("a", 1), service("b", 2)], "10")], [([service("b", 2)], "50")]], [[ResourceExpiredError("too old")]])
    store, status, causes, _ = await play(script)
    assert names(store) == {"b"}
    assert script.asked == ["list", "watch 10", "list", "watch 50"]
    assert causes == ["expired"]
    assert status.lost == [KEY]


async def test_a_broken_watch_resumes_twice_then_lists() -> None:
    broken = [RetryableError("reset")]
    script = Script([[([], "10")], [([], "60")]], [broken, broken, broken])
    _, _, causes, _ = await play(script)
    assert script.asked == ["list", "watch 10", "watch 10", "watch 10", "list", "watch 60"]
    assert causes == ["error"] * 3


async def test_news_makes_it_patient_again() -> None:
    broken = [RetryableError("reset")]
    script = Script([[([], "10")]], [broken, broken, [("ADDED", service("a", 11)), RetryableError("reset")], broken])
    _, _, _, _ = await play(script)
    assert script.asked == ["list", "watch 10", "watch 10", "watch 10", "watch 11", "watch 11"]


async def test_a_list_that_breaks_off_forgets_nothing() -> None:
    script = Script([[([service("b", 5)], "10"), RetryableError("reset")]], [])
    _, store, status, _ = make(script)
    store.put(service("a", 1))
    try:
        await relist(script, store, "Service", None, news=status)
    except RetryableError:
        assert names(store) == {"a", "b"}
    else:
        raise AssertionError("it must say that it broke off")


async def test_the_first_list_is_tried_until_it_succeeds() -> None:
    script = Script([[RetryableError("down")], [RetryableError("down")], [([service("a", 1)], "7")]], [])
    store, _, causes, _ = await play(script)
    assert Ref("Service", "a") in store.snapshot(KEY).children
    assert causes == ["error", "error"]


async def test_a_watch_that_ends_at_once_without_a_word_is_not_begun_without_a_pause() -> None:
    script = Script([[([], "10")], [([], "20")]], [[], [], []])
    _, _, causes, _ = await play(script)
    assert causes == ["error"] * 3
    assert script.asked == ["list", "watch 10", "watch 10", "watch 10", "list", "watch 20"]
