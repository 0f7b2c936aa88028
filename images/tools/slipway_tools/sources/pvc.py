"""Copies a version directory, or takes an archive, from a volume claim that is mounted read-only."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from slipway_tools import locate
from slipway_tools.archives import unpack
from slipway_tools.archives.names import safe_path, shown
from slipway_tools.archives.writer import create, make_folders, sync
from slipway_tools.errors import ModelError, Reason
from slipway_tools.limits import CHUNK, Budget, Limits
from slipway_tools.uri import Uri

_MAX_LISTED = 10


def take(uri: Uri, source: Path, staging: Path, version: int | None, limits: Limits) -> locate.Located:
    """Bring the version directory of `source` below `staging`.

    Args:
        uri: the address the mount stands for, for messages.
        source: where the claim's path is mounted.
        staging: an existing empty folder of the destination volume.
        version: the version to take; None for the highest.
        limits: caps on what is copied.

    Raises:
        ModelError: every reason a user can cause.
        OSError: from the destination volume.
    """
    real = inside_mount(uri, source)
    try:
        if real.is_file():
            target = staging / "unpacked"
            target.mkdir()
            unpack(real, target, limits)
            return locate.locate(target, version)
        if not real.is_dir():
            raise _nowhere(uri)
        found = locate.locate(real, version)
        if not found.path.resolve().is_relative_to(_mount(uri, source).resolve()):
            raise ModelError(
                Reason.SOURCE_FORBIDDEN,
                f"spec.model.uri: version {found.version} of {uri.shown} is a link that leaves its claim; "
                "publish the files themselves",
            )
        target = staging / "copied"
        target.mkdir()
        _copy(found.path, target, Budget(limits, f"spec.model.uri: {uri.shown}"))
    except PermissionError as error:
        if str(error.filename or "").startswith(str(staging)):
            raise
        raise _unreadable(uri, error) from None
    return locate.Located(target, found.version)


def inside_mount(uri: Uri, source: Path) -> Path:
    """Resolve links in the path and insist that it stays on the claim.

    Raises:
        ModelError: SourceNotFound, SourceForbidden, or InternalError for a mount of something else.
    """
    mount = _mount(uri, source)
    if source.parts[len(mount.parts) :] != uri.parts:
        raise ModelError(
            Reason.INTERNAL_ERROR, f"--source: {shown(str(source))} does not end in the path of {uri.shown}, as it must"
        )
    try:
        real = source.resolve(strict=True)
    except FileNotFoundError:
        raise ModelError(Reason.SOURCE_NOT_FOUND, _not_found(uri, source, mount)) from None
    except PermissionError as error:
        raise _unreadable(uri, error) from None
    except RuntimeError:
        raise _nowhere(uri) from None
    except OSError as error:
        if error.errno not in {errno.ENOTDIR, errno.ENAMETOOLONG}:
            raise
        raise _nowhere(uri) from None
    if not real.is_relative_to(mount.resolve()):
        raise ModelError(
            Reason.SOURCE_FORBIDDEN,
            f"spec.model.uri: {uri.shown} is a link that leaves its claim; publish the files themselves",
        )
    return real


def _mount(uri: Uri, source: Path) -> Path:
    """Return where the claim is mounted: `source` without the path of the address."""
    return Path(*source.parts[: len(source.parts) - len(uri.parts)])


def _unreadable(uri: Uri, error: OSError) -> ModelError:
    return ModelError(
        Reason.SOURCE_FORBIDDEN,
        f"spec.model.uri: {shown(str(error.filename))} on the claim {uri.host!r} cannot be read by user {os.geteuid()}; "
        "make the files readable (chmod -R a+rX)",
    )


def _nowhere(uri: Uri) -> ModelError:
    return ModelError(
        Reason.SOURCE_NOT_FOUND, f"spec.model.uri: {uri.shown} does not lead to a folder or file; correct the path"
    )


def _not_found(uri: Uri, source: Path, mount: Path) -> str:
    """Return which part of the path is missing, and what is there instead."""
    parent = source.parent
    while not parent.is_dir() and parent not in {parent.parent, mount}:
        parent = parent.parent
    try:
        names = sorted(entry.name for entry in parent.iterdir() if not entry.name.startswith("."))
    except OSError:
        names = []
    listed = ", ".join(shown(name) for name in names[:_MAX_LISTED]) or "nothing"
    return (
        f"spec.model.uri: the claim {uri.host!r} has no {'/'.join(uri.parts)!r}; found there: {listed}; "
        "publish the model or correct the path"
    )


def _copy(source: Path, target: Path, budget: Budget) -> None:
    for path, info in _walk(source):
        budget.entry()
        # The rules for names are those of archives, so that one digest means the same wherever the model came from.
        relative = safe_path(str(path))
        if relative is None or stat.S_ISDIR(info.st_mode):
            make_folders(target, relative or PurePosixPath())
            continue
        if not stat.S_ISREG(info.st_mode):
            what = "a symbolic link" if stat.S_ISLNK(info.st_mode) else "a device, pipe or socket"
            raise ModelError(
                Reason.UNSAFE_ARCHIVE,
                f"spec.model.uri: {shown(str(path))} is {what}; a model consists of plain files and folders",
            )
        budget.announce(info.st_size)
        make_folders(target, relative.parent)
        with (source / path).open("rb") as read, create(target / relative) as write:
            while chunk := read.read(CHUNK):
                budget.data(len(chunk))  # of what is there, not of what was announced: the file may grow meanwhile
                write.write(chunk)
            sync(write)


def _walk(root: Path) -> Iterator[tuple[PurePosixPath, os.stat_result]]:
    """Yield every entry below `root` with its own (not its target's) status, folders before their content."""
    pending = [PurePosixPath()]
    while pending:
        folder = pending.pop()
        with os.scandir(root / folder) as entries:
            for entry in entries:
                path = folder / entry.name
                info = entry.stat(follow_symlinks=False)
                yield path, info
                if stat.S_ISDIR(info.st_mode):
                    pending.append(path)
