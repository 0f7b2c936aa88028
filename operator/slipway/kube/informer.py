"""Informers: each keeps the cache's copy of one kind up to date and enqueues the ModelDeployments that changed.

`ListWatch` lists, then watches from the list's resourceVersion. A list also shows what is gone: deletions that were lost in a
gap of the watch are found by comparison. Whatever fails is retried with growing pauses, and never given up; `age` returns for
how long the API server has been silent. `kopf_informer.KopfInformer` does the same for ModelDeployments through Kopf.
"""

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import Protocol

from slipway.domain.objects import Key, Manifest
from slipway.kube.cache import Cache
from slipway.kube.errors import ApiError, NotFoundError, RejectedError, ResourceExpiredError, RetryableError
from slipway.kube.scope import Scope

CHILD_DELAY = 0.2
"""Seconds for which changes of children gather: a pod that starts brings half a dozen events within a second."""
_MIN_BACKOFF = 0.2
_MAX_BACKOFF = 30.0
_MIN_WATCH_SECONDS = 1.0
"""A watch that ends earlier without any event counts as a failure: otherwise it would be requested without a pause."""
_RESUMPTIONS = 2
"""A broken watch is resumed this many times before everything is listed again."""
_REFUSALS = (RejectedError, NotFoundError)
_log = logging.getLogger("slipway.informer")


class Source(Protocol):
    """Lists and watches; see `client.Client`."""

    def list_pages(
        self, kind: str, namespace: str | None, selector: str = ""
    ) -> AsyncIterator[tuple[list[Manifest], str]]:
        """Yield pages of objects with the list's resourceVersion."""

    def watch(
        self, kind: str, namespace: str | None, selector: str, version: str
    ) -> AsyncIterator[tuple[str, Manifest]]:
        """Yield OPENED when the API server has accepted the watch, then event types and objects."""


class Queue(Protocol):
    """Where changed ModelDeployments are enqueued; see `workqueue.WorkQueue`."""

    def add(self, key: Key) -> None:
        """Enqueue a key."""

    def add_after(self, key: Key, seconds: float) -> None:
        """Enqueue a key after a delay."""


class Informer(ABC):
    """One kind, in some namespaces or in all.

    Attributes:
        kind: the kind.
        scopes: where; each learns what the API server answers for it.
        stops_itself: `run` ends by itself when the process stops, and must not be cancelled.
    """

    stops_itself = False

    def __init__(  # noqa: PLR0913 - what it connects
        self,
        source: Source,
        cache: Cache,
        queue: Queue,
        kind: str,
        scopes: tuple[Scope, ...],
        *,
        selector: str = "",
        delay: float | None = None,
    ) -> None:
        """Connect; changes are enqueued after `delay` seconds (None: the queue's own), deletions at once."""
        self.kind = kind
        self.scopes = scopes
        self._source = source
        self._cache = cache
        self._queue = queue
        self._selector = selector
        self._delay = delay

    @abstractmethod
    async def run(self) -> None:
        """Keep the cache up to date until cancelled."""

    @abstractmethod
    def age(self) -> float:
        """Return the seconds since the API server was last heard."""

    def unready(self) -> str:
        """Return why the informer is not ready, although its scopes may be; empty if it is."""
        return ""

    def fault(self, api_age: float) -> str:  # noqa: ARG002 - an informer that retries by itself needs no restart
        """Return why this process should be restarted; empty if it should not.

        Args:
            api_age: seconds since any informer has heard the API server.
        """
        return ""

    async def resync(self, scope: Scope) -> None:
        """List everything in one of its scopes, and enqueue what differs from the cache.

        Raises:
            ApiError: the list failed; what arrived of it is in the cache, nothing was removed for it.
        """
        await self._list(scope.namespace)

    def _upsert(self, body: Manifest) -> None:
        """Take in an object: into the cache, and its ModelDeployment into the queue."""
        self._enqueue(self._cache.upsert(body))

    def _delete(self, body: Manifest) -> None:
        """Take in a deletion."""
        for key in self._cache.delete(body):
            self._queue.add(key)

    async def _list(self, namespace: str | None) -> str:
        """List into the cache, page by page, and remove what the list lacks; return the list's resourceVersion."""
        listed: list[tuple[str, str]] = []
        version = ""
        async with aclosing(self._source.list_pages(self.kind, namespace, self._selector)) as pages:  # type: ignore[type-var]
            async for items, version in pages:  # noqa: B007 - the last one counts
                listed += [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in items]
                changed: set[Key] = set()
                for item in items:
                    changed |= self._cache.upsert(item)
                self._enqueue(changed)
        for key in self._cache.replace(self.kind, namespace, listed, int(version)):
            self._queue.add(key)
        return version

    def _enqueue(self, keys: Iterable[Key]) -> None:
        for key in keys:
            if self._delay is None:
                self._queue.add(key)
            else:
                self._queue.add_after(key, self._delay)


class ListWatch(Informer):
    """An informer of a children's kind, in one namespace or in all."""

    def __init__(  # noqa: PLR0913 - what it connects
        self,
        source: Source,
        cache: Cache,
        queue: Queue,
        kind: str,
        scope: Scope,
        selector: str,
        *,
        clock: Callable[[], float],
        restarted: Callable[[str, str], None],
    ) -> None:
        """Connect.

        Args:
            source: the client.
            cache: what is kept up to date.
            queue: where changed ModelDeployments are enqueued.
            kind: what is watched.
            scope: where.
            selector: label selector.
            clock: monotonic seconds.
            restarted: counts a watch that was restarted, by kind and cause.
        """
        super().__init__(source, cache, queue, kind, (scope,), selector=selector, delay=CHILD_DELAY)
        self._scope = scope
        self._clock = clock
        self._restarted = restarted
        self._heard_at = clock()
        self._version = ""
        self._failures = 0
        self._random = random.Random()  # noqa: S311 - jitter needs no secrecy

    def age(self) -> float:
        """Return the seconds since the API server was last heard."""
        return self._clock() - self._heard_at

    def age_unless_lost(self) -> float | None:
        """Return the age; None while the scope is lost, which is no silence of the API server."""
        return None if self._scope.lost() else self.age()

    async def run(self) -> None:
        """Keep the cache up to date until cancelled."""
        while True:
            try:
                if not self._version:
                    await self.resync(self._scope)
                await self._watch()
            except ResourceExpiredError as error:
                self._restart("expired", error)
            except ApiError as error:
                self._scope.failed(self.kind, error)
                self._restart("rejected" if isinstance(error, _REFUSALS) else "error", error)
            if self._failures:
                backoff = min(_MAX_BACKOFF, _MIN_BACKOFF * 2 ** min(self._failures - 1, 10))
                await asyncio.sleep(backoff * self._random.uniform(0.5, 1.0))

    async def resync(self, scope: Scope) -> None:
        """List everything, and enqueue what differs from the cache."""
        version = await self._list(scope.namespace)
        self._heard_at = self._clock()
        if not self._version:
            self._version = version
        scope.listed(self.kind)

    async def _watch(self) -> None:
        began, heard_at = self._clock(), self._heard_at
        events = self._source.watch(self.kind, self._scope.namespace, self._selector, self._version)
        async with aclosing(events) as stream:  # type: ignore[type-var]
            async for event_type, body in stream:
                self._scope.watched(self.kind)
                if event_type == "OPENED":
                    continue
                self._heard_at = self._clock()
                self._failures = 0
                self._version = body["metadata"]["resourceVersion"]
                if event_type == "DELETED":
                    self._delete(body)
                elif event_type != "BOOKMARK":
                    self._upsert(body)
        if self._heard_at == heard_at and self._clock() - began < _MIN_WATCH_SECONDS:
            raise RetryableError("the watch ended at once, without any event")

    def _restart(self, cause: str, error: ApiError) -> None:
        self._failures += 1
        if cause == "expired" or self._failures > _RESUMPTIONS:
            self._version = ""
        self._restarted(self.kind, cause)
        if cause == "rejected":
            level = logging.DEBUG  # the scope reports it, once
        else:
            level = logging.INFO if cause == "expired" or self._failures == 1 else logging.WARNING
        _log.log(level, "watch of %s restarts (%s, attempt %d): %s", self.kind, cause, self._failures, error)
