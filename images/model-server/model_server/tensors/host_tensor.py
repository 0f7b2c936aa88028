"""Tensors on the host, and their way from and to TensorProto.

`Tensor::FromProto` and `AsProtoField` of the C++ server are matched: a short value list is filled up with its last value,
an empty one with zeros, a longer one is cut.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from model_server.protobuf import wire_format
from model_server.protobuf.generated import tensor_pb2
from model_server.tensors import dtypes

#: No tensor of a request may take more bytes than a gRPC message can hold; a shape alone must not reserve memory.
MAX_TENSOR_BYTES = 2**31 - 1
#: What NumPy can hold; TensorFlow itself stops at 254.
MAX_RANK = 64
_MAX_VARINT_SHIFT = 28

_PACKED_FIELD = {
    dtypes.FLOAT: 5,
    dtypes.DOUBLE: 6,
    dtypes.COMPLEX64: 9,
    dtypes.COMPLEX128: 12,
}
_INT_VAL = {dtypes.INT32, dtypes.INT16, dtypes.INT8, dtypes.UINT8, dtypes.UINT16}
_INT_VAL |= {dtypes.QINT8, dtypes.QUINT8, dtypes.QINT32, dtypes.QINT16, dtypes.QUINT16}
_LIST_FIELD = {
    **dict.fromkeys(_INT_VAL, "int_val"),
    dtypes.INT64: "int64_val",
    dtypes.BOOL: "bool_val",
    dtypes.HALF: "half_val",
    dtypes.BFLOAT16: "half_val",
    dtypes.UINT32: "uint32_val",
    dtypes.UINT64: "uint64_val",
}
_EIGHT_BIT_FLOATS = {dtypes.FLOAT8_E5M2, dtypes.FLOAT8_E4M3FN}


@dataclass(frozen=True, slots=True)
class HostTensor:
    """A tensor in host memory: TensorFlow's type number and an array of `dtypes.STORAGE[dtype]` (bytes objects for strings)."""

    dtype: int
    array: np.ndarray[Any, Any]


def from_proto(proto: Any) -> HostTensor:
    """Decode a TensorProto; ValueError where the C++ server would refuse to parse it."""
    storage = dtypes.STORAGE.get(proto.dtype)
    if storage is None:
        raise ValueError(f"unsupported dtype {proto.dtype}")
    shape = _shape_of(proto)
    count = math.prod(shape)
    if count * max(storage.itemsize, 1) > MAX_TENSOR_BYTES:
        raise ValueError("tensor too large")
    if proto.tensor_content:
        flat = _from_content(proto.dtype, storage, proto.tensor_content, count)
    else:
        flat = _fit(_from_values(proto, storage), count, storage)
    return HostTensor(proto.dtype, flat.reshape(shape))


def to_proto(tensor: HostTensor, *, as_content: bool = False) -> Any:
    """Encode as TensorProto: typed value fields, or `tensor_content` where that is wanted and possible."""
    proto = tensor_pb2.TensorProto(dtype=tensor.dtype)
    dims = proto.tensor_shape.dim
    for size in tensor.array.shape:
        dims.add(size=size)
    flat = np.ascontiguousarray(tensor.array).reshape(-1)
    if tensor.dtype == dtypes.STRING:
        if as_content:
            proto.tensor_content = _encode_strings(flat)
        else:
            proto.string_val.extend(flat.tolist())
    elif as_content:
        proto.tensor_content = flat.tobytes()
    elif tensor.dtype in _PACKED_FIELD:
        if flat.size:
            proto.MergeFromString(wire_format.length_delimited(_PACKED_FIELD[tensor.dtype], flat.tobytes()))
    elif tensor.dtype in _EIGHT_BIT_FLOATS:
        proto.float8_val = flat.tobytes()
    else:
        values = flat.view(np.uint16) if tensor.dtype == dtypes.HALF else flat
        getattr(proto, _LIST_FIELD[tensor.dtype]).extend(values.tolist())
    return proto


def string_array(values: Iterable[bytes], count: int) -> np.ndarray[Any, Any]:
    """A one-dimensional object array of bytes; NumPy would otherwise guess a fixed-width type."""
    array: np.ndarray[Any, Any] = np.empty(count, dtype=object)
    array[:] = list(values)
    return array


def _shape_of(proto: Any) -> tuple[int, ...]:
    if proto.tensor_shape.unknown_rank:
        raise ValueError("unknown rank")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if any(size < 0 for size in shape) or len(shape) > MAX_RANK:
        raise ValueError("invalid shape")
    return shape


def _from_content(dtype: int, storage: np.dtype[Any], content: bytes, count: int) -> np.ndarray[Any, Any]:
    if dtype == dtypes.STRING:
        return _decode_strings(content, count)
    if len(content) != count * storage.itemsize:
        raise ValueError("tensor_content has another size than the shape")
    return np.frombuffer(content, dtype=storage)


def _from_values(proto: Any, storage: np.dtype[Any]) -> np.ndarray[Any, Any]:
    dtype = proto.dtype
    if dtype == dtypes.STRING:
        return string_array(proto.string_val, len(proto.string_val))
    if dtype in _PACKED_FIELD:
        payload = b"".join(wire_format.bytes_fields(proto.SerializeToString(), _PACKED_FIELD[dtype]))
        return np.frombuffer(payload[: len(payload) // storage.itemsize * storage.itemsize], dtype=storage)
    if dtype in _EIGHT_BIT_FLOATS:
        return np.frombuffer(proto.float8_val, dtype=storage)
    values = getattr(proto, _LIST_FIELD[dtype])
    if dtype in (dtypes.HALF, dtypes.BFLOAT16):
        return _narrowed(values, np.uint16).view(storage)
    return _narrowed(values, storage)


def _narrowed(values: Any, storage: Any) -> np.ndarray[Any, Any]:
    """Integers of a wider field, cut to the width of the type as a C++ cast cuts them."""
    wide = np.uint64 if storage == np.uint64 else np.int64
    return np.fromiter(values, dtype=wide, count=len(values)).astype(storage)


def _fit(values: np.ndarray[Any, Any], count: int, storage: np.dtype[Any]) -> np.ndarray[Any, Any]:
    have = len(values)
    if have == count:
        return values
    if have > count:
        return values[:count]
    filled: np.ndarray[Any, Any] = np.empty(count, dtype=storage)
    filled[:have] = values
    if have:
        filled[have:] = values[-1]
    else:
        filled[:] = b"" if storage.hasobject else 0
    return filled


def _encode_strings(flat: np.ndarray[Any, Any]) -> bytes:
    values = flat.tolist()
    return b"".join(wire_format.varint(len(value)) for value in values) + b"".join(values)


def _decode_strings(content: bytes, count: int) -> np.ndarray[Any, Any]:
    """`count` varint lengths, then the bytes of all strings, back to back."""
    position = 0
    lengths: list[int] = []
    for _ in range(count):
        shift = length = 0
        while True:
            if position >= len(content) or shift > _MAX_VARINT_SHIFT:
                raise ValueError("malformed string content")
            byte = content[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise ValueError("string content has another size than its lengths")
    values = []
    for length in lengths:
        values.append(content[position : position + length])
        position += length
    return string_array(values, count)
