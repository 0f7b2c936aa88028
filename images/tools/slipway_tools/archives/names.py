"""Entry names of an archive: the only place that decides whether a name may become a path.

A name is refused rather than repaired: a repaired name is served under a path that its author did not write.
"""

import unicodedata
from pathlib import PurePosixPath

from slipway_tools.errors import ModelError, Reason

MAX_COMPONENT_BYTES = 255
MAX_PATH_BYTES = 1024
MAX_DEPTH = 32
# Control, format (zero-width, bidirectional) and surrogate characters: names that do not look like what they are.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs"})
_MAX_SHOWN = 80


def shown(name: str) -> str:
    """Return `name` for a message: quoted, on one line, bounded."""
    cut = name if len(name) <= _MAX_SHOWN else f"{name[:_MAX_SHOWN]}…"
    return ascii(cut)


def unsafe(name: str, why: str) -> ModelError:
    """Return the error for an entry that must not be unpacked."""
    return ModelError(
        Reason.UNSAFE_ARCHIVE, f"spec.model.uri: the archive entry {shown(name)} {why}; nothing of it was kept"
    )


def safe_path(name: str) -> PurePosixPath | None:
    """Turn an entry's name into a relative path; None for the root itself ("./").

    Raises:
        ModelError: UnsafeArchive, when the name is absolute, climbs, or holds characters that no model file needs.
    """
    if any(unicodedata.category(char) in _REFUSED_CATEGORIES for char in name):
        raise unsafe(name, "has control or invisible characters, or is not UTF-8")
    if "\\" in name:
        raise unsafe(name, "has a backslash")
    if name.startswith("/"):
        raise unsafe(name, "has an absolute path")
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise unsafe(name, "climbs out of the archive with '..'")
    if not parts:
        return None
    if len(parts) > MAX_DEPTH or len(name.encode()) > MAX_PATH_BYTES:
        raise unsafe(name, f"is deeper than {MAX_DEPTH} folders or longer than {MAX_PATH_BYTES} bytes")
    if any(len(part.encode()) > MAX_COMPONENT_BYTES for part in parts):
        raise unsafe(name, f"has a part longer than {MAX_COMPONENT_BYTES} bytes")
    return PurePosixPath(*parts)


class Names:
    """The names seen so far: no file twice, and none that a case- or form-insensitive system would take for another."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[PurePosixPath, bool]] = {}

    def add(self, path: PurePosixPath, *, folder: bool) -> None:
        """Register one entry and the folders above it.

        Raises:
            ModelError: UnsafeArchive, for a duplicate, a look-alike, or a path that is both file and folder.
        """
        for parent in reversed(path.parents[:-1]):
            self._add(parent, folder=True, entry=path)
        self._add(path, folder=folder, entry=path)

    def _add(self, path: PurePosixPath, *, folder: bool, entry: PurePosixPath) -> None:
        # Compatibility normalisation can undo a case fold, so the key is folded once more.
        folded = unicodedata.normalize("NFKC", str(path)).casefold()
        key = unicodedata.normalize("NFKC", folded).casefold()
        before = self._seen.get(key)
        if before is None:
            self._seen[key] = (path, folder)
        elif before[0] != path:
            raise unsafe(str(entry), f"differs from {shown(str(before[0]))} only in case or Unicode form")
        elif before[1] != folder:
            raise unsafe(str(entry), f"uses {shown(str(path))} both as a file and as a folder")
        elif not folder:
            raise unsafe(str(entry), "occurs twice")
