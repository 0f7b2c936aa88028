"""Finds the one version directory to serve in what a source holds. Reads names only."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from slipway_tools import nearest
from slipway_tools.archives.names import shown
from slipway_tools.errors import ModelError, Reason
from slipway_tools.layout import listing, parse_version
from slipway_tools.nearest import Pointer
from slipway_tools.savedmodel import FILE_NAME

DEFAULT_VERSION = 1
_MAX_LISTED = 10


@dataclass(frozen=True, slots=True)
class Located:
    """A version directory and the version number it is served as."""

    path: Path
    version: int


def locate(root: Path, version: int | None, point: Pointer = nearest.in_archive) -> Located:
    """Choose the directory to serve.

    A saved_model.pb in the root, or in its only folder, is version `version` (1 when None). Among numeric folders the
    one named `version` is taken, or the highest. `point` says in a refusal how another folder becomes the model.

    Raises:
        ModelError: EmptyModel, VersionNotFound or NotASavedModel.
    """
    for folder in _candidates(root):
        if (folder / FILE_NAME).is_file():
            return Located(folder, DEFAULT_VERSION if version is None else version)
        versions = _versions(folder)
        if versions:
            return _choose(folder, versions, version, _below(PurePosixPath(folder.relative_to(root)), point))
    if not listing(root):
        hidden = sorted(entry.name for entry in root.iterdir())[:_MAX_LISTED]
        only = f" but {', '.join(shown(name) for name in hidden)}, which is not read as a model" if hidden else ""
        raise ModelError(
            Reason.EMPTY_MODEL,
            f"spec.model.uri: there is nothing in it{only}; publish a SavedModel there or correct the path",
        )
    served_as = DEFAULT_VERSION if version is None else version
    raise _not_a_saved_model(
        f"it has no {FILE_NAME}, and no folder whose name is a whole number, as those of versions are",
        root,
        nearest.hint(root, point, served_as),
    )


def _below(folder: PurePosixPath, point: Pointer) -> Pointer:
    """Return the pointer for paths relative to a folder."""
    return lambda found: point(folder / found)


def _candidates(root: Path) -> list[Path]:
    """Return the root and, where it holds a single folder and nothing else, that folder."""
    visible = [root / name for name in listing(root)]
    if len(visible) == 1 and visible[0].is_dir() and not visible[0].is_symlink() and not _versions(root):
        return [root, visible[0]]
    return [root]


def _versions(folder: Path) -> dict[int, list[Path]]:
    versions: dict[int, list[Path]] = {}
    for name in listing(folder):
        number = parse_version(name)
        if number is not None and (folder / name).is_dir():
            versions.setdefault(number, []).append(folder / name)
    return versions


def _choose(folder: Path, versions: dict[int, list[Path]], wanted: int | None, point: Pointer) -> Located:
    number = max(versions) if wanted is None else wanted
    if number not in versions:
        listed = ", ".join(str(known) for known in sorted(versions, reverse=True)[:_MAX_LISTED])
        raise ModelError(
            Reason.VERSION_NOT_FOUND,
            f"spec.model.version: there is no version {number}; there is: {listed}"
            f"{nearest.misnamed(listing(folder), number)}",
        )
    if len(versions[number]) > 1:
        names = " and ".join(sorted(path.name for path in versions[number]))
        raise ModelError(
            Reason.VERSION_NOT_FOUND,
            f"spec.model.version: version {number} is there more than once ({names}); remove all but one",
        )
    path = versions[number][0]
    if not (path / FILE_NAME).is_file():
        if not listing(path):
            raise ModelError(
                Reason.EMPTY_MODEL, f"spec.model.uri: the folder of version {number} is empty; publish the model again"
            )
        below = nearest.hint(path, _below(PurePosixPath(path.name), point), number, in_version=True)
        raise _not_a_saved_model(f"version {number} has no {FILE_NAME}", path, below)
    return Located(path, number)


def _not_a_saved_model(why: str, folder: Path, hint: str) -> ModelError:
    names = listing(folder)
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    listed = ", ".join(shown(name) for name in names[:_MAX_LISTED]) + more
    return ModelError(Reason.NOT_A_SAVED_MODEL, f"spec.model.uri: {why}; found: {listed}{hint}")
