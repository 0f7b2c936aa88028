"""Version numbers of models: those of TensorFlow Serving, from 0 to 2^63-1, wherever they cross a border."""

import re

from slipway.api import MAX_VERSION

_EXACT = 2**53 - 1
"""Up to here every reader of JSON gets a number exactly; JavaScript and jq round what is larger."""


def read(value: object) -> int | None:
    """Return the version in a JSON value, a number or a text of digits; None for anything else."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,19}", value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= MAX_VERSION else None


def shown(version: int | None) -> int | str | None:
    """Return a version as JSON carries it exactly: as a text if it is too large for a number."""
    return version if version is None or version <= _EXACT else str(version)
