"""What would have done, where no model was found: the words of a refusal. Reads names only, and not all of a large tree."""

import difflib
import re
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from slipway_tools.archives.names import shown
from slipway_tools.layout import MAX_VERSION, listing, parse_version
from slipway_tools.savedmodel import FILE_NAME

Pointer = Callable[[PurePosixPath], str]
"""From a folder, relative to where the model was looked for, to what makes it the model."""

_MAX_DEPTH = 5
_MAX_FOLDERS = 1000
_HINTS = {
    ".keras": "a Keras file has to be exported first: keras.models.load_model(file).export(directory)",
    ".h5": "an HDF5 file has to be exported first: keras.models.load_model(file).export(directory)",
    ".tflite": "a TFLite file is not a SavedModel",
    ".onnx": "an ONNX file is not a SavedModel",
    ".pbtxt": "a text SavedModel has to be saved again in binary form",
    ".pt": "a PyTorch file is not a SavedModel",
    ".pth": "a PyTorch file is not a SavedModel",
    ".safetensors": "weights alone are not a SavedModel: load them and export the model",
    ".ckpt": "a checkpoint is not a SavedModel: load it and export the model",
}


def in_archive(folder: PurePosixPath) -> str:
    """Be the Pointer into an archive: no address leads to a folder in it."""
    return f"pack the content of {shown(str(folder))} alone (tar -C FOLDER -czf model.tar.gz .)"


def hint(root: Path, point: Pointer, version: int, *, in_version: bool = False) -> str:
    """Return a sentence about the nearest thing to a model below `root`, with what to do; empty if there is none.

    Args:
        root: where there is no model.
        point: what to do with a folder in it.
        version: the number that a SavedModel without a version folder would be served as.
        in_version: `root` is the folder of a version.
    """
    names = listing(root)
    found = _saved_model(root)
    if found is not None:
        return (
            f". The nearest SavedModel is in {shown(str(found))}: {_cure(found, point, version, in_version=in_version)}"
        )
    for name in names:
        if _like_saved_model(name):
            return f". The file has to be called {FILE_NAME}, not {shown(name)}"
    return next((f". {_HINTS[suffix]}" for name in names if (suffix := Path(name).suffix.lower()) in _HINTS), "")


def misnamed(names: Iterable[str], version: int) -> str:
    """Return a sentence about the folder that is probably meant by a version, such as `v2` by 2; empty if there is none."""
    for name in names:
        if parse_version(name) is None and _number(name) == version:
            return f"; {shown(name)} is not read as a version, because its name is not a whole number: rename it to {version}"
    return ""


def meant(name: str, names: Iterable[str]) -> str:
    """Return a question about the name that is probably meant; empty if none is alike."""
    folded = {other.casefold(): other for other in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return f"; did you mean {shown(folded[near[0]])}?" if near else ""


def _cure(found: PurePosixPath, point: Pointer, version: int, *, in_version: bool) -> str:
    if parse_version(found.name) is not None:
        return point(found.parent)
    as_it_is = f"{point(found)}; it is then served as version {version}"
    if in_version:
        return f"move its content into the folder of the version, or {as_it_is}"
    if len(found.parts) > 1:
        return as_it_is
    number = _number(found.name)
    example = f"to {number}" if number is not None else "to a whole number, such as 1"
    bound = f" of at most {MAX_VERSION}" if found.name.isdecimal() and number is None else ""
    return f"rename that folder {example}{bound}, or {as_it_is}"


def _number(name: str) -> int | None:
    """Return the version that is probably meant by a name: of `v1`, `model-2` or `3 ` the only number in it."""
    numbers = re.findall(r"\d+", name)
    return (
        parse_version(str(int(numbers[0]))) if len(numbers) == 1 and len(numbers[0]) <= len(str(MAX_VERSION)) else None
    )


def _like_saved_model(name: str) -> bool:
    stem, dot, suffix = name.casefold().rpartition(".")
    return bool(dot) and suffix == "pb" and re.sub(r"[^a-z]", "", stem).startswith("savedmodel")


def _saved_model(root: Path) -> PurePosixPath | None:
    """Return the folder with a SavedModel that is least deep; of several the one with the highest number. Follows no link."""
    level, seen = [PurePosixPath()], 0
    for _ in range(_MAX_DEPTH):
        below: list[PurePosixPath] = []
        for folder in level:
            seen += 1
            if seen > _MAX_FOLDERS:
                return None
            below += _folders(root, folder)
        found = [folder for folder in below if (root / folder / FILE_NAME).is_file()]
        if found:
            return max(found, key=lambda folder: (_number(folder.name) or -1, folder.name))
        level = below
    return None


def _folders(root: Path, folder: PurePosixPath) -> list[PurePosixPath]:
    try:
        names = listing(root / folder)
        return [folder / name for name in names if (at := root / folder / name).is_dir() and not at.is_symlink()]
    except PermissionError:
        return []
