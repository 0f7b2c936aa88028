"""Composition root: settings, connection, store, queue, loop, Kopf; started in this order, ended in the other.

Exit codes: 0 after SIGTERM or SIGINT, 1 where the operator cannot run, 2 where its settings cannot be used.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime

import kopf
from prometheus_client import disable_created_metrics

from slipway import __version__, handlers, health, logs, settings
from slipway.api import KIND
from slipway.cluster import CHILD_KINDS, Cluster, ClusterError, Connection, Credentials, Fence, Gone, Refused
from slipway.events import Recorder
from slipway.leader import Always, Leader
from slipway.loop import Loop
from slipway.metrics import Metrics
from slipway.names import MANAGED_SELECTOR
from slipway.observed import Key, Manifest
from slipway.pods import project
from slipway.queue import WorkQueue
from slipway.reconcile import Reconciler
from slipway.runtimes import Defaults
from slipway.store import Store
from slipway.watch import Reflector

_KOPF_BACKOFF = (0.5, 1, 2, 5, 10)
_CRD_SECONDS = 5.0
_KOPF_GRACE = 60.0
"""Seconds without Kopf's watch after which a restart is asked for; it is begun again within 10."""
_log = logging.getLogger("slipway")


class Operator:
    """One operator process."""

    def __init__(self, chosen: settings.Settings) -> None:
        """Build everything; nothing runs yet."""
        self._settings = chosen
        self._stop = asyncio.Event()
        self._namespaces: tuple[str | None, ...] = chosen.namespaces or (None,)
        self._watched_at = time.monotonic()
        self._kopf_ran = False
        self._kopf: asyncio.Task[None] | None = None
        self._election: asyncio.Task[None] | None = None
        identity = f"{os.environ.get('HOSTNAME') or socket.gethostname()}_{uuid.uuid4()}"
        self._metrics = Metrics()
        self._store = Store(project)
        self._connection = Connection(
            chosen.kubeconfig,
            chosen.context,
            timeout=chosen.request_timeout_seconds,
            parallel=chosen.workers + 8,
            meter=self._metrics,
        )
        self._leader = self._candidate(identity) if chosen.leader_elect else None
        self._metrics.leading(self._leader is None)
        term = self._leader or Always()
        self._cluster = self._fenced_by(term)
        self._queue: WorkQueue[Key] = WorkQueue(asyncio.get_running_loop(), self._metrics)
        self._metrics.watch_queue(self._queue.__len__)
        recorder = Recorder(self._cluster, identity, clock=time.monotonic, now=_now, count=self._metrics.event)
        defaults = Defaults(chosen.runtime_image, chosen.runtime_version, chosen.tools_image, chosen.image_pull_policy)
        reconciler = Reconciler(
            self._store, self._cluster, defaults, recorder, self._metrics, clock=time.monotonic, now=_now
        )
        self._loop = Loop(
            self._store,
            self._queue,
            reconciler,
            term,
            self._cluster,
            self._reflectors(),
            namespaces=self._namespaces,
            workers=chosen.workers,
            resync_seconds=chosen.resync_seconds,
            lagged=self._metrics.lagged,
        )

    async def run(self) -> None:
        """Run until told to stop.

        Raises:
            ClusterError: there are no credentials.
            OSError: an address cannot be listened on.
        """
        self._trap_signals()
        await self._connection.login()
        servers = [
            health.Server(health.health_routes(self._alive, self._ready), self._settings.health_address),
            health.Server(health.metrics_routes(self._metrics.registry), self._settings.metrics_address),
        ]
        ports = [await server.start() for server in servers]
        _log.info("slipway-operator %s: health on port %d, metrics on port %d", __version__, *ports)
        if self._leader is not None:
            self._election = asyncio.create_task(self._leader.run(), name="slipway leader")
        self._loop.start()
        gc.collect()
        gc.freeze()  # what lives for ever need not be looked at again
        gc.set_threshold(20_000, 20, 50)
        self._kopf = asyncio.create_task(self._run_kopf(), name="slipway kopf")
        await self._stop.wait()
        _log.info("stopping")
        await self._loop.stop()
        if self._election is not None and self._leader is not None:
            self._election.cancel()
            await asyncio.gather(self._election, return_exceptions=True)
            await self._leader.release()
        await asyncio.gather(self._kopf, return_exceptions=True)
        for server in servers:
            await server.stop()
        await self._connection.close()

    def _candidate(self, identity: str) -> Leader:
        def on_change(leads: bool) -> None:  # noqa: FBT001 - a callback's only argument
            self._metrics.leading(leads)
            if leads:
                self._loop.take_over()

        return Leader(
            self._fenced_by(Always()),  # it is how the fence is put up
            self._settings.lease_namespace,
            self._settings.lease_name,
            identity,
            clock=time.monotonic,
            now=_now,
            on_change=on_change,
        )

    def _fenced_by(self, fence: Fence) -> Cluster:
        return Cluster(self._connection, self._store.put, fence, self._settings.watch_idle_seconds)

    def _reflectors(self) -> list[Reflector]:
        def wake(keys: Iterable[Key], *, deleted: bool = False) -> None:
            self._loop.wake_by_child(keys, deleted=deleted)

        reflectors = []
        for kind in CHILD_KINDS:
            for namespace in self._namespaces:
                reflector = Reflector(
                    self._cluster,
                    self._store,
                    kind,
                    namespace,
                    MANAGED_SELECTOR,
                    wake=wake,
                    clock=time.monotonic,
                    restarted=self._metrics.restarted,
                )
                self._metrics.watch_age(kind, namespace or "", reflector.age)
                reflectors.append(reflector)
        return reflectors

    async def _run_kopf(self) -> None:
        """Run Kopf until told to stop, again whenever it gives up."""
        attempt = 0
        while not self._stop.is_set():
            await self._wait_for_crd()
            if self._stop.is_set():
                return
            registry = kopf.OperatorRegistry()
            handlers.register(
                registry, login=self._login, learn=self._learn, drop=self._drop, started=self._kopf_started
            )
            began = time.monotonic()
            try:
                await kopf.operator(
                    registry=registry,
                    settings=handlers.settings(
                        self._settings.watch_idle_seconds, self._settings.request_timeout_seconds
                    ),
                    stop_flag=self._stop,
                    clusterwide=not self._settings.namespaces,
                    namespaces=self._settings.namespaces,
                )
            except Exception as error:  # noqa: BLE001 - whatever ended it, it is run again
                attempt = 0 if time.monotonic() - began > _KOPF_GRACE else attempt + 1
                pause = _KOPF_BACKOFF[min(attempt, len(_KOPF_BACKOFF) - 1)]
                self._metrics.restarted(KIND, "error")
                _log.warning("watch of %s begins again in %s s: %s", KIND, pause, error)
                self._trap_signals()
                await self._nap(pause)
            else:
                self._stop.set()

    async def _wait_for_crd(self) -> None:
        """Wait until ModelDeployments can be listed: Kopf overlooks for ever a kind that it does not find at start."""
        while not self._stop.is_set():
            try:
                async with contextlib.aclosing(self._cluster.list_pages(KIND, self._namespaces[0], limit=1)) as pages:  # type: ignore[type-var]
                    async for _ in pages:
                        return
            except Gone:
                _log.error("the CustomResourceDefinition of %s is not installed: install the chart's crds", KIND)
            except Refused as error:
                _log.error("may not list %s, give the service account its role: %s", KIND, error)
            except ClusterError as error:
                _log.warning("waiting for the API server: %s", error)
            await self._nap(_CRD_SECONDS)

    async def _login(self) -> Credentials:
        await self._connection.refresh()
        return await self._connection.credentials()

    def _learn(self, body: Manifest) -> None:
        self._loop.wake(self._store.put(body))

    def _drop(self, body: Manifest) -> None:
        self._loop.wake(self._store.drop(body))

    def _alive(self) -> str:
        now = time.monotonic()
        if self._watching() or not self._kopf_ran:
            self._watched_at = now
        if self._election is not None and self._election.done():
            return "the election has ended"
        if self._kopf is not None and self._kopf.done():
            return f"the watch of {KIND}s has ended"
        unwatched = now - self._watched_at
        if unwatched - self._loop.heard() > _KOPF_GRACE:  # the API server was there all the while
            return f"{KIND}s have not been watched for {unwatched:.0f} s"
        return self._loop.trouble()

    def _ready(self) -> str:
        if not self._watching():
            return f"{KIND}s are not watched yet"
        return "" if self._loop.synced() else "the first lists are not complete"

    def _watching(self) -> bool:
        watching = handlers.watching(len(self._namespaces))
        self._kopf_ran = self._kopf_ran or watching
        return watching

    def _kopf_started(self) -> None:
        asyncio.get_running_loop().call_soon(self._trap_signals)  # right after Kopf has taken them

    def _trap_signals(self) -> None:
        """Take the signals (back): Kopf would end only itself."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)

    async def _nap(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)


def _now() -> datetime:
    return datetime.now(UTC)


async def _run(chosen: settings.Settings) -> int:
    try:
        await Operator(chosen).run()
    except (ClusterError, OSError) as error:
        _log.error("cannot run: %s", error)
        return 1
    return 0


def main() -> int:
    """Run the operator; return its exit code."""
    chosen = settings.load()
    disable_created_metrics()  # type: ignore[no-untyped-call] # they double the series and tell nothing
    logs.setup(chosen.log_format, chosen.log_level)
    return asyncio.run(_run(chosen))


if __name__ == "__main__":
    sys.exit(main())
