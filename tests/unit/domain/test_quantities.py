"""Quantities are compared by value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.domain import quantities


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1000m", "1"),
        ("1Gi", "1024Mi"),
        ("1e3", "1k"),
        ("1E3", "1k"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("1.", "1"),
        ("+2", "2"),
        ("1E", "1000P"),
        ("0", "0Gi"),
        ("1n", "0.1n"),
        (2, "2"),
    ],
)
def test_the_same(one: object, other: object) -> None:
    assert quantities.same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "1001m"), ("1G", "1Gi"), ("1M", "1m"), ("1", None), ("x", "y"), ("1/2", "500m"), ("1 ", "1"), ("1_0", "10")],
)
def test_not_the_same(one: object, other: object) -> None:
    assert not quantities.same(one, other)


@pytest.mark.parametrize(
    "text", ["", "Gi", "-", "1e999999999", "1ee3", "0x10", "1" * 65, "\u0661", "nan", "inf", "1.2.3"]
)
def test_what_is_no_quantity(text: str) -> None:
    assert quantities.value(text) is None
    assert quantities.canonical(text) == text


@given(st.integers(0, 10**6), st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "Gi"]))
def test_a_canonical_text_is_equal_for_equal_numbers(number: int, suffix: str) -> None:
    assert quantities.canonical(f"{number}{suffix}") == quantities.canonical(f"{number}.0{suffix}")


@given(st.text(max_size=80))
def test_no_text_is_too_odd(text: str) -> None:
    quantities.value(text)
