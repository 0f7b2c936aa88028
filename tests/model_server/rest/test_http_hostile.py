"""The REST port against clients that mean harm: smuggled requests, oversized heads, slow senders, too many connections."""

import contextlib
import gzip
import resource
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from model_server.metrics import Metrics
from model_server.rest.connections import Connections, Limits
from model_server.rest.server import RestServer
from tests.model_server.harness import Server, array_of, serving

BODY = b'{"instances": [2.0]}'
START = b"POST /v1/models/half:predict HTTP/1.1\r\nHost: x\r\n"
HIDDEN = b"GET /v1/models/hidden HTTP/1.1\r\nHost: x\r\n\r\n"
PATIENCE = 60


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def received(connection: socket.socket) -> bytes:
    """All until the server closes; TimeoutError if it does not."""
    parts = []
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def answer_to(port: int, request: bytes) -> bytes:
    with connected(port) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
        return received(connection)


LENGTH = b"Content-Length: %d\r\n" % len(HIDDEN)
SMUGGLED = {
    "a space before the colon": START + LENGTH.replace(b":", b" :") + b"\r\n" + HIDDEN,
    "a line that is no header": START + b"no header\r\n" + LENGTH + b"\r\n" + HIDDEN,
    "a lone CR in a value": START + b"X: y\r" + LENGTH + b"\r\n" + HIDDEN,
    "a NUL in a value": START + b"X: y\0\r\n" + LENGTH + b"\r\n" + HIDDEN,
    "a folded line": START + b"X: y\r\n " + LENGTH + b"\r\n" + HIDDEN,
    "a first line that begins with a space": START.replace(b"Host", b" Host") + LENGTH + b"\r\n" + HIDDEN,
    "an empty Transfer-Encoding before another": (
        START + b"Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n" + LENGTH + b"\r\n0\r\n\r\n" + HIDDEN
    ),
    "two Transfer-Encodings": (
        START + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + HIDDEN
    ),
    "a Transfer-Encoding behind a control character": START
    + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"
    + HIDDEN,
    "chunks in HTTP/1.0": (
        START.replace(b"1.1", b"1.0")
        + b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        + HIDDEN
    ),
    "a CR within the line of a chunk": START + b"Transfer-Encoding: chunked\r\n\r\n0;\rx\r\n\r\n" + HIDDEN,
}


@pytest.mark.parametrize("request_bytes", SMUGGLED.values(), ids=SMUGGLED)
def test_what_two_parsers_may_read_differently_is_refused(server: Server, request_bytes: bytes) -> None:
    """One answer, 400, and the connection is closed: what follows is not looked at."""
    answer = answer_to(server.rest_port, request_bytes)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"hidden" not in answer


def test_a_head_is_limited_as_a_whole(server: Server) -> None:
    lines = b"".join(b"X-%d: " % number + b"a" * 60_000 + b"\r\n" for number in range(4))
    assert answer_to(server.rest_port, START + lines + b"\r\n").startswith(b"HTTP/1.1 431 ")
    few = b"".join(b"X-%d: " % number + b"a" * 20_000 + b"\r\n" for number in range(4))
    closing = b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    assert answer_to(server.rest_port, START + few + closing + BODY).startswith(b"HTTP/1.1 200 ")


def test_trailers_are_limited(server: Server) -> None:
    chunks = b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n"
    assert answer_to(server.rest_port, START + chunks + b"x: y\r\n" * 3 + b"\r\n").startswith(b"HTTP/1.1 200 ")
    assert answer_to(server.rest_port, START + chunks + b"x: y\r\n" * 5000).startswith(b"HTTP/1.1 400 ")


def test_a_gzip_bomb_is_refused(server: Server) -> None:
    bomb = gzip.compress(b" " * (257 * 2**20), 1)
    answer = server.http("POST", "/v1/models/half:predict", bomb, {"Content-Encoding": "gzip"})
    assert (answer.status, answer.body) == (400, b"the body is too large after decompression\n")


def test_names_are_not_paths(server: Server) -> None:
    for path in ("/v1/models/..%2f..%2fetc%2fpasswd", "/v1/models/%2fetc", "/v1/models/half%00"):
        assert server.http("GET", path).status == 404
    for path in ("/v1/models/../../etc/passwd", "/v1/models/half/versions/../1"):
        assert server.http("GET", path).status == 400
    assert server.http("GET", "/monitoring/../etc/passwd").status == 404


def test_long_names_make_no_series(server: Server) -> None:
    name = "n" * 50_000
    assert server.http("GET", f"/v1/models/{name}").status == 404
    assert name not in server.metrics()
    assert 'model_name="<other>",status="NOT_FOUND"' in server.metrics()


@pytest.fixture
def rest() -> Iterator[Callable[[Limits], int]]:
    """Starts HTTP servers of this process that have a metrics page only; gives their ports."""
    servers: list[RestServer] = []

    def start(limits: Limits) -> int:
        server = RestServer(0, cast("Any", None), Metrics(), "/metrics", 4, limits)
        servers.append(server)
        server.start()
        return int(server.server_address[1])

    yield start
    for server in servers:
        assert server.stop(time.monotonic() + PATIENCE)


def trickle(connection: socket.socket, piece: bytes, seconds: float) -> float:
    """Send `piece` every `seconds` until the server closes; how long that took."""
    started = time.monotonic()
    connection.settimeout(seconds)
    while time.monotonic() - started < PATIENCE:
        try:
            connection.sendall(piece)
            if not connection.recv(65536):
                break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    return time.monotonic() - started


PAGE = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"GET /met", b"r"),
        (PAGE, b"X: y\r\n"),
        (PAGE + b"Content-Length: 100000\r\n\r\n", b"x"),
        (PAGE + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["the first line", "headers", "a body", "chunks"],
)
def test_a_slow_sender_is_cut_off(rest: Callable[[Limits], int], start: bytes, piece: bytes) -> None:
    """However often another byte comes."""
    with connected(rest(Limits(idle_seconds=1))) as connection:
        connection.sendall(start)
        assert trickle(connection, piece, 0.1) < PATIENCE / 2


def test_a_large_body_that_gets_on_may_take_its_time(rest: Callable[[Limits], int]) -> None:
    piece = b"x" * (512 * 2**10)
    with connected(rest(Limits(idle_seconds=5))) as connection:
        connection.sendall(PAGE + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % (5 * len(piece)))
        for _ in range(5):
            connection.sendall(piece)
            time.sleep(1.5)  # the time that the body takes is what is tested
        assert received(connection).startswith(b"HTTP/1.1 200 ")


def test_a_connection_that_waits_makes_room(rest: Callable[[Limits], int]) -> None:
    """One of the two that wait for another request is closed; the other one can go on."""
    port = rest(Limits(connections=2))
    with connected(port) as first, connected(port) as second:
        for connection in (first, second):
            connection.sendall(PAGE + b"\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        answer = b""
        while not answer:  # refused until the server has seen the end of one of the answers
            answer = answer_to(port, PAGE + b"Connection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
        (closed,), _, _ = select.select([first, second], [], [], PATIENCE)
        assert received(closed) == b""
        other = second if closed is first else first
        other.sendall(PAGE + b"Connection: close\r\n\r\n")
        assert received(other).startswith(b"HTTP/1.1 200 ")


def test_a_connection_with_a_request_makes_no_room() -> None:
    """Nor does an overdue one hide: it is closed by the next sweep."""
    now = [0.0]
    connections = Connections(Limits(connections=1, idle_seconds=10), clock=lambda: now[0])
    busy, peer = socket.socketpair()
    late, other = socket.socketpair()
    with busy, peer, late, other:
        assert connections.admit(busy)
        connections.begin(busy)
        assert not connections.admit(late)
        connections.answering(busy)
        now[0] = 1000.0
        connections.sweep()  # an answer may take as long as it takes
        connections.end(busy)
        busy.sendall(b"open")
        assert peer.recv(10) == b"open"
        assert connections.admit(late)
        assert peer.recv(10) == b""
        now[0] = 1009.0
        connections.sweep()
        late.sendall(b"open")
        assert other.recv(10) == b"open"
        now[0] = 1011.0
        connections.sweep()
        assert other.recv(10) == b""


def test_thousands_of_idle_connections_keep_nobody_out(models: Path, tmp_path: Path) -> None:
    """1500 connections on each port, where the shell allows 1024 files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 5000:
        pytest.skip("needs 5000 file descriptors")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        started = Server(tmp_path / "log", f"--model_base_path={models / 'half'}", "--model_name=half")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 5000), hard))
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        stack.callback(started.stop)
        server = started.wait_ready()
        for _ in range(1500):
            stack.enter_context(connected(server.rest_port))
            stack.enter_context(connected(server.port))
        assert server.post("/v1/models/half:predict", {"instances": [2.0]}).json == {"predictions": [3.0]}
        assert array_of(server.predict("half", {"x": [2.0]}).outputs["y"]).tolist() == [3.0]


def test_without_file_descriptors_it_waits_and_recovers(models: Path, tmp_path: Path) -> None:
    """No spinning while no connection can be accepted, and service as before afterwards."""
    flags = [f"--model_base_path={models / 'half'}", "--model_name=half"]
    with serving(tmp_path / "log", *flags) as server:
        server.post("/v1/models/half:predict", {"instances": [2.0]})
        files = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
        limits = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (files + 10, limits[1]))
        with contextlib.ExitStack() as stack:
            for _ in range(40):
                stack.enter_context(connected(server.rest_port))
            while "no connection can be accepted" not in server.output():
                threading.Event().wait(0.05)
            before = cpu_seconds(server.process.pid)
            threading.Event().wait(1)
            assert cpu_seconds(server.process.pid) - before < 0.5
        assert server.post("/v1/models/half:predict", {"instances": [2.0]}).json == {"predictions": [3.0]}


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
