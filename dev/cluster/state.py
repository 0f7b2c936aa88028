"""What is remembered about a cluster between two commands: which provider made it, and with what.

One JSON file in the cluster's state folder; it is written first and removed last, so that `down` always knows what to
look for.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from dev.cluster.paths import state_dir, state_root
from dev.errors import DevError

_FILE = "cluster.json"


@dataclass(frozen=True)
class Record:
    """`index` chooses the addresses of a local cluster, `nodes` is how many it has.

    `context` is the kubeconfig context of an existing one.
    """

    provider: str
    index: int = 0
    context: str = ""
    nodes: int = 1


def load(name: str) -> Record | None:
    """What is known about the cluster called `name`; None when there is no such cluster."""
    file = state_dir(name) / _FILE
    try:
        return Record(**json.loads(file.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise DevError(
            f"{file} cannot be read: {error}", "`python -m dev.cluster down` removes what is left."
        ) from None


def save(name: str, record: Record) -> None:
    """Remembers a cluster."""
    file = state_dir(name) / _FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_suffix(".new")
    scratch.write_text(json.dumps(asdict(record)) + "\n")
    scratch.replace(file)


def forget(name: str) -> None:
    """Removes what is remembered about a cluster, its kubeconfig included."""
    shutil.rmtree(state_dir(name), ignore_errors=True)


def names() -> list[str]:
    """Every cluster that has state, in order of name."""
    return sorted(file.parent.name for file in state_root().glob(f"*/{_FILE}"))


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Keeps two commands from changing one cluster at the same time; the second waits.

    The lock lies beside the state folders, because `down` removes those.
    """
    root = _made(state_dir(name).parent)
    with _hold(root / f".{name}.lock"):
        yield
    with contextlib.suppress(OSError):
        root.rmdir()  # succeeds when the last cluster is gone


@contextmanager
def allocation() -> Iterator[None]:
    """Keeps two commands from choosing the same addresses at the same time."""
    with _hold(_made(state_root()) / ".allocation.lock"):
        yield


def _made(root: Path) -> Path:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except PermissionError:
        raise DevError(f"{root} cannot be written", "Choose another place with SLIPWAY_STATE.") from None
    return root


@contextmanager
def _hold(file: Path) -> Iterator[None]:
    while True:
        with file.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not _same(file, handle.fileno()):
                continue  # its last holder removed the file while we waited
            try:
                yield
            finally:
                file.unlink(missing_ok=True)
            return


def _same(file: Path, descriptor: int) -> bool:
    try:
        return file.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
