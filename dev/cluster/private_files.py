"""Writes files in one step, and only when they change: some daemons stop when their configuration is written again."""

import os
from pathlib import Path


def write_private(file: Path, text: str) -> Path:
    """Makes `file` hold `text`, readable by its owner alone; returns `file`."""
    if file.exists() and file.read_text() == text:
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_name(f".{file.name}.new")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    scratch.replace(file)
    return file
