"""Runs the short-lived commands (openssl, ip, kubectl …) and turns their failures into ClusterError."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.errors import ClusterError

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
) -> str:
    """Runs one command and returns its standard output; `timeout` in seconds.

    Raises ClusterError with the command's own last words when it is missing, fails or takes too long.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(words, input=stdin, env=env, timeout=timeout, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ClusterError(f"the command `{words[0]}` is not installed") from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"`{' '.join(words)}` did not finish within {timeout:.0f} s") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "it printed nothing").splitlines()
        raise ClusterError(f"`{' '.join(words)}` failed with status {done.returncode}: {' '.join(said[-3:])}")
    return done.stdout


def find(name: str) -> str | None:
    """Path of an installed command, looking into the sbin folders too (they are often not in a user's PATH)."""
    return shutil.which(name) or shutil.which(name, path=SYSTEM_PATH)
