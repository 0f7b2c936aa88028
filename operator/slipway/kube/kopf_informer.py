"""The informer of ModelDeployments: Kopf watches them, and writes nothing to them.

Kopf is used below its edge-triggered layer: `on.event` alone needs no finalizer and no annotation. When its watch ends for
good (an ERROR event, a CRD that vanished) `kopf.operator` raises, and is run again. A namespace whose lists are refused does
not end it: Kopf repeats them every 15 s for ever without an error, so this informer retries lost namespaces itself, too.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Any

import kopf

from slipway.api import GROUP, KIND, PLURAL, VERSION
from slipway.domain.objects import Manifest
from slipway.kube.cache import Cache
from slipway.kube.client import Client
from slipway.kube.errors import ApiError, NotFoundError
from slipway.kube.informer import Informer, Queue
from slipway.kube.scope import Scope
from slipway.kube.transport import Transport

GRACE_SECONDS = 60.0
"""Time without Kopf's watch after which a restart of the process is requested; Kopf is run again within 10 s."""
_BACKOFF = (0.5, 1, 2, 5, 10)
_PROBE_SECONDS = 5.0
_REFUSED_SECONDS = 15.0
"""Pause between two attempts to list a namespace that is refused; Kopf's is the same."""
_log = logging.getLogger("slipway.kopf")


class KopfInformer(Informer):
    """The informer of ModelDeployments."""

    stops_itself = True

    def __init__(  # noqa: PLR0913 - what it connects
        self,
        client: Client,
        cache: Cache,
        queue: Queue,
        scopes: tuple[Scope, ...],
        *,
        transport: Transport,
        settings: kopf.OperatorSettings,
        stop: asyncio.Event,
        restarted: Callable[[str, str], None],
        restore_signals: Callable[[], None],
    ) -> None:
        """Connect.

        Args:
            client: lists ModelDeployments.
            cache: what is kept up to date.
            queue: where changed ModelDeployments are enqueued.
            scopes: where.
            transport: has the credentials that Kopf uses, too.
            settings: Kopf's; see `kopf_settings.kopf_settings`.
            stop: set when the process is to end. Kopf must end by itself: it ends every task younger than itself.
            restarted: counts a watch that was restarted, by kind and cause.
            restore_signals: called after Kopf has replaced the process's signal handlers by its own.
        """
        super().__init__(client, cache, queue, KIND, scopes)
        self._client = client
        self._transport = transport
        self._settings = settings
        self._stop = stop
        self._restarted = restarted
        self._restore_signals = restore_signals
        self._watched_at = time.monotonic()
        self._was_watching = False
        self._running = False
        self._retrying: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Run Kopf until `stop` is set, again whenever it fails."""
        self._retrying = asyncio.create_task(
            self._retry_failing(), name="slipway lost namespaces"
        )  # before Kopf: see `stop`
        try:
            await self._run()
        finally:
            self._retrying.cancel()

    async def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            await self._wait_for_one()
            if self._stop.is_set():
                return
            began = time.monotonic()
            self._running = True
            try:
                await kopf.operator(
                    registry=self._registry(),
                    settings=self._settings,
                    stop_flag=self._stop,
                    clusterwide=self.scopes[0].namespace is None,
                    namespaces=[scope.namespace for scope in self.scopes if scope.namespace is not None],
                )
            except Exception as error:  # noqa: BLE001 - whatever ended it, it is run again
                failures = 0 if time.monotonic() - began > GRACE_SECONDS else failures + 1
                pause = _BACKOFF[min(failures, len(_BACKOFF) - 1)]
                self._restarted(KIND, "error")
                _log.warning("watch of %s restarts in %s s: %s", KIND, pause, error)
                self._restore_signals()
                await self._sleep(pause)
            else:
                self._stop.set()
            finally:
                self._running = False

    async def resync(self, scope: Scope) -> None:
        """List everything, and enqueue what differs from the cache."""
        try:
            await super().resync(scope)
        except ApiError as error:
            scope.failed(KIND, error)
            raise

    def age(self) -> float:
        """Return 0 while Kopf watches, else the seconds since it was last seen to watch."""
        now = time.monotonic()
        if self._watching():
            self._watched_at, self._was_watching = now, True
        return now - self._watched_at

    def unready(self) -> str:
        """Return why the informer is not ready; empty if it is."""
        return "" if self.age() == 0 else f"{KIND}s are not watched yet"

    def fault(self, api_age: float) -> str:
        """Return why this process should be restarted; empty if it should not, as while the API server is silent."""
        age = self.age()
        if self._retrying is not None and self._retrying.done() and not self._stop.is_set():
            return f"task {self._retrying.get_name()} has ended"
        if not self._was_watching or age - api_age <= GRACE_SECONDS:
            return ""
        return f"{KIND}s have not been watched for {age:.0f} s"

    def _watching(self) -> bool:
        """Return whether Kopf's watches run, one for each namespace (or one for all)."""
        prefix = f"watcher for {PLURAL}"
        tasks = (task for task in asyncio.all_tasks() if task.get_name().startswith(prefix) and not task.done())
        return sum(1 for _ in tasks) >= len(self.scopes)

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def on_login(**_: Any) -> kopf.ConnectionInfo:
            return await self._login()

        @kopf.on.startup(registry=registry)
        async def on_startup(**_: Any) -> None:
            asyncio.get_running_loop().call_soon(self._restore_signals)  # right after Kopf has replaced them

        @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
        async def on_event(event: Any, **_: Any) -> None:
            body: Manifest = dict(event["object"])
            body["metadata"] = dict(body["metadata"])  # Kopf still reads its own
            body["kind"] = KIND
            if event["type"] == "DELETED":
                self._delete(body)
            else:
                self._upsert(body)

        return registry

    async def _login(self) -> kopf.ConnectionInfo:
        try:
            await self._transport.refresh()
            found = await self._transport.credentials()
        except ApiError as error:
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

    async def _wait_for_one(self) -> None:
        """Wait until ModelDeployments can be listed somewhere: Kopf ignores for ever a kind that it does not find at its start."""
        while not self._stop.is_set():
            if any(await asyncio.gather(*map(self._probe, self.scopes))):
                return
            await self._sleep(_PROBE_SECONDS)

    async def _retry_failing(self) -> None:
        """List the namespaces where anything fails again, with pauses, until cancelled."""
        pauses: dict[Scope, float] = {}
        while True:
            await asyncio.sleep(_PROBE_SECONDS)
            for scope in self.scopes if self._running else ():
                pause = pauses.pop(scope, 0.0) - _PROBE_SECONDS
                if not scope.failing():
                    continue
                if pause > 0:
                    pauses[scope] = pause
                elif not await self._probe(scope, relist=True):
                    pauses[scope] = _REFUSED_SECONDS

    async def _probe(self, scope: Scope, *, relist: bool = False) -> bool:
        """List and watch the ModelDeployments of a scope once; return whether both succeed, and record it in the scope.

        With `relist`, all are listed into the cache: Kopf never notices what was deleted while it was refused.
        """
        try:
            version = await (self._list(scope.namespace) if relist else self._version(scope.namespace))
            async with aclosing(self._client.watch(KIND, scope.namespace, "", version)) as events:  # type: ignore[type-var]
                await anext(events)  # the server has accepted it
        except NotFoundError:
            missing = f"the CustomResourceDefinition of {KIND} is not installed: install the chart's crds"
            scope.failed(KIND, NotFoundError(missing))
        except ApiError as error:
            scope.failed(KIND, error)
        else:
            scope.listed(KIND)
            scope.watched(KIND)
            return True
        return False

    async def _version(self, namespace: str | None) -> str:
        async with aclosing(self._client.list_pages(KIND, namespace, limit=1)) as pages:  # type: ignore[type-var]
            return (await anext(pages))[1]

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
