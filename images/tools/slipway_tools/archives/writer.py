"""Writes unpacked entries below one folder, and nowhere else.

The folder is fresh and private to this process, entries are created exclusively and never through a link, and
no link, device, mode bit or owner is ever taken from an archive: an entry is a folder or plain bytes.
"""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from slipway_tools.archives.names import Names, safe_path, unsafe
from slipway_tools.limits import Budget

FILE_MODE = 0o644
FOLDER_MODE = 0o755
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Writer:
    """Creates folders and files under `root`, counting them against a budget."""

    def __init__(self, root: Path, budget: Budget) -> None:
        self._root = root
        self._budget = budget
        self._names = Names()

    def folder(self, name: str) -> None:
        """Create the folder `name` and those above it."""
        self._budget.entry()
        path = safe_path(name)
        if path is not None:
            self._names.add(path, folder=True)
            make_folders(self._root, path)

    def file(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        """Create the file `name` from `chunks`; `size` is what the archive announces.

        Raises:
            ModelError: UnsafeArchive for the name, TooLarge when a limit is hit.
            OSError: from the volume.
        """
        self._budget.entry()
        path = safe_path(name)
        if path is None:
            raise unsafe(name, "is a file without a name")
        self._names.add(path, folder=False)
        self._budget.announce(size)
        make_folders(self._root, path.parent)
        with create(self._root / path) as out:
            for chunk in chunks:
                self._budget.data(len(chunk))
                out.write(chunk)
            sync(out)


def make_folders(root: Path, path: PurePosixPath) -> None:
    """Create `path` and its parents below `root` with our own mode, whatever the umask is."""
    for folder in [*reversed(path.parents), path]:
        target = root / folder
        if not target.is_dir():
            target.mkdir()
            target.chmod(FOLDER_MODE)


def create(path: Path) -> BinaryIO:
    """Open a new file for writing; an existing one, or a link in its place, is an error."""
    descriptor = os.open(path, _CREATE, FILE_MODE)
    os.fchmod(descriptor, FILE_MODE)
    return os.fdopen(descriptor, "wb")


def sync(out: BinaryIO) -> None:
    """Flush a file to the disk, so that a rename never outlives the content."""
    out.flush()
    os.fsync(out.fileno())


def sync_tree(root: Path) -> None:
    """Flush the folder entries of a whole tree; its files were flushed when they were written."""
    for folder, _, _ in os.walk(root, topdown=False):
        sync_folder(Path(folder))


def sync_folder(folder: Path) -> None:
    """Flush the entries of one folder, which is what makes a rename durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
