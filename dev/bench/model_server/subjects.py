"""The three ways to serve a model, each as a process of its own: started, timed, read in /proc, stopped."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.bench.operator_process import cpu_seconds, memory_mib
from dev.cluster.controlplane import free_ports
from dev.repository import ROOT

START_SECONDS = 300
_STOP_SECONDS = 40
BATCHING = "max_batch_size { value: 32 }\nbatch_timeout_micros { value: 0 }\nmax_enqueued_batches { value: 1000 }\n"


@dataclass(frozen=True)
class Subject:
    """A running server on loopback.

    Attributes:
        pid: its only process.
        grpc: host:port of gRPC, "" where there is none.
        rest: host:port of HTTP.
        path: where to POST JSON to.
        first_answer_seconds: from the start of the process to its first answer.
    """

    pid: int
    grpc: str
    rest: str
    path: str
    first_answer_seconds: float

    @property
    def memory_mib(self) -> float:
        """Return the resident memory."""
        return memory_mib(self.pid, "VmRSS")

    def idle_cpu_percent(self, seconds: float) -> float:
        """Return the share of one core that the server takes while it gets no requests."""
        before = cpu_seconds(self.pid)
        time.sleep(seconds)
        return (cpu_seconds(self.pid) - before) / seconds * 100


@contextlib.contextmanager
def model_server(models: Path, name: str, question: bytes, *flags: str) -> Iterator[Subject]:
    """Run this repository's server with the model `name` of `models`; `question` is the JSON of a first request."""
    port, rest = free_ports(2)
    argv = [sys.executable, "-m", "model_server", f"--port={port}", f"--rest_api_port={rest}"]
    argv += [f"--model_name={name}", f"--model_base_path={models / name}", "--file_system_poll_wait_seconds=0", *flags]
    path = f"/v1/models/{name}:predict"
    environment = {name: value for name, value in os.environ.items() if name.startswith("MODEL_SERVER_")}
    environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "images" / "model-server")}
    with _process(argv, environment) as (process, started):
        seconds = _first_answer(process, f"http://127.0.0.1:{rest}{path}", question) - started
        yield Subject(process.pid, f"127.0.0.1:{port}", f"127.0.0.1:{rest}", path, seconds)


@contextlib.contextmanager
def flask(models: Path, name: str, question: bytes) -> Iterator[Subject]:
    """Run the Flask baseline with the same network."""
    (port,) = free_ports(1)
    argv = [sys.executable, "-m", "dev.bench.model_server.flask_server", str(models / f"{name}.keras"), str(port)]
    with _process(argv, dict(os.environ)) as (process, started):
        seconds = _first_answer(process, f"http://127.0.0.1:{port}/predict", question) - started
        yield Subject(process.pid, "", f"127.0.0.1:{port}", "/predict", seconds)


@dataclass(frozen=True)
class InProcess:
    """The limit by batch size, and the process.

    Attributes:
        calls: in a second.
        cpu_micros: of a call.
        best: how they were made.
        one_caller: calls in a second of one thread.
        first_answer_seconds: from the start of the process to its first answer.
        memory_mib: of the process, after all calls.
    """

    calls: dict[int, float]
    cpu_micros: dict[int, float]
    best: dict[int, str]
    one_caller: dict[int, float]
    first_answer_seconds: float
    memory_mib: float


def in_process(models: Path, name: str, inputs: dict[int, Path], seconds: float) -> InProcess:
    """Call the model in a process of its own; `inputs`: a `.npy` file for each batch size."""
    files = [f"{batch}={file}" for batch, file in inputs.items()]
    argv = [sys.executable, "-m", "dev.bench.model_server.in_process", str(models / name / "1"), str(seconds), *files]
    started = time.monotonic()
    process = subprocess.Popen(
        argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("TensorFlow could not be called in process")
        first = time.monotonic() - started
        calls, cpu, best, alone = {}, {}, {}, {}
        for batch in inputs:
            found = json.loads(process.stdout.readline())
            calls[batch], cpu[batch] = found["calls_per_second"], found["cpu_micros"]
            best[batch], alone[batch] = found["best"], found["one_caller"]
        memory = memory_mib(process.pid, "VmRSS")
    return InProcess(calls, cpu, best, alone, first, memory)


@contextlib.contextmanager
def _process(argv: Sequence[str], environment: dict[str, str]) -> Iterator[tuple["subprocess.Popen[bytes]", float]]:
    with tempfile.TemporaryFile() as log:
        started = time.monotonic()
        process = subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield process, started
        except _EndedError as error:
            log.seek(0)
            raise RuntimeError(f"{' '.join(argv)}: {log.read().decode(errors='replace')[-2000:]}") from error
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class _EndedError(Exception):
    """A server ended, or did not answer in time."""


def _first_answer(process: "subprocess.Popen[bytes]", url: str, question: bytes) -> float:
    """Return when (monotonic seconds) the server answered for the first time."""
    deadline = time.monotonic() + START_SECONDS
    request = urllib.request.Request(url, question, {"Content-Type": "application/json"})
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(request, timeout=START_SECONDS) as response:
                response.read()
            return time.monotonic()
        except urllib.error.HTTPError as error:
            raise _EndedError from error
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.02)
    raise _EndedError
