"""Generated protocol classes, importable without importing TensorFlow.

`tensorflow/__init__.py` imports Keras, NumPy ops and more: seconds of start-up and hundreds of MiB that a server which runs
graphs through the C library never uses. Its `*_pb2.py` files need none of that, so the package name is bound to an empty
module that only knows the directory while the generated files are imported from there. Where the real package was imported
before, it is used as it is, and it can still be imported afterwards.
"""

import importlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from model_server import wheel


@contextmanager
def _package_without_import() -> Iterator[None]:
    """Let `tensorflow.…_pb2` be found while the block runs; leave no trace of the stand-in for the package itself."""
    if "tensorflow" in sys.modules:
        yield
        return
    package = types.ModuleType("tensorflow")
    package.__path__ = [str(wheel.directory())]
    sys.modules["tensorflow"] = package
    try:
        yield
    finally:
        del sys.modules["tensorflow"]


def _load(name: str) -> Any:
    return importlib.import_module(name)


with _package_without_import():
    classification_pb2 = _load("tensorflow_serving.apis.classification_pb2")
    example_pb2 = _load("tensorflow.core.example.example_pb2")
    get_model_metadata_pb2 = _load("tensorflow_serving.apis.get_model_metadata_pb2")
    get_model_status_pb2 = _load("tensorflow_serving.apis.get_model_status_pb2")
    inference_pb2 = _load("tensorflow_serving.apis.inference_pb2")
    model_management_pb2 = _load("tensorflow_serving.apis.model_management_pb2")
    model_pb2 = _load("tensorflow_serving.apis.model_pb2")
    model_service_pb2 = _load("tensorflow_serving.apis.model_service_pb2")
    model_service_pb2_grpc = _load("tensorflow_serving.apis.model_service_pb2_grpc")
    predict_pb2 = _load("tensorflow_serving.apis.predict_pb2")
    prediction_log_pb2 = _load("tensorflow_serving.apis.prediction_log_pb2")
    prediction_service_pb2 = _load("tensorflow_serving.apis.prediction_service_pb2")
    prediction_service_pb2_grpc = _load("tensorflow_serving.apis.prediction_service_pb2_grpc")
    regression_pb2 = _load("tensorflow_serving.apis.regression_pb2")
    model_server_config_pb2 = _load("tensorflow_serving.config.model_server_config_pb2")
    config_pb2 = _load("tensorflow.core.protobuf.config_pb2")
    meta_graph_pb2 = _load("tensorflow.core.protobuf.meta_graph_pb2")
    tensor_pb2 = _load("tensorflow.core.framework.tensor_pb2")
    profiler_options_pb2 = _load("tensorflow.tsl.profiler.protobuf.profiler_options_pb2")
    xplane_pb2 = _load("tensorflow.tsl.profiler.protobuf.xplane_pb2")
