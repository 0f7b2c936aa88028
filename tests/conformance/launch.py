"""Starts a `tensorflow_model_server` and looks after its process."""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from dev.kit.reserved_ports import free_port
from tests.conformance.wire import Target

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 120


def is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Process:
    """A server on loopback that was started with two free ports. Its output is in `log`."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        self.port, self.rest_port = free_port(), free_port()
        self.log = log
        argv = [*command, f"--port={self.port}", f"--rest_api_port={self.rest_port}"]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                argv, env=environment, cwd="/", stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )

    @property
    def target(self) -> Target:
        return Target(f"127.0.0.1:{self.port}", f"127.0.0.1:{self.rest_port}")

    def wait_open(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not is_open(self.rest_port):
            assert self.process.poll() is None, self.log.read_text(errors="replace")
            assert time.monotonic() < deadline, self.log.read_text(errors="replace")
            time.sleep(0.05)

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        """End the process, with force if it does not obey."""
        if self.process.poll() is None:
            self.signal()
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


class Launcher:
    """Knows the executable. None stands for this repository's server, run as a module."""

    def __init__(self, executable: str | None) -> None:
        self.own = executable is None
        self.command = [sys.executable, "-m", "model_server"] if executable is None else shlex.split(executable)
        self.environment = {"PATH": os.environ["PATH"], "HOME": "/tmp"}
        if self.own:
            self.environment["PYTHONPATH"] = str(REPOSITORY / "images" / "model-server")

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a server that is expected to end by itself."""
        return subprocess.run(
            [*self.command, *arguments], env=self.environment, cwd="/", capture_output=True, text=True,
            timeout=START_SECONDS, check=False,
        )  # fmt: skip

    def start(self, log: Path, *arguments: str) -> Process:
        return Process([*self.command, *arguments], log, self.environment)

    @contextlib.contextmanager
    def serving(self, log: Path, *arguments: str) -> Iterator[Process]:
        server = self.start(log, *arguments)
        try:
            server.wait_open()
            yield server
        finally:
            server.end()
