"""The prober's HTTP server: /ready for the kubelet's readiness probe, /healthz for its liveness probe, /metrics.

Probes arrive every second for as long as the pod lives. This is the part of HTTP that they need, at a tenth of the time and
memory of the standard library's server.

Anyone who reaches the pod reaches this port. The number of connections is limited; one more takes the place of the oldest.
The kubelet sends its request at once and has the answer in a millisecond, so the oldest connection is never a probe.
"""

import contextlib
import json
import re
import socket
import socketserver
import threading
import time
from typing import Any

from slipway_tools.prober.prober_status import ProberStatus

_MAX_CONNECTIONS = 32
_HEAD_SECONDS = 2.0
_WRITE_SECONDS = 5.0
_MAX_HEAD_BYTES = 16 << 10
_HEAD_END = re.compile(rb"\n\r?\n")
_TEXT = "text/plain; charset=utf-8"
_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


def page(status: ProberStatus, method: str, path: str) -> tuple[int, str, str]:
    """Return status code, content type and text of a page."""
    if method != "GET":
        return 405, _TEXT, "only GET is allowed\n"
    if path == "/ready":
        ready = status.ready
        return 200 if ready else 503, "application/json", json.dumps({"ready": ready, "reason": status.reason}) + "\n"
    if path == "/healthz":
        return (200, _TEXT, "ok\n") if status.alive else (503, _TEXT, "the loop is stuck\n")
    if path == "/metrics":
        return 200, _EXPOSITION, status.exposition()
    return 404, _TEXT, "pages: /ready /healthz /metrics\n"


class _Server(socketserver.ThreadingTCPServer):
    """Listens on every address of the pod, IPv4 and IPv6; one thread for each of a limited number of connections."""

    daemon_threads = True
    allow_reuse_address = True
    # A SYN without a place here is sent again a second later, about as late as a probe waits.
    request_queue_size = 256
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def __init__(self, status: ProberStatus, port: int) -> None:
        self.status = status
        self._free = threading.Semaphore(_MAX_CONNECTIONS)
        self._open: dict[Any, None] = {}  # the oldest first
        self._lock = threading.Lock()
        super().__init__(("::" if self.address_family == socket.AF_INET6 else "0.0.0.0", port), _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            with self._lock, contextlib.suppress(OSError):
                if self._open:
                    next(iter(self._open)).shutdown(socket.SHUT_RDWR)  # wakes its thread, which closes it
            self._free.acquire()
        with self._lock:
            self._open[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            del self._open[request]
        super().shutdown_request(request)
        self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Log nothing: clients may hang up or be slow."""


class _Handler(socketserver.BaseRequestHandler):
    """Answers one request of HTTP/1 and closes."""

    server: _Server

    def handle(self) -> None:
        head = self._head()
        if not head:
            return
        method, _, target = head.partition(b"\n")[0].decode("latin-1").partition(" ")
        code, kind, text = page(self.server.status, method, target.partition(" ")[0].partition("?")[0])
        body = text.encode(errors="replace")
        answer = f"HTTP/1.1 {code} {_REASONS[code]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        self.request.settimeout(_WRITE_SECONDS)
        self.request.sendall(f"{answer}Connection: close\r\n\r\n".encode() + body)

    def _head(self) -> bytes:
        """Read up to the empty line, within one deadline for the whole head.

        Raises:
            OSError: when it takes longer.
        """
        deadline, head = time.monotonic() + _HEAD_SECONDS, b""
        while not _HEAD_END.search(head) and len(head) < _MAX_HEAD_BYTES:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.request.settimeout(left)
            piece = self.request.recv(_MAX_HEAD_BYTES)
            if not piece:
                break
            head += piece
        return head


def serve(status: ProberStatus, port: int) -> int:
    """Serve the pages from threads of their own, and return the port (another one when `port` is 0).

    Raises:
        OSError: when the port is taken.
    """
    server = _Server(status, port)
    threading.Thread(target=server.serve_forever, name="web", daemon=True).start()
    return int(server.server_address[1])
