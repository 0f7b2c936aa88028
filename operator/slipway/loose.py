"""Reads JSON that may have any shape: what is not of the wanted shape counts as not there. For old statuses."""

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


def cut(value: str, length: int) -> str:
    """Return a text of at most `length` characters."""
    return value if len(value) <= length else f"{value[: length - 1]}…"
