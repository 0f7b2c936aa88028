"""Version switches under load: `python -m dev.bench.model_server.soak --minutes 10`.

Clients send requests over gRPC and REST without a pause, while every few seconds a new version is published and, once it answers, the old
one is deleted. No request may fail. Resident memory is sampled; what counts is its slope after the first quarter of
the run, by least squares, because loading the first versions fills pools that stay.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.bench.model_server import native, payloads, subjects
from dev.bench.model_server.subjects import Subject
from dev.repository import ROOT

MODEL = "digits"
MAX_MIB_A_MINUTE = 2.0
_SLOPE_MINUTES = 5.0
"""A shorter run says nothing about the slope."""
_SWITCH_SECONDS = 60.0


@dataclass(frozen=True)
class Outcome:
    """What happened: requests answered and failed by protocol, versions switched, samples of (seconds, MiB)."""

    requests: dict[str, int]
    failed: dict[str, int]
    switches: int
    samples: list[tuple[float, float]]

    @property
    def mib_a_minute(self) -> float:
        """Return the slope of the resident memory."""
        return slope(self.samples[len(self.samples) // 4 :]) * 60

    @property
    def minutes(self) -> float:
        """Return how long it took."""
        return self.samples[-1][0] / 60 if self.samples else 0.0

    @property
    def problems(self) -> list[str]:
        """Return what must not be."""
        found = [f"{count} requests failed: {why}" for why, count in self.failed.items()]
        if not self.switches:
            found.append("no version was switched")
        found += [f"no answer over {protocol}" for protocol, count in self.requests.items() if not count]
        if self.minutes >= _SLOPE_MINUTES and self.mib_a_minute > MAX_MIB_A_MINUTE:
            found.append(f"memory grows by {self.mib_a_minute:.2f} MiB a minute")
        return found


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the least-squares line through (x, y) points; 0 for fewer than two."""
    if len(samples) < 2:
        return 0.0
    mean_x = sum(x for x, _ in samples) / len(samples)
    mean_y = sum(y for _, y in samples) / len(samples)
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    return sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread if spread else 0.0


def soak(folder: Path, seconds: float, every: float, clients: int) -> Outcome:
    """Run it with `clients` clients over each protocol and a new version `every` so many seconds."""
    making = [sys.executable, "-m", "dev.bench.model_server.make_models", str(folder)]
    subprocess.run(making, cwd=ROOT, check=True, capture_output=True)
    spare = folder / "spare"
    shutil.copytree(folder / MODEL / "1", spare)
    payload = payloads.write(folder, MODEL, 1)
    flags = ["--file_system_poll_wait_seconds=1"]
    with subjects.model_server(folder, MODEL, payload.document.read_bytes(), *flags) as subject:
        loads = {
            "grpc": (subject.grpc, payload.proto, [f"-method={native.PREDICT}"]),
            "rest": (subject.rest, payload.document, [f"-path={subject.path}"]),
        }
        running = {
            protocol: subprocess.Popen(
                native.command(*question, clients, seconds, warmup=0), stdout=subprocess.PIPE, text=True
            )
            for protocol, question in loads.items()
        }
        watch = _Watch(subject)
        switches = 0
        while all(process.poll() is None for process in running.values()):
            time.sleep(every)
            if any(process.poll() is not None for process in running.values()):
                break
            switches += 1
            _switch(subject, folder / MODEL, spare, switches)
        found = {protocol: native.parsed(process.communicate()[0]) for protocol, process in running.items()}
        samples = watch.end()
    failed: dict[str, int] = {}
    for protocol, load in found.items():
        failed |= {f"{protocol}: {why}": count for why, count in load.failed.items()}
    return Outcome({protocol: load.requests for protocol, load in found.items()}, failed, switches, samples)


def _switch(subject: Subject, base: Path, spare: Path, old: int) -> None:
    """Publish version `old` + 1, wait until it answers and `old` has gone, and delete `old`."""
    partial = base.parent / "partial"
    shutil.copytree(spare, partial)
    partial.rename(base / str(old + 1))
    deadline = time.monotonic() + _SWITCH_SECONDS
    while _states(subject)[:2] != ["AVAILABLE", "END"]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"version {old + 1} did not take over")
        time.sleep(0.1)
    shutil.rmtree(base / str(old))


def _states(subject: Subject) -> list[str]:
    with urllib.request.urlopen(f"http://{subject.rest}/v1/models/{MODEL}", timeout=30) as response:
        return [version["state"] for version in json.load(response)["model_version_status"]]


class _Watch:
    """Samples the resident memory every second on a thread."""

    def __init__(self, subject: Subject) -> None:
        self._subject, self._samples = subject, list[tuple[float, float]]()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        started = time.monotonic()
        while not self._ended.wait(1):
            self._samples.append((time.monotonic() - started, self._subject.memory_mib))

    def end(self) -> list[tuple[float, float]]:
        """Stop, and return (seconds, MiB)."""
        self._ended.set()
        self._thread.join()
        return self._samples


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak and say what happened; return 1 if something was not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m dev.bench.model_server.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long (10)")
    parser.add_argument("--every", type=float, default=10, help="seconds between two versions (10)")
    parser.add_argument("--clients", type=int, default=4, help="clients over each protocol (4)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="slipway-soak-") as folder:
        outcome = soak(Path(folder), options.minutes * 60, options.every, options.clients)
    for protocol, count in outcome.requests.items():
        print(f"{protocol}: {count} requests answered")
    print(f"failed: {sum(outcome.failed.values())}; versions switched: {outcome.switches}")
    if outcome.samples:
        mib = [value for _, value in outcome.samples]
        print(f"resident memory: {mib[0]:.0f} MiB at the start, {max(mib):.0f} at most, {mib[-1]:.0f} at the end")
        print(f"slope after the first quarter: {outcome.mib_a_minute:+.2f} MiB a minute")
    for problem in outcome.problems:
        print(f"PROBLEM {problem}")
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
