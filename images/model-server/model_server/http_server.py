"""The HTTP port: connections, bodies, gzip, the Prometheus page; everything under /v1/ goes to `rest_api`.

One thread per connection (keep-alive), bounded; requests being processed at the same time are bounded too. Draining closes
idle connections, lets requests finish and tells their clients to go.
"""

import contextlib
import logging
import socket
import socketserver
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, cast

from model_server.metrics import Metrics
from model_server.rest_api import Reply, RestApi

#: Largest body after decompression; a gzip bomb stops here.
MAX_UNCOMPRESSED_BYTES = 256 * 2**20
MAX_BODY_BYTES = 2**31 - 1
MAX_CONNECTIONS = 1024
#: Seconds that a connection may be silent, between requests or within one.
IDLE_SECONDS = 75
_MAX_CHUNK_LINE = 1024
_MAX_CHUNK_DIGITS = 8
_MAX_LENGTH_DIGITS = 12
_NOT_FOUND_PAGE = b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
_log = logging.getLogger(__name__)


class BadRequestError(Exception):
    """A request that is not proper HTTP; the connection ends after the answer."""


class RestServer(socketserver.ThreadingMixIn, HTTPServer):
    """An HTTP server that is bound at construction and accepts after `start`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int, api: RestApi, metrics: Metrics, metrics_path: str | None, workers: int) -> None:
        """Bind `port` on all addresses, IPv6 and IPv4; OSError if that fails."""
        self.api, self.metrics, self.metrics_path = api, metrics, metrics_path
        self.workers = threading.BoundedSemaphore(workers)
        self.draining = False
        self._connections: dict[socket.socket, bool] = {}  # True while a request is being answered
        self._changed = threading.Condition()
        self._accepting = False
        try:
            self.address_family = socket.AF_INET6
            super().__init__(("::", port), _Handler)
        except OSError:
            self.address_family = socket.AF_INET
            super().__init__(("0.0.0.0", port), _Handler)

    def server_bind(self) -> None:
        """Bind without asking DNS for the host's name, as HTTPServer would."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        socketserver.TCPServer.server_bind(self)

    def start(self) -> None:
        """Accept connections on a thread of its own."""
        self._accepting = True
        threading.Thread(target=self.serve_forever, name="http-accept", daemon=True).start()

    def drain(self, deadline: float) -> bool:
        """Refuse new connections, wait until `deadline` (monotonic) for running requests; True if all finished."""
        self.draining = True
        if self._accepting:
            self.shutdown()
        self.server_close()
        with self._changed:
            for connection, busy in self._connections.items():
                if not busy:
                    _shut(connection)
            while any(self._connections.values()):
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return False
                self._changed.wait(remaining)
        return True

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - socketserver's
        """Refuse a connection when there are too many."""
        with self._changed:
            if len(self._connections) >= MAX_CONNECTIONS:
                return False
            self._connections[request] = False
        return True

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that ends."""
        with self._changed:
            self._connections.pop(request, None)
            self._changed.notify_all()
        super().shutdown_request(request)

    def busy(self, connection: socket.socket, *, state: bool) -> None:
        """Note that a connection starts or ends a request."""
        with self._changed:
            if connection in self._connections:
                self._connections[connection] = state
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's
        """A broken connection is the client's business."""
        _log.debug("connection from %s failed", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    wbufsize = -1

    def answer(self) -> None:
        """Read the request whole, answer it, keep the connection unless something is wrong with it."""
        server = cast("RestServer", self.server)
        server.busy(self.connection, state=True)
        try:
            try:
                body = self._body()
            except BadRequestError as error:
                self.close_connection = True
                reply = Reply(400, (("Content-Type", "text/plain"),), f"{error}\n".encode())
            else:
                with server.workers:
                    reply = self._reply(server, body)
            self._send(reply, server)
            self.wfile.flush()
        finally:
            server.busy(self.connection, state=False)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = answer  # noqa: N815 - http.server's names

    def handle_expect_100(self) -> bool:
        """Tell the client to send its body, at once and not with the answer."""
        accepted = super().handle_expect_100()
        self.wfile.flush()
        return accepted

    def _reply(self, server: RestServer, body: bytes) -> Reply:
        path = self._path()
        try:
            if server.metrics_path is not None and path == server.metrics_path:
                return Reply(200, (("Content-Type", "text/plain"),), server.metrics.text().encode())
            if path[:4].lower() == "/v1/":
                return server.api.handle(self.command, path, body, self.headers.get("Origin", ""))
        except Exception:  # noqa: BLE001 - logged, and hidden from the client
            _log.exception("a request failed unexpectedly")
            return Reply(500, (("Content-Type", "application/json"),), b'{\n    "error": "Internal error"\n}')
        return Reply(404, (("Content-Type", "text/html"),), _NOT_FOUND_PAGE)

    def _path(self) -> str:
        target = self.path
        if target.lower().startswith(("http://", "https://")):
            _, _, rest = target.partition("://")
            slash = rest.find("/")
            target = rest[slash:] if slash >= 0 else "/"
        return target.partition("?")[0].partition("#")[0]

    def _send(self, reply: Reply, server: RestServer) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        if self.close_connection or server.draining:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def _body(self) -> bytes:
        lengths, encoding = self.headers.get_all("Content-Length", []), self.headers.get("Transfer-Encoding", "")
        if encoding:
            if lengths or encoding.strip().lower() != "chunked":
                raise BadRequestError("unsupported Transfer-Encoding")
            body = self._chunked()
        elif lengths:
            body = self._exactly(_length(lengths))
        else:
            body = b""
        kind = self.headers.get("Content-Encoding", "").strip().lower()
        if kind in ("", "identity") or not body:
            return body
        if kind != "gzip":
            raise BadRequestError(f"unsupported Content-Encoding: {kind}")
        return _gunzip(body)

    def _exactly(self, size: int) -> bytes:
        body = self.rfile.read(size)
        if len(body) < size:
            raise BadRequestError("the body ended early")
        return body

    def _chunked(self) -> bytes:
        parts: list[bytes] = []
        total = 0
        while True:
            line = self.rfile.readline(_MAX_CHUNK_LINE)
            text = line.partition(b";")[0].strip()
            if (
                not line.endswith(b"\n")
                or not text
                or text.strip(b"0123456789abcdefABCDEF")
                or len(text) > _MAX_CHUNK_DIGITS
            ):
                raise BadRequestError("malformed chunk")
            size = int(text, 16)
            total += size
            if total > MAX_BODY_BYTES:
                raise BadRequestError("the body is too large")
            if size == 0:
                break
            parts.append(self._exactly(size))
            if self.rfile.readline(_MAX_CHUNK_LINE).strip():
                raise BadRequestError("malformed chunk")
        while self.rfile.readline(_MAX_CHUNK_LINE).strip():  # trailers
            pass
        return b"".join(parts)

    def version_string(self) -> str:
        """The Server header says what it is, not which Python runs it."""
        return "tensorflow_model_server"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Requests are not logged, as in the C++ server."""


def _length(values: list[str]) -> int:
    text = values[0].strip()
    if len(set(values)) > 1 or not (text.isascii() and text.isdigit()) or len(text) > _MAX_LENGTH_DIGITS:
        raise BadRequestError("malformed Content-Length")
    if int(text) > MAX_BODY_BYTES:
        raise BadRequestError("the body is too large")
    return int(text)


def _gunzip(body: bytes) -> bytes:
    decoder = zlib.decompressobj(31)
    try:
        plain = decoder.decompress(body, MAX_UNCOMPRESSED_BYTES)
    except zlib.error as error:
        raise BadRequestError("the body is not gzip") from error
    if decoder.unconsumed_tail:
        raise BadRequestError("the body is too large after decompression")
    if not decoder.eof:
        raise BadRequestError("the gzip body ended early")
    return plain


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
