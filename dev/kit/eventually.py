"""Waiting for something that can only be looked at again and again."""

import time
from collections.abc import Callable
from typing import Literal, TypeVar

T = TypeVar("T")
POLL_SECONDS = 0.02


def eventually(condition: Callable[[], T | Literal[False] | None], what: str = "", seconds: float = 90) -> T:
    """Return the first true value of a condition.

    Raises:
        AssertionError: none came within `seconds`; it names `what` was waited for, and the last value.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}; last value: {found!r}"
        time.sleep(POLL_SECONDS)
    return found
