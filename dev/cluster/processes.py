"""Starts and stops daemons that outlive the command which started them.

A daemon is known by a pid file that also holds the process's start time, so that a pid which the kernel has given to
somebody else meanwhile is never signalled.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dev.errors import DevError

_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Daemon:
    """What to run: `log` is appended to, `pid_file` is written after the start. `env` replaces the environment."""

    name: str
    argv: Sequence[str]
    log: Path
    pid_file: Path
    env: Mapping[str, str] | None = field(default=None)


def start_time(pid: int) -> str | None:
    """The kernel's start time of a process in clock ticks since boot; None when it is gone.

    A zombie counts as gone once its last thread is: until then it may still hold its sockets.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        gone = fields[0] in "ZX" and len(list(Path(f"/proc/{pid}/task").iterdir())) <= 1
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if gone else fields[19]


def running_pid(pid_file: Path) -> int | None:
    """Pid of the daemon that wrote `pid_file`, or None when it is not running any more."""
    try:
        pid_text, started = pid_file.read_text().split()
        pid = int(pid_text)
    except (FileNotFoundError, ValueError):
        return None
    return pid if start_time(pid) == started else None


def start(daemon: Daemon) -> int:
    """Starts a daemon in its own session and returns its pid. Does nothing when it runs already."""
    pid = running_pid(daemon.pid_file)
    if pid is not None:
        return pid
    daemon.log.parent.mkdir(parents=True, exist_ok=True)
    with daemon.log.open("ab") as log:
        process = subprocess.Popen(
            daemon.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=daemon.env,
            cwd="/",
            start_new_session=True,
        )
    # This object is dropped while the daemon lives on; Python must not warn about that.
    process.returncode = 0
    write_pid(daemon.pid_file, process.pid)
    return process.pid


def write_pid(pid_file: Path, pid: int) -> None:
    """Records a running process; a process that ended already is recorded as one that never runs."""
    pid_file.parent.mkdir(parents=True, exist_ok=True)
    scratch = pid_file.with_suffix(".new")
    scratch.write_text(f"{pid} {start_time(pid) or 0}\n")
    scratch.replace(pid_file)


def stop(pid_file: Path, *, grace: float = 10) -> bool:
    """Ends the daemon behind `pid_file`: SIGTERM, and SIGKILL after `grace` seconds. False when it was not running."""
    pid = running_pid(pid_file)
    if pid is None:
        pid_file.unlink(missing_ok=True)
        return False
    if grace > 0:
        _signal(pid, signal.SIGTERM)
        _wait_gone(pid, pid_file, grace)
    if running_pid(pid_file) is not None:
        _signal(pid, signal.SIGKILL)
        if not _wait_gone(pid, pid_file, 10):
            raise DevError(f"process {pid} ({pid_file.stem}) does not end, not even when killed")
    _reap(pid)
    pid_file.unlink(missing_ok=True)
    return True


def wait_until(
    ready: Callable[[], bool], what: str, *, timeout: float, daemons: Sequence[Daemon] = (), poll: float = _POLL_SECONDS
) -> None:
    """Waits until `ready()` is true.

    Raises DevError after `timeout` seconds, or as soon as one of `daemons` died; it quotes that daemon's log.
    """
    deadline = time.monotonic() + timeout
    while not ready():
        for daemon in daemons:
            if running_pid(daemon.pid_file) is None:
                raise _ended(daemon, what)
        if time.monotonic() > deadline:
            logs = "\n".join(f"{daemon.log}:\n{_tail(daemon.log)}" for daemon in daemons)
            raise DevError(f"{what} did not come about within {timeout:.0f} s", logs)
        time.sleep(poll)


def _ended(daemon: Daemon, what: str) -> DevError:
    tail = _tail(daemon.log)
    if "address already in use" in tail.lower():
        return DevError(f"{daemon.name} found its port taken by another process", tail)
    return DevError(f"{daemon.name} ended while {what} was awaited", tail)


def _tail(log: Path, lines: int = 8) -> str:
    try:
        text = log.read_text(errors="replace")
    except FileNotFoundError:
        return f"There is no log at {log}."
    return "\n  ".join([f"The end of {log}:", *text.splitlines()[-lines:]])


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _wait_gone(pid: int, pid_file: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        _reap(pid)
        if running_pid(pid_file) is None:
            return True
        time.sleep(_POLL_SECONDS)
    return False


def _reap(pid: int) -> None:
    """Collects the exit status where the daemon is still our own child, so that no zombie stays behind."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
