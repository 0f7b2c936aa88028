"""Is a SavedModel directory complete?

TensorFlow restores nothing when `variables/variables.index` is not there, and goes on: a half-copied model loads and then
fails every request. A model whose graph has variables and a saver was saved with that file, so its absence is an error here.
"""

import mmap
from pathlib import Path

from model_server.errors import Code, ServingError
from model_server.protobuf import wire_format

_VARIABLE_OPERATIONS = (b"VarHandleOp", b"VariableV2")
_META_GRAPHS, _SAVER_DEF = 2, 3


def check(path: str) -> None:
    """ServingError (NOT_FOUND, in the words of TensorFlow's checkpoint reader) if the variables are missing."""
    directory = Path(path)
    graph = directory / "saved_model.pb"
    if (directory / "variables" / "variables.index").exists() or not graph.is_file() or not graph.stat().st_size:
        return
    if _has_saved_variables(graph):
        prefix = directory / "variables" / "variables"
        raise ServingError(
            Code.NOT_FOUND,
            f"Unsuccessful TensorSliceReader constructor: Failed to find any matching files for {prefix} "
            f"({prefix}.index is missing, although the graph has saved variables: the model was not copied whole)",
        )


def _has_saved_variables(graph: Path) -> bool:
    with graph.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if not any(data.find(name) >= 0 for name in _VARIABLE_OPERATIONS):
            return False
        # Views into the map must be gone before it is closed.
        with memoryview(data) as view:
            try:
                return _any_saver(view)
            except ValueError:
                return False  # not a SavedModel: TensorFlow will say so


def _any_saver(view: memoryview) -> bool:
    found = False
    for meta_graph in wire_format.bytes_fields(view, _META_GRAPHS):
        for saver in wire_format.bytes_fields(meta_graph, _SAVER_DEF):
            found = found or len(saver) > 0
            saver.release()
        meta_graph.release()
    return found
