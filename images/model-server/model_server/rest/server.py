"""The HTTP port: connections, bodies, gzip, the Prometheus page; everything under /v1/ goes to `rest/api.py`.

One thread per connection (keep-alive), bounded; requests being processed at the same time are bounded too. Stopping closes
idle connections, lets requests finish and tells their clients to go.
"""

import errno
import logging
import socket
import socketserver
import threading
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, cast

from model_server.metrics import Metrics
from model_server.rest import http_parsing, request_line
from model_server.rest.api import Reply, RestApi
from model_server.rest.connections import Connections, Limits
from model_server.rest.http_parsing import BadRequestError, Head
from model_server.rest.request_line import LineError, Target

#: What accepting waits when the process has no file descriptor left.
_NO_FILES_SECONDS = 0.1
_log = logging.getLogger(__name__)


class RestServer(socketserver.ThreadingMixIn, HTTPServer):
    """An HTTP server that is bound at construction and accepts after `start`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        port: int,
        api: RestApi,
        metrics: Metrics,
        metrics_path: str | None,
        workers: int,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        """Bind `port` on all addresses, IPv6 and IPv4; OSError if that fails."""
        self.api, self.metrics, self.metrics_path = api, metrics, metrics_path
        self.workers = threading.BoundedSemaphore(workers)
        self.limits, self.connections = limits, Connections(limits)
        self.stopping = False
        self._stopped = threading.Event()
        self._accepting = False
        try:
            self.address_family = socket.AF_INET6
            super().__init__(("::", port), _Handler)
        except OSError:
            self.address_family = socket.AF_INET
            super().__init__(("0.0.0.0", port), _Handler)

    def server_bind(self) -> None:
        """Bind without a DNS look-up of the host's name, as HTTPServer would."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        socketserver.TCPServer.server_bind(self)

    def start(self) -> None:
        """Accept connections on a thread of its own."""
        self._accepting = True
        threading.Thread(target=self.serve_forever, name="http-accept", daemon=True).start()
        sweep = self.connections.sweep_forever
        threading.Thread(target=sweep, args=(self._stopped,), name="http-sweep", daemon=True).start()

    def stop(self, deadline: float) -> bool:
        """Refuse new connections, wait until `deadline` (monotonic) for running requests; True if all finished."""
        self.stopping = True
        if self._accepting:
            self.shutdown()
        self._stopped.set()
        self.server_close()
        return self.connections.finish(deadline)

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection. Where that fails for want of file descriptors it would fail again at once."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                _log.warning("no connection can be accepted: %s", error.strerror)
                time.sleep(_NO_FILES_SECONDS)
            raise

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - socketserver's
        """Refuse a connection when there are too many."""
        return self.connections.admit(request)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that ends."""
        self.connections.forget(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's
        """A broken connection is the client's business."""
        _log.debug("connection from %s failed", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    raw_requestline: bytes
    _target: Target
    disable_nagle_algorithm = True
    wbufsize = -1

    def setup(self) -> None:
        """Take the time limit from the server."""
        super().setup()
        self.connection.settimeout(cast("RestServer", self.server).limits.idle_seconds)

    def parse_request(self) -> bool:
        """Parse the head, and look at its lines as they came. False where it was refused."""
        try:
            self._target = request_line.target(self.raw_requestline.decode("iso-8859-1"))
        except LineError as error:
            self.requestline = self.command = ""
            self.send_error(error.status)
            return False
        source = self.rfile
        head = Head(source)
        self.rfile = cast("Any", head)
        try:
            parsed = super().parse_request()
        finally:
            self.rfile = source
        self._proper = head.proper
        return parsed

    def answer(self) -> None:
        """Read the request whole, answer it, keep the connection unless something is wrong with it."""
        server = cast("RestServer", self.server)
        server.connections.begin(self.connection)
        try:
            try:
                if self.headers.get("Expect", "100-continue").lower() != "100-continue":
                    self.send_error(HTTPStatus.EXPECTATION_FAILED)
                    return
                body = self._body(server)
                with server.workers:
                    reply = self._reply(server, http_parsing.decoded(body, self.headers))
            except BadRequestError as error:
                self.close_connection = True
                reply = Reply(400, (("Content-Type", "text/plain"),), f"{error}\n".encode())
            self._send(reply, server)
            self.wfile.flush()
        finally:
            server.connections.end(self.connection)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = answer  # noqa: N815 - http.server's names

    def handle_expect_100(self) -> bool:
        """Tell the client to send its body, at once and not with the answer."""
        accepted = super().handle_expect_100()
        self.wfile.flush()
        return accepted

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 - http.server's
        """Refuse a request as evhttp does, and end the connection: what follows it may be part of it."""
        self.close_connection = True
        self.request_version = self.protocol_version
        status = HTTPStatus(code)
        self._send(_page(status), cast("RestServer", self.server))

    def _reply(self, server: RestServer, body: bytes) -> Reply:
        target = self._target
        try:
            if server.metrics_path is not None and target.path == server.metrics_path:
                return Reply(200, (("Content-Type", "text/plain"),), server.metrics.text().encode())
            if target.path[:4].lower() == "/v1/":
                origin = self.headers.get("Origin", "") if self.command == "OPTIONS" else ""
                return server.api.handle(self.command, target.full, body, origin)
        except Exception:  # noqa: BLE001 - logged, and hidden from the client
            _log.exception("a request failed unexpectedly")
            return Reply(500, (("Content-Type", "application/json"),), b'{\n    "error": "Internal error"\n}')
        return _page(HTTPStatus.NOT_FOUND)

    def _send(self, reply: Reply, server: RestServer) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        if self.close_connection or server.stopping:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def _body(self, server: RestServer) -> bytes:
        if not self._proper:
            raise BadRequestError("malformed header")
        connection = self.connection
        body = http_parsing.read(
            self.rfile, self.headers, self.request_version, lambda: server.connections.progress(connection)
        )
        server.connections.answering(connection)
        return body

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The Date header, made once a second."""
        return _date(int(time.time() if timestamp is None else timestamp))

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """Requests are not logged, as in the C++ server."""

    def version_string(self) -> str:
        """The Server header says what it is, not which Python runs it."""
        return "tensorflow_model_server"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Nor are refusals."""


def _page(status: HTTPStatus) -> Reply:
    return Reply(status, (("Content-Type", "text/html"),), request_line.page(status))


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
