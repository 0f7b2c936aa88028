"""tensorflow.ProfilerService on the gRPC port, with --enable_profiler; `grpc_api/server.py` registers it.

A Profile waits on its thread of the gRPC pool, while TensorFlow records what the requests on the other threads do. It ends with
its time, with a Terminate of its session, when its client goes, and early, with what has been seen, when the server shuts down.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from model_server.errors import Code, ServingError
from model_server.profiler.messages import ProfileResponse, TerminateResponse
from model_server.profiler.session import NativeProfiler, Session
from model_server.protobuf import wire_format
from model_server.runtime.libtensorflow import TensorFlow

#: Sessions that were terminated before they began and are remembered; the C++ server remembers all.
_REMEMBERED = 1000
_XSPACE_FIELD = 8
#: TensorFlow reads the time as a signed number, so later ones are past.
_MAX_TIMESTAMP = 2**63 - 1
_log = logging.getLogger(__name__)


class Profiler:
    """The service. Methods take a request and the call's context, and answer with bytes; ServingError if they fail."""

    def __init__(self, library: Callable[[], TensorFlow]) -> None:
        """`library` gives TensorFlow; it is called at the first Profile."""
        self._library = library
        self._lock = threading.Lock()
        self._native: NativeProfiler | None = None
        self._refusal: ServingError | None = None
        self._running: tuple[str, threading.Event] | None = None
        self._terminated: OrderedDict[str, None] = OrderedDict()
        self._stopped = False

    def profile(self, request: Any, context: Any) -> bytes:
        """Profile for `duration_ms`, then answer with the XSpace (`emit_xspace`) or write it under `repository_root`.

        The file is `repository_root/session_id/host_name.xplane.pb`, of this process' user. A running profile, and a file that
        cannot be written, are INTERNAL as in the C++ server; a call that ended is CANCELLED.
        """
        native = self._loaded()
        ended = self._begin(request.session_id)
        try:
            if not context.add_callback(ended.set):
                ended.set()
            _wait_for_start(request.opts, ended)
            session = Session(native, request.opts.SerializeToString())
            try:
                _log.info("profiling for %g s", request.duration_ms / 1000)
                ended.wait(min(request.duration_ms / 1000, threading.TIMEOUT_MAX))
                if not context.is_active():
                    raise ServingError(Code.CANCELLED, "")
                return _collected(session, request)
            finally:
                session.close()
        except ServingError as error:
            if error.code == Code.CANCELLED:
                raise
            raise ServingError(Code.INTERNAL, error.message) from error
        finally:
            with self._lock:
                self._running = None

    def terminate(self, request: Any, _context: Any) -> bytes:
        """End the profile of that session now, or as soon as it begins."""
        with self._lock:
            if self._running is not None and self._running[0] == request.session_id:
                self._running[1].set()
            else:
                self._terminated[request.session_id] = None
                if len(self._terminated) > _REMEMBERED:
                    self._terminated.popitem(last=False)
        answer: bytes = TerminateResponse().SerializeToString()
        return answer

    def monitor(self, _request: Any, _context: Any) -> bytes:
        """UNIMPLEMENTED, in the words of the C++ server."""
        raise ServingError(Code.UNIMPLEMENTED, "unimplemented.")

    def stop(self) -> None:
        """End the running profile, which answers with what it has, and every later one at once."""
        with self._lock:
            self._stopped = True
            if self._running is not None:
                self._running[1].set()

    def _loaded(self) -> NativeProfiler:
        library = self._library()
        with self._lock:
            if self._refusal is not None:
                raise self._refusal
            if self._native is None:
                try:
                    self._native = NativeProfiler(library)
                except ServingError as error:
                    _log.warning("there is no profiler: %s", error.message)
                    self._refusal = error
                    raise
            return self._native

    def _begin(self, session_id: str) -> threading.Event:
        """Take the place of the one profile that may run; the event says that it is to end, perhaps already."""
        ended = threading.Event()
        with self._lock:
            if self._running is not None:
                raise ServingError(Code.INTERNAL, "Another profiling session active.")
            self._running = (session_id, ended)
            if self._stopped or session_id in self._terminated:
                self._terminated.pop(session_id, None)
                ended.set()
        return ended


def _wait_for_start(options: Any, ended: threading.Event) -> None:
    """Wait until `start_timestamp_ns` here, where the wait can end early. TensorFlow would sleep, and nobody could profile."""
    start = options.start_timestamp_ns if options.version else 0
    seconds = (start - time.time_ns()) / 1e9
    if seconds <= 0 or start > _MAX_TIMESTAMP:
        return
    _log.info("profiling begins in %g s", seconds)
    ended.wait(min(seconds, threading.TIMEOUT_MAX))
    options.start_timestamp_ns = 0


def _collected(session: Session, request: Any) -> bytes:
    """The ProfileResponse. The XSpace, perhaps hundreds of MiB, stays bytes."""
    response = ProfileResponse(empty_trace=not session.collect())
    answer: bytes = response.SerializeToString()
    if request.emit_xspace:
        return answer + wire_format.length_delimited(_XSPACE_FIELD, session.serialized())
    session.save(request.repository_root, request.session_id, request.host_name)
    return answer
