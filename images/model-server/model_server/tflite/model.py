"""TFLite models: the interpreter of the TensorFlow wheel behind the same `Runner` as a session.

The wheel's interpreter library stands alone (15 MB, no TensorFlow behind it) and is loaded when the first TFLite model is.
Each model has a pool of interpreters, because one runs one request at a time, single-threaded as in the C++ server.
"""

import importlib.machinery
import importlib.util
import queue
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from model_server import wheel
from model_server.errors import Code, ServingError, invalid_argument
from model_server.protobuf.generated import meta_graph_pb2
from model_server.runtime.servable import DEFAULT_SIGNATURE
from model_server.tensors import dtypes
from model_server.tensors.host_tensor import HostTensor, string_array
from model_server.tflite import flatbuffer

MODEL_FILE = "model.tflite"
PREDICT_METHOD = "tensorflow/serving/predict"
_MODULE = "_pywrap_tensorflow_interpreter_wrapper"
#: OpResolverType.BUILTIN of TFLite's Python API.
_BUILTIN = 1
#: The graph that is run; further ones are bodies of control flow.
_GRAPH = 0
_PROBE_SECONDS = 120
_MAX_DIMENSION = 2**31 - 1
_TYPES = {
    np.dtype(kind): number
    for kind, number in (
        ("float32", dtypes.FLOAT), ("int32", dtypes.INT32), ("uint8", dtypes.UINT8), ("int64", dtypes.INT64),
        ("bool", dtypes.BOOL), ("int16", dtypes.INT16), ("complex64", dtypes.COMPLEX64), ("int8", dtypes.INT8),
        ("float16", dtypes.HALF), ("float64", dtypes.DOUBLE), ("uint16", dtypes.UINT16), ("uint32", dtypes.UINT32),
        ("uint64", dtypes.UINT64), ("complex128", dtypes.COMPLEX128), ("object", dtypes.STRING),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Port:
    """An input or output of the graph."""

    index: int
    name: str
    dtype: int
    shape: tuple[int, ...]


class TfLiteModel:
    """A loaded model; a `Runner`. Thread-safe: as many requests run at once as there are interpreters."""

    def __init__(self, path: Path, interpreters: int) -> None:
        """Load `path`; ServingError if it is no model, or none that TFLite's built-in operations can run."""
        # The interpreters do not copy it: weights are read where they lie.
        content = self._content = path.read_bytes()
        flatbuffer.check(content)
        _probe(path)
        self._pool: queue.SimpleQueue[Any] = queue.SimpleQueue()
        first = new_interpreter(content)
        self._inputs = _ports(first, first.InputIndices(), "Input")
        self._outputs = _ports(first, first.OutputIndices(), "Output")
        self.signatures = self._signatures(flatbuffer.signature_defs(content))
        self._pool.put(first)
        for _ in range(interpreters - 1):
            self._pool.put(new_interpreter(content))

    def run(self, feeds: Sequence[tuple[str, HostTensor]], fetches: Sequence[str], timeout_ms: int) -> list[HostTensor]:
        """(tensor name, value) in, the values of `fetches` out; waits for a free interpreter, at most `timeout_ms`."""
        inputs = [(_find(self._inputs, name, "Missing input TFLite tensor"), tensor) for name, tensor in feeds]
        outputs = [_find(self._outputs, name, "Missing output TFLite tensor") for name in fetches]
        try:
            interpreter = self._pool.get(timeout=timeout_ms / 1000 if timeout_ms else None)
        except queue.Empty as error:
            raise ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for a TFLite interpreter") from error
        try:
            _set_inputs(interpreter, inputs)
            _guarded(interpreter.Invoke, "Failed to invoke TfLite interpreter")
            return [_host(interpreter.GetTensor(port.index, _GRAPH), port) for port in outputs]
        finally:
            self._pool.put(interpreter)

    def close(self) -> None:
        """Free the interpreters; nothing runs any more."""
        self._pool = queue.SimpleQueue()

    def _signatures(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The file's own signatures with the names that its tensors have, or one made of its inputs and outputs."""
        if not given:
            made = meta_graph_pb2.SignatureDef(method_name=PREDICT_METHOD)
            for ports, infos in ((self._inputs, made.inputs), (self._outputs, made.outputs)):
                for port in ports.values():
                    info = infos[_legacy(port.name)]
                    info.name, info.dtype = port.name, port.dtype
                    for size in port.shape:
                        info.tensor_shape.dim.add(size=size)
            return {DEFAULT_SIGNATURE: made}
        for signature in given.values():
            for kind, ports, infos in (
                ("input", self._inputs, signature.inputs),
                ("output", self._outputs, signature.outputs),
            ):
                for alias, info in infos.items():
                    what = f"Signature {kind} {alias} references an unknown tensor"
                    info.name = _find(ports, info.name, what).name
        return dict(given)


def new_interpreter(content: bytes) -> Any:
    """An interpreter with its tensors allocated; ServingError if the model cannot be built. `content` must outlive it."""
    create = _library().CreateWrapperFromBuffer
    interpreter = _guarded(
        lambda: create(content, _BUILTIN, [], [], False, False, 1, False),  # noqa: FBT003 - a C++ function
        "Cannot build Interpreter from buffer",
        Code.INTERNAL,
    )
    _guarded(interpreter.AllocateTensors, "Failed to allocate tensors")
    return interpreter


@cache
def _library() -> Any:
    """The extension module, without the package around it: that would import TensorFlow."""
    file = wheel.directory() / "lite" / "python" / f"{_MODULE}.so"
    loader = importlib.machinery.ExtensionFileLoader(_MODULE, str(file))
    spec = importlib.util.spec_from_loader(_MODULE, loader)
    if spec is None:
        raise ImportError(_MODULE)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def _probe(path: Path) -> None:
    """Build the model in a process of its own first: TFLite trusts a file, and a damaged one may take its process along."""
    command = [sys.executable, "-P", "-m", "model_server.tflite.probe", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ServingError(Code.INTERNAL, "Cannot build Interpreter from buffer: it takes too long.") from error
    if done.returncode < 0:
        raise invalid_argument(f"Cannot build FlatBufferModel from buffer: the file is damaged ({path}).")
    if done.returncode:
        reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise ServingError(Code.INTERNAL, f"Cannot build Interpreter from buffer. {reason}")


def _ports(interpreter: Any, indices: Sequence[int], kind: str) -> dict[str, _Port]:
    ports: dict[str, _Port] = {}
    for index in map(int, indices):
        name, shape = interpreter.TensorName(index, _GRAPH), interpreter.TensorSizeSignature(index, _GRAPH)
        if len(shape) == 0:
            shape = interpreter.TensorSize(index, _GRAPH)
        if name in ports:
            raise ServingError(Code.ALREADY_EXISTS, f"{kind} tensor name: {name} has multiple indices")
        ports[name] = _Port(
            index, name, _dtype(interpreter.TensorType(index, _GRAPH)), tuple(int(size) for size in shape)
        )
    return ports


def _dtype(kind: Any) -> int:
    storage = np.dtype(kind)
    number = _TYPES.get(np.dtype(object) if storage.kind in "SUO" else storage)
    if number is None:
        raise ServingError(Code.INTERNAL, f"Unknown TfLite type: {storage}")
    return number


def _find(ports: Mapping[str, _Port], name: str, what: str) -> _Port:
    """The port called `name`, with or without TensorFlow's `:0`, which old converters cut off."""
    found = ports.get(name) or ports.get(_legacy(name))
    if found is None:
        raise ServingError(Code.INTERNAL, f"{what}: Unknown tensor '{name}'.")
    return found


def _legacy(name: str) -> str:
    return name.partition(":")[0]


def _set_inputs(interpreter: Any, inputs: Sequence[tuple[_Port, HostTensor]]) -> None:
    for port, tensor in inputs:
        if tensor.dtype != port.dtype:
            raise invalid_argument(
                f"Expects {port.name} to be {dtypes.name_of(port.dtype)} but {dtypes.name_of(tensor.dtype)} is provided"
            )
        if tensor.dtype == dtypes.STRING and not tensor.array.shape:
            # TFLite's wrapper would take the object's address for its text.
            raise invalid_argument(
                f"Failed to set input tensor: {port.name}: a string must be in a tensor of rank 1 or more"
            )
        if max(tensor.array.shape, default=0) > _MAX_DIMENSION:
            raise invalid_argument(f"Failed to resize input tensor: {port.name}: a dimension is beyond 32 bits")
    resized = [
        (port, tensor)
        for port, tensor in inputs
        if tuple(interpreter.TensorSize(port.index, _GRAPH)) != tensor.array.shape
    ]
    for port, tensor in resized:
        shape = np.array(tensor.array.shape, dtype=np.int32)
        _guarded(
            lambda port=port, shape=shape: interpreter.ResizeInputTensor(port.index, shape, False),  # noqa: FBT003
            f"Failed to resize input tensor: {port.name}",
        )
    if resized:
        _guarded(interpreter.AllocateTensors, "Failed to allocate tensors")
    for port, tensor in inputs:
        value = np.asarray(tensor.array, order="C")  # ascontiguousarray would make a vector of a scalar
        _guarded(
            lambda port=port, value=value: interpreter.SetTensor(port.index, value),
            f"Failed to set input tensor: {port.name}",
        )


def _guarded(action: Any, what: str, code: Code = Code.INTERNAL) -> Any:
    """Run a call of the interpreter; what it raises becomes a status with TFLite's words behind `what`."""
    try:
        return action()
    except (RuntimeError, ValueError, TypeError) as error:
        raise ServingError(code, f"{what}: {error}") from error


def _host(value: Any, port: _Port) -> HostTensor:
    array = np.asarray(value)
    if port.dtype == dtypes.STRING:
        flat = [item if isinstance(item, bytes) else str(item).encode() for item in array.reshape(-1).tolist()]
        return HostTensor(dtypes.STRING, string_array(flat, len(flat)).reshape(array.shape))
    return HostTensor(port.dtype, array)
