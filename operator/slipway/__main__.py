"""Composition root: settings → client, cache and queue → reconciler → manager; started in this order.

Exit codes: 0 after SIGTERM or SIGINT, 1 if the operator cannot run, 2 if its settings are invalid.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import time
import uuid
from datetime import UTC, datetime

import uvloop
from prometheus_client import disable_created_metrics

from slipway import __version__, logs, settings
from slipway.api import KIND
from slipway.controller import health
from slipway.controller.executor import Executor
from slipway.controller.manager import Manager
from slipway.controller.metrics import Metrics
from slipway.controller.reconciler import Reconciler
from slipway.controller.status_writer import StatusWriter
from slipway.controller.workqueue import WorkQueue
from slipway.domain.names import MANAGED_SELECTOR
from slipway.domain.objects import Key
from slipway.domain.pod_defaults import PodDefaults
from slipway.domain.servers import Defaults
from slipway.kube import ApiError, Cache, Client, Transport
from slipway.kube.informer import Informer, ListWatch
from slipway.kube.kopf_informer import KopfInformer
from slipway.kube.kopf_settings import kopf_settings
from slipway.kube.lease import AlwaysLeading, LeaderElector, Leadership
from slipway.kube.recorder import EventRecorder
from slipway.kube.resources import CHILD_KINDS
from slipway.kube.scope import Scope
from slipway.status.pod import project

_log = logging.getLogger("slipway")


class Operator:
    """One operator process."""

    def __init__(self, chosen: settings.Settings) -> None:
        """Build everything; nothing runs yet."""
        self._settings = chosen
        self._stop = asyncio.Event()
        self._scopes = tuple(
            Scope(namespace, (*CHILD_KINDS, KIND), clock=time.monotonic) for namespace in chosen.namespaces or (None,)
        )
        self._identity = f"{os.environ.get('HOSTNAME') or socket.gethostname()}_{uuid.uuid4()}"
        self._metrics = Metrics()
        self._cache = Cache(project)
        self._queue: WorkQueue[Key] = WorkQueue(asyncio.get_running_loop(), self._metrics)
        self._metrics.watch_queue(self._queue.__len__)
        self._transport = Transport(
            chosen.kubeconfig,
            chosen.context,
            timeout=chosen.request_timeout_seconds,
            parallel=chosen.workers + 8,
            meter=self._metrics,
        )
        leadership = self._leadership()
        self._client = Client(self._transport, self._cache, leadership, chosen.watch_idle_seconds)
        self._manager = Manager(
            self._cache,
            self._queue,
            self._reconciler(),
            leadership,
            self._informers(),
            self._scopes,
            workers=chosen.workers,
            resync_seconds=chosen.resync_seconds,
            lagged=self._metrics.lagged,
        )

    async def run(self) -> None:
        """Run until told to stop.

        Raises:
            ApiError: there are no credentials.
            OSError: an address cannot be listened on.
        """
        self._trap_signals()
        await self._transport.login()
        servers = [
            health.Server(
                health.health_routes(self._manager.fault, self._manager.unready),
                self._settings.health_probe_bind_address,
            ),
            health.Server(health.metrics_routes(self._metrics.registry), self._settings.metrics_bind_address),
        ]
        ports = [await server.start() for server in servers]
        _log.info("slipway-operator %s: health on port %d, metrics on port %d", __version__, *ports)
        gc.collect()
        gc.freeze()  # what lives for ever need not be traversed again
        gc.set_threshold(10_000, 10, 10)
        self._manager.start()
        await self._stop.wait()
        _log.info("stopping")
        await self._manager.stop()
        for server in servers:
            await server.stop()
        await self._transport.close()

    def _leadership(self) -> Leadership:
        self._metrics.leading(not self._settings.leader_elect)
        if not self._settings.leader_elect:
            return AlwaysLeading()
        return LeaderElector(
            # Not fenced: its requests renew the fence of all others.
            Client(self._transport, self._cache, AlwaysLeading(), self._settings.watch_idle_seconds),
            self._settings.leader_election_namespace,
            self._settings.leader_election_id,
            self._identity,
            clock=time.monotonic,
            now=_now,
            on_change=self._leading,
        )

    def _leading(self, leads: bool) -> None:  # noqa: FBT001 - a callback's only argument
        self._metrics.leading(leads)
        if leads:
            self._manager.lead()

    def _reconciler(self) -> Reconciler:
        chosen = self._settings
        recorder = EventRecorder(
            self._client, self._identity, clock=time.monotonic, now=_now, count=self._metrics.event
        )
        return Reconciler(
            self._cache,
            self._client,
            Executor(self._client, self._cache, self._metrics, clock=time.monotonic),
            StatusWriter(self._client, self._cache, recorder, self._metrics, clock=time.monotonic, now=_now),
            Defaults(
                chosen.runtime_image,
                chosen.runtime_version,
                chosen.tools_image,
                chosen.image_pull_policy,
                pods_of(chosen),
            ),
            self._metrics,
            clock=time.monotonic,
            now=_now,
        )

    def _informers(self) -> list[Informer]:
        resources = KopfInformer(
            self._client,
            self._cache,
            self._queue,
            self._scopes,
            transport=self._transport,
            settings=kopf_settings(self._settings.watch_idle_seconds, self._settings.request_timeout_seconds),
            stop=self._stop,
            restarted=self._metrics.restarted,
            restore_signals=self._trap_signals,
        )
        children = [
            ListWatch(
                self._client,
                self._cache,
                self._queue,
                kind,
                scope,
                MANAGED_SELECTOR,
                clock=time.monotonic,
                restarted=self._metrics.restarted,
            )
            for kind in CHILD_KINDS
            for scope in self._scopes
        ]
        for informer in children:
            self._metrics.watch_age(informer.kind, informer.scopes[0].namespace or "", informer.age_unless_lost)
        for scope in self._scopes:
            self._metrics.watch_namespace(scope.namespace or "", scope.usable)
        return [*children, resources]

    def _trap_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)


def pods_of(chosen: settings.Settings) -> PodDefaults:
    """Return what the settings say of model pods."""
    return PodDefaults(
        chosen.fetch_resources,
        chosen.prober_resources,
        chosen.pod_run_as_user,
        chosen.pod_run_as_group,
        chosen.pod_fs_group,
        chosen.ca_config_map,
        chosen.ca_key,
    )


def _now() -> datetime:
    return datetime.now(UTC)


async def _run(chosen: settings.Settings) -> int:
    try:
        await Operator(chosen).run()
    except (ApiError, OSError) as error:
        _log.error("cannot run: %s", error)
        return 1
    return 0


def main() -> int:
    """Run the operator; return its exit code."""
    chosen = settings.load()
    disable_created_metrics()  # type: ignore[no-untyped-call] # they double the series without use
    logs.setup(chosen.log_format, chosen.log_level)
    return uvloop.run(_run(chosen))


if __name__ == "__main__":
    sys.exit(main())
