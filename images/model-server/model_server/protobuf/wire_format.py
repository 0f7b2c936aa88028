"""A reader and writer for the protobuf wire format, where generated classes would cost a Python object per number.

Used for large packed fields of TensorProto and to pick one field out of a MetaGraphDef of hundreds of MiB.
"""

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_SHIFT = 63


def varint(value: int) -> bytes:
    """`value` (not negative) as a base-128 varint."""
    out = bytearray()
    while value >> 7:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def length_delimited(field: int, payload: bytes) -> bytes:
    """A complete length-delimited field."""
    return varint(field << 3 | _BYTES) + varint(len(payload)) + payload


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if position >= len(data) or shift > _MAX_SHIFT:
            raise ValueError("truncated or overlong varint")
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return result, position
        shift += 7


def bytes_fields(data: bytes | memoryview, wanted: int) -> Iterator[memoryview]:
    """Payloads of every length-delimited field number `wanted` at the top level of `data`; ValueError if malformed."""
    view = memoryview(data)
    position = 0
    while position < len(view):
        tag, position = _read_varint(view, position)
        kind = tag & 7
        if kind == _VARINT:
            _, position = _read_varint(view, position)
        elif kind in (_FIXED64, _FIXED32):
            position += 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            size, position = _read_varint(view, position)
            if tag >> 3 == wanted:
                if position + size > len(view):
                    raise ValueError("truncated field")
                yield view[position : position + size]
            position += size
        else:
            raise ValueError(f"unsupported wire type {kind}")
    if position != len(view):
        raise ValueError("truncated message")
