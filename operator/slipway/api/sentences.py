"""Turns pydantic's errors into sentences that name the field as users write it."""

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from slipway.api.base import BOUND_PATTERN, DIGEST_PATTERN, DURATION_PATTERN, QUANTITY_PATTERN

_NOTATIONS = {
    BOUND_PATTERN: "is not a bound: write it like '>=0.95' or '<=50'",
    DIGEST_PATTERN: "is not a digest: write sha256: and 64 hexadecimal digits in lower case",
    DURATION_PATTERN: "is not a duration: write it like 90s, 10m or 1h30m",
    QUANTITY_PATTERN: "is not a quantity: write it like 500m, 2 or 1Gi",
}
_LONGEST_VALUE = 64


def sentences(error: ValidationError, root: str) -> str:
    """Return one sentence for each fault, separated by semicolons; `root` is the path of the value, such as `spec`."""
    found = []
    for item in error.errors(include_url=False):
        message = _message(item)
        path = ".".join(str(part) for part in (root, *item["loc"]))
        found.append(message if message.startswith("spec.") else f"{path}: {message}")
    return "; ".join(found)


def _message(item: ErrorDetails) -> str:
    notation = _NOTATIONS.get(item.get("ctx", {}).get("pattern", ""))
    if notation is not None:
        return f"{str(item['input'])[:_LONGEST_VALUE]!r} {notation}"
    return str(item["msg"]).removeprefix("Value error, ")
