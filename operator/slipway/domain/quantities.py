"""Kubernetes quantities by value: `1000m`, `1` and `1e0` are equal. For comparisons; what is sent keeps its spelling."""

from fractions import Fraction
from functools import lru_cache

_SUFFIXES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 10**3),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
    "Pi": Fraction(2**50),
    "Ei": Fraction(2**60),
}
_NANO = 10**9
_MOST_DIGITS = 64
_MOST_EXPONENT = 32


@lru_cache(maxsize=4096)
def value(text: str) -> Fraction | None:
    """Return the number in a quantity, or None if it is not one.

    As in Kubernetes, digits below one billionth are rounded up.
    """
    if not text or len(text) > _MOST_DIGITS or not text.isascii():
        return None
    try:
        number, factor = _split(text)
        exact = Fraction(number) * factor
    except ValueError:
        return None
    scaled = exact * _NANO
    return Fraction(-(-scaled.numerator // scaled.denominator), _NANO)


def same(one: object, other: object) -> bool:
    """Return whether two quantities are equal; texts that are not quantities are compared as texts."""
    if one == other:
        return True
    left, right = value(str(one)), value(str(other))
    return left is not None and left == right


def canonical(text: str) -> str:
    """Return one text for all spellings of a quantity; a text that is not a quantity is returned unchanged."""
    number = value(text)
    return text if number is None else str(number)


def _split(text: str) -> tuple[str, Fraction]:
    for length in (2, 1):
        if len(text) > length and text[-length:] in _SUFFIXES:
            return _plain(text[:-length]), _SUFFIXES[text[-length:]]
    for mark in "eE":
        mantissa, found, exponent = text.partition(mark)
        if found:
            return _plain(mantissa), _power(exponent)
    return _plain(text), Fraction(1)


def _plain(number: str) -> str:
    """Return the digits; Fraction alone would also accept `1/3`, `1_000` and white space."""
    digits = number.removeprefix("+").removeprefix("-")
    if not digits.replace(".", "", 1).isdecimal():
        raise ValueError(number)
    return number


def _power(exponent: str) -> Fraction:
    if not exponent.removeprefix("+").removeprefix("-").isdecimal() or abs(int(exponent)) > _MOST_EXPONENT:
        raise ValueError(exponent)
    return Fraction(10) ** int(exponent)
