"""libtensorflow through its stable C API (`tensorflow/c/c_api.h`), by ctypes.

The C++ server loads a model with `LoadSavedModel` and runs it with a `DirectSession`; `TF_LoadSessionFromSavedModel` and
`TF_SessionRun` are those two. So rules and messages are the same, and nothing of TensorFlow's Python is imported. Calls that
take time release the interpreter lock (`CDLL`); those that take nanoseconds keep it (`PyDLL`), because giving it up costs more.
"""

import ctypes
import os
from collections.abc import Sequence
from ctypes import CDLL, POINTER, PyDLL, c_char_p, c_int, c_int64, c_size_t, c_ubyte, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from model_server.errors import Code, ServingError
from model_server.protobuf import wire_format
from model_server.protobuf.generated import config_pb2
from model_server.tensors import dtypes
from model_server.tensors.host_tensor import HostTensor

_TSTRING_BYTES = 24
_TIMEOUT_IN_MS_TAG = b"\x10"  # field 2 of tensorflow.RunOptions
#: ConfigProto.experimental.disable_thread_spinning: TensorFlow's threads otherwise burn, while they wait for the next operation,
#: half as much CPU again as a small model needs, and that CPU is the other requests'. Merged with the caller's: its values win.
_NO_SPINNING = config_pb2.ConfigProto(experimental={"disable_thread_spinning": True}).SerializeToString()


class _Output(ctypes.Structure):
    _fields_ = [("operation", c_void_p), ("index", c_int)]


class _Buffer(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p)]


_Deallocator = ctypes.CFUNCTYPE(None, c_void_p, c_size_t, c_void_p)

# name: (result type, argument types)
_QUICK: dict[str, tuple[Any, list[Any]]] = {
    "TF_Version": (c_char_p, []),
    "TF_NewStatus": (c_void_p, []),
    "TF_DeleteStatus": (None, [c_void_p]),
    "TF_GetCode": (c_int, [c_void_p]),
    "TF_Message": (c_char_p, [c_void_p]),
    "TF_NewBuffer": (POINTER(_Buffer), []),
    "TF_NewBufferFromString": (POINTER(_Buffer), [c_char_p, c_size_t]),
    "TF_DeleteBuffer": (None, [POINTER(_Buffer)]),
    "TF_NewGraph": (c_void_p, []),
    "TF_NewSessionOptions": (c_void_p, []),
    "TF_DeleteSessionOptions": (None, [c_void_p]),
    "TF_SetConfig": (None, [c_void_p, c_char_p, c_size_t, c_void_p]),
    "TF_GraphOperationByName": (c_void_p, [c_void_p, c_char_p]),
    "TF_OperationNumOutputs": (c_int, [c_void_p]),
    "TF_AllocateTensor": (c_void_p, [c_int, POINTER(c_int64), c_int, c_size_t]),
    "TF_NewTensor": (c_void_p, [c_int, POINTER(c_int64), c_int, c_void_p, c_size_t, _Deallocator, c_void_p]),
    "TF_TensorType": (c_int, [c_void_p]),
    "TF_NumDims": (c_int, [c_void_p]),
    "TF_Dim": (c_int64, [c_void_p, c_int]),
    "TF_TensorByteSize": (c_size_t, [c_void_p]),
    "TF_TensorData": (c_void_p, [c_void_p]),
    "TF_StringInit": (None, [c_void_p]),
    "TF_StringCopy": (None, [c_void_p, c_char_p, c_size_t]),
    "TF_StringDealloc": (None, [c_void_p]),
    "TF_StringGetDataPointer": (c_void_p, [c_void_p]),
    "TF_StringGetSize": (c_size_t, [c_void_p]),
}
_SLOW: dict[str, tuple[Any, list[Any]]] = {
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        [c_void_p, POINTER(_Buffer), c_char_p, POINTER(c_char_p), c_int, c_void_p, POINTER(_Buffer), c_void_p],
    ),
    "TF_SessionRun": (
        None,
        [
            c_void_p, POINTER(_Buffer), POINTER(_Output), POINTER(c_void_p), c_int, POINTER(_Output),
            POINTER(c_void_p), c_int, POINTER(c_void_p), c_int, POINTER(_Buffer), c_void_p,
        ],
    ),
    "TF_LoadLibrary": (c_void_p, [c_char_p, c_void_p]),
    "TF_CloseSession": (None, [c_void_p, c_void_p]),
    "TF_DeleteSession": (None, [c_void_p, c_void_p]),
    "TF_DeleteGraph": (None, [c_void_p]),
    # Freeing gigabytes takes time, and may call back into the interpreter from here (string tensors).
    "TF_DeleteTensor": (None, [c_void_p]),
}  # fmt: skip
_DISABLE_XLA = "_ZN10tensorflow21DisableXlaCompilationEv"


class TensorFlow:
    """The loaded library. One per process: TensorFlow's registries are process-wide."""

    def __init__(self, directory: Path) -> None:
        # The kernels find the framework by its soname, so it is loaded first, and for all.
        framework = CDLL(str(directory / "libtensorflow_framework.so.2"), mode=os.RTLD_GLOBAL | os.RTLD_NOW)
        path = str(directory / "libtensorflow_cc.so.2")
        self._framework = framework
        self._library = CDLL(path)
        quick = PyDLL(path)
        self.call: dict[str, Any] = {}
        for table, library in ((_QUICK, quick), (_SLOW, self._library)):
            for name, (result, arguments) in table.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
                self.call[name] = function
        libc = PyDLL(None)
        libc.calloc.restype, libc.calloc.argtypes = c_void_p, [c_size_t, c_size_t]
        libc.free.restype, libc.free.argtypes = None, [c_void_p]
        self._calloc, self._free = libc.calloc, libc.free
        self._free_strings = _Deallocator(self._free_string_buffer)

    @property
    def version(self) -> str:
        """The version of the library, such as `2.21.0`."""
        text: bytes = self.call["TF_Version"]()
        return text.decode()

    def disable_xla(self) -> bool:
        """Switch XLA compilation off for the process, as the C++ server does; False if the library lacks the function."""
        function = self.exported(_DISABLE_XLA, None, [])
        if function is None:
            return False
        function()
        return True

    def exported(self, name: str, result: Any, arguments: list[Any]) -> Any:
        """The C++ function of that mangled name, with its types set; None if this build of the library lacks it."""
        function = getattr(self._library, name, None)
        if function is not None:
            function.restype, function.argtypes = result, arguments
        return function

    def load_library(self, path: str) -> None:
        """Register the operations in a shared library; ServingError if it cannot be loaded."""
        status = self.call["TF_NewStatus"]()
        try:
            self.call["TF_LoadLibrary"](os.fsencode(path), status)
            check(self.call, status)
        finally:
            self.call["TF_DeleteStatus"](status)

    def new_tensor(self, tensor: HostTensor) -> int:
        """Copy a host tensor into a TF_Tensor that the caller deletes."""
        shape = tensor.array.shape
        dims = (c_int64 * len(shape))(*shape)
        if tensor.dtype == dtypes.STRING:
            return self._new_string_tensor(tensor.array, dims, len(shape))
        array = np.ascontiguousarray(tensor.array)
        handle: int | None = self.call["TF_AllocateTensor"](tensor.dtype, dims, len(shape), array.nbytes)
        if not handle:
            raise ServingError(Code.RESOURCE_EXHAUSTED, f"could not allocate {array.nbytes} bytes for a tensor")
        if array.nbytes:
            ctypes.memmove(self.call["TF_TensorData"](handle), array.ctypes.data, array.nbytes)
        return handle

    def to_host(self, handle: int) -> HostTensor:
        """Copy a TF_Tensor into host memory owned by Python."""
        dtype = self.call["TF_TensorType"](handle)
        storage = dtypes.STORAGE.get(dtype)
        if storage is None:
            raise ServingError(Code.UNIMPLEMENTED, f"a tensor of type {dtypes.name_of(dtype)} cannot leave the server")
        shape = tuple(self.call["TF_Dim"](handle, axis) for axis in range(self.call["TF_NumDims"](handle)))
        data, size = self.call["TF_TensorData"](handle), self.call["TF_TensorByteSize"](handle)
        if dtype == dtypes.STRING:
            return HostTensor(dtype, self._strings_at(data, size // _TSTRING_BYTES).reshape(shape))
        if not size:
            return HostTensor(dtype, np.empty(shape, dtype=storage))
        view = np.frombuffer((c_ubyte * size).from_address(data), dtype=storage)
        return HostTensor(dtype, view.reshape(shape).copy())

    def _new_string_tensor(self, array: np.ndarray[Any, Any], dims: Any, rank: int) -> int:
        values: list[bytes] = array.ravel().tolist()
        size = len(values) * _TSTRING_BYTES
        buffer = self._calloc(max(size, 1), 1)
        if not buffer:
            raise ServingError(Code.RESOURCE_EXHAUSTED, f"could not allocate {size} bytes for a tensor")
        init, copy = self.call["TF_StringInit"], self.call["TF_StringCopy"]
        for position, value in enumerate(values):
            slot = buffer + position * _TSTRING_BYTES
            init(slot)
            copy(slot, value, len(value))
        # The graph may keep the buffer (a variable, a table), so it is freed when the last holder lets go of it.
        handle: int = self.call["TF_NewTensor"](dtypes.STRING, dims, rank, buffer, size, self._free_strings, None)
        return handle

    def _free_string_buffer(self, data: int, size: int, _argument: int | None) -> None:
        dealloc = self.call["TF_StringDealloc"]
        for slot in range(data, data + size, _TSTRING_BYTES):
            dealloc(slot)
        self._free(data)

    def _strings_at(self, data: int, count: int) -> np.ndarray[Any, Any]:
        pointer, length = self.call["TF_StringGetDataPointer"], self.call["TF_StringGetSize"]
        array: np.ndarray[Any, Any] = np.empty(count, dtype=object)
        for position in range(count):
            slot = data + position * _TSTRING_BYTES
            array[position] = ctypes.string_at(pointer(slot), length(slot))
        return array


class Session:
    """A SavedModel loaded into a session. `run` is thread-safe; `close` must come after the last `run` has returned."""

    def __init__(self, library: TensorFlow, export_dir: str, tags: Sequence[str], config: bytes) -> None:
        """Load `export_dir`; `config` is a serialized ConfigProto. ServingError with TensorFlow's own words if it fails."""
        self._library = library
        self._call = library.call
        self._outputs: dict[str, _Output] = {}
        self._graph = self._call["TF_NewGraph"]()
        try:
            self._session, self.signatures = self._load(export_dir, tags, config)
        except BaseException:
            self._call["TF_DeleteGraph"](self._graph)
            raise

    def _load(self, export_dir: str, tags: Sequence[str], config: bytes) -> tuple[int, bytes]:
        call = self._call
        status, options, meta_graph = call["TF_NewStatus"](), call["TF_NewSessionOptions"](), call["TF_NewBuffer"]()
        try:
            config = _NO_SPINNING + config
            call["TF_SetConfig"](options, config, len(config), status)
            check(call, status)
            tag_array = (c_char_p * len(tags))(*(tag.encode() for tag in tags))
            session = call["TF_LoadSessionFromSavedModel"](
                options, None, os.fsencode(export_dir), tag_array, len(tags), self._graph, meta_graph, status
            )
            check(call, status)
            return session, _signature_fields(meta_graph.contents)
        finally:
            call["TF_DeleteBuffer"](meta_graph)
            call["TF_DeleteSessionOptions"](options)
            call["TF_DeleteStatus"](status)

    def run(self, feeds: Sequence[tuple[str, HostTensor]], fetches: Sequence[str], timeout_ms: int) -> list[HostTensor]:
        """Run the graph: (tensor name, value) in, values of `fetches` out. `timeout_ms` 0 means none."""
        call = self._call
        inputs = (_Output * len(feeds))(*(self._output(name) for name, _ in feeds))
        outputs = (_Output * len(fetches))(*(self._output(name) for name in fetches))
        values = (c_void_p * len(feeds))()
        results = (c_void_p * len(fetches))()
        options = None
        status = call["TF_NewStatus"]()
        try:
            for position, (_, tensor) in enumerate(feeds):
                values[position] = self._library.new_tensor(tensor)
            if timeout_ms > 0:
                encoded = _TIMEOUT_IN_MS_TAG + wire_format.varint(timeout_ms)
                options = call["TF_NewBufferFromString"](encoded, len(encoded))
            call["TF_SessionRun"](
                self._session, options, inputs, values, len(feeds),
                outputs, results, len(fetches), None, 0, None, status,
            )  # fmt: skip
            check(call, status)
            return [self._library.to_host(handle) for handle in results if handle]
        finally:
            for handle in (*values, *results):
                if handle:
                    call["TF_DeleteTensor"](handle)
            if options is not None:
                call["TF_DeleteBuffer"](options)
            call["TF_DeleteStatus"](status)

    def close(self) -> None:
        """Free the session, its variables and its graph."""
        status = self._call["TF_NewStatus"]()
        self._call["TF_CloseSession"](self._session, status)
        self._call["TF_DeleteSession"](self._session, status)
        self._call["TF_DeleteGraph"](self._graph)
        self._call["TF_DeleteStatus"](status)

    def _output(self, name: str) -> _Output:
        found = self._outputs.get(name)
        if found is None:
            operation_name, _, index = name.rpartition(":")
            operation = self._call["TF_GraphOperationByName"](self._graph, (operation_name or name).encode())
            number = int(index) if operation_name and index.isdigit() else 0
            if not operation or number >= self._call["TF_OperationNumOutputs"](operation):
                message = f"Tensor {name}, specified in either feed_devices or fetch_devices was not found in the Graph"
                raise ServingError(Code.NOT_FOUND, message)
            found = self._outputs[name] = _Output(operation, number)
        return found


def check(call: dict[str, Any], status: int) -> None:
    """ServingError if the TF_Status at `status` is not OK."""
    code = call["TF_GetCode"](status)
    if code:
        message: bytes = call["TF_Message"](status)
        known = Code(code) if code in Code._value2member_map_ else Code.UNKNOWN
        raise ServingError(known, message.decode("utf-8", "replace"))


def _signature_fields(buffer: _Buffer) -> bytes:
    """Only `signature_def` of a serialized MetaGraphDef: the graph beside it may be as large as the model."""
    view = (
        memoryview((c_ubyte * buffer.length).from_address(buffer.data)).cast("B") if buffer.length else memoryview(b"")
    )
    return b"".join(wire_format.length_delimited(5, bytes(part)) for part in wire_format.bytes_fields(view, 5))
