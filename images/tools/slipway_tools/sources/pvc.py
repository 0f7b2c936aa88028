"""Copies a version directory, or takes an archive, from a volume claim that is mounted read-only."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import quote

from slipway_tools import locate, nearest
from slipway_tools.archives import unpack
from slipway_tools.archives.names import safe_path, shown
from slipway_tools.archives.writer import create, make_folders, sync
from slipway_tools.errors import ModelError, Reason
from slipway_tools.limits import CHUNK, Budget, Limits
from slipway_tools.nearest import Pointer
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
        mount = _mount(uri, source).resolve()
        found = locate.locate(real, version, _pointer(uri))
        if not found.path.resolve().is_relative_to(mount):
            raise ModelError(
                Reason.SOURCE_FORBIDDEN,
                f"spec.model.uri: version {found.version} of {uri.shown} is a link that leaves its claim; "
                "publish the files themselves",
            )
        target = staging / "copied"
        target.mkdir()
        _copy(found.path.resolve(), target, Budget(limits, f"spec.model.uri: {uri.shown}"), mount)
    except PermissionError as error:
        if str(error.filename or "").startswith(str(staging)):
            raise
        raise _unreadable(uri, error) from None
    return locate.Located(target, found.version)


def _pointer(uri: Uri) -> Pointer:
    def point(folder: PurePosixPath) -> str:
        path = "" if folder == PurePosixPath() else f"/{quote(str(folder))}"
        return f"let spec.model.uri be {uri.shown.rstrip('/')}{path}"

    return point


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
    missing = source.relative_to(parent).parts[:1]
    return (
        f"spec.model.uri: the claim {uri.host!r} has no {'/'.join(uri.parts)!r}; found there: {listed}"
        f"{nearest.meant(missing[0], names) if missing else ''}; publish the model or correct the path"
    )


def _copy(source: Path, target: Path, budget: Budget, mount: Path) -> None:
    """Copy a folder, with what its links lead to in their places; both paths are resolved."""
    for path, real, info in _walk(source, mount):
        budget.entry()
        # The rules for names are those of archives, so that one digest means the same wherever the model came from.
        relative = safe_path(str(path))
        if relative is None or stat.S_ISDIR(info.st_mode):
            make_folders(target, relative or PurePosixPath())
            continue
        if not stat.S_ISREG(info.st_mode):
            raise _not_plain(path)
        budget.announce(info.st_size)
        make_folders(target, relative.parent)
        with open_inside(path, real, mount) as read, create(target / relative) as write:
            while chunk := read.read(CHUNK):
                budget.data(len(chunk))  # of what is there, not of what was announced: the file may grow meanwhile
                write.write(chunk)
            sync(write)


def _not_plain(path: PurePosixPath) -> ModelError:
    return ModelError(
        Reason.UNSAFE_ARCHIVE,
        f"spec.model.uri: {shown(str(path))} is a device, pipe or socket; a model consists of plain files and folders",
    )


def open_inside(path: PurePosixPath, real: Path, mount: Path) -> BinaryIO:
    """Open a file of the claim. Whoever writes to the claim meanwhile cannot lead out of it: what counts is what was opened.

    Raises:
        ModelError: UnsafeArchive for what is no file, SourceForbidden for what is not on the claim.
    """
    descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with ExitStack() as stack:
        stream = stack.enter_context(os.fdopen(descriptor, "rb"))
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _not_plain(path)
        if not Path(f"/proc/self/fd/{descriptor}").readlink().is_relative_to(mount):
            raise _leaves(path)
        stack.pop_all()
    return stream


def _walk(root: Path, mount: Path) -> Iterator[tuple[PurePosixPath, Path, os.stat_result]]:
    """Yield every entry below `root`: its path, where it really is, and the status of that; folders before their content."""
    pending = [(PurePosixPath(), root, frozenset({root}))]
    while pending:
        folder, place, above = pending.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                path, real = folder / entry.name, place / entry.name
                info = entry.stat(follow_symlinks=False)
                if stat.S_ISLNK(info.st_mode):
                    real = _followed(path, real, mount)
                    info = real.lstat()
                yield path, real, info
                if stat.S_ISDIR(info.st_mode):
                    if real in above:
                        raise ModelError(
                            Reason.UNSAFE_ARCHIVE,
                            f"spec.model.uri: {shown(str(path))} is a link to a folder that it is in; remove it",
                        )
                    pending.append((path, real, above | {real}))


def _followed(path: PurePosixPath, link: Path, mount: Path) -> Path:
    """Return where a link leads, on the claim."""
    try:
        real = link.resolve(strict=True)
    except PermissionError:
        raise
    except (OSError, RuntimeError):  # RuntimeError: Python before 3.13, for links in a circle
        # Outside of the claim there is nothing of the user's, so a link out of it mostly leads to nothing.
        inside = Path(os.path.realpath(link)).is_relative_to(mount)
        raise _leads_nowhere(path, link) if inside else _leaves(path) from None
    if not real.is_relative_to(mount):
        raise _leaves(path)
    return real


def _leads_nowhere(path: PurePosixPath, link: Path) -> ModelError:
    return ModelError(
        Reason.SOURCE_NOT_FOUND,
        f"spec.model.uri: {shown(str(path))} is a link to {shown(str(link.readlink()))}, which is not there; "
        "publish what it leads to, or remove it",
    )


def _leaves(path: PurePosixPath) -> ModelError:
    return ModelError(
        Reason.SOURCE_FORBIDDEN,
        f"spec.model.uri: {shown(str(path))} is a link that leaves its claim; links are followed if they are relative and "
        "stay on it: publish the files themselves (cp -rL)",
    )
