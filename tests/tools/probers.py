"""A prober process, golden sets, and gates as the operator resolves them."""

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dev.kit.eventually import eventually
from dev.kit.reserved_ports import free_port
from slipway.api import parse_gate

SECONDS = 120


def until(condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """Wait for a condition, and return what it gave."""
    return eventually(condition, what, seconds)


def golden_npz(path: Path, **arrays: Any) -> Path:
    """Write an npz; `__` in a keyword stands for `/`."""
    named: dict[str, Any] = {name.replace("__", "/"): np.asarray(value) for name, value in arrays.items()}
    np.savez(path, **named)
    return path


def resolved(gate: Mapping[str, Any]) -> dict[str, Any]:
    """Return a gate as the operator gives it to a prober; `golden` may be left out.

    `intervalSeconds` is taken over: the API wants at least 10 s, which is long for a test.
    """
    written = {name: value for name, value in gate.items() if name != "intervalSeconds"}
    found = parse_gate(json.dumps({"golden": {"configMap": "g"}} | written))
    return found | {name: value for name, value in gate.items() if name == "intervalSeconds"}


class Prober:
    """A running prober."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        port: int,
        golden: Path,
        gate: Any,
        *flags: str,
        model: str = "half",
    ) -> None:
        self.port = free_port()
        self.verdict_file = folder / f"termination-{self.port}"
        self.log_file = folder / f"prober-{self.port}.log"
        text = gate if isinstance(gate, str) else json.dumps(resolved(gate))
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "slipway_tools", "prober", f"--server=127.0.0.1:{port}", f"--model={model}",
                 "--revision=3", f"--golden={golden}", f"--gate={text}", f"--port={self.port}",
                 f"--termination-log={self.verdict_file}", *flags],
                env=dict(environment), stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def get(self, path: str) -> tuple[int, str]:
        """Fetch a page; (0, "") while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    @property
    def ready(self) -> bool:
        assert self.process.poll() is None, self.log
        return self.get("/ready")[0] == 200

    def wait_ready(self) -> "Prober":
        until(lambda: self.ready, "ready")
        return self

    def wait_out(self) -> str:
        """Wait until it is not ready, and return why."""
        until(lambda: not self.ready, "not ready")
        return self.get("/ready")[1]

    def metric(self, name: str, **labels: str) -> float | None:
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(f"{name}{{") and all(f'{key}="{value}"' in line for key, value in labels.items()):
                return float(line.rpartition(" ")[2])
        return None

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def rss_mib(self) -> float:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return int(found[1]) / 1024

    def verdict(self, seconds: float = SECONDS) -> dict[str, Any]:
        """Wait for the end and return the termination message."""
        assert self.process.wait(seconds) == 1, self.log
        text = self.verdict_file.read_bytes()
        assert len(text) <= 2048
        assert "Traceback" not in self.log
        said: dict[str, Any] = json.loads(text)
        return said

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


Start = Callable[..., Prober]
