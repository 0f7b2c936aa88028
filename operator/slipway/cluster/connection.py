"""Connection: who to talk to and how to log in; one HTTP request at a time, bounded, timed and counted.

The only module, with `cluster.api`, that knows the Kubernetes client. Request and answer bodies are plain JSON: the
client's typed models cost ten times as much to decode.
"""

import asyncio
import json
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from slipway.cluster.errors import ClusterError, Conflict, Expired, Gone, Refused, TryLater

_RELOGIN_SECONDS = 10.0
_CONNECT_SECONDS = 5.0
_MESSAGE_LENGTH = 1000


class Meter(Protocol):
    """Who counts requests."""

    def requested(self, verb: str, resource: str, code: str, seconds: float) -> None:
        """Count one request; `code` is the HTTP status, or `error` where there was none."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What another HTTP client needs to talk to the same API server."""

    server: str
    verify: bool
    ca_path: str | None
    certificate_path: str | None
    private_key_path: str | None
    scheme: str | None
    token: str | None
    username: str | None
    password: str | None
    proxy: str | None


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `verb` and `resource` are for counting.

    `seconds` bounds it (None: the connection's own bound); it is asked when the request is about to be sent, because it
    may have to wait until then.
    """

    verb: str
    resource: str
    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: Any = None
    content_type: str = "application/json"
    seconds: Callable[[], float] | None = None
    urgent: bool = False


@dataclass(slots=True)
class _Session:
    """One login: a client and how many exchanges use it.

    It is closed when it is retired and the last one has ended: an exchange whose session is closed under it would wait
    for ever.
    """

    client: ApiClient
    users: int = 0
    retired: bool = False

    async def leave(self) -> None:
        self.users -= 1
        await self.close_if_unused()

    async def close_if_unused(self) -> None:
        if self.retired and self.users == 0:
            await self.client.close()


class Connection:
    """A connection to one API server."""

    def __init__(self, kubeconfig: str, context: str, *, timeout: float, parallel: int, meter: Meter) -> None:
        """Prepare; `login` connects. `timeout` bounds each request in seconds, `parallel` how many run at once."""
        self._kubeconfig = kubeconfig
        self._context = context
        self._timeout = timeout
        self._meter = meter
        self._slots = asyncio.Semaphore(parallel)
        self._session: _Session | None = None
        self._logged_in = float("-inf")
        self._quiet_until = 0.0
        self._random = random.Random()  # noqa: S311 - jitter needs no secrecy

    async def login(self) -> None:
        """Read the kubeconfig or the service account, again if that was done before.

        Raises:
            ClusterError: there is nothing that could be used.
        """
        configuration = Configuration()
        configuration.connection_pool_maxsize = 0  # unlimited: watches hold connections; requests have their own bound
        try:
            if not self._kubeconfig and "KUBERNETES_SERVICE_HOST" in os.environ:
                load_incluster_config(client_configuration=configuration)
            else:
                await load_kube_config(
                    config_file=self._kubeconfig or None,
                    context=self._context or None,
                    client_configuration=configuration,
                    persist_config=False,
                )
        except (ConfigException, OSError, ValueError) as error:
            raise ClusterError(f"cannot log in to Kubernetes: {error}") from error
        configuration.proxy = configuration.proxy or _proxy(configuration.host)
        # Otherwise aiohttp asks the environment for a proxy before each request, in a thread: a tenth of a write's time.
        configuration.client_session_kwargs = {"trust_env": False}
        old, self._session = self._session, _Session(ApiClient(configuration))
        self._session.client.user_agent = "slipway-operator"
        self._logged_in = time.monotonic()
        if old is not None:
            old.retired = True
            await old.close_if_unused()

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.client.close()

    async def credentials(self) -> Credentials:
        """Return what Kopf needs for its own session."""
        configuration = self._current().client.configuration
        key = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        scheme, _, token = (key or "").partition(" ")
        return Credentials(
            server=configuration.host,
            verify=configuration.verify_ssl,
            ca_path=configuration.ssl_ca_cert,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            scheme=scheme or None if token else None,
            token=token or scheme or None,
            username=configuration.username or None,
            password=configuration.password or None,
            proxy=configuration.proxy,
        )

    async def send(self, request: Request) -> Any:
        """Send one request and return its answer, decoded.

        Raises:
            ClusterError: one of its kinds; the HTTP client's own exceptions never come out of here.
        """
        async with nullcontext() if request.urgent else self._slots:
            if not request.urgent and (pause := self._quiet_until - time.monotonic()) > 0:
                await asyncio.sleep(pause * self._random.uniform(1.0, 1.25))
            seconds = self._timeout if request.seconds is None else min(self._timeout, request.seconds())
            if seconds <= 0:
                raise TryLater("the lease does not last long enough for a write")
            timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=min(_CONNECT_SECONDS, seconds))
            async with self._exchange(request, timeout) as response:
                return json.loads(await response.read())

    async def stream(self, request: Request, idle: float) -> AsyncIterator[bytes]:
        """Send a watch request and yield its lines until the server ends it; `idle` seconds of silence end it too."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=idle)
        rest = b""
        async with self._exchange(request, timeout) as response:
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line:
                        yield line

    @asynccontextmanager
    async def _exchange(self, request: Request, limit: aiohttp.ClientTimeout) -> AsyncIterator[aiohttp.ClientResponse]:
        """Give the answer to one request; turn what goes wrong, also while it is read, into ClusterError."""
        started = time.monotonic()
        code = "error"
        response: aiohttp.ClientResponse | None = None
        session = self._current()
        session.users += 1
        try:
            response = await self._open(session.client, request, limit)
            code = str(response.status)
            if response.status >= 400:  # noqa: PLR2004 - HTTP
                raise await self._error(request, response)
            yield response
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            code = "error"
            raise TryLater(f"{request.verb} {request.resource}: {type(error).__name__} {error}".rstrip()) from error
        finally:
            self._meter.requested(request.verb, request.resource, code, time.monotonic() - started)
            if response is not None:
                response.close() if request.verb == "watch" else response.release()
            await session.leave()

    @staticmethod
    async def _open(client: ApiClient, request: Request, limit: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json", "User-Agent": client.user_agent, "Content-Type": request.content_type}
        token = await client.configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            headers["Authorization"] = token
        url = client.configuration.host + request.path
        if request.query:
            url += "?" + urlencode(request.query)
        answer = await client.call_api(request.method, url, headers, request.body, _request_timeout=limit)
        opened: aiohttp.ClientResponse = answer.response
        return opened

    async def _error(self, request: Request, response: aiohttp.ClientResponse) -> ClusterError:
        text = (await response.read()).decode("utf-8", "replace")
        message = _message(text) or f"HTTP {response.status}"
        if response.status == 401:  # noqa: PLR2004 - HTTP
            await self.refresh()
            return TryLater(message)
        retry_after = _seconds(response.headers.get("Retry-After"))
        if response.status == 429 and retry_after:  # noqa: PLR2004 - HTTP
            self._quiet_until = max(self._quiet_until, time.monotonic() + retry_after)
        return _classify(response.status, f"{message[:_MESSAGE_LENGTH]}", retry_after, request)

    async def refresh(self) -> None:
        """Log in again, because the server did not accept what there is, but not every moment."""
        if time.monotonic() - self._logged_in >= _RELOGIN_SECONDS:
            self._logged_in = time.monotonic()
            await self.login()

    def _current(self) -> _Session:
        if self._session is None:
            raise ClusterError("not logged in")
        return self._session


def _proxy(server: str) -> str | None:
    """Return the proxy that the environment names for a server: HTTPS_PROXY or HTTP_PROXY, unless NO_PROXY excepts it."""
    parts = urlsplit(server)
    if not parts.hostname or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)


def _message(text: str) -> str:
    try:
        status = json.loads(text)
    except ValueError:
        return text.strip()
    return str(status.get("message") or "") if isinstance(status, dict) else text.strip()


def _seconds(header: str | None) -> float:
    try:
        return min(60.0, max(0.0, float(header or 0)))
    except ValueError:
        return 1.0  # an HTTP date: the API server sends seconds, a proxy may not


_KINDS: Mapping[int, Callable[[str], ClusterError]] = {404: Gone, 409: Conflict, 410: Expired}
_TRANSIENT = frozenset({408, 425, 429})
_MALFORMED = ("failed to create typed patch object", "failed to convert new object")
"""How server-side apply answers, as a 500, to a body that does not fit the kind's schema or types: it never will."""


def _classify(status: int, message: str, retry_after: float, request: Request) -> ClusterError:
    if status in _KINDS:
        return _KINDS[status](message)
    if status in _TRANSIENT or (status >= 500 and not message.startswith(_MALFORMED)):  # noqa: PLR2004 - HTTP
        return TryLater(f"{request.verb} {request.resource}: {message}", retry_after)
    return Refused(message)
