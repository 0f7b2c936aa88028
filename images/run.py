"""Runs the programs that build images; their output goes to a log file and, in short, to the screen."""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_TAIL_LINES = 30
_WIDTH = 110


class BuildError(Exception):
    """A build cannot start or has failed; the text says what to do."""


def say(text: str) -> None:
    """Print progress; stdout is left to the result."""
    print(text, file=sys.stderr, flush=True)


class Timer:
    """Seconds since it was made, for progress lines."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._start


def logged(
    command: Sequence[str],
    log: Path,
    *,
    show: Callable[[str], str | None] = lambda _line: None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a long command.

    Args:
        command: program and arguments.
        log: file that its whole output is appended to.
        show: turns a line of output into what the screen shows, or None.
        environment: replaces the environment.

    Raises:
        BuildError: with the last lines of output, when it fails.
    """
    tail: list[str] = []
    with log.open("a") as out:
        out.write(f"\n$ {' '.join(command)}\n")
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
        ) as process:
            for line in process.stdout or ():
                out.write(line)
                tail = [*tail, line.rstrip()][-_TAIL_LINES:]
                shown = show(line.rstrip())
                if shown:
                    say(f"    {shown[:_WIDTH]}")
    if process.returncode != 0:
        raise BuildError("\n".join([*tail, f"{command[0]} failed (exit code {process.returncode}); whole log: {log}"]))


def output_of(command: Sequence[str], *, timeout: float = 30.0) -> str | None:
    """Run a short command and return its output; None when it is missing, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
