"""Generated files: written when they are out of date, or only compared."""

import sys
from collections.abc import Mapping
from pathlib import Path


def update(texts: Mapping[Path, str], *, check: bool) -> bool:
    """Bring files up to date, or with `check` only say which are not.

    Args:
        texts: what each file has to hold.
        check: write nothing.

    Returns:
        False when `check` found a file that is out of date.
    """
    stale = [path for path, text in texts.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if check:
            print(f"{path} is out of date: run `make generate` and commit the result", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts[path], encoding="utf-8")
    return not (check and stale)
