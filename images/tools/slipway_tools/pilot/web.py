"""The pilot's three pages: /ready for the kubelet's readiness probe, /healthz for its liveness probe, /metrics.

Probes come every second for as long as the pod lives: what is here is the part of HTTP that they need, at a tenth of the
time and memory of the standard library's server.
"""

import json
import socket
import socketserver
import threading

from slipway_tools.pilot.state import State

_READ_SECONDS = 5
_MAX_LINE_BYTES = 8 << 10
_MAX_HEADERS = 100
_TEXT = "text/plain; charset=utf-8"
_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


def page(state: State, method: str, path: str) -> tuple[int, str, str]:
    """Return status, content type and text of a page."""
    if method != "GET":
        return 405, _TEXT, "there is only GET\n"
    if path == "/ready":
        ready = state.ready
        return 200 if ready else 503, "application/json", json.dumps({"ready": ready, "why": state.why}) + "\n"
    if path == "/healthz":
        return (200, _TEXT, "ok\n") if state.alive else (503, _TEXT, "the loop does not move\n")
    if path == "/metrics":
        return 200, _EXPOSITION, state.exposition()
    return 404, _TEXT, "there is: /ready /healthz /metrics\n"


class _Server(socketserver.ThreadingTCPServer):
    """Listens on every address of the pod, IPv4 and IPv6; a thread for each connection."""

    daemon_threads = True
    allow_reuse_address = True
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def __init__(self, state: State, port: int) -> None:
        self.state = state
        super().__init__(("::" if self.address_family == socket.AF_INET6 else "0.0.0.0", port), _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a prober that hangs up, or takes its time, is no event."""


class _Handler(socketserver.StreamRequestHandler):
    """Answers one request of HTTP/1 and closes."""

    timeout = _READ_SECONDS
    server: _Server

    def handle(self) -> None:
        method, _, target = self.rfile.readline(_MAX_LINE_BYTES).decode("latin-1").partition(" ")
        for _ in range(_MAX_HEADERS):
            if self.rfile.readline(_MAX_LINE_BYTES) in {b"\r\n", b"\n", b""}:
                break
        status, kind, text = page(self.server.state, method, target.partition(" ")[0].partition("?")[0])
        body = text.encode(errors="replace")
        head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        self.wfile.write(f"{head}Connection: close\r\n\r\n".encode() + body)


def serve(state: State, port: int) -> int:
    """Serve the pages from threads of their own, and return the port (another one when `port` is 0).

    Raises:
        OSError: when the port is taken.
    """
    server = _Server(state, port)
    threading.Thread(target=server.serve_forever, name="web", daemon=True).start()
    return int(server.server_address[1])
