"""Runs the short-lived commands (openssl, ip, helm, the repository's own programs) and turns failures into DevError."""

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dev.errors import DevError

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 120,
) -> str:
    """Run one command and return its standard output; `timeout` in seconds.

    Raises:
        DevError: with the command's own last words when it is missing, fails or takes too long.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words, input=stdin, env=env, cwd=cwd, timeout=timeout, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise DevError(f"the command `{words[0]}` is not installed") from None
    except subprocess.TimeoutExpired:
        raise DevError(f"`{' '.join(words)}` did not finish within {timeout:.0f} s") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "it printed nothing").splitlines()
        raise DevError(f"`{' '.join(words)}` failed with status {done.returncode}: {' '.join(said[-3:])}")
    return done.stdout


def python(*arguments: str) -> list[str]:
    """Return the command line of one of the repository's own Python programs."""
    return [sys.executable, *arguments]


def find(name: str) -> str | None:
    """Return the path of an installed command; the sbin folders count too (they are often not in a user's PATH)."""
    return shutil.which(name) or shutil.which(name, path=SYSTEM_PATH)
