"""The digest of a model directory, which anyone can check with coreutils.

    (cd DIR && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum)

It depends on names and contents alone, so a model has one digest whether it came as a tar, a zip or a directory.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slipway_tools.errors import ModelError, Reason
from slipway_tools.limits import CHUNK

PATTERN = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Measured:
    """A directory's digest (`sha256:…`), the number of its files and the sum of their sizes in bytes."""

    digest: str
    files: int
    bytes: int


def measure(directory: Path) -> Measured:
    """Digest every regular file below `directory`; links are not followed and, as with `find -type f`, not counted.

    Raises:
        ModelError: UnsafeArchive, for a name that sha256sum would print escaped.
        OSError: when something cannot be read.
    """
    manifest = hashlib.sha256()
    files = total = 0
    for name in sorted(_files(os.fsencode(directory))):
        if any(char in name for char in b"\\\n\r"):
            raise ModelError(
                Reason.UNSAFE_ARCHIVE,
                f"the file name {os.fsdecode(name)!a} has a backslash or a line break; rename it",
            )
        content = hashlib.sha256()
        with open(os.path.join(os.fsencode(directory), name), "rb") as stream:  # noqa: PTH118, PTH123 - names are bytes
            while chunk := stream.read(CHUNK):
                content.update(chunk)
                total += len(chunk)
        manifest.update(content.hexdigest().encode() + b"  ./" + name + b"\n")
        files += 1
    return Measured(f"sha256:{manifest.hexdigest()}", files, total)


def _files(root: bytes) -> Iterator[bytes]:
    """Yield the paths of all regular files, relative to `root`, as bytes: the order of the digest is that of bytes."""
    pending = [b""]
    while pending:
        folder = pending.pop()
        with os.scandir(os.path.join(root, folder)) as entries:  # noqa: PTH118 - names are bytes
            for entry in entries:
                path = folder + entry.name
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path + b"/")
                elif entry.is_file(follow_symlinks=False):
                    yield path
