"""The operator as a process of this machine, so that a test can stop, kill and restart it at an exact moment."""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path

from dev.kit.eventually import eventually
from dev.kit.reserved_ports import free_ports
from dev.repository import ROOT


class Operator:
    """One operator process."""

    def __init__(self, kubeconfig: Path, folder: Path, user: str, *flags: str) -> None:
        self.user = user
        self._kubeconfig = kubeconfig
        self._flags = flags
        self._log = folder / f"{user}.log"
        self._health, self._metrics = free_ports(2)
        self.path: list[Path] = []
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, ready: bool = True) -> "Operator":
        """Start it; with `ready`, wait until it is ready."""
        argv = [sys.executable, "-m", "slipway", f"--kubeconfig={self._kubeconfig}", *self._flags]
        argv += [
            f"--health-probe-bind-address=127.0.0.1:{self._health}",
            f"--metrics-bind-address=127.0.0.1:{self._metrics}",
        ]
        env = {name: value for name, value in os.environ.items() if not name.startswith("SLIPWAY_")}
        env["PYTHONPATH"] = os.pathsep.join(map(str, [*self.path, ROOT / "operator"]))
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, env=env, cwd=self._log.parent)
        if ready:
            eventually(self.ready, f"{self.user} is ready; its log: {self._log}", 120)
        return self

    def stop(self) -> int:
        """Terminate it; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        """Kill it without notice."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def ready(self) -> bool:
        """Return whether it is ready; fail if it has exited."""
        assert self.process is not None
        assert self.process.poll() is None, f"the operator ended with {self.process.poll()}:\n{self.log()[-3000:]}"
        return self.probe("/readyz") == HTTPStatus.OK

    def alive(self) -> bool:
        """Return whether its liveness probe passes."""
        return self.probe("/healthz") == HTTPStatus.OK

    def probe(self, path: str) -> int:
        """Return the HTTP status of a probe; 0 without an answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._health}{path}", timeout=20) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def metrics(self) -> dict[str, float]:
        """Return the value of each series."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics}/metrics", timeout=20) as response:
            lines = response.read().decode().splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}

    def log(self) -> str:
        """Return its log up to now."""
        return self._log.read_text() if self._log.exists() else ""
