"""Downloads an archive from a web server that may be slow, busy, broken or hostile.

Every attempt walks the redirects anew, each hop checked like the first. A transfer that breaks is continued where it
stopped if the server can prove that the file is still the same one, and starts over otherwise.
"""

import http.client
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urljoin

from slipway_tools.archives.names import shown
from slipway_tools.archives.writer import create
from slipway_tools.errors import ModelError, Reason
from slipway_tools.limits import CHUNK, MIB, Limits, too_large
from slipway_tools.sources.addresses import Network, Resolver, permitted, system_resolver
from slipway_tools.sources.authorities import Authorities
from slipway_tools.sources.connection import DEFAULT_PORTS, Connection
from slipway_tools.sources.responses import (
    BAD_RANGE,
    OK,
    PARTIAL,
    TransientError,
    network_error,
    refuse_status,
    validator,
)
from slipway_tools.uri import Uri, parse

_REDIRECTS = {301, 302, 303, 307, 308}
_PATH_CHARS = "/%:@!$&'()*+,;=~"
_HEADERS = {"User-Agent": "slipway-tools", "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient a download is (seconds), where it may go, and whose certificates it accepts."""

    allowed: Sequence[Network] = ()
    authorities: Authorities = field(default_factory=Authorities)
    attempts: int = 6
    connect_seconds: float = 10.0
    read_seconds: float = 30.0
    total_seconds: float = 3600.0
    first_delay_seconds: float = 0.5
    max_delay_seconds: float = 60.0
    max_redirects: int = 5


@dataclass(slots=True)
class _Partial:
    """What has arrived so far, and by what a later answer can be recognised as the same file."""

    out: BinaryIO
    size: int = 0
    total: int | None = None
    validator: str | None = None

    def restart(self) -> None:
        with _disk():
            self.out.seek(0)
            self.out.truncate()
        self.size, self.total, self.validator = 0, None, None


@dataclass(frozen=True)
class Downloader:
    """Downloads under a policy; name resolution, clock, sleep and log are injected."""

    policy: Policy
    limits: Limits
    log: Callable[[str], None]
    resolve: Resolver = system_resolver
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = field(default=random.random)

    def download(self, uri: Uri, path: Path) -> int:
        """Download `uri` into the new file `path` and return its size in bytes.

        Raises:
            ModelError: SourceNotFound, SourceForbidden, SourceUnreachable, UnsupportedScheme, TooLarge, NoSpace.
            OSError: from the volume.
        """
        deadline = self.clock() + self.policy.total_seconds
        failures = 0
        with create(path) as out:
            part = _Partial(out)
            while True:
                before = part.size
                try:
                    self._attempt(uri, part, deadline)
                except TransientError as error:
                    failures = failures + 1 if part.size <= before else 1
                    self._pause(uri, error, failures, deadline)
                else:
                    return part.size

    def _pause(self, uri: Uri, error: TransientError, failures: int, deadline: float) -> None:
        """Wait before the next attempt, or give up."""
        base = self.policy.first_delay_seconds * 2 ** (failures - 1)
        delay = min(base, self.policy.max_delay_seconds) * (0.5 + self.jitter() / 2)
        if error.retry_after is not None:
            delay = max(delay, min(error.retry_after, self.policy.max_delay_seconds))
        left = deadline - self.clock()
        if failures >= self.policy.attempts or delay >= left:
            tried = f"{failures} attempts in a row" if left > delay else f"{self.policy.total_seconds:.0f} seconds"
            raise ModelError(
                Reason.SOURCE_UNREACHABLE,
                f"spec.model.uri: {uri.shown} could not be downloaded after {tried}: {error}; "
                "check the address, the server and the network policy of the namespace",
            )
        self.log(f"{uri.shown}: {error}; next attempt in {delay:.1f} s")
        self.sleep(delay)

    def _attempt(self, uri: Uri, part: _Partial, deadline: float) -> None:
        hop = uri
        for _ in range(self.policy.max_redirects + 1):
            location = self._hop(hop, part, deadline)
            if location is None:
                return
            hop = _redirected(hop, location)
        raise ModelError(
            Reason.SOURCE_UNREACHABLE,
            f"spec.model.uri: {uri.shown} redirects more than {self.policy.max_redirects} times; use the final address",
        )

    def _hop(self, uri: Uri, part: _Partial, deadline: float) -> str | None:
        """Make one request; return where it redirects to, None when the file is complete."""
        port = uri.port or DEFAULT_PORTS[uri.scheme]
        try:
            addresses = permitted(uri.host, port, self.resolve, self.policy.allowed)
            with Connection(uri, addresses, self.policy.connect_seconds, self.policy.authorities) as connection:
                connection.open(self.policy.read_seconds, max(0.001, deadline - self.clock()))
                response = connection.get(_target(uri), _HEADERS | _range(part))
                if connection.cut:
                    raise TransientError("the time is up")
                if response.status in _REDIRECTS:
                    return response.headers.get("Location") or ""
                self._accept(uri, response, part)
                self._receive(uri, response, part)
                if connection.cut:
                    raise TransientError("the time is up")
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, _DiskError):
                raise error.cause from None
            raise network_error(uri, error, self.policy.authorities) from None
        return None

    def _accept(self, uri: Uri, response: http.client.HTTPResponse, part: _Partial) -> None:
        """Judge status and headers; afterwards the body belongs at the end of `part`."""
        refuse_status(uri, response)
        if response.status == PARTIAL and not _continues(response, part):
            part.restart()
            raise TransientError("the server continued at the wrong place")
        if response.status == BAD_RANGE:
            part.restart()
            raise TransientError("the file has changed")
        if response.status == OK:
            part.restart()
            part.validator = validator(response)
            part.total = response.length
        if part.total is not None and part.total > self.limits.max_bytes:
            raise too_large(f"spec.model.uri: {uri.shown}", self.limits.max_bytes)
        free = shutil.disk_usage(part.out.name).free
        if part.total is not None and part.total - part.size > free:
            raise ModelError(
                Reason.NO_SPACE,
                f"spec.model.uri: {uri.shown} has {part.total} bytes, the volume {free} left; "
                "give the node or the volume more ephemeral storage",
            )

    def _receive(self, uri: Uri, response: http.client.HTTPResponse, part: _Partial) -> None:
        next_log = self.clock() + 5
        while chunk := response.read1(CHUNK):
            if part.size + len(chunk) > self.limits.max_bytes:
                raise too_large(f"spec.model.uri: {uri.shown}", self.limits.max_bytes)
            with _disk():
                part.out.write(chunk)
            part.size += len(chunk)
            if self.clock() >= next_log:
                of = "" if part.total is None else f" of {part.total / MIB:.1f}"
                self.log(f"{uri.shown}: {part.size / MIB:.1f}{of} MiB")
                next_log = self.clock() + 5
        if part.total is not None and part.size != part.total:
            raise TransientError(f"the connection ended after {part.size} of {part.total} bytes")
        with _disk():
            part.out.flush()


class _DiskError(OSError):
    """An error of the volume, kept apart from those of the network, which are OSErrors too."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(*cause.args)
        self.cause = cause


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _DiskError(error) from None


def _redirected(uri: Uri, location: str) -> Uri:
    """Check a redirect like an address that a user wrote."""
    try:
        joined = urljoin(uri.shown, location)
    except ValueError:
        joined = location  # no URI, as `parse` will say
    target = parse(joined, field=f"spec.model.uri: the redirect of {uri.shown}")
    if target.scheme not in DEFAULT_PORTS or (uri.scheme == "https" and target.scheme == "http"):
        raise ModelError(
            Reason.UNSUPPORTED_SCHEME,
            f"spec.model.uri: {uri.shown} redirects to {shown(target.scheme)}, away from {uri.scheme}; use another source",
        )
    return target


def _target(uri: Uri) -> str:
    path = quote(uri.path or "/", safe=_PATH_CHARS)
    return f"{path}?{quote(uri.query, safe=_PATH_CHARS + '?')}" if uri.query else path


def _range(part: _Partial) -> dict[str, str]:
    if part.size and part.validator:
        return {"Range": f"bytes={part.size}-", "If-Range": part.validator}
    return {}


def _continues(response: http.client.HTTPResponse, part: _Partial) -> bool:
    """Return whether a 206 answer begins exactly where `part` ends and speaks of a file of the same size."""
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    known = part.total is None or total in {str(part.total), "*"}
    return bool(part.size) and unit == "bytes" and span.partition("-")[0] == str(part.size) and known
