"""Waits for a condition."""

import time
from collections.abc import Callable
from typing import Literal, TypeVar

T = TypeVar("T")
_PAUSE_SECONDS = 0.02


def eventually(condition: Callable[[], T | Literal[False] | None], what: str, seconds: float = 90) -> T:
    """Call a condition until it returns something true, and return that.

    Args:
        condition: called again and again, with short pauses.
        what: what is waited for; part of the failure's message, together with the last value.
        seconds: after this time the test fails.
    """
    deadline = time.monotonic() + seconds
    value = condition()
    while not value:
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}; last value: {value!r}"
        time.sleep(_PAUSE_SECONDS)
        value = condition()
    return value
