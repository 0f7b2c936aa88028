"""Daemons are known by pid and start time; they end, whatever they do about SIGTERM."""

import signal
import sys
import time
from pathlib import Path

import pytest

from dev.cluster import processes
from dev.cluster.ports import free_ports, listens
from dev.cluster.processes import Daemon
from dev.errors import DevError

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
)


def daemon(folder: Path, *argv: str) -> Daemon:
    return Daemon("sleeper", argv or ("sleep", "600"), folder / "logs" / "sleeper.log", folder / "run" / "sleeper.pid")


def test_start_stop_start(tmp_path: Path) -> None:
    sleeper = daemon(tmp_path)
    pid = processes.start(sleeper)
    assert processes.start(sleeper) == pid
    assert processes.running_pid(sleeper.pid_file) == pid
    assert processes.stop(sleeper.pid_file) is True
    assert processes.running_pid(sleeper.pid_file) is None
    assert processes.stop(sleeper.pid_file) is False
    assert processes.start(sleeper) != pid
    processes.stop(sleeper.pid_file)


def test_a_pid_that_somebody_else_has_now_is_not_touched(tmp_path: Path) -> None:
    innocent = daemon(tmp_path)
    pid = processes.start(innocent)
    stale = tmp_path / "run" / "stale.pid"
    stale.write_text(f"{pid} 1\n")
    assert processes.running_pid(stale) is None
    assert processes.stop(stale) is False
    assert processes.running_pid(innocent.pid_file) == pid
    processes.stop(innocent.pid_file)


@pytest.mark.parametrize("text", ["", "12", "one two", "999999999 1"])
def test_a_damaged_pid_file_means_not_running(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.pid").write_text(text)
    assert processes.running_pid(tmp_path / "x.pid") is None


def test_a_daemon_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    stubborn = daemon(tmp_path, sys.executable, "-c", STUBBORN)
    processes.start(stubborn)
    processes.wait_until(lambda: "deaf" in stubborn.log.read_text(), "the deaf daemon", timeout=60)
    started = time.monotonic()
    assert processes.stop(stubborn.pid_file, grace=0.3)
    assert time.monotonic() - started >= 0.3
    assert processes.running_pid(stubborn.pid_file) is None


def test_waiting_ends_when_the_daemon_does_and_quotes_it(tmp_path: Path) -> None:
    broken = daemon(tmp_path, "sh", "-c", "echo no such flag >&2; exit 3")
    processes.start(broken)
    with pytest.raises(DevError, match=r"sleeper ended while the moon was awaited(.|\n)*no such flag"):
        processes.wait_until(lambda: False, "the moon", timeout=60, daemons=[broken])


def test_waiting_has_an_end(tmp_path: Path) -> None:
    sleeper = daemon(tmp_path)
    processes.start(sleeper)
    with pytest.raises(DevError, match="the moon did not come about within 0 s"):
        processes.wait_until(lambda: False, "the moon", timeout=0.2, daemons=[sleeper])
    processes.stop(sleeper.pid_file)


def test_a_taken_port_is_called_so(tmp_path: Path) -> None:
    port = str(free_ports(1)[0])
    first = Daemon("first", [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", port],
                   tmp_path / "first.log", tmp_path / "first.pid")  # fmt: skip
    processes.start(first)
    processes.wait_until(lambda: listens("127.0.0.1", int(port)), "the first server", timeout=60, daemons=[first])
    second = Daemon("second", first.argv, tmp_path / "second.log", tmp_path / "second.pid")
    processes.start(second)
    with pytest.raises(DevError, match="second found its port taken by another process"):
        processes.wait_until(lambda: False, "the second server", timeout=60, daemons=[second])
    processes.stop(first.pid_file)


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(20))) == 20


def test_signals_are_not_sent_to_groups(tmp_path: Path) -> None:
    """A daemon has its own session: Ctrl-C at the terminal that started it does not end it."""
    sleeper = daemon(tmp_path)
    pid = processes.start(sleeper)
    assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[2] == str(pid)  # its process group
    processes.stop(sleeper.pid_file)
    assert signal.SIGTERM  # the one that `stop` begins with
