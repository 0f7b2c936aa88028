"""The benchmark of the model server: its bars, its table, its load generator, and a short soak."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.bench.model_server import native
from dev.bench.model_server.native import Load
from dev.bench.model_server.results import Bar, Process, Report, Row, bars, table
from dev.bench.model_server.soak import Outcome, slope, soak
from dev.bench.model_server.subjects import InProcess

# The first test that needs the generator compiles it: a minute of CPU where nothing is cached, several on a busy machine.
pytestmark = pytest.mark.timeout(600)


def load(rate: float, **failed: int) -> Load:
    return Load(int(rate * 2), dict(failed), 2.0, 1.0, 2.0, 3.0, 0.1, 0.5, 100)


def report(
    server: float = 3000, flask: float = 10, joined: float = 5000, batch: float = 1500, cpu: float = 300
) -> Report:
    rows = [
        Row("digits", "server", "grpc", 1, 32, load(server)),
        Row("digits", "server", "grpc", 32, 32, load(batch)),
        Row("digits", "server", "rest", 1, 32, load(600)),
        Row("digits", "server batching", "grpc", 1, 32, load(joined)),
        Row("digits", "flask", "rest", 1, 32, load(flask)),
    ]
    processes = [Process("digits", "server", 2.0, 400, 0.2), Process("digits", "flask", 9.0, 600)]
    limit = InProcess(
        {1: 4000.0, 32: 2000.0},
        {1: cpu, 32: 900.0},
        {1: "session x 2", 32: "session x 1"},
        {1: 2000.0, 32: 2000.0},
        8.0,
        590.0,
    )
    return Report(rows, processes, {"digits": limit})


def missed(found: Report) -> list[str]:
    return [bar.name for bar in bars(found) if not bar.kept]


def test_all_bars_are_kept() -> None:
    assert missed(report()) == []
    assert len(bars(report())) == 8


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"server": 1499.0}, "by Flask's"),
        ({"flask": 13.0}, "rest, batch 1"),
        ({"joined": 3999.0}, "batching"),
        ({"batch": 1299.0}, "batch 32"),
        ({"cpu": 49.0}, "CPU of a request"),
    ],
)
def test_each_speed_has_a_bar(change: dict[str, float], word: str) -> None:
    (name,) = [name for name in missed(report(**change)) if word in name][:1]
    assert name.startswith("digits: ")


def test_memory_idle_cpu_and_failures_have_bars() -> None:
    heavy = report()
    heavy.processes[0] = Process("digits", "server", 2.0, 651.0, 1.5)
    heavy.rows[0] = Row("digits", "server", "grpc", 1, 32, load(3000, Unavailable=3))
    assert [name.partition(", ")[2] or name for name in missed(heavy)] == [
        "memory beyond that of TensorFlow in process",
        "CPU when idle",
        "failed requests",
    ]


def test_bars_without_numbers_are_left_out() -> None:
    assert bars(Report()) == [Bar("failed requests", 0, 0, "", at_least=False)]


def test_the_table_shows_rows_limits_processes_and_verdicts() -> None:
    text = table(report(flask=30))
    assert "in process" in text
    assert "session x 2" in text
    assert "MISSED digits: grpc, batch 1, requests/s by Flask's: 100.00 >= 150 x" in text
    assert "kept   digits: server, CPU when idle: 0.20 <= 1 % of a core" in text


@pytest.fixture
def busy_page() -> Iterator[str]:
    """host:port of a server that answers every third POST with 503."""
    count = iter(range(10**9))
    lock = threading.Lock()

    class Page(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                status = 503 if next(count) % 3 == 0 else 200
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_the_generator_counts_answers_and_failures(busy_page: str, tmp_path: Path) -> None:
    (tmp_path / "body").write_text('{"instances": []}')
    found = native.run(busy_page, tmp_path / "body", ["-path=/predict"], clients=2, seconds=3)
    assert found.requests > 10
    assert set(found.failed) == {"HTTP 503"}
    assert found.received_bytes == found.requests * len('{"instances": []}')
    assert 0 < found.p50_millis <= found.p99_millis <= found.max_millis
    assert found.cpu_seconds > 0


def test_a_server_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "body").write_text("{}")
    found = native.run("127.0.0.1:1", tmp_path / "body", ["-path=/"], clients=1, seconds=1)
    assert found.requests == 0
    assert sum(found.failed.values()) > 0


def test_the_slope_is_that_of_the_least_squares_line() -> None:
    assert slope([(0, 1.0), (1, 3.0), (2, 5.0)]) == pytest.approx(2.0)
    assert slope([(0, 1.0), (1, 3.0), (2, 2.0)]) == pytest.approx(0.5)
    assert slope([(0, 1.0)]) == 0.0


def test_a_soak_knows_what_must_not_be() -> None:
    flat = [(float(second), 400.0) for second in range(400)]
    growing = [(float(second), 400.0 + second) for second in range(400)]
    good = Outcome({"grpc": 5, "rest": 5}, {}, 3, flat)
    assert good.problems == []
    bad = Outcome({"grpc": 5, "rest": 0}, {"grpc: Unavailable": 2}, 0, growing)
    assert len(bad.problems) == 4
    short = Outcome({"grpc": 5, "rest": 5}, {}, 3, growing[:20])
    assert short.problems == []  # a slope needs minutes


@pytest.mark.slow
def test_versions_switch_under_load_without_a_failed_request(tmp_path: Path) -> None:
    outcome = soak(tmp_path, seconds=20, every=4, clients=2)
    assert outcome.problems == []
    assert outcome.switches >= 2
    assert min(outcome.requests.values()) > 100
