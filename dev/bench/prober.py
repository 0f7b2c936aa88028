"""What the gate's sidecar costs: `python -m dev.bench.prober --model DIR --golden FILE [--seconds 60]`.

Starts the drop-in model server and the prober as two processes, as a pod does, and prints the prober's resident memory, its
share of a CPU at rest, the CPU time of one evaluation of the golden set (prober and server), and the seconds from the server's
open port to ready.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from dev.bench.operator_process import cpu_seconds, memory_mib
from dev.cluster.controlplane import free_ports
from dev.repository import ROOT
from slipway.api import parse_gate

_WAIT_SECONDS = 120
_INTERVAL = {"interval": "10s"}
_NAME = "model"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its numbers."""
    parser = argparse.ArgumentParser(prog="python -m dev.bench.prober", description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, type=Path, metavar="DIR", help="folder of numbered SavedModels")
    parser.add_argument("--golden", required=True, type=Path, metavar="FILE", help="golden set, npz or JSON lines")
    parser.add_argument("--gate", metavar="JSON", help="spec.rollout.gate without golden; default: bounds that always hold",
                        default='{"output":"probabilities","metrics":{"accuracy":">=0.01","p99LatencyMillis":"<=10000"}}')  # fmt: skip
    parser.add_argument("--seconds", type=float, default=60, help="how long to measure at rest")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        _measure(options, Path(folder))
    return 0


def _measure(options: argparse.Namespace, folder: Path) -> None:
    port, rest, web = free_ports(3)
    with _server(options.model, port, rest, folder) as server:
        _until(lambda: _answers(f"http://127.0.0.1:{rest}/v1/models/{_NAME}"), "the server")
        with _prober(options, port, web, folder) as prober:
            begun = time.monotonic()
            _until(lambda: _answers(f"http://127.0.0.1:{web}/ready"), "the prober")
            print(f"process start to ready, server up      {time.monotonic() - begun:8.2f} s")
            _rest(prober, web, options.seconds)
    with _prober(options, port, web, folder) as prober, _server(options.model, port, rest, folder) as server:
        _until(lambda: _answers(f"http://127.0.0.1:{rest}/v1/models/{_NAME}"), "the server")
        begun = time.monotonic()
        _until(lambda: _answers(f"http://127.0.0.1:{web}/ready"), "the prober")
        print(f"server open to ready, prober waiting   {time.monotonic() - begun:8.2f} s")
    with _server(options.model, port, rest, folder) as server, _prober(options, port, web, folder, _INTERVAL) as prober:
        _until(lambda: _answers(f"http://127.0.0.1:{web}/ready"), "the prober")
        _evaluations(prober, server, web)


def _rest(prober: int, web: int, seconds: float) -> None:
    """Measure between evaluations: heartbeats, and a readiness probe each second as in a pod."""
    before, begun = cpu_seconds(prober), time.monotonic()
    while time.monotonic() - begun < seconds:
        _answers(f"http://127.0.0.1:{web}/ready")
        time.sleep(1)
    share = (cpu_seconds(prober) - before) / (time.monotonic() - begun)
    print(f"at rest, of one CPU                    {share:8.2%}")
    print(f"resident memory                        {memory_mib(prober, 'VmRSS'):8.1f} MiB")
    print(f"resident memory at most                {memory_mib(prober, 'VmHWM'):8.1f} MiB")


def _evaluations(prober: int, server: int, web: int, count: int = 3) -> None:
    """Measure the CPU time of whole evaluations; what else runs is small, and measured above."""
    done = _passed(web)
    _until(lambda: _passed(web) > done, "the first evaluation")
    done, prober_before, server_before = _passed(web), cpu_seconds(prober), cpu_seconds(server)
    _until(lambda: _passed(web) >= done + count, "more evaluations")
    print(f"CPU time of an evaluation, prober      {(cpu_seconds(prober) - prober_before) / count * 1000:8.0f} ms")
    print(f"CPU time of an evaluation, server      {(cpu_seconds(server) - server_before) / count * 1000:8.0f} ms")


def _passed(web: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{web}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if 'result="passed"' in line)


@contextlib.contextmanager
def _process(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[int]:
    with log.open("ab") as output:
        process = subprocess.Popen([sys.executable, *command], env=dict(environment), stdout=output, stderr=output)
    try:
        yield process.pid
        if process.poll() is not None:
            raise RuntimeError(f"it ended with {process.returncode}:\n{log.read_text()[-2000:]}")
    finally:
        process.kill()
        process.wait()


def _server(model: Path, port: int, rest: int, folder: Path) -> contextlib.AbstractContextManager[int]:
    path = str(ROOT / "images" / "model-server")
    command = ["-m", "model_server", f"--port={port}", f"--rest_api_port={rest}", f"--model_name={_NAME}",
               f"--model_base_path={model.resolve()}"]  # fmt: skip
    return _process(command, {"PATH": os.environ["PATH"], "PYTHONPATH": path}, folder / "server.log")


def _prober(
    options: argparse.Namespace, port: int, web: int, folder: Path, further: Mapping[str, str] | None = None
) -> contextlib.AbstractContextManager[int]:
    stubs = folder / "stubs"
    if not stubs.exists():
        subprocess.run(
            [sys.executable, ROOT / "images" / "tools" / "stubs.py", "--site-packages",
             sysconfig.get_path("purelib"), "--output", stubs], check=True, capture_output=True,
        )  # fmt: skip
    written = {"golden": {"path": "golden"}} | json.loads(options.gate) | (further or {})
    gate = parse_gate(json.dumps(written))
    command = ["-m", "slipway_tools", "prober", f"--server=127.0.0.1:{port}", f"--model={_NAME}", f"--port={web}",
               f"--golden={options.golden}", f"--gate={json.dumps(gate)}",
               f"--termination-log={folder / 'verdict'}"]  # fmt: skip
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'images' / 'tools'}:{stubs}"}
    return _process(command, environment, folder / "prober.log")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} was not ready after {_WAIT_SECONDS} s")
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
