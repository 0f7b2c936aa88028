"""`slipway-tools publish`: puts a model that arrives as a tar stream into a volume, as DIRECTORY/NAME/VERSION.

    tar -C export -cf - . | kubectl exec -i POD -- slipway-tools publish --directory=/models --name=digits --version=1

A version never changes once it is there: the same content again is a success, different content is refused.
"""

import contextlib
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from slipway_tools import locate, savedmodel
from slipway_tools.archives import unpack_from
from slipway_tools.archives.names import shown
from slipway_tools.archives.writer import FOLDER_MODE, sync_folder, sync_tree
from slipway_tools.digest import measure
from slipway_tools.errors import ModelError, Reason
from slipway_tools.fetch import verify
from slipway_tools.limits import Limits
from slipway_tools.result import Fetched

_PREFIX = ".publish-"
_STALE_SECONDS = 24 * 3600
_MAX_NAME = 63
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Publication:
    """What is to be published where; `version` None takes the highest in the stream, or 1."""

    directory: Path
    name: str
    version: int | None = None
    digest: str | None = None
    tags: frozenset[str] = savedmodel.DEFAULT_TAGS
    limits: Limits = field(default_factory=Limits)


def publish(publication: Publication, stream: BinaryIO, log: Callable[[str], None]) -> Fetched:
    """Unpack, verify and rename into place.

    Raises:
        ModelError: VersionExists for different content under the same version, or any reason of the archive.
        OSError: from the volume.
    """
    if not _NAME.fullmatch(publication.name):
        raise ModelError(
            Reason.INTERNAL_ERROR,
            f"--name: {publication.name!a} is not a name of at most {_MAX_NAME} lower-case letters, digits, '-' and '.'; "
            f"{_valid(publication.name)!a} is one",
        )
    _remove_stale(publication.directory)
    staging = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=publication.directory))
    try:
        unpack_from(stream, staging, publication.limits)
        found = locate.locate(staging, publication.version, _in_stream)
        measured = verify(found.path, publication.digest, publication.tags, "the stream")
        result = Fetched.of(measured, found.version)
        found.path.chmod(FOLDER_MODE)
        sync_tree(found.path)
        home = publication.directory / publication.name
        home.mkdir(exist_ok=True)
        _place(found.path, home / str(found.version), result)
        sync_folder(home)
        sync_folder(publication.directory)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    log(f"{home}/{result.version}: {result.files} files, {result.bytes} bytes, {result.digest}")
    return result


def _in_stream(folder: PurePosixPath) -> str:
    return f"send the content of {shown(str(folder))} alone (tar -C FOLDER -cf - .)"


def _valid(name: str) -> str:
    """Return what is nearest to a name and allowed."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")[:_MAX_NAME].strip("-.") or "model"


def _place(source: Path, target: Path, result: Fetched) -> None:
    try:
        # A rename never replaces a folder that has something in it, so of two publishers one arrives first.
        source.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        there = measure(target).digest
        if there != result.digest:
            raise ModelError(
                Reason.VERSION_EXISTS,
                f"--version: {target} exists with other content ({there}, not {result.digest}); publish under a new version",
            ) from None


def _remove_stale(directory: Path) -> None:
    """Drop what publishers that were killed left behind, a day later."""
    for leftover in directory.glob(f"{_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):  # another publisher has just finished
            if leftover.stat().st_mtime < time.time() - _STALE_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)
