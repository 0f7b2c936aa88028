"""The transport, against a real HTTP server on the loopback: what waits before it is sent, and what must not."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from slipway.domain.objects import Apply, Key
from slipway.kube import (
    ApiError,
    Cache,
    Client,
    NamespaceEndsError,
    NotFoundError,
    RejectedError,
    RetryableError,
    Transport,
)
from slipway.kube.lease import LeaderElector
from slipway.status.pod import project

KEY = Key("ns", "digits")
SERVICE = {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "digits", "namespace": "ns"}}
Handler = Callable[[web.Request], Awaitable[web.Response]]


class Fence:
    seconds = 8.0

    def remaining(self) -> float:
        return self.seconds


class Meter:
    def requested(self, *_: object) -> None:
        pass


@asynccontextmanager
async def served(folder: Path, handler: Handler, parallel: int) -> AsyncIterator[tuple[Client, Fence]]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://{host}:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (folder / "config").write_text(json.dumps(config))
    transport, fence = Transport(str(folder / "config"), "", timeout=5, parallel=parallel, meter=Meter()), Fence()
    await transport.login()
    try:
        yield Client(transport, Cache(project), fence, 75.0), fence
    finally:
        await transport.close()
        await runner.cleanup()


async def test_a_write_that_had_to_wait_is_not_sent_when_the_lease_has_ended_meanwhile(tmp_path: Path) -> None:
    seen: list[str] = []

    async def busy(request: web.Request) -> web.Response:
        seen.append(request.method)
        return web.json_response({"message": "too many"}, status=429, headers={"Retry-After": "1"})

    async with served(tmp_path, busy, parallel=8) as (client, fence):
        write = Apply(SERVICE, create=True, manager="slipway")
        with pytest.raises(RetryableError, match="too many"):
            await client.apply(KEY, write)
        waits = asyncio.create_task(client.apply(KEY, write))
        await asyncio.sleep(0)  # it waits for the second of Retry-After
        fence.seconds = 0.0
        with pytest.raises(RetryableError, match="lease"):
            await waits
    assert seen == ["PATCH"]


async def test_the_lease_is_renewed_although_every_slot_is_in_use(tmp_path: Path) -> None:
    arrived, renewed = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        if request.method == "PUT":
            renewed.set()
        else:
            arrived.set()
            await renewed.wait()
        return web.json_response({"metadata": {"name": "lease", "resourceVersion": "1"}})

    async with served(tmp_path, slow, parallel=1) as (client, _):
        reading = asyncio.create_task(client.get("Service", "ns", "digits"))
        await arrived.wait()
        try:
            async with asyncio.timeout(4):
                await client.replace("Lease", "ns", "lease", {"metadata": {}}, within=3.0)
        finally:
            renewed.set()
            await reading


@pytest.mark.parametrize("exists", [False, True], ids=["created", "renewed"])
async def test_the_lease_is_read_and_acquired_during_a_retry_after(
    tmp_path: Path,
    exists: bool,  # noqa: FBT001 - pytest passes it
) -> None:
    lease: dict[str, dict[str, str]] | None = (
        {"metadata": {"resourceVersion": "7"}, "spec": {"holderIdentity": "a"}} if exists else None
    )
    arrived, over = asyncio.Event(), asyncio.Event()

    async def storm(request: web.Request) -> web.Response:
        if "leases" in request.path:
            if request.method == "GET" and lease is None:
                return web.json_response({"message": "none"}, status=404)
            body = lease if lease is not None and request.method == "GET" else await request.json()
            return web.json_response(body | {"metadata": {"resourceVersion": "8"}})
        if request.method == "GET":
            arrived.set()
            await over.wait()
        return web.json_response({"message": "too many"}, status=429, headers={"Retry-After": "30"})

    async with served(tmp_path, storm, parallel=2) as (client, _):
        reading = asyncio.create_task(client.get("Service", "ns", "digits"))
        await arrived.wait()
        write = Apply(SERVICE, create=True, manager="slipway")
        with pytest.raises(RetryableError, match="too many"):
            await client.apply(KEY, write)
        waits = asyncio.create_task(client.apply(KEY, write))
        await asyncio.sleep(0)  # now the last slot is in use, too
        clock = asyncio.get_running_loop().time
        elector = LeaderElector(
            client, "ns", "lease", "a", clock=clock, now=lambda: datetime.now(UTC), on_change=lambda _: None
        )
        try:
            async with asyncio.timeout(4):
                await elector._step()
        finally:
            over.set()
            waits.cancel()
            with pytest.raises(RetryableError, match="too many"):
                await reading
        assert elector.remaining() > 0


@pytest.mark.parametrize(
    "text", ["{}", "[]", "null", '{"items": [], "metadata": {}}', '{"metadata": 7}', '"proxy"', "<html>"]
)
async def test_a_response_that_is_not_the_api_servers_is_retried(tmp_path: Path, text: str) -> None:
    """A 200 of something in between must end neither the informers nor the election."""

    async def strange(_: web.Request) -> web.Response:
        return web.Response(text=text)

    async with served(tmp_path, strange, parallel=1) as (client, _):
        with pytest.raises(RetryableError):
            await anext(client.list_pages("Service", None))
        with pytest.raises(RetryableError):
            await client.get("Lease", "ns", "lease", within=3.0)


@pytest.mark.parametrize(
    "line", ['{"type":"ADDED","object":{}}', '{"type":"MODIFIED","object":7}', "{}", "7", "<html>"]
)
async def test_an_event_that_is_not_the_api_servers_is_retried(tmp_path: Path, line: str) -> None:
    async def strange(_: web.Request) -> web.Response:
        return web.Response(text=line + "\n")

    async with served(tmp_path, strange, parallel=1) as (client, _):
        events = client.watch("Service", None, "", "1")
        assert (await anext(events))[0] == "OPENED"
        with pytest.raises(RetryableError, match="not an event"):
            await anext(events)


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        (
            403,
            'services "a" is forbidden: unable to create new content in namespace b because it is being terminated',
            NamespaceEndsError,
        ),
        (404, 'namespaces "b" not found', NamespaceEndsError),
        (403, 'services is forbidden: User "u" cannot list resource "services"', RejectedError),
        (404, 'services "a" not found', NotFoundError),
    ],
)
async def test_what_ends_with_its_namespace_is_told_from_other_refusals(
    tmp_path: Path, status: int, message: str, error: type[ApiError]
) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"message": message}, status=status)

    async with served(tmp_path, refuse, parallel=1) as (client, _):
        with pytest.raises(error) as raised:
            await client.get("Service", "b", "a")
    assert type(raised.value) is error
