"""What `dev.bench.rollouts` measures: starts without and with a gate, bad updates of each kind, the prober's own cost."""

import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from dev.demo import bad_version, progress, tour
from dev.kit import manifests
from dev.kit.archive_server import url
from dev.kit.gates import gated
from dev.kit.kubectl import Kubectl, Manifest
from dev.kit.model_deployments import deployment, pods, selector

NAME = tour.NAME
SECONDS = 240
GATE = gated({"configMap": "golden"}, {"accuracy": ">=0.9"}, output="probabilities")
BAD = {
    "wrong answers (GateFailed)": url("digits_shuffled.tar.gz"),
    "damaged model (LoadFailed)": url("flipped.tar.gz"),
    "no model there (FetchFailed)": url("missing.tar.gz"),
}
_STATUS = "print(open('/proc/1/status').read(), open('/proc/1/stat').read(), open('/proc/uptime').read(), sep='\\0')"
_TICKS = 100
"""Of the clock in /proc/PID/stat, a second."""


class Rounds:
    """Measures round by round and keeps what came out.

    Attributes:
        seconds: what was measured, by what it is.
        sent: requests that came to an end meanwhile.
        failed: the words of those that failed.
        prober: what the prober of a pod cost, in a line.
    """

    def __init__(self, kubectl: Kubectl, models: Path) -> None:
        self.kubectl = kubectl
        self.seconds = defaultdict[str, list[float]](list)
        self.sent = 0
        self.failed = list[str]()
        self.prober = ""
        self._test = tour.Test.load(models / "digits" / "test.npz")
        kubectl.apply(manifests.golden_set("golden", (models / "digits" / "golden.npz").read_bytes()))

    @property
    def requests(self) -> str:
        """Return what became of the requests, in a line."""
        first = f": {self.failed[0]}" if self.failed else ""
        return f"{self.sent} requests during the bad updates, {len(self.failed)} failed{first}"

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Return a row for each thing measured, in seconds."""
        found = []
        for what, times in self.seconds.items():
            numbers = [f"{value:.1f}" for value in (median(times), min(times), max(times))]
            found.append((what, numbers[0], numbers[1], numbers[2], str(len(times))))
        return found

    def run(self, count: int) -> None:
        """Measure everything so often."""
        for number in range(count):
            print(f"round {number + 1} of {count}", file=sys.stderr, flush=True)
            for what, rollout in (("to Ready, without a gate", {}), ("to Ready, with a gate of 200 examples", GATE)):
                self._timed(what, self._digits(rollout), progress.ready)
                self.kubectl.run("delete", "mdep", NAME)
                # It has no clients: no need to wait for them to leave.
                self.kubectl.run("delete", "pods", f"--selector={selector(NAME)}", "--grace-period=0", "--force")
        self.kubectl.apply(self._digits(GATE))
        progress.wait(self.kubectl, NAME, SECONDS, _quiet)
        with bad_version.requests(self.kubectl, self._test) as meanwhile:
            for _ in range(count):
                for what, uri in BAD.items():
                    self._timed(f"rolled back: {what}", self._digits(GATE, uri), progress.rolled_back)
                    self.kubectl.apply(self._digits(GATE))
                    progress.wait(self.kubectl, NAME, SECONDS, _quiet)
        self.sent, self.failed = meanwhile.sent, meanwhile.failed
        self.prober = self._look_at_prober()

    def _digits(self, rollout: dict[str, Any], uri: str = url("digits.tar.gz")) -> Manifest:
        return deployment(NAME, uri, rollout=rollout)

    def _timed(self, what: str, manifest: Manifest, holds: Callable[[Manifest], bool]) -> None:
        started = time.monotonic()
        self.kubectl.apply(manifest)
        progress.wait(self.kubectl, NAME, SECONDS, _quiet, holds)
        self.seconds[what].append(time.monotonic() - started)

    def _look_at_prober(self) -> str:
        """Return the memory and the CPU time of a prober whose gate has passed."""
        [pod] = pods(self.kubectl, NAME)
        exec_ = ("exec", pod["metadata"]["name"], "-c", "prober", "--", "python3", "-c", _STATUS)
        status, stat, uptime = self.kubectl.run(*exec_).stdout.split("\0")
        memory = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith("Vm")}
        fields = stat.rpartition(")")[2].split()
        used = (int(fields[11]) + int(fields[12])) / _TICKS
        age = float(uptime.split()[0]) - int(fields[19]) / _TICKS
        held, most = (int(memory[name]) / 1024 for name in ("VmRSS", "VmHWM"))
        return f"prober: {held:.0f} MiB (at most {most:.0f}), {used:.2f} s of CPU in {age:.0f} s"


def _quiet(_: str) -> None:
    """Tell nobody."""
