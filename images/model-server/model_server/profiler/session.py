"""TensorFlow's profiler in the library that runs the models; `service.py` serves it.

The C API has no profiler. The C++ server's ProfilerService is a wait between two C++ calls, `ProfilerSession::Create` and
`CollectData`, and these are called here by their mangled names. What the names do not tell is the type of a result: therefore
the versions for which it was read in the headers are listed, and with any other there is no profiler. Objects are made by
their own constructors in zeroed memory larger than they are. Nothing listens on a port for it.
"""

import ctypes
from ctypes import c_bool, c_char_p, c_int, c_size_t, c_uint64, c_void_p
from typing import Any

from model_server.errors import Code, ServingError
from model_server.runtime.libtensorflow import TensorFlow, check

#: Versions of TensorFlow whose headers declare the functions below as they are called here.
KNOWN_VERSIONS = ("2.21.",)
#: Larger than ProfileOptions (144 bytes in TensorFlow 2.21) and XSpace (120) are.
_OBJECT_WORDS = 512
_POINTER_BYTES = 8
_MAX_BYTES = 2**31 - 1


class _Result(ctypes.Structure):
    """Where a function leaves an absl::Status or a unique_ptr, both one pointer in memory that the caller provides.

    The size makes libffi pass the address of that memory as C++ does, on x86-64 and on arm64.
    """

    _fields_ = [("words", c_uint64 * 4)]


class _String(ctypes.Structure):
    """A std::string to read from: libstdc++ keeps pointer and length first."""

    _fields_ = [("data", c_char_p), ("size", c_size_t), ("rest", c_uint64 * 2)]


_ARENA = "PN6google8protobuf5ArenaE"
_SPACE = "N10tensorflow8profiler6XSpaceE"
_TEXT = "RKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
# what it is called here: (mangled name, result type, argument types)
_FUNCTIONS: dict[str, tuple[str, Any, list[Any]]] = {
    "make_options": (f"_ZN10tensorflow14ProfileOptionsC1E{_ARENA}", None, [c_void_p, c_void_p]),
    "free_options": ("_ZN10tensorflow14ProfileOptionsD1Ev", None, [c_void_p]),
    "parse": ("_ZN6google8protobuf11MessageLite14ParseFromArrayEPKvi", c_bool, [c_void_p, c_char_p, c_int]),
    "start": ("_ZN3tsl15ProfilerSession6CreateERKN10tensorflow14ProfileOptionsE", _Result, [c_void_p]),
    "status": ("_ZN3tsl15ProfilerSession6StatusEv", _Result, [c_void_p]),
    "collect": (f"_ZN3tsl15ProfilerSession11CollectDataEP{_SPACE}", _Result, [c_void_p, c_void_p]),
    # The destructor of the unique_ptr, which ends and frees the session.
    "end": ("_ZNSt10unique_ptrIN3tsl15ProfilerSessionESt14default_deleteIS1_EED2Ev", None, [c_void_p]),
    "make_space": (f"_ZN10tensorflow8profiler6XSpaceC1E{_ARENA}", None, [c_void_p, c_void_p]),
    "free_space": ("_ZN10tensorflow8profiler6XSpaceD1Ev", None, [c_void_p]),
    "is_empty": (f"_ZN3tsl8profiler7IsEmptyERK{_SPACE}", c_bool, [c_void_p]),
    "size": ("_ZNK10tensorflow8profiler6XSpace12ByteSizeLongEv", c_size_t, [c_void_p]),
    "serialize": ("_ZNK6google8protobuf11MessageLite16SerializeToArrayEPvi", c_bool, [c_void_p, c_void_p, c_int]),
    # The directory, the session and the host are strings of the same type, of which the name has only the first in full.
    "save": (
        f"_ZN3tsl8profiler10SaveXSpaceE{_TEXT}S8_S8_RK{_SPACE}",
        _Result,
        [c_void_p, c_void_p, c_void_p, c_void_p],
    ),
}


class NativeProfiler:
    """The functions of a loaded library. TensorFlow runs one session at a time in the whole process."""

    def __init__(self, library: TensorFlow) -> None:
        """Look the functions up; UNIMPLEMENTED if this library has not all of them, or they may be others."""
        if not library.version.startswith(KNOWN_VERSIONS):
            raise ServingError(
                Code.UNIMPLEMENTED, f"this server cannot use the profiler of TensorFlow {library.version}"
            )
        found = {key: library.exported(*description) for key, description in _FUNCTIONS.items()}
        missing = [_FUNCTIONS[key][0] for key, function in found.items() if function is None]
        if missing:
            raise ServingError(Code.UNIMPLEMENTED, f"this build of TensorFlow has no profiler: no {missing[0]}")
        self.function: dict[str, Any] = found
        self._call = library.call

    def check(self, status: _Result) -> None:
        """ServingError if the absl::Status is not OK."""
        holder = self._call["TF_NewStatus"]()
        try:
            # A TF_Status holds the absl::Status and nothing else, and frees it.
            ctypes.memmove(holder, ctypes.byref(status), _POINTER_BYTES)
            check(self._call, holder)
        finally:
            self._call["TF_DeleteStatus"](holder)


class Session:
    """A profile being taken, from construction to `collect`. `close` it in any case: no other can start before."""

    def __init__(self, native: NativeProfiler, options: bytes) -> None:
        """Start with a serialized ProfileOptions; ServingError, and nothing to close, if a session is running already."""
        self._native, self._function = native, native.function
        memory = _memory()
        self._function["make_options"](memory, None)
        try:
            if not self._function["parse"](memory, options, len(options)):
                raise ServingError(Code.INVALID_ARGUMENT, "the profile options cannot be read")
            self._session = self._function["start"](memory)
        finally:
            self._function["free_options"](memory)
        self._space: Any = None
        try:
            native.check(self._function["status"](self._session.words[0]))
        except ServingError:
            self.close()
            raise

    def collect(self) -> bool:
        """Stop, and keep what was seen; False if that is nothing."""
        self._space = _memory()
        self._function["make_space"](self._space, None)
        self._native.check(self._function["collect"](self._session.words[0], self._space))
        return not self._function["is_empty"](self._space)

    def serialized(self) -> bytes:
        """What was collected, as a serialized XSpace."""
        size: int = self._function["size"](self._space)
        if size > _MAX_BYTES:
            raise ServingError(Code.INTERNAL, f"the profile has {size} bytes, more than a message may have")
        data = ctypes.create_string_buffer(max(size, 1))
        if not self._function["serialize"](self._space, data, size):
            raise ServingError(Code.INTERNAL, "the profile cannot be serialized")
        return ctypes.string_at(data, size)

    def save(self, directory: str, session: str, host: str) -> None:
        """Write what was collected to `directory/session/host.xplane.pb`, as TensorBoard expects it; folders are made."""
        texts = [text.encode() for text in (directory, session, host)]
        strings = [_String(text, len(text)) for text in texts]
        self._native.check(self._function["save"](*(ctypes.addressof(string) for string in strings), self._space))

    def close(self) -> None:
        """End the session and free what it holds."""
        if self._space is not None:
            self._function["free_space"](self._space)
            self._space = None
        self._function["end"](ctypes.byref(self._session))


def _memory() -> Any:
    return (c_uint64 * _OBJECT_WORDS)()
