"""Where and why a body is no JSON, in RapidJSON's words: its iterative parser, walked again over a body that did not parse.

The parser that reads good bodies is chosen for speed and words its complaints in its own way. Clients of TensorFlow Serving
see RapidJSON's text and the offset in bytes, which this finds: once, and only for a body that is refused.
"""

import re
from dataclasses import dataclass

EMPTY = "The document is empty."
_VALUE = "Invalid value."
_NAME = "Missing a name for object member."
_COLON = "Missing a colon after a name of object member."
_MEMBER = "Missing a comma or } after an object member."
_ELEMENT = "Missing a comma or ] after an array element."
_HEX = "Incorrect hex digit after \\u escape in string."
_SURROGATE = "The surrogate pair in string is invalid."
_ESCAPE = "Invalid escape character in string."
_QUOTE = "Missing a closing quotation mark in string."
_ENCODING = "Invalid encoding in string."
_BIG = "Number too big to be stored in double."
_FRACTION = "Miss fraction part in number."
_EXPONENT = "Miss exponent in number."

_SPACE = re.compile(rb"[ \n\r\t]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_DIGITS = re.compile(rb"[0-9]*")
_HEX4 = re.compile(rb"[0-9A-Fa-f]{4}")
_LITERALS = {b"n": b"null", b"t": b"true", b"f": b"false"}
_BOM = b"\xef\xbb\xbf"
_HIGH, _LOW, _END = 0xD800, 0xDC00, 0xE000


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and at which byte."""

    text: str
    offset: int


class _FaultError(Exception):
    def __init__(self, text: str, offset: int) -> None:
        super().__init__(text)
        self.fault = Fault(text, offset)


def find(body: bytes) -> Fault | None:
    """The first fault of the first value in `body`; None if RapidJSON would take it (what follows does not count)."""
    try:
        _walk(body, len(_BOM) if body.startswith(_BOM) else 0)
    except _FaultError as error:
        return error.fault
    return None


def _walk(body: bytes, at: int) -> None:
    """Go through one value, without recursion: a body may be nested as deep as it is long."""
    at = _skip(body, at)
    if body[at : at + 1] in (b"", b"\0"):
        raise _FaultError(EMPTY, at)
    open_brackets: list[bytes] = []
    while True:
        # A value stands here.
        char = body[at : at + 1]
        if char in (b"{", b"["):
            at = _skip(body, at + 1)
            closing = b"}" if char == b"{" else b"]"
            if body[at : at + 1] != closing:
                open_brackets.append(char)
                at = _name(body, at) if char == b"{" else at
                continue
            at += 1
        else:
            at = _scalar(body, at)
        # A value has ended: close what ends with it, up to the next one.
        while True:
            if not open_brackets:
                return
            at = _skip(body, at)
            inner, char = open_brackets[-1], body[at : at + 1]
            if char == b",":
                at = _skip(body, at + 1)
                at = _name(body, at) if inner == b"{" else at
                break
            if char != (b"}" if inner == b"{" else b"]"):
                raise _FaultError(_MEMBER if inner == b"{" else _ELEMENT, at)
            open_brackets.pop()
            at += 1


def _skip(body: bytes, at: int) -> int:
    match = _SPACE.match(body, at)
    return match.end() if match else at


def _name(body: bytes, at: int) -> int:
    """Past a member's name and its colon."""
    if body[at : at + 1] != b'"':
        raise _FaultError(_NAME, at)
    at = _skip(body, _string(body, at))
    if body[at : at + 1] != b":":
        raise _FaultError(_COLON, at)
    return _skip(body, at + 1)


def _scalar(body: bytes, at: int) -> int:
    char = body[at : at + 1]
    if char == b'"':
        return _string(body, at)
    literal = _LITERALS.get(char)
    return _number(body, at) if literal is None else _literal(body, at, literal)


def _literal(body: bytes, at: int, wanted: bytes) -> int:
    """Past `wanted`; the fault lies at its first wrong letter."""
    for letter in wanted:
        if body[at : at + 1] != bytes((letter,)):
            raise _FaultError(_VALUE, at)
        at += 1
    return at


def _string(body: bytes, at: int) -> int:
    at += 1
    while True:
        match = _PLAIN.match(body, at)
        at = match.end() if match else at
        char = body[at : at + 1]
        if char == b'"':
            return at + 1
        if char == b"\\":
            at = _escape(body, at)
        else:
            raise _FaultError(_QUOTE if char in (b"", b"\0") else _ENCODING, at)


def _escape(body: bytes, at: int) -> int:
    """Past an escape sequence; its faults are said to lie at its backslash."""
    kind = body[at + 1 : at + 2]
    if kind and kind in b'"\\/bfnrt':
        return at + 2
    if kind != b"u":
        raise _FaultError(_ESCAPE, at)
    first = _hex(body, at + 2, at)
    if not _HIGH <= first < _END:
        return at + 6
    if first >= _LOW or body[at + 6 : at + 8] != b"\\u":
        raise _FaultError(_SURROGATE, at)
    if not _LOW <= _hex(body, at + 8, at) < _END:
        raise _FaultError(_SURROGATE, at)
    return at + 12


def _hex(body: bytes, at: int, backslash: int) -> int:
    match = _HEX4.match(body, at)
    if match is None:
        raise _FaultError(_HEX, backslash)
    return int(match.group(), 16)


def _number(body: bytes, start: int) -> int:
    at = start + (body[start : start + 1] == b"-")
    char = body[at : at + 1]
    if char == b"N":
        return _literal(body, at, b"NaN")
    if char == b"I":
        at = _literal(body, at, b"Inf")
        return _literal(body, at, b"inity") if body[at : at + 1] == b"i" else at
    if not char.isdigit():
        raise _FaultError(_VALUE, at)
    at = at + 1 if char == b"0" else _digits(body, at)
    if body[at : at + 1] == b".":
        at = _some_digits(body, at + 1, _FRACTION)
    if body[at : at + 1] in (b"e", b"E"):
        at += 1
        at = _some_digits(body, at + (body[at : at + 1] in (b"+", b"-")), _EXPONENT)
    if float(body[start:at]) in (float("inf"), float("-inf")):
        raise _FaultError(_BIG, start)
    return at


def _digits(body: bytes, at: int) -> int:
    match = _DIGITS.match(body, at)
    return match.end() if match else at


def _some_digits(body: bytes, at: int, fault: str) -> int:
    end = _digits(body, at)
    if end == at:
        raise _FaultError(fault, at)
    return end
