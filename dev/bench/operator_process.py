"""The operator as a process of its own: starts it, reads what the kernel knows of it, stops it."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.controlplane import free_ports
from dev.repository import ROOT

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, in seconds; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_mib(pid: int, field: str) -> float:
    """Return a field of /proc/PID/status in MiB: VmRSS (resident now) or VmHWM (resident at most)."""
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"the kernel tells no {field} of process {pid}")
    return int(found.group(1)) / 1024


@dataclass(frozen=True)
class Invocation:
    """How to start the operator.

    Attributes:
        kubeconfig: whose user is the operator.
        namespace: where its Lease is.
        log: gets its output, appended.
        flags: further flags of the operator.
        profile: where to write a profile; None runs it as users do.
    """

    kubeconfig: Path
    namespace: str
    log: Path
    flags: tuple[str, ...] = ()
    profile: Path | None = None

    def argv(self) -> list[str]:
        """Return the command line, with free ports for metrics and health."""
        metrics, health = free_ports(2)
        launcher = ["-m", "slipway"] if self.profile is None else ["-m", "dev.bench.profiler", str(self.profile)]
        return [
            sys.executable,
            *launcher,
            f"--kubeconfig={self.kubeconfig}",
            f"--leader-election-namespace={self.namespace}",
            f"--metrics-bind-address=127.0.0.1:{metrics}",
            f"--health-probe-bind-address=127.0.0.1:{health}",
            *self.flags,
        ]


class Operator:
    """A running operator."""

    def __init__(self, invocation: Invocation) -> None:
        self._log = invocation.log
        path = f"{ROOT / 'operator'}:{ROOT}"
        # Its modules are compiled once, as in its image, also where the environment forbids that.
        left_out = ("KUBE", "SLIPWAY_", "PYTHONDONTWRITEBYTECODE")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(left_out)}
        with invocation.log.open("ab") as log:
            self._process = subprocess.Popen(
                invocation.argv(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        self.pid = self._process.pid

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used, in seconds."""
        self._check()
        return cpu_seconds(self.pid)

    def memory_mib(self) -> float:
        """Return its resident memory in MiB."""
        self._check()
        return memory_mib(self.pid, "VmRSS")

    def peak_mib(self) -> float:
        """Return the most memory that it has had resident, in MiB."""
        self._check()
        return memory_mib(self.pid, "VmHWM")

    async def quiet(self, seconds: float, limit: float = 120) -> None:
        """Wait until it has used less than 2 % of a CPU for `seconds`.

        Raises:
            TimeoutError: it was busy for all of `limit` seconds.
            RuntimeError: it ended.
        """
        deadline = time.monotonic() + limit
        while True:
            before = self.cpu_seconds()
            await asyncio.sleep(seconds)
            if self.cpu_seconds() - before <= 0.02 * seconds:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"the operator is still busy after {limit:.0f} s")

    def stop(self, grace: float = 30) -> None:
        """End it as Kubernetes would: SIGTERM, and SIGKILL after `grace` seconds."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(grace)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                raise TimeoutError(f"the operator did not end within {grace:.0f} s of SIGTERM\n{self.tail()}") from None

    def tail(self, lines: int = 20) -> str:
        """Return the end of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def _check(self) -> None:
        if self._process.poll() is not None:
            raise RuntimeError(f"the operator ended with status {self._process.returncode}:\n{self.tail()}")
