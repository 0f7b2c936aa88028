"""Accessors for JSON and texts of any shape: a value that does not have the expected type counts as missing.

For what others write into objects: statuses, termination messages, revisions.
"""

import json
from typing import Any


def items(value: object) -> list[dict[str, Any]]:
    """Return the objects in a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def named(value: object, name: str) -> dict[str, Any]:
    """Return the object with a name in a list of objects, such as a container of a pod, or an empty one."""
    return next((item for item in items(value) if item.get("name") == name), {})


def mapping(value: object, *path: str) -> dict[str, Any]:
    """Return the object at a path of fields below a value, or an empty one."""
    found = value if isinstance(value, dict) else {}
    for field in path:
        inner = found.get(field)
        found = inner if isinstance(inner, dict) else {}
    return found


def text(value: object) -> str:
    """Return a text, or an empty one."""
    return value if isinstance(value, str) else ""


def number(value: object) -> int | None:
    """Return a whole number, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def json_object(value: object) -> dict[str, Any]:
    """Return the object that a JSON text holds, or an empty one."""
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
