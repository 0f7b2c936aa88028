"""What a folder of models looks like: the numbers of versions, and what in it counts."""

import re
from pathlib import Path

MAX_VERSION = (1 << 63) - 1
_VERSION = re.compile(r"0*([0-9]{1,19})")
# Left by file systems and packers next to the model.
_NOT_MODELS = {"__MACOSX", "lost+found"}


def parse_version(text: str) -> int | None:
    """Return the number of a version directory as the server reads it ("00000123" is 123), None when it is not one."""
    found = _VERSION.fullmatch(text)
    if found is None:
        return None
    number = int(found[1])
    return number if number <= MAX_VERSION else None


def listing(folder: Path) -> list[str]:
    """List what a user would see: hidden files and what file systems leave behind are not models."""
    return sorted(
        entry.name for entry in folder.iterdir() if not entry.name.startswith(".") and entry.name not in _NOT_MODELS
    )
