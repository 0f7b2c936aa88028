"""The pilot's three pages: /ready for the kubelet's readiness probe, /healthz for its liveness probe, /metrics."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from slipway_tools.pilot.state import State

_READ_SECONDS = 5


class _Server(ThreadingHTTPServer):
    """Listens on every address of the pod, IPv4 and IPv6."""

    daemon_threads = True
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Not HTTPServer's own: it looks the host's name up, which may take seconds.
        socket.socket.bind(self.socket, self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "pilot", self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a prober that hangs up is no event."""


class _Pages(BaseHTTPRequestHandler):
    state: ClassVar[State]
    timeout = _READ_SECONDS
    protocol_version = "HTTP/1.0"
    server_version = "slipway-pilot"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        state = self.state
        if path == "/ready":
            ready = state.ready
            self._answer(200 if ready else 503, json.dumps({"ready": ready, "why": state.why}), "application/json")
        elif path == "/healthz":
            self._answer(200 if state.alive else 503, "ok\n" if state.alive else "the loop does not move\n")
        elif path == "/metrics":
            self._answer(200, state.exposition(), "text/plain; version=0.0.4; charset=utf-8")
        else:
            self._answer(404, "there is: /ready /healthz /metrics\n")

    def _answer(self, code: int, text: str, kind: str = "text/plain; charset=utf-8") -> None:
        body = text.encode(errors="replace")
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Log nothing: probes come every second."""


def serve(state: State, port: int) -> int:
    """Serve the pages from threads of their own, and return the port (another one when `port` is 0).

    Raises:
        OSError: when the port is taken.
    """
    handler = type("Pages", (_Pages,), {"state": state})
    server = _Server(("::" if _Server.address_family == socket.AF_INET6 else "0.0.0.0", port), handler)
    threading.Thread(target=server.serve_forever, name="web", daemon=True).start()
    return int(server.server_port)
