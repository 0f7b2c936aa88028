"""Transport: the API server's address and credentials, and one HTTP request at a time, bounded, timed and counted.

The only module that uses the Kubernetes client, for addresses, credentials and TLS. Requests go straight to aiohttp, on which
that client builds: its typed models cost ten times as much to decode as plain JSON.
"""

import asyncio
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
import orjson
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config
from yarl import URL

from slipway.kube.errors import ApiError, RetryableError, classify

_RELOGIN_SECONDS = 10.0
_CONNECT_SECONDS = 5.0
_MESSAGE_LENGTH = 1000
_BUFFER_BYTES = 2**21
"""Read ahead of a watch; a line of it is an object of up to 1.5 MiB."""
_HEADERS = {"Accept": "application/json", "User-Agent": "slipway-operator"}


class Meter(Protocol):
    """Counts requests."""

    def requested(self, verb: str, resource: str, code: str, seconds: float) -> None:
        """Count one request; `code` is the HTTP status, or `error` if there was none."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What another HTTP client needs to connect to the same API server."""

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
    """One request.

    Attributes:
        verb: for the metrics.
        resource: for the metrics.
        timeout: seconds that it may take (None: the transport's default); evaluated when the request is about to be sent,
            because it may have to wait until then.
        urgent: it is sent ahead of others, and does not count against the limit of parallel requests.
    """

    verb: str
    resource: str
    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: Any = None
    content_type: str = "application/json"
    timeout: Callable[[], float] | None = None
    urgent: bool = False


@dataclass(slots=True)
class _Session:
    """One login: its connections and the number of requests that use them.

    It is closed once it is retired and the last request has ended: a request whose session is closed would wait for ever.
    """

    configuration: Configuration
    http: aiohttp.ClientSession
    users: int = 0
    retired: bool = False

    @classmethod
    def open(cls, configuration: Configuration) -> "_Session":
        context = RESTClientObject(configuration).ssl_context
        # Unlimited: watches hold connections; requests have their own limit.
        connector = aiohttp.TCPConnector(limit=0, ssl=context)
        # The proxy is decided at login. Left to aiohttp, it is looked up in the environment before each request, in a thread.
        http = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            read_bufsize=_BUFFER_BYTES,
            trust_env=False,
        )
        return cls(configuration, http)

    async def authorization(self) -> str | None:
        """Return the header's value; a token that is about to expire is read anew."""
        found: str | None = await self.configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        return found

    async def leave(self) -> None:
        self.users -= 1
        await self.close_if_unused()

    async def close_if_unused(self) -> None:
        if self.retired and self.users == 0:
            await self.http.close()


class Transport:
    """Sends requests to one API server."""

    def __init__(self, kubeconfig: str, context: str, *, timeout: float, parallel: int, meter: Meter) -> None:
        """Prepare; `login` reads the credentials. `timeout` is that of a request in seconds, `parallel` the most at once."""
        self._kubeconfig = kubeconfig
        self._context = context
        self._timeout = timeout
        self._meter = meter
        self._slots = asyncio.Semaphore(parallel)
        self._session: _Session | None = None
        self._logged_in = float("-inf")
        self._paused_until = 0.0
        self._random = random.Random()  # noqa: S311 - jitter needs no secrecy

    async def login(self) -> None:
        """Read the kubeconfig or the service account, anew at each call.

        Raises:
            ApiError: there are no credentials.
        """
        configuration = Configuration()
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
            raise ApiError(f"cannot log in to Kubernetes: {error}") from error
        configuration.proxy = configuration.proxy or _proxy(configuration.host)
        old, self._session = self._session, _Session.open(configuration)
        self._logged_in = time.monotonic()
        if old is not None:
            old.retired = True
            await old.close_if_unused()

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.http.close()

    async def credentials(self) -> Credentials:
        """Return what Kopf needs for its own session."""
        session = self._current()
        configuration, key = session.configuration, await session.authorization()
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
        """Send one request and return its response, decoded from JSON.

        Raises:
            ApiError: one of its subclasses; the HTTP client's own exceptions are never raised.
        """
        async with nullcontext() if request.urgent else self._slots:
            if not request.urgent and (pause := self._paused_until - time.monotonic()) > 0:
                await asyncio.sleep(pause * self._random.uniform(1.0, 1.25))
            seconds = self._timeout if request.timeout is None else min(self._timeout, request.timeout())
            if seconds <= 0:
                raise RetryableError("the lease ends too soon for a write")
            timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=min(_CONNECT_SECONDS, seconds))
            async with self._exchange(request, timeout) as response:
                return orjson.loads(await response.read())

    async def stream(self, request: Request, idle: float) -> AsyncIterator[bytes]:
        """Send a watch request; yield an empty line when the server has accepted it, then its lines.

        They end when the server ends them, or `idle` seconds pass without data.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=idle)
        rest = b""
        async with self._exchange(request, timeout) as response:
            yield b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line:
                        yield line

    @asynccontextmanager
    async def _exchange(self, request: Request, limit: aiohttp.ClientTimeout) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield the response to one request; what goes wrong, also while it is read, becomes an ApiError."""
        started = time.monotonic()
        code = "error"
        response: aiohttp.ClientResponse | None = None
        session = self._current()
        session.users += 1
        try:
            response = await self._open(session, request, limit)
            code = str(response.status)
            if response.status >= 400:  # noqa: PLR2004 - HTTP
                raise await self._error(request, response)
            yield response
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            code = "error"
            raise RetryableError(
                f"{request.verb} {request.resource}: {type(error).__name__} {error}".rstrip()
            ) from error
        finally:
            self._meter.requested(request.verb, request.resource, code, time.monotonic() - started)
            if response is not None:
                response.close() if request.verb == "watch" else response.release()
            await session.leave()

    @staticmethod
    async def _open(session: _Session, request: Request, limit: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        headers = {}
        if token := await session.authorization():
            headers["Authorization"] = token
        body = None
        if request.body is not None:
            headers["Content-Type"] = request.content_type
            body = orjson.dumps(request.body)
        address = session.configuration.host + request.path
        if request.query:
            address += "?" + urlencode(request.query)
        return await session.http.request(
            request.method,
            URL(address, encoded=True),
            data=body,
            headers=headers,
            timeout=limit,
            allow_redirects=False,
            proxy=session.configuration.proxy,
            server_hostname=session.configuration.tls_server_name,
        )

    async def _error(self, request: Request, response: aiohttp.ClientResponse) -> ApiError:
        text = (await response.read()).decode("utf-8", "replace")
        message = _message(text) or f"HTTP {response.status}"
        if response.status == 401:  # noqa: PLR2004 - HTTP
            await self.refresh()
            return RetryableError(message)
        retry_after = _seconds(response.headers.get("Retry-After"))
        if response.status == 429 and retry_after:  # noqa: PLR2004 - HTTP
            self._paused_until = max(self._paused_until, time.monotonic() + retry_after)
        return classify(response.status, message[:_MESSAGE_LENGTH], f"{request.verb} {request.resource}", retry_after)

    async def refresh(self) -> None:
        """Log in again because the server rejected the credentials, but not more often than every few seconds."""
        if time.monotonic() - self._logged_in >= _RELOGIN_SECONDS:
            self._logged_in = time.monotonic()
            await self.login()

    def _current(self) -> _Session:
        if self._session is None:
            raise ApiError("not logged in")
        return self._session


def _proxy(server: str) -> str | None:
    """Return the proxy of a server from the environment: HTTPS_PROXY or HTTP_PROXY, unless NO_PROXY excludes it."""
    parts = urlsplit(server)
    if not parts.hostname or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)


def _message(text: str) -> str:
    try:
        status = orjson.loads(text)
    except ValueError:
        return text.strip()
    return str(status.get("message") or "") if isinstance(status, dict) else text.strip()


def _seconds(header: str | None) -> float:
    try:
        return min(60.0, max(0.0, float(header or 0)))
    except ValueError:
        return 1.0  # an HTTP date: the API server sends seconds, a proxy may not
