"""TensorFlow's data types: number, name in messages, and how the bytes lie in memory.

A type that NumPy lacks (bfloat16, quantized, 8-bit floats) is held in an integer type of the same width: the server moves
values, it does not compute with them.
"""

from typing import Any

import numpy as np

FLOAT, DOUBLE, INT32, UINT8, INT16, INT8, STRING, COMPLEX64, INT64, BOOL = range(1, 11)
QINT8, QUINT8, QINT32, BFLOAT16, QINT16, QUINT16, UINT16, COMPLEX128, HALF = range(11, 20)
UINT32, UINT64, FLOAT8_E5M2, FLOAT8_E4M3FN = 22, 23, 24, 25

NAMES = {
    1: "float", 2: "double", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 8: "complex64", 9: "int64",
    10: "bool", 11: "qint8", 12: "quint8", 13: "qint32", 14: "bfloat16", 15: "qint16", 16: "quint16", 17: "uint16",
    18: "complex128", 19: "half", 20: "resource", 21: "variant", 22: "uint32", 23: "uint64", 24: "float8_e5m2",
    25: "float8_e4m3fn",
}  # fmt: skip

STORAGE: dict[int, np.dtype[Any]] = {
    number: np.dtype(kind)
    for number, kind in (
        (FLOAT, "<f4"), (DOUBLE, "<f8"), (INT32, "<i4"), (UINT8, "u1"), (INT16, "<i2"), (INT8, "i1"), (STRING, "O"),
        (COMPLEX64, "<c8"), (INT64, "<i8"), (BOOL, "?"), (QINT8, "i1"), (QUINT8, "u1"), (QINT32, "<i4"),
        (BFLOAT16, "<u2"), (QINT16, "<i2"), (QUINT16, "<u2"), (UINT16, "<u2"), (COMPLEX128, "<c16"), (HALF, "<f2"),
        (UINT32, "<u4"), (UINT64, "<u8"), (FLOAT8_E5M2, "u1"), (FLOAT8_E4M3FN, "u1"),
    )
}  # fmt: skip


def name_of(dtype: int) -> str:
    """The type's name as TensorFlow prints it."""
    return NAMES.get(dtype, f"unknown dtype enum ({dtype})")
