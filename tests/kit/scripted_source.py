"""A scripted API server for an informer, and a queue that records what is enqueued."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from slipway.domain.objects import Key, Manifest, Pod
from slipway.kube import ApiError, Cache, RejectedError
from slipway.kube.informer import ListWatch
from slipway.kube.scope import Scope

KEY = Key("ns", "digits")


def service(name: str, version: int) -> Manifest:
    labels = {"serving.slipway.dev/name": "digits"}
    metadata = {"namespace": "ns", "name": name, "uid": name, "resourceVersion": str(version), "labels": labels}
    return {"kind": "Service", "apiVersion": "v1", "metadata": metadata, "spec": {"v": version}}


class Script:
    """Responds to lists and watches in turn; at the end of the script a watch stays silent."""

    def __init__(self, lists: list[Any], watches: list[Any]) -> None:
        self.lists, self.watches = lists, watches
        self.requests: list[str] = []
        self.over = asyncio.Event()

    async def list_pages(self, kind: str, namespace: str | None, selector: str = "") -> AsyncIterator[Any]:
        self.requests.append("list")
        for page in self.lists.pop(0):
            if isinstance(page, ApiError):
                raise page
            yield page

    async def watch(self, kind: str, namespace: str | None, selector: str, version: str) -> AsyncIterator[Any]:
        self.requests.append(f"watch {version}")
        if self.watches and self.watches[0] and isinstance(self.watches[0][0], RejectedError):
            raise self.watches.pop(0)[0]
        yield "OPENED", {}
        if not self.watches:
            self.over.set()
            await asyncio.Event().wait()
        for event in self.watches.pop(0):
            if isinstance(event, ApiError):
                raise event
            yield event


class FakeQueue:
    """Records the keys: a deletion is enqueued at once, a change after a delay."""

    def __init__(self) -> None:
        self.deleted: list[Key] = []
        self.changed: list[Key] = []

    def add(self, key: Key) -> None:
        self.deleted.append(key)

    def add_after(self, key: Key, seconds: float) -> None:
        assert seconds > 0
        self.changed.append(key)


class Scripted:
    """An informer of Services that reads from a script."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.cache = Cache(lambda _: Pod("", 0, None))  # type: ignore[arg-type]
        self.queue = FakeQueue()
        self.causes: list[str] = []
        self.scope = Scope(None, ("Service",), clock=asyncio.get_running_loop().time)
        self.informer = ListWatch(
            script,
            self.cache,
            self.queue,
            "Service",
            self.scope,
            "a=b",
            clock=asyncio.get_running_loop().time,
            restarted=lambda _, cause: self.causes.append(cause),
        )

    @property
    def names(self) -> set[str]:
        """Names of the children in the cache."""
        return {ref.name for ref in self.cache.snapshot(KEY).children}

    async def play(self) -> None:
        """Run the informer until the end of the script."""
        task = asyncio.create_task(self.informer.run())
        try:
            async with asyncio.timeout(20):
                await self.script.over.wait()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def play(script: Script) -> Scripted:
    """Run an informer until the end of the script."""
    scripted = Scripted(script)
    await scripted.play()
    return scripted
