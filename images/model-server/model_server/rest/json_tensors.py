"""Tensors from and to JSON values, with the rules and messages of the C++ server's `json_tensor.cc`.

A regular list of numbers takes a fast way through NumPy; anything else is walked element by element, which finds the first
fault and words it.
"""

import base64
import binascii
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from model_server.errors import Code, ServingError, invalid_argument
from model_server.rest import json_text
from model_server.tensors import dtypes
from model_server.tensors.host_tensor import MAX_RANK, HostTensor, string_array

_SIGNED_32 = {dtypes.INT32, dtypes.INT16, dtypes.INT8, dtypes.UINT8}
_RANGES = {
    **dict.fromkeys(_SIGNED_32, (-(2**31), 2**31)),
    dtypes.INT64: (-(2**63), 2**63),
    dtypes.UINT32: (0, 2**32),
    dtypes.UINT64: (0, 2**64),
}
_FLOATS = {dtypes.FLOAT, dtypes.DOUBLE}
_WRITABLE = {*_FLOATS, *_RANGES, dtypes.BOOL, dtypes.STRING}


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape that the first elements at each depth suggest."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def leaves(value: Any, dtype: int) -> tuple[list[Any], tuple[int, ...]]:
    """The checked elements of a JSON value in row order, and its shape; strings come as bytes."""
    shape = shape_of(value)
    _check_rank(shape)
    flat = _flat(value, shape)
    if flat is not None and _all_valid(flat, dtype):
        return flat, shape
    checked: list[Any] = []
    _fill(value, 0, shape, dtype, checked)
    return checked, shape


def to_tensor(flat: list[Any], shape: Sequence[int], dtype: int) -> HostTensor:
    """A tensor over checked elements."""
    _check_rank(shape)
    if dtype == dtypes.STRING:
        return HostTensor(dtype, string_array(flat, len(flat)).reshape(shape))
    storage = dtypes.STORAGE[dtype]
    if dtype in _RANGES:
        wide = np.uint64 if dtype == dtypes.UINT64 else np.int64
        return HostTensor(dtype, np.array(flat, dtype=wide).astype(storage).reshape(shape))
    with np.errstate(over="ignore"):
        return HostTensor(dtype, np.array(flat, dtype=np.float64 if flat else storage).astype(storage).reshape(shape))


def tokens(tensor: HostTensor, level: int, *, as_bytes: bool) -> list[str]:
    """The text of each element in row order; `level` is the depth at which a `{"b64": …}` object would stand."""
    dtype = tensor.dtype
    if dtype not in _WRITABLE:
        raise invalid_argument(f"Failed to write JSON value for tensor type: {dtypes.name_of(dtype)}")
    flat = tensor.array.reshape(-1)
    if dtype in _FLOATS:
        return json_text.float_texts(flat)
    if dtype == dtypes.BOOL:
        return ["true" if value else "false" for value in flat.tolist()]
    if dtype != dtypes.STRING:
        return [str(value) for value in flat.tolist()]
    if not as_bytes:
        return [json_text.quoted(value.decode("utf-8", "surrogateescape")) for value in flat.tolist()]
    opening, closing = "{" + json_text.indented(level + 1) + '"b64": "', '"' + json_text.indented(level) + "}"
    return [opening + base64.b64encode(value).decode() + closing for value in flat.tolist()]


def _check_rank(shape: Sequence[int]) -> None:
    if len(shape) > MAX_RANK:
        raise invalid_argument(f"A tensor of {len(shape)} dimensions; there may be {MAX_RANK} at most")


def _flat(value: Any, shape: tuple[int, ...]) -> list[Any] | None:
    """All leaves if the nesting is regular, else None."""
    if not shape:
        return [value]
    level: list[Any] = value
    for size in shape[1:]:
        if not all(type(item) is list and len(item) == size for item in level):
            return None
        level = list(chain.from_iterable(level))
    return None if list in set(map(type, level)) else level


def _all_valid(flat: list[Any], dtype: int) -> bool:
    kinds = set(map(type, flat))
    if dtype in _FLOATS:
        return kinds <= {int, float}
    if dtype == dtypes.BOOL:
        return kinds <= {bool}
    if dtype in _RANGES and kinds <= {int}:
        low, high = _RANGES[dtype]
        return not flat or (low <= min(flat) and max(flat) < high)
    return False


def _fill(value: Any, level: int, shape: tuple[int, ...], dtype: int, out: list[Any]) -> None:
    rank = len(shape)
    if not isinstance(value, list):
        if level != rank:
            raise invalid_argument(
                f"JSON Value: {json_text.debug_string(value)} found at incorrect level: {level + 1} "
                f"in the JSON DOM. Expected at level: {rank}"
            )
        out.append(_leaf(value, dtype))
        return
    if level >= rank:
        raise invalid_argument(f"Encountered list at unexpected level: {level} expected < {rank}")
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for item in value:
        _fill(item, level + 1, shape, dtype, out)


def _leaf(value: Any, dtype: int) -> Any:
    if dtype == dtypes.STRING and isinstance(value, dict):
        return decode_base64(value)
    if isinstance(value, dict):
        raise _type_error(value, dtype)
    kind = type(value)
    if dtype in _FLOATS:
        valid = kind in (int, float)
    elif dtype == dtypes.BOOL:
        valid = kind is bool
    elif dtype == dtypes.STRING:
        valid = kind is str
    elif dtype in _RANGES:
        valid = kind is int and _RANGES[dtype][0] <= value < _RANGES[dtype][1]
    else:
        shown = json_text.debug_string(value)
        raise ServingError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: {shown} to type: {dtypes.name_of(dtype)}")
    if not valid:
        raise _type_error(value, dtype)
    return json_text.raw(value) if dtype == dtypes.STRING else value


def decode_base64(value: Any) -> bytes:
    """The bytes of `{"b64": …}`; web-safe letters and missing padding are refused, white space is not."""
    if not json_text.is_base64(value):
        shown = json_text.debug_string(value)
        raise invalid_argument(f"JSON Value: {shown} not formatted correctly for base64 data")
    text = "".join(value["b64"].split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4) if "=" not in text else text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_argument("Unable to base64 decode") from error


def _type_error(value: Any, dtype: int) -> ServingError:
    return invalid_argument(
        f"JSON Value: {json_text.debug_string(value)} Type: {json_text.type_name(value)} "
        f"is not of expected type: {dtypes.name_of(dtype)}"
    )
