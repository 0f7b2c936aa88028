"""Finds the one version directory to serve in what a source holds. Reads names only."""

import re
from dataclasses import dataclass
from pathlib import Path

from slipway_tools.archives.names import shown
from slipway_tools.errors import ModelError, Reason
from slipway_tools.savedmodel import FILE_NAME

DEFAULT_VERSION = 1
_VERSION = re.compile(r"0*([0-9]{1,19})")
_MAX_VERSION = (1 << 63) - 1
_MAX_LISTED = 10
# Left by file systems and packers next to the model.
_NOT_MODELS = {"__MACOSX", "lost+found"}
_HINTS = {
    ".keras": "a Keras file has to be exported first: keras.models.load_model(file).export(directory)",
    ".h5": "an HDF5 file has to be exported first: keras.models.load_model(file).export(directory)",
    ".tflite": "a TFLite file is not a SavedModel",
    ".onnx": "an ONNX file is not a SavedModel",
    ".pbtxt": "a text SavedModel has to be saved again in binary form",
}


@dataclass(frozen=True, slots=True)
class Located:
    """A version directory and the version number it is served as."""

    path: Path
    version: int


def parse_version(text: str) -> int | None:
    """Return the number of a version directory as the server reads it ("00000123" is 123), None when it is not one."""
    found = _VERSION.fullmatch(text)
    if found is None:
        return None
    number = int(found[1])
    return number if number <= _MAX_VERSION else None


def locate(root: Path, version: int | None) -> Located:
    """Choose the directory to serve.

    A saved_model.pb in the root, or in its only folder, is version `version` (1 when None). Among numeric folders the
    one named `version` is taken, or the highest.

    Raises:
        ModelError: EmptyModel, VersionNotFound or NotASavedModel.
    """
    for folder in _candidates(root):
        if (folder / FILE_NAME).is_file():
            return Located(folder, DEFAULT_VERSION if version is None else version)
        versions = _versions(folder)
        if versions:
            return _choose(versions, version)
    found = _listing(root)
    if not found:
        raise ModelError(
            Reason.EMPTY_MODEL, "spec.model.uri: there is nothing in it; publish a SavedModel there or correct the path"
        )
    raise _not_a_saved_model("it", root)


def _candidates(root: Path) -> list[Path]:
    """Return the root and, where it holds a single folder and nothing else, that folder."""
    visible = [root / name for name in _listing(root)]
    if len(visible) == 1 and visible[0].is_dir() and not visible[0].is_symlink() and not _versions(root):
        return [root, visible[0]]
    return [root]


def _versions(folder: Path) -> dict[int, list[Path]]:
    versions: dict[int, list[Path]] = {}
    for name in _listing(folder):
        number = parse_version(name)
        if number is not None and (folder / name).is_dir():
            versions.setdefault(number, []).append(folder / name)
    return versions


def _choose(versions: dict[int, list[Path]], wanted: int | None) -> Located:
    number = max(versions) if wanted is None else wanted
    if number not in versions:
        listed = ", ".join(str(known) for known in sorted(versions, reverse=True)[:_MAX_LISTED])
        raise ModelError(
            Reason.VERSION_NOT_FOUND, f"spec.model.version: there is no version {number}; there is: {listed}"
        )
    if len(versions[number]) > 1:
        names = " and ".join(sorted(path.name for path in versions[number]))
        raise ModelError(
            Reason.VERSION_NOT_FOUND,
            f"spec.model.version: version {number} is there more than once ({names}); remove all but one",
        )
    path = versions[number][0]
    if not (path / FILE_NAME).is_file():
        if not _listing(path):
            raise ModelError(
                Reason.EMPTY_MODEL, f"spec.model.uri: the folder of version {number} is empty; publish the model again"
            )
        raise _not_a_saved_model(f"version {number}", path)
    return Located(path, number)


def _listing(folder: Path) -> list[str]:
    """List what a user would see: hidden files and what file systems leave behind are not models."""
    return sorted(
        entry.name for entry in folder.iterdir() if not entry.name.startswith(".") and entry.name not in _NOT_MODELS
    )


def _not_a_saved_model(what: str, folder: Path) -> ModelError:
    names = _listing(folder)
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    listed = ", ".join(shown(name) for name in names[:_MAX_LISTED]) + more
    hint = next((f". {_HINTS[suffix]}" for name in names if (suffix := Path(name).suffix.lower()) in _HINTS), "")
    return ModelError(Reason.NOT_A_SAVED_MODEL, f"spec.model.uri: {what} has no {FILE_NAME}; found: {listed}{hint}")
