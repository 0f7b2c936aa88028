"""A command in the background: what it says is shown later, in order and whole; it does not outlive who began it."""

import io
import sys
from pathlib import Path

import pytest

from dev.errors import DevError
from dev.kit.console import INDENT, Console, beginning, show
from dev.kit.eventually import eventually

LINES = 5000
"""More than a pipe holds."""


def _python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def test_progress_and_result_of_a_command() -> None:
    console = Console(io.StringIO())
    script = f"import sys; [print('line', n, file=sys.stderr) for n in range({LINES})]; print('result')"
    assert show(console, _python(script)) == "result\n"
    assert console.stream.getvalue().splitlines() == [f"{INDENT}line {n}" for n in range(LINES)]  # type: ignore[attr-defined]


def test_a_command_in_the_background_does_not_wait_for_its_reader(tmp_path: Path) -> None:
    end = tmp_path / "end"
    script = f"import sys; [print('line', n, file=sys.stderr) for n in range({LINES})]; open({str(end)!r}, 'w').close()"
    console = Console(io.StringIO())
    with beginning(_python(script)) as finish:
        eventually(end.exists, "the command has said all of it")
        assert console.stream.getvalue() == ""  # type: ignore[attr-defined]
        finish(console)
    assert console.stream.getvalue().count("line") == LINES  # type: ignore[attr-defined]


def test_a_failure_is_raised_with_the_command() -> None:
    with pytest.raises(DevError, match="failed with status 3"), beginning(_python("raise SystemExit(3)")) as finish:
        finish(Console(io.StringIO()))


def test_a_command_does_not_outlive_who_began_it(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"import os, pathlib, signal; pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); signal.pause()"

    def fail() -> None:
        with beginning(_python(script)):
            eventually(lambda: pid.exists() and pid.read_text(), "the command runs")
            raise DevError("the cluster does not come up")

    with pytest.raises(DevError, match="does not come up"):
        fail()
    assert not Path("/proc", pid.read_text()).exists()
