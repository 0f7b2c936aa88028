"""What a `.tflite` file says about itself: the signatures that TensorFlow Serving reads.

They are not TFLite's own signatures but an entry `signature_defs_metadata` of the model's metadata: a FlexBuffer map from a
name to a serialized SignatureDef. The file is a FlatBuffer, of which only the way to that entry is followed here.
"""

import struct
from collections.abc import Iterator
from typing import Any

from flatbuffers import flexbuffers, number_types  # type: ignore[import-untyped]
from flatbuffers.table import Table  # type: ignore[import-untyped]

from model_server.errors import invalid_argument
from model_server.protobuf.generated import meta_graph_pb2

_IDENTIFIER = b"TFL3"
_ENTRY = b"signature_defs_metadata"
# Fields of the tables Model, Metadata and Buffer of TFLite's schema, as offsets in their vtables.
_BUFFERS, _METADATA = 12, 16
_NAME, _BUFFER = 4, 6
_DATA = 4
_HEADER_BYTES = 8


def check(content: bytes) -> None:
    """INVALID_ARGUMENT if this is no TFLite model at all."""
    if content[4:_HEADER_BYTES] != _IDENTIFIER:
        raise invalid_argument("Cannot build FlatBufferModel from buffer.")


def signature_defs(content: bytes) -> dict[str, Any]:
    """The SignatureDefs in the file by name; empty if it carries none; INVALID_ARGUMENT if they cannot be read."""
    try:
        found = _metadata(content)
        if found is None:
            return {}
        entries = flexbuffers.GetRoot(found).AsMap
        return {
            key.AsKeyBytes.decode(): meta_graph_pb2.SignatureDef.FromString(bytes(value.AsStringBytes))
            for key, value in zip(entries.Keys, entries.Values, strict=True)
        }
    except Exception as error:
        raise invalid_argument(f"Invalid SignatureDefs found in TfLite model: {error}") from error


def _metadata(content: bytes) -> bytes | None:
    root = Table(content, struct.unpack_from("<I", content)[0])
    buffers = list(_tables(root, _BUFFERS))
    for entry in _tables(root, _METADATA):
        name = entry.Offset(_NAME)
        if name and bytes(entry.String(entry.Pos + name)) == _ENTRY:
            offset = entry.Offset(_BUFFER)
            index = entry.Get(number_types.Uint32Flags, entry.Pos + offset) if offset else 0
            return _data(buffers[index])
    return None


def _tables(table: Table, field: int) -> Iterator[Table]:
    offset = table.Offset(field)
    if not offset:
        return
    start = table.Vector(offset)
    for index in range(table.VectorLen(offset)):
        yield Table(table.Bytes, table.Indirect(start + 4 * index))


def _data(buffer: Table) -> bytes:
    offset = buffer.Offset(_DATA)
    if not offset:
        return b""
    start = buffer.Vector(offset)
    return bytes(buffer.Bytes[start : start + buffer.VectorLen(offset)])
