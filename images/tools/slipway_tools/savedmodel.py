"""Looks into saved_model.pb before a server does: is it a SavedModel, has it a graph for serving, has that signatures?

The graph itself can be gigabytes; it is skipped. The few parts that matter are cut out of the file by their field
numbers and handed to TensorFlow's own generated message classes.
"""

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2

from slipway_tools.errors import ModelError, Reason

FILE_NAME = "saved_model.pb"
DEFAULT_TAGS = frozenset({"serve"})
_META_GRAPHS = 2  # SavedModel.meta_graphs
_META_INFO = 1  # MetaGraphDef.meta_info_def
_SIGNATURES = 5  # MetaGraphDef.signature_def
_MAX_PART_BYTES = 8 << 20
_MAX_META_GRAPHS = 16
_MAX_VARINT_BITS = 63
# TensorFlow keeps its initialiser among the signatures; nobody can call it.
_INTERNAL_PREFIX = "__saved_model_"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class MetaGraph:
    """What one graph of a SavedModel says about itself: `definitions` has the SignatureDef of each signature."""

    tags: frozenset[str]
    signatures: tuple[str, ...]
    definitions: Mapping[str, Any] = field(default_factory=dict, compare=False)


def check(version_directory: Path, tags: frozenset[str] = DEFAULT_TAGS) -> MetaGraph:
    """Return the graph that a server with these tags would load.

    Raises:
        ModelError: NotASavedModel or NoSignatures, listing what was found instead.
        OSError: when the file cannot be read.
    """
    graphs = read(version_directory / FILE_NAME)
    # The server's loader wants the set of tags to be equal, not to contain.
    graph = next((graph for graph in graphs if graph.tags == tags), None)
    if graph is None:
        found = "; ".join(_set(graph.tags) for graph in graphs) or "no graph at all"
        raise ModelError(
            Reason.NOT_A_SAVED_MODEL,
            f"spec.model.uri: {FILE_NAME} has no graph tagged {_set(tags)}; found: {found}. "
            "Export the model for serving (Keras: model.export(path))",
        )
    if not graph.signatures:
        raise ModelError(
            Reason.NO_SIGNATURES,
            f"spec.model.uri: the graph tagged {_set(tags)} has no signatures, so it can answer nothing. "
            "Save it with signatures (Keras: model.export(path); tf.saved_model.save(model, path, signatures=…))",
        )
    return graph


def read(path: Path) -> list[MetaGraph]:
    """Read tags and signature names of every graph in a saved_model.pb."""
    with path.open("rb") as stream:
        if stream.seek(0, 2) == 0:
            raise _not_a_saved_model("is empty")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return list(_graphs(data))


def _graphs(data: mmap.mmap) -> Iterator[MetaGraph]:
    count = 0
    for number, start, end in _fields(data, 0, len(data)):
        if number != _META_GRAPHS:
            continue
        count += 1
        if count > _MAX_META_GRAPHS:
            raise _not_a_saved_model(f"has more than {_MAX_META_GRAPHS} graphs")
        yield _graph(data, start, end)


def _graph(data: mmap.mmap, start: int, end: int) -> MetaGraph:
    message = meta_graph_pb2.MetaGraphDef()
    size = 0
    for number, part_start, part_end in _fields(data, start, end):
        if number not in {_META_INFO, _SIGNATURES}:
            continue
        size += part_end - part_start
        if size > _MAX_PART_BYTES:
            raise _not_a_saved_model(f"has more than {_MAX_PART_BYTES >> 20} MiB of tags and signatures")
        try:
            # One field with its tag and length is itself a message: merging adds it to what is there.
            message.MergeFromString(_tagged(number, data[part_start:part_end]))
        except DecodeError as error:
            raise _not_a_saved_model(f"is damaged ({error})") from None
    names = sorted(name for name in message.signature_def if not name.startswith(_INTERNAL_PREFIX))
    definitions = {name: message.signature_def[name] for name in names}
    return MetaGraph(frozenset(message.meta_info_def.tags), tuple(names), definitions)


def _fields(data: mmap.mmap, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Walk the top-level fields of a message; yield number, start and end of those that have a length."""
    while position < end:
        key, position = _varint(data, position, end)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            _, position = _varint(data, position, end)
        elif kind in {_FIXED64, _FIXED32}:
            position += 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            length, position = _varint(data, position, end)
            if number and position + length <= end:
                yield number, position, position + length
            position += length
        if position > end or number == 0 or kind not in {_VARINT, _FIXED64, _FIXED32, _BYTES}:
            raise _not_a_saved_model("is damaged or cut off")


def _varint(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift <= _MAX_VARINT_BITS:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, position
        shift += 7
    raise _not_a_saved_model("is damaged or cut off")


def _tagged(number: int, content: bytes) -> bytes:
    """Return one length-delimited field on the wire."""
    length, head = len(content), bytearray([number << 3 | _BYTES])
    while length > 0x7F:  # noqa: PLR2004 - seven bits a byte
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + content


def _set(tags: frozenset[str]) -> str:
    return "{" + ", ".join(ascii(tag) for tag in sorted(tags)) + "}"


def _not_a_saved_model(why: str) -> ModelError:
    return ModelError(Reason.NOT_A_SAVED_MODEL, f"spec.model.uri: {FILE_NAME} {why}; export the model again")
