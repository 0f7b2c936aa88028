"""Arrays to and from TensorProto: the few dtypes that models take and give, with NumPy alone."""

import math
from typing import Any

import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2

Array = np.ndarray[Any, Any]
# TensorFlow's number -> its name and how NumPy holds it. bfloat16 is computed with as float32.
DTYPES = {
    types_pb2.DT_FLOAT: "float32", types_pb2.DT_DOUBLE: "float64", types_pb2.DT_HALF: "float16",
    types_pb2.DT_BFLOAT16: "bfloat16", types_pb2.DT_INT8: "int8", types_pb2.DT_INT16: "int16",
    types_pb2.DT_INT32: "int32", types_pb2.DT_INT64: "int64", types_pb2.DT_UINT8: "uint8",
    types_pb2.DT_UINT16: "uint16", types_pb2.DT_UINT32: "uint32", types_pb2.DT_UINT64: "uint64",
    types_pb2.DT_BOOL: "bool", types_pb2.DT_STRING: "string", types_pb2.DT_COMPLEX64: "complex64",
    types_pb2.DT_COMPLEX128: "complex128",
}  # fmt: skip
_FIELDS = {
    "float32": "float_val", "float64": "double_val", "float16": "half_val", "bfloat16": "half_val",
    "int64": "int64_val", "uint32": "uint32_val", "uint64": "uint64_val", "bool": "bool_val",
}  # fmt: skip
# Of one array: what a message may bring (client.py), however short the list is that stands for it.
_MAX_BYTES = 256 << 20


def name_of(dtype: int) -> str:
    """Return TensorFlow's name of a dtype; the number of one that is newer than these messages."""
    if (name := DTYPES.get(dtype)) is not None:
        return name
    known = dtype in types_pb2.DataType.values()
    return types_pb2.DataType.Name(dtype).removeprefix("DT_").lower() if known else str(dtype)


def to_proto(array: Array, dtype: str) -> Any:
    """Encode an array [N, …] whose dtype fits `dtype`, a value of DTYPES."""
    number = next(number for number, name in DTYPES.items() if name == dtype)
    message = tensor_pb2.TensorProto(dtype=number)
    for size in array.shape:
        message.tensor_shape.dim.add(size=size)
    if dtype == "string":
        message.string_val.extend(array.reshape(-1).tolist())
    elif dtype == "bfloat16":
        message.tensor_content = _to_bfloat16(array).tobytes()
    else:
        message.tensor_content = np.ascontiguousarray(array, dtype=np.dtype(dtype)).tobytes()
    return message


def from_proto(message: Any) -> Array:
    """Decode a TensorProto; text becomes objects of bytes, bfloat16 becomes float32.

    Raises:
        ValueError: for a dtype that is not in DTYPES, or content that does not fit the shape.
    """
    dtype = DTYPES.get(message.dtype)
    if dtype is None:
        raise ValueError(f"dtype {name_of(message.dtype)} cannot be compared")
    shape = tuple(dim.size for dim in message.tensor_shape.dim)
    count = math.prod(shape)
    storage = np.dtype({"bfloat16": "uint16", "float16": "uint16", "string": "object"}.get(dtype, dtype))
    if min(shape, default=0) < 0 or count * storage.itemsize > _MAX_BYTES:
        raise ValueError("the shape is not valid")
    if dtype == "string":
        return _filled(np.array([*message.string_val, b""], dtype=object)[:-1], count).reshape(shape)
    if message.tensor_content:
        flat = np.frombuffer(message.tensor_content, dtype=storage)
        if flat.size != count:
            raise ValueError("the content does not fit the shape")
    else:
        flat = _filled(_values(message, dtype, storage), count)
    if dtype == "float16":
        flat = flat.view(np.float16)
    elif dtype == "bfloat16":
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    return flat.reshape(shape)


def _values(message: Any, dtype: str, storage: np.dtype[Any]) -> Array:
    if dtype.startswith("complex"):
        parts = np.array(message.scomplex_val if dtype == "complex64" else message.dcomplex_val, dtype=np.float64)
        return (parts[0::2] + 1j * parts[1::2]).astype(storage)
    return np.array(getattr(message, _FIELDS.get(dtype, "int_val"))).astype(storage)


def _filled(values: Array, count: int) -> Array:
    """Fill a short list up with its last value, as TensorFlow does; an empty one is zeros."""
    if len(values) >= count:
        return values[:count]
    fill = (
        values[-1:]
        if len(values)
        else np.array([b""], dtype=object)
        if values.dtype == object
        else np.zeros(1, values.dtype)
    )
    return np.concatenate([values, np.repeat(fill, count - len(values))])


def _to_bfloat16(array: Array) -> Array:
    """Round float32 to the upper 16 of its bits, to the nearest and ties to even; bits stay what they are."""
    if array.dtype.kind == "V":
        return array
    bits = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    result: Array = np.where(np.isnan(array), 0x7FC0, rounded).astype(np.uint16)
    return result
