"""Waiting by looking again and again: the first true value ends it, a deadline fails it with what was seen last."""

import pytest

from dev.kit.eventually import eventually


def test_the_first_true_value_is_returned() -> None:
    values = iter([None, False, "there", "never looked at"])
    assert eventually(lambda: next(values), "it is there") == "there"


def test_the_failure_names_what_was_waited_for_and_what_was_there() -> None:
    with pytest.raises(AssertionError, match=r"not within 0 s: the moon rises; last value: None"):
        eventually(lambda: None, "the moon rises", 0)
