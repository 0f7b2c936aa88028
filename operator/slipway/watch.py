"""Reflector: keeps the store's picture of one kind of children true, for ever.

A list, then a watch from where the list stood. A list tells also what is gone: deletions that a gap in the watch has
hidden are found by comparing. Whatever goes wrong is tried again, later and later, never given up; `age` tells how
long nothing was heard.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from slipway.cluster import ClusterError, Expired, TryLater
from slipway.observed import Key, Manifest
from slipway.store import Store

_FIRST_BACKOFF = 0.2
_LONGEST_BACKOFF = 30.0
_SHORTEST = 1.0
"""A watch that ends sooner and brings nothing counts as a failure: otherwise it would be asked for without a pause."""
_log = logging.getLogger("slipway.watch")


class Source(Protocol):
    """Where lists and watches come from."""

    def list_pages(
        self, kind: str, namespace: str | None, selector: str = ""
    ) -> AsyncIterator[tuple[list[Manifest], str]]:
        """Yield pages of objects with the list's resourceVersion."""

    def watch(
        self, kind: str, namespace: str | None, selector: str, version: str
    ) -> AsyncIterator[tuple[str, Manifest]]:
        """Yield event types and objects."""


@dataclass(frozen=True, slots=True)
class Relisted:
    """What a list brought: keys that lost something, the resourceVersion of the list."""

    lost: frozenset[Key]
    version: str


async def relist(
    source: Source,
    store: Store,
    kind: str,
    namespace: str | None,
    selector: str = "",
    *,
    news: Callable[[Iterable[Key]], None],
) -> Relisted:
    """List one kind into the store, forget what the list lacks; return what came of it.

    `news` is called with the keys whose picture changed, page by page: what a list that broke off has brought is no
    news to the next one.

    Raises:
        ClusterError: the list could not be had; what arrived of it is in the store, nothing was forgotten.
    """
    seen: list[tuple[str, str]] = []
    version = ""
    async with aclosing(source.list_pages(kind, namespace, selector)) as pages:  # type: ignore[type-var]
        async for items, version in pages:  # noqa: B007 - the last one counts
            changed: set[Key] = set()
            for item in items:
                seen.append((item["metadata"]["namespace"], item["metadata"]["name"]))
                changed |= store.put(item)
            news(changed)
    return Relisted(store.keep_only(kind, namespace, seen, int(version)), version)


class Wake(Protocol):
    """Who is told what changed."""

    def __call__(self, keys: Iterable[Key], *, deleted: bool = False) -> None:
        """Have these keys looked at; `deleted` tells that something of theirs is gone."""


class Reflector:
    """One kind, in one namespace or everywhere."""

    def __init__(  # noqa: PLR0913 - what it connects
        self,
        source: Source,
        store: Store,
        kind: str,
        namespace: str | None,
        selector: str,
        *,
        wake: Wake,
        clock: Callable[[], float],
        restarted: Callable[[str, str], None],
    ) -> None:
        """Connect.

        Args:
            source: the cluster.
            store: what is kept up.
            kind: what is watched.
            namespace: where; None for everywhere.
            selector: label selector.
            wake: called with the keys whose picture changed.
            clock: monotonic seconds.
            restarted: called with kind and cause whenever the watch has to be begun again.
        """
        self.kind = kind
        self.namespace = namespace
        self.synced = asyncio.Event()
        self._source = source
        self._store = store
        self._selector = selector
        self._wake = wake
        self._clock = clock
        self._restarted = restarted
        self._heard = clock()
        self._version = ""
        self._failures = 0
        self._random = random.Random()  # noqa: S311 - jitter needs no secrecy

    def age(self) -> float:
        """Return the seconds since the API server was last heard on this watch."""
        return self._clock() - self._heard

    async def run(self) -> None:
        """Keep the picture true until cancelled."""
        while True:
            try:
                if not self._version:
                    await self.resync()
                await self._follow()
            except Expired as error:
                self._begin_again("expired", error)
            except ClusterError as error:
                self._begin_again("error", error)
            if self._failures:
                backoff = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** min(self._failures - 1, 10))
                await asyncio.sleep(backoff * self._random.uniform(0.5, 1.0))

    async def resync(self) -> None:
        """List, take over the differences, wake whom they concern."""
        found = await relist(self._source, self._store, self.kind, self.namespace, self._selector, news=self._wake)
        self._heard = self._clock()
        if not self._version:
            self._version = found.version
        self.synced.set()
        self._wake(found.lost, deleted=True)

    async def _follow(self) -> None:
        began, heard = self._clock(), self._heard
        events = self._source.watch(self.kind, self.namespace, self._selector, self._version)
        async with aclosing(events) as stream:  # type: ignore[type-var]
            async for happened, body in stream:
                self._heard = self._clock()
                self._failures = 0
                self._version = body["metadata"]["resourceVersion"]
                if happened == "BOOKMARK":
                    continue
                if happened == "DELETED":
                    self._wake(self._store.drop(body), deleted=True)
                else:
                    self._wake(self._store.put(body))
        if self._heard == heard and self._clock() - began < _SHORTEST:
            raise TryLater("it ended at once, without a word")

    def _begin_again(self, cause: str, error: ClusterError) -> None:
        self._failures += 1
        if cause == "expired" or self._failures > 2:  # noqa: PLR2004 - resume twice, then look at everything again
            self._version = ""
        self._restarted(self.kind, cause)
        level = logging.INFO if cause == "expired" or self._failures == 1 else logging.WARNING
        _log.log(level, "watch of %s begins again (%s, attempt %d): %s", self.kind, cause, self._failures, error)
