"""The bench's own client of the API server: plain JSON, many requests at once, watches that note the moment.

It does as little as it can per request, because it shares the machine with what is measured.
"""

import asyncio
import base64
import json
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

Object = dict[str, Any]
MERGE = "application/merge-patch+json"
_LINE_LIMIT = 4 * 2**20


class RefusedError(Exception):
    """The API server answered with an error; `status` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """A client for one kubeconfig; use it in an `async with` block."""

    def __init__(self, kubeconfig: Path) -> None:
        document = json.loads(kubeconfig.read_text())
        self._url = document["clusters"][0]["cluster"]["server"]
        self._tls = _tls(document)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        self._session = aiohttp.ClientSession(
            self._url, connector=connector, timeout=timeout, read_bufsize=_LINE_LIMIT, auto_decompress=True
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str) -> Object:
        """Read an object or a list."""
        return await self._send("GET", path)

    async def create(self, path: str, body: Object) -> Object:
        """Create an object in the collection `path`."""
        return await self._send("POST", path, body)

    async def patch(self, path: str, body: Object) -> Object:
        """Merge-patch an object."""
        return await self._send("PATCH", path, body, MERGE)

    async def delete(self, path: str) -> Object:
        """Delete an object; its dependents go in the background."""
        return await self._send("DELETE", f"{path}?propagationPolicy=Background")

    async def watch(self, path: str, resource_version: str) -> AsyncIterator[tuple[str, Object]]:
        """Yield (type, object) of each event in the collection `path` after `resource_version`."""
        query = f"{path}?watch=1&resourceVersion={resource_version}&timeoutSeconds=3600"
        async with self._open().get(query) as response:
            if response.status != 200:
                raise RefusedError(response.status, f"watch {path}: {await response.text()}")
            async for line in response.content:
                event = json.loads(line)
                yield event["type"], event["object"]

    async def _send(
        self, method: str, path: str, body: Object | None = None, content: str = "application/json"
    ) -> Object:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content} if data else None
        async with self._open().request(method, path, data=data, headers=headers) as response:
            text = await response.read()
            if response.status >= 300:
                raise RefusedError(response.status, f"{method} {path}: {response.status} {text[:400].decode()}")
            answer: Object = json.loads(text)
            return answer

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the client is used outside its `async with` block")
        return self._session


def _tls(document: Object) -> ssl.SSLContext:
    def decoded(text: str) -> bytes:
        return base64.b64decode(text)

    user = document["users"][0]["user"]
    authority = decoded(document["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    with tempfile.NamedTemporaryFile() as pair:  # the ssl module reads certificates from files only
        pair.write(decoded(user["client-certificate-data"]) + decoded(user["client-key-data"]))
        pair.flush()
        context.load_cert_chain(pair.name)
    return context


async def together(jobs: Iterable[Callable[[], Awaitable[object]]], workers: int) -> None:
    """Run the jobs in order, `workers` at a time; the first error ends all."""
    queue = iter(jobs)

    async def work() -> None:
        for job in queue:
            await job()

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())


class Tracker:
    """Watches a collection and remembers when each object first met a condition; times are of `time.monotonic`.

    Use it in an `async with` block: what exists before is not looked at, what happens inside is.
    """

    def __init__(self, client: Client, path: str, met: Callable[[Object], bool]) -> None:
        self._client, self._path, self._met = client, path, met
        self.times: dict[str, float] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        listed = await self._client.get(f"{self._path}?limit=1")
        self._task = asyncio.create_task(self._follow(listed["metadata"]["resourceVersion"]))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def wait(self, count: int, seconds: float) -> float:
        """Return the moment when `count` objects had met the condition.

        Raises:
            TimeoutError: that did not come about within `seconds`.
        """
        try:
            async with asyncio.timeout(seconds):
                while len(self.times) < count:
                    self._changed.clear()
                    await self._either()
        except TimeoutError:
            met = f"{len(self.times)} of {count} met the condition"
            raise TimeoutError(f"{self._path}: {met} within {seconds:.0f} s") from None
        return sorted(self.times.values())[count - 1]

    async def _either(self) -> None:
        """Wait for a change, or for the end of the watch, which is an error."""
        if self._task is None:
            raise RuntimeError("the tracker is used outside its `async with` block")
        changed = asyncio.ensure_future(self._changed.wait())
        await asyncio.wait([changed, self._task], return_when=asyncio.FIRST_COMPLETED)
        changed.cancel()
        if self._task.done():
            self._task.result()
            raise ConnectionError(f"the watch of {self._path} ended")

    async def _follow(self, resource_version: str) -> None:
        async for kind, found in self._client.watch(self._path, resource_version):
            name = found["metadata"].get("name", "")
            if kind in {"ADDED", "MODIFIED"} and name not in self.times and self._met(found):
                self.times[name] = time.monotonic()
                self._changed.set()
