"""Turns pydantic's errors into sentences that name the field as users write it."""

from pydantic import ValidationError


def sentences(error: ValidationError, root: str) -> str:
    """Return one sentence for each fault, separated by semicolons; `root` is the path of the value, such as `spec`."""
    found = []
    for item in error.errors(include_url=False):
        message = str(item["msg"]).removeprefix("Value error, ")
        path = ".".join(str(part) for part in (root, *item["loc"]))
        found.append(message if message.startswith("spec.") else f"{path}: {message}")
    return "; ".join(found)
