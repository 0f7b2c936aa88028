"""One HTTP connection to an address that was checked beforehand.

The name is resolved once, by the caller; connecting by name again would let a second answer of the name server lead
elsewhere (DNS rebinding). The name still decides the Host header and which certificate is accepted. Proxies from the
environment are not used: a proxy resolves names itself, where no check of ours applies.
"""

import http.client
import socket
import ssl
import threading
import time
from types import TracebackType
from typing import Self

from slipway_tools.sources.authorities import Authorities
from slipway_tools.uri import Uri

DEFAULT_PORTS = {"http": 80, "https": 443}


class Connection:
    """A connection for one request, cut off from another thread when its time is up."""

    def __init__(self, uri: Uri, addresses: list[str], connect_seconds: float, authorities: Authorities) -> None:
        self._uri = uri
        self._addresses = addresses
        self._connect_seconds = connect_seconds
        self._authorities = authorities
        self._client = http.client.HTTPConnection(uri.host, uri.port or DEFAULT_PORTS[uri.scheme])
        # Left out of the Host header, which signed addresses (S3) are signed with.
        self._client.default_port = DEFAULT_PORTS[uri.scheme]
        self._response: http.client.HTTPResponse | None = None
        self._timer: threading.Timer | None = None
        self._cut = threading.Event()

    @property
    def cut(self) -> bool:
        """Return whether the time ran out: the end of the data then is our own doing, not the other side's."""
        return self._cut.is_set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._response is not None:
            self._response.close()
        self._client.close()

    def open(self, read_seconds: float, total_seconds: float) -> None:
        """Connect to the first address that answers.

        Args:
            read_seconds: longest silence of the other side.
            total_seconds: after this the connection is cut, however slowly data still trickles.

        Raises:
            OSError: from the network (ssl.SSLError included).
            ModelError: the added certificate authorities are unreadable.
        """
        deadline = time.monotonic() + total_seconds
        context = self._authorities.context() if self._uri.scheme == "https" else None
        sock = self._connect(deadline)
        sock.settimeout(read_seconds)
        if context is not None:
            sock = context.wrap_socket(sock, server_hostname=self._uri.host, do_handshake_on_connect=False)
        self._client.sock = sock
        self._timer = threading.Timer(max(0.0, deadline - time.monotonic()), self._cut_off, [sock])
        self._timer.daemon = True
        self._timer.start()
        if isinstance(sock, ssl.SSLSocket):
            sock.do_handshake()

    def get(self, target: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        """Send a GET request and return the response with its body still to be read."""
        self._client.request("GET", target, headers=headers)
        self._response = self._client.getresponse()
        return self._response

    def _connect(self, deadline: float) -> socket.socket:
        last: OSError = OSError("no address")
        for address in self._addresses:
            seconds = min(self._connect_seconds, deadline - time.monotonic())
            if seconds <= 0:
                raise TimeoutError  # a name may have hundreds of addresses where nobody answers
            try:
                return socket.create_connection((address, self._client.port), timeout=seconds)
            except OSError as error:
                last = error
        raise last

    def _cut_off(self, sock: socket.socket) -> None:
        """End the connection under the reader: its next read fails or ends early."""
        self._cut.set()
        try:
            # The plain socket's method: SSLSocket.shutdown would make further reads bypass the encryption.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
        except OSError:
            return  # closed already
