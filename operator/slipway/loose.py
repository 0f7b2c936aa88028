"""Reads JSON and texts that may have any shape: what is not of the wanted shape counts as not there.

For what others write into objects: statuses, termination messages, records.
"""

import json
from typing import Any

from slipway.observed import Manifest


def items(value: object) -> list[Manifest]:
    """Return the objects in a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def mapping(value: object) -> dict[str, Any]:
    """Return an object, or an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: object) -> str:
    """Return a text, or an empty one."""
    return value if isinstance(value, str) else ""


def number(value: object) -> int | None:
    """Return a whole number, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def json_object(value: object) -> Manifest:
    """Return the object that a text of JSON holds, or an empty one."""
    try:
        return mapping(json.loads(value)) if isinstance(value, str) else {}
    except (ValueError, RecursionError):
        return {}


def one_line(text: str, length: int) -> str:
    """Return a text as one printable line of at most `length` characters."""
    if len(text) <= length and text.isprintable():
        return text
    # Cut first: a text of a megabyte is not worth cleaning.
    line = " ".join("".join(mark if mark.isprintable() else " " for mark in text[: 4 * length]).split())
    return line if len(line) <= length else f"{line[: length - 1]}…"
