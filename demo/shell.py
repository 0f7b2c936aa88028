"""Runs the other command lines of the repository (cluster, images, training, helm) with their output shown."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from demo.console import Console
from demo.errors import DemoError

ROOT = Path(__file__).parent.parent


def show(console: Console, argv: Sequence[str | Path]) -> str:
    """Run a command in the repository's root and return its result, what it prints to standard output.

    Its progress, on standard error, is shown line by line as it comes.

    Raises:
        DemoError: it failed; its own words are on the terminal already.
    """
    words = [str(word) for word in argv]
    with (
        tempfile.TemporaryFile("w+", errors="replace") as result,
        subprocess.Popen(
            words, cwd=ROOT, stdout=result, stderr=subprocess.PIPE, text=True, errors="replace"
        ) as process,
    ):
        assert process.stderr is not None
        for line in process.stderr:
            console.detail(line)
        status = process.wait()
        result.seek(0)
        text = result.read()
    if status != 0:
        raise DemoError(f"`{' '.join(words)}` failed with status {status}")
    return text


def python(*arguments: str) -> list[str]:
    """Return the command line of one of the repository's own Python programs."""
    return [sys.executable, *arguments]


def read(argv: Sequence[str | Path], seconds: float = 120) -> str:
    """Run a command quietly and return what it printed.

    Raises:
        DemoError: with the command's last words.
    """
    words = [str(word) for word in argv]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "it printed nothing").splitlines()
        raise DemoError(f"`{' '.join(words)}` failed with status {done.returncode}: {' '.join(said[-3:])}")
    return done.stdout
