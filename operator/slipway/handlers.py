"""Kopf glue: ModelDeployments come in through Kopf's watch, which writes nothing to them. No decisions here.

Kopf is used below its edge-triggered layer: `on.event` alone needs no finalizer and no annotation. When its watch
ends for good (an ERROR event, a CRD that vanished) `kopf.operator` raises, and the composition root runs it again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import kopf

from slipway.api import GROUP, KIND, PLURAL, VERSION
from slipway.cluster import ClusterError, Credentials
from slipway.observed import Manifest

_log = logging.getLogger("slipway.handlers")


class Backoffs:
    """Pauses between attempts of Kopf's requests: growing, then the same for ever. A storm must not end the operator."""

    def __iter__(self) -> Iterator[float]:
        """Yield the pauses in seconds."""
        yield from (0.5, 1, 2, 4, 8)
        while True:
            yield 15.0


class _NoDiffs(kopf.DiffBaseStorage):
    """Keeps no copy of what Kopf saw last, on the object or anywhere: `on.event` needs none, and making it costs."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Return nothing, whatever the body."""
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> None:
        """Return that nothing is kept."""

    def store(self, **_: Any) -> None:
        """Keep nothing."""


class _NoProgress(kopf.ProgressStorage):
    """Keeps no progress of handlers: `on.event` has none."""

    def fetch(self, **_: Any) -> None:
        """Return that nothing is kept."""

    def store(self, **_: Any) -> None:
        """Keep nothing."""

    def purge(self, **_: Any) -> None:
        """Remove nothing."""

    def touch(self, **_: Any) -> None:
        """Touch nothing."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Return what came."""
        return essence


def settings(watch_idle: float, request_timeout: float) -> kopf.OperatorSettings:
    """Return Kopf's settings: one resource watched patiently, nothing written, nothing else looked at."""
    chosen = kopf.OperatorSettings()
    chosen.scanning.disabled = True
    chosen.peering.standalone = True
    chosen.posting.enabled = False
    chosen.persistence.diffbase_storage = _NoDiffs()
    chosen.persistence.progress_storage = _NoProgress()
    chosen.watching.server_timeout = 300
    chosen.watching.client_timeout = 330
    chosen.watching.connect_timeout = 10
    chosen.watching.inactivity_timeout = watch_idle
    chosen.watching.chunk_size = 100
    chosen.networking.request_timeout = request_timeout
    chosen.networking.connect_timeout = min(5.0, request_timeout)
    chosen.networking.error_backoffs = Backoffs()
    chosen.queueing.idle_timeout = 1.0
    return chosen


def register(
    registry: kopf.OperatorRegistry,
    *,
    login: Callable[[], Awaitable[Credentials]],
    learn: Callable[[Manifest], None],
    drop: Callable[[Manifest], None],
    started: Callable[[], None],
) -> None:
    """Register the handlers.

    Args:
        registry: where.
        login: gives the credentials, fresh ones at each call.
        learn: takes in a ModelDeployment.
        drop: takes in that one is gone.
        started: called when Kopf has started.
    """

    @kopf.on.login(registry=registry)
    async def on_login(**_: Any) -> kopf.ConnectionInfo:
        try:
            found = await login()
        except ClusterError as error:
            raise kopf.TemporaryError(str(error), delay=5) from error
        return kopf.ConnectionInfo(
            server=found.server,
            insecure=not found.verify,
            ca_path=found.ca_path,
            certificate_path=found.certificate_path,
            private_key_path=found.private_key_path,
            scheme=found.scheme,
            token=found.token,
            username=found.username,
            password=found.password,
            proxy_url=found.proxy,
        )

    @kopf.on.startup(registry=registry)
    async def on_startup(**_: Any) -> None:
        started()

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def on_event(event: Any, **_: Any) -> None:
        body: Manifest = dict(event["object"])
        body["metadata"] = dict(body["metadata"])  # Kopf still reads its own
        body["kind"] = KIND
        (drop if event["type"] == "DELETED" else learn)(body)


def watching(namespaces: int) -> bool:
    """Tell whether Kopf's watches of ModelDeployments run, one for each namespace (or one for all)."""
    prefix = f"watcher for {PLURAL}"
    return sum(task.get_name().startswith(prefix) and not task.done() for task in asyncio.all_tasks()) >= namespaces
