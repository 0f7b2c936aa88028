"""JSON as RapidJSON reads and writes it, which is what REST clients of TensorFlow Serving see.

Reading: bytes pass through without UTF-8 validation, `NaN` and `Infinity` are numbers, what follows the first value is
ignored, the first of equal keys counts. Writing: the pretty printer's layout, floats that read back to the same value.
"""

import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from model_server.errors import invalid_argument
from model_server.rest import json_errors

INDENT = "    "
_DEBUG_LIMIT = 256
_MAX_INTEGER_DIGITS = 24
# Half of a surrogate pair without the other half (or what looks like one, behind an escaped backslash).
_HALF_PAIR = re.compile(
    rb"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]", re.DOTALL
)
_ESCAPES = {number: f"\\u{number:04X}" for number in range(32)}
_ESCAPES |= {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; INVALID_ARGUMENT with RapidJSON's words otherwise."""
    if not body:
        raise _parse_error("The document is empty")
    text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    start = re.match(r"[ \t\n\r]*", text).end()  # type: ignore[union-attr]
    if start == len(text):
        raise _parse_error(f"{json_errors.EMPTY} at offset: {len(body)}")
    decoder = _EXACT_DECODER if _UNUSUAL_NUMBER.search(text) else _DECODER
    try:
        document, _ = decoder.raw_decode(text, start)
    except (json.JSONDecodeError, OverflowError, RecursionError) as error:
        raise _parse_error(_reason(body, error)) from error
    # Python's parser lets half a surrogate pair pass.
    if b"\\u" in body and _HALF_PAIR.search(body) and (fault := json_errors.find(body)):
        raise _parse_error(f"{fault.text} at offset: {fault.offset}")
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {debug_string(document)} Is not object")
    return document


def raw(text: str) -> bytes:
    """The bytes that a parsed string stood for."""
    try:
        return text.encode(*_BYTES)
    except UnicodeEncodeError as error:
        raise _parse_error("The surrogate pair in string is invalid.") from error


def quoted(text: str) -> str:
    """A string literal; only what must be escaped is."""
    return f'"{text.translate(_ESCAPES)}"'


def indented(level: int) -> str:
    """A line break and the indentation of `level`."""
    return "\n" + INDENT * level


def float_texts(values: np.ndarray[Any, Any]) -> list[str]:
    """Each number of a one-dimensional float32 or float64 array: six digits if they suffice, else as many as needed."""
    digits = 9 if values.dtype == np.float32 else 17
    numbers: list[float] = values.tolist()
    short = [f"{number:g}" for number in numbers]
    exact = (np.array(short, dtype=np.float64).astype(values.dtype) == values).tolist() if short else []
    return [
        _decimal(number, text if same else f"{number:.{digits}g}")
        for number, text, same in zip(numbers, short, exact, strict=True)
    ]


def array_text(tokens: Sequence[str], shape: Sequence[int], level: int, *, single_line: bool) -> str:
    """Nested arrays of `shape` over the flat `tokens`; `level` is the depth of the outermost bracket."""
    if not shape:
        return tokens[0]
    parts = list(tokens)
    if math.prod(shape) == 0:
        return _empty_text(shape, level, single_line=single_line)
    for axis in range(len(shape) - 1, -1, -1):
        size, depth = shape[axis], level + axis
        if single_line:
            opening, separator, closing = "[", ", ", "]"
        else:
            opening, separator, closing = "[" + indented(depth + 1), "," + indented(depth + 1), indented(depth) + "]"
        parts = [opening + separator.join(parts[at : at + size]) + closing for at in range(0, len(parts), size)]
    return parts[0]


def type_name(value: Any) -> str:
    """The JSON type of a parsed value."""
    if isinstance(value, bool):
        return "True" if value else "False"
    for kind, name in ((dict, "Object"), (list, "Array"), (str, "String"), (int | float, "Number")):
        if isinstance(value, kind):
            return name
    return "Null"


def debug_string(value: Any) -> str:
    """A value as error messages show it: pretty-printed, arrays on one line, cut after 256 bytes."""
    out: list[str] = []
    _dump(value, 0, out, [0])
    return "".join(out)


def is_base64(value: Any) -> bool:
    """True for `{"b64": "…"}`."""
    return (
        isinstance(value, dict)
        and len(value) == 1
        and isinstance(value.get("b64"), str)
        and not isinstance(value, Repeated)
    )


class Repeated(dict[str, Any]):
    """An object with equal keys. A look-up finds the first of them; `members` has all, as they came."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(reversed(pairs))
        self.pairs = pairs


def members(value: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """All members of a parsed object, those with equal keys included."""
    return value.pairs if isinstance(value, Repeated) else value.items()


_BYTES = ("utf-8", "surrogateescape")


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else Repeated(pairs)


def _parse_int(text: str) -> int | float:
    if len(text) <= _MAX_INTEGER_DIGITS:
        return int(text)
    number = float(text)
    if math.isinf(number):
        raise OverflowError(text)
    return number


def _parse_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise OverflowError(text)
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_first_wins)
# Calls back for every number, so it is taken only where a number may not fit into a double.
_EXACT_DECODER = json.JSONDecoder(object_pairs_hook=_first_wins, parse_int=_parse_int, parse_float=_parse_float)
_UNUSUAL_NUMBER = re.compile(rf"[0-9][eE]\+?[0-9]{{3}}|[0-9]{{{_MAX_INTEGER_DIGITS + 1}}}")


def _parse_error(text: str) -> Exception:
    return invalid_argument(f"JSON Parse error: {text}")


def _reason(body: bytes, error: Exception) -> str:
    """The fault in a body that did not parse, in RapidJSON's words."""
    fault = json_errors.find(body)
    if fault is not None:
        return f"{fault.text} at offset: {fault.offset}"
    if isinstance(error, RecursionError):
        return "Terminate parsing due to Handler error. (nested too deeply)"
    at = len(error.doc[: error.pos].encode(*_BYTES)) if isinstance(error, json.JSONDecodeError) else 0
    return f"Invalid value. at offset: {at}"


def _decimal(number: float, text: str) -> str:
    if math.isfinite(number):
        return text if "." in text or "e" in text else text + ".0"
    return "NaN" if math.isnan(number) else ("Infinity" if number > 0 else "-Infinity")


def _empty_text(shape: Sequence[int], level: int, *, single_line: bool) -> str:
    if shape[0] == 0:
        return "[]"
    inner = _empty_text(shape[1:], level + 1, single_line=single_line)
    if single_line:
        return "[" + ", ".join([inner] * shape[0]) + "]"
    return "[" + indented(level + 1) + ("," + indented(level + 1)).join([inner] * shape[0]) + indented(level) + "]"


def _dump(value: Any, level: int, out: list[str], size: list[int]) -> bool:
    """Append tokens until the limit is passed; False tells the callers to stop, as RapidJSON's handler does."""

    def put(text: str) -> bool:
        if size[0] >= _DEBUG_LIMIT:
            return False
        out.append(text)
        size[0] += len(text)
        return True

    if isinstance(value, dict):
        for position, (key, item) in enumerate(members(value)):
            opening = "{" if position == 0 else ","
            if not put(f"{opening}{indented(level + 1)}{quoted(key)}: ") or not _dump(item, level + 1, out, size):
                return False
        return put("{}" if not value else indented(level) + "}")
    if isinstance(value, list):
        for position, item in enumerate(value):
            if not put("[" if position == 0 else ", ") or not _dump(item, level + 1, out, size):
                return False
        return put("[]" if not value else "]")
    return put(_scalar_text(value))


def _scalar_text(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, float):
        text = repr(value)
        return _decimal(value, text)
    return json.dumps(value)
