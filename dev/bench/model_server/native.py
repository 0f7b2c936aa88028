"""The native load generator: built once from `load/` with the Go modules that its go.mod pins, and run."""

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.binaries import find_go
from dev.cluster.paths import cache_dir

SOURCE = Path(__file__).parent / "load"
PREDICT = "/tensorflow.serving.PredictionService/Predict"
_PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Load:
    """What one run of the generator saw. Seconds and bytes; times of a request in milliseconds."""

    requests: int
    failed: dict[str, int]
    seconds: float
    p50_millis: float
    p99_millis: float
    max_millis: float
    cpu_seconds: float
    server_cpu_seconds: float
    received_bytes: int

    @property
    def rate(self) -> float:
        """Return the requests answered in a second."""
        return self.requests / self.seconds

    @property
    def cpu_micros(self) -> float:
        """Return the server's CPU time for a request, in microseconds."""
        return self.server_cpu_seconds / max(self.requests, 1) * 1e6

    @property
    def client_cpu_micros(self) -> float:
        """Return the generator's own CPU time for a request, in microseconds."""
        return self.cpu_seconds / max(self.requests, 1) * 1e6


def program() -> Path:
    """Return the path of the generator, built where its source has changed since the last time."""
    files = [*sorted(SOURCE.glob("*.go")), SOURCE / "go.mod", SOURCE / "go.sum"]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    target = cache_dir() / "bin" / f"model-server-load-{digest}" / "load"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        made = Path(scratch) / "load"
        env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
        subprocess.run([find_go(), "build", "-trimpath", "-o", str(made), "."], cwd=SOURCE, env=env, check=True)
        made.replace(target)
    return target


def command(
    address: str, payload: Path, question: Sequence[str], clients: int, seconds: float, warmup: float = 0.5
) -> list[str]:
    """Return the generator's command line. `question`: `-method=…` for gRPC or `-path=…` for HTTP."""
    return [
        str(program()),
        f"-address={address}",
        f"-payload={payload}",
        f"-clients={clients}",
        f"-span={seconds}s",
        f"-warmup={warmup}s",
        *question,
    ]


def parsed(output: str) -> Load:
    """Return what the generator printed."""
    return Load(**json.loads(output))


def run(address: str, payload: Path, question: Sequence[str], clients: int, seconds: float) -> Load:
    """Run the generator to its end; RuntimeError if it fails."""
    argv = command(address, payload, question, clients, seconds)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + _PATIENCE_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"the load generator failed: {done.stderr.strip()}")
    return parsed(done.stdout)
