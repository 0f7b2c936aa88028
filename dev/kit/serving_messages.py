"""Message types of TensorFlow Serving's gRPC API, without TensorFlow itself.

`tensorflow_serving.apis` imports messages out of the tensorflow package, and importing that package loads half a
gigabyte and takes ten seconds. The messages are plain protobuf modules, so while they are imported an empty package
stands in for it; afterwards `import tensorflow` works as ever.
"""

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

_PACKAGE = "tensorflow"


def _import_messages(*names: str) -> list[Any]:
    if _PACKAGE in sys.modules:
        return [importlib.import_module(name) for name in names]
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("tensorflow is not installed: its package holds the messages of the serving API")
    stand_in = ModuleType(_PACKAGE)
    stand_in.__path__ = list(spec.submodule_search_locations)
    sys.modules[_PACKAGE] = stand_in
    try:
        return [importlib.import_module(name) for name in names]
    finally:
        del sys.modules[_PACKAGE]


tensor_pb2, types_pb2, predict_pb2, get_model_metadata_pb2, get_model_status_pb2 = _import_messages(
    "tensorflow.core.framework.tensor_pb2",
    "tensorflow.core.framework.types_pb2",
    "tensorflow_serving.apis.predict_pb2",
    "tensorflow_serving.apis.get_model_metadata_pb2",
    "tensorflow_serving.apis.get_model_status_pb2",
)
