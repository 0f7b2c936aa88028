"""A proxy in front of a real API server that misbehaves on demand.

It speaks plain HTTP to the operator and TLS, with the operator's client certificate, to the API server. Faults are
rules on verb and resource; without a rule every byte passes.

    with FaultProxy(plane.kubeconfig(user="slipway", groups=[...])) as proxy:
        start an operator with proxy.kubeconfig
        storm = proxy.add(Fault(Kind.STATUS, status=429, headers={"Retry-After": "2"}), verbs={"patch"}, share=0.5)
        ...
        proxy.remove(storm)
"""

import asyncio
import base64
import contextlib
import json
import random
import ssl
import threading
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml
from aiohttp import web

from dev.kit.fault_rules import Call, Fault, Kind, Rule, parse

__all__ = ["Fault", "FaultProxy", "Kind"]


class FaultProxy:
    """Runs on a thread of its own; its methods are for the test's thread."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._upstream = cluster["server"]
        files = {}
        for name, value in (cluster | user).items():
            if name.endswith("-data"):
                files[name] = folder / name.removesuffix("-data")
                files[name].write_bytes(base64.b64decode(value))
        self._tls = ssl.create_default_context(cafile=str(files["certificate-authority-data"]))
        self._tls.load_cert_chain(files["client-certificate-data"], files["client-key-data"])
        self._rules: list[Rule] = []
        self._random = random.Random(7)  # noqa: S311 - the same share of requests each time
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)
        self._changed = asyncio.Event()
        self.calls: list[Call] = []
        self.kubeconfig = folder / "faultproxy.kubeconfig"

    def __enter__(self) -> Self:
        self._thread.start()
        port = self._call(self._start())
        server = {"name": "proxy", "cluster": {"server": f"http://127.0.0.1:{port}"}}
        context = {"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}
        config = {"apiVersion": "v1", "kind": "Config", "clusters": [server], "contexts": [context]}
        users = {"users": [{"name": "proxy", "user": {}}], "current-context": "proxy"}
        self.kubeconfig.write_text(yaml.safe_dump(config | users))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def add(
        self,
        fault: Fault,
        *,
        verbs: set[str] | None = None,
        resources: set[str] | None = None,
        share: float = 1.0,
        times: float = float("inf"),
        skip: int = 0,
    ) -> Rule:
        """Misbehave on matching requests from now on, after the first `skip`: a share of them, so many times at most."""
        rule = Rule(fault, frozenset(verbs or ()), frozenset(resources or ()), share, times, skip)
        self._call(self._set(rule))
        return rule

    def remove(self, rule: Rule) -> None:
        """End one fault."""
        self._call(self._unset([rule]))

    def clear(self) -> None:
        """End every fault."""
        self._call(self._unset(list(self._rules)))

    def count(self, verb: str = "", resource: str = "", status: int = 0) -> int:
        """Return how many requests there were."""
        return sum(
            (not verb or call.verb == verb)
            and (not resource or call.resource == resource)
            and (not status or call.status == status)
            for call in list(self.calls)
        )

    def summary(self) -> Counter[Call]:
        """Return how often each request came through."""
        return Counter(self.calls)

    def _call(self, job: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(job, self._loop).result(60)

    async def _set(self, rule: Rule) -> None:
        rule.on.set()
        self._rules.append(rule)
        if rule.fault.kind is not Kind.STATUS:
            self._changed.set()  # open streams get it, too
            self._changed = asyncio.Event()

    async def _unset(self, rules: list[Rule]) -> None:
        for rule in rules:
            rule.on.clear()
            self._rules.remove(rule)

    async def _start(self) -> int:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=0),
            timeout=aiohttp.ClientTimeout(),
            auto_decompress=False,
        )
        application = web.Application(client_max_size=2**24)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def _stop(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await self._runner.cleanup()
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._session.close()
        await asyncio.sleep(0.1)  # its transports end in later iterations of the loop

    def _pick(self, verb: str, resource: str, *, responding: bool = False) -> Rule | None:
        for rule in self._rules:
            if responding and rule.fault.kind in {Kind.STATUS, Kind.BEFORE, Kind.AFTER}:
                continue  # the response has begun
            if rule.matches(verb, resource) and rule.hits < rule.times and self._random.random() < rule.share:
                if rule.skip > 0:
                    rule.skip -= 1
                    continue
                rule.hits += 1
                return rule
        return None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        verb, resource = parse(request.method, request.path, request.query)
        rule = self._pick(verb, resource)
        if rule is not None and not (verb == "watch" and rule.fault.kind is Kind.WATCH_ERROR):
            self.calls.append(Call(verb, resource, rule.fault.status if rule.fault.kind is Kind.STATUS else 0))
            await request.read()
            if rule.fault.kind is Kind.AFTER:
                await self._forward(request)
            return await self._misbehave(request, rule)
        async with await self._send(request) as upstream:
            self.calls.append(Call(verb, resource, upstream.status))
            kept = {"Content-Type": upstream.headers.get("Content-Type", "application/json")}
            response = web.StreamResponse(status=upstream.status, headers=kept)
            with contextlib.suppress(ConnectionError):
                await response.prepare(request)
                if verb == "watch":
                    await self._relay_watch(request, response, upstream, resource, rule)
                else:
                    await response.write(await upstream.read())
                await response.write_eof()
            return response

    async def _send(self, request: web.Request) -> aiohttp.ClientResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in {"host", "connection"}}
        url = self._upstream + str(request.rel_url)
        return await self._session.request(request.method, url, data=await request.read() or None, headers=headers)

    async def _forward(self, request: web.Request) -> None:
        """Let the API server carry out a request whose response is dropped."""
        async with await self._send(request) as upstream:
            await upstream.read()

    async def _relay_watch(
        self,
        request: web.Request,
        response: web.StreamResponse,
        upstream: aiohttp.ClientResponse,
        resource: str,
        rule: Rule | None,
    ) -> None:
        """Pass a watch on until it ends or a new rule concerns it."""
        chunks = upstream.content.iter_any().__aiter__()
        pending: asyncio.Future[bytes] | None = None
        try:
            while True:
                if rule is not None:
                    await self._disturb(request, response, rule)
                    return
                changed: asyncio.Future[Any] = asyncio.ensure_future(self._changed.wait())
                pending = pending or asyncio.ensure_future(anext(chunks))
                both: set[asyncio.Future[Any]] = {changed, pending}
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if pending.done():
                    try:
                        chunk = pending.result()
                    except (StopAsyncIteration, aiohttp.ClientError):
                        return
                    pending = None
                    await response.write(chunk)
                else:
                    rule = self._pick("watch", resource, responding=True)
        finally:
            if pending is not None:
                pending.cancel()
                with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, aiohttp.ClientError):
                    await pending

    async def _disturb(self, request: web.Request, response: web.StreamResponse, rule: Rule) -> None:
        if rule.fault.kind is Kind.WATCH_ERROR:
            status = {"kind": "Status", "code": rule.fault.status, "message": rule.fault.message, "status": "Failure"}
            await response.write(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
        elif rule.fault.kind is Kind.RESET:
            _abort(request)
        else:
            await self._silence(request)

    async def _misbehave(self, request: web.Request, rule: Rule) -> web.StreamResponse:
        if rule.fault.kind is Kind.STATUS:
            body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": rule.fault.message}
            return web.json_response(
                body | {"code": rule.fault.status}, status=rule.fault.status, headers=rule.fault.headers
            )
        if rule.fault.kind is Kind.SILENCE:
            await self._silence(request)
        if rule.fault.then is not None:
            await asyncio.to_thread(rule.fault.then)
        _abort(request)
        return web.Response()

    async def _silence(self, request: web.Request) -> None:
        """Send nothing until the client gives up; the silence of a dead connection does not end with the fault."""
        transport = request.transport
        while transport is not None and not transport.is_closing():  # noqa: ASYNC110 - its end is no event
            await asyncio.sleep(0.05)


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
