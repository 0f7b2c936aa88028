"""Durations such as `90s`, `10m` or `1h30m`: one spelling for every field that holds a time span."""

import re
from typing import Any

from pydantic import AfterValidator, Field

from slipway.api.base import validations

DURATION_PATTERN = r"^([0-9]{1,3}h)?([0-9]{1,4}m)?([0-9]{1,5}s)?$"


def parse_duration(text: str) -> int:
    """Return the seconds in a duration such as `90s`, `10m` or `1h30m`; raise ValueError if it is not one."""
    match = re.fullmatch(DURATION_PATTERN, text)
    if not text or match is None:
        raise ValueError(f"{text!r} is not a duration: write it like 90s, 10m or 1h30m")
    hours, minutes, seconds = (int(part[:-1]) if part else 0 for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def duration(message: str, *, least: int, most: int) -> tuple[Any, ...]:
    """Return what makes a text field a duration of `least` to `most` seconds: schema with CEL rule, and validator.

    Args:
        message: what the user reads when it is outside, naming the field and the fix.
        least: seconds.
        most: seconds.
    """

    def check(text: str) -> str:
        if not least <= parse_duration(text) <= most:
            raise ValueError(message)
        return text

    # `duration()` of CEL would also take what the pattern refuses, and fails on what it does not know.
    rule = (
        f"!self.matches('{DURATION_PATTERN}') || self == '' || "
        f"(duration(self) >= duration('{least}s') && duration(self) <= duration('{most}s'))"
    )
    schema = validations({"rule": rule, "message": message})
    return (
        Field(pattern=DURATION_PATTERN, min_length=2, max_length=16, json_schema_extra=schema),
        AfterValidator(check),
    )
