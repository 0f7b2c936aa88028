"""Predict from bytes to bytes: what the fast lane calls for each request. Knows nothing of grpc.

A request whose model batches is checked and enqueued on the lane's own thread and answered on the thread that ran its batch:
no thread waits for it. One that is run by itself, and one so large that decoding it would hold up the others, goes to a pool.
"""

import logging
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol

from google.protobuf.message import DecodeError

from model_server.errors import Code, ServingError, invalid_argument
from model_server.grpc_api import undecodable
from model_server.inference.predict import Prepared
from model_server.protobuf.generated import predict_pb2
from model_server.service import Service
from model_server.tensors.host_tensor import HostTensor

#: Decoding this many bytes takes well below a millisecond.
_QUICKLY_DECODED = 2**20
_log = logging.getLogger(__name__)


class Call(Protocol):
    """One call of the method, to be answered exactly once, from any thread."""

    cancelled: bool

    def timeout_ms(self) -> int:
        """Milliseconds until the deadline, at least 1; 0 if there is none."""

    def answer(self, payload: bytes) -> None:
        """Send the response and the status OK."""

    def fail(self, error: ServingError) -> None:
        """Send a status that is not OK."""


class PredictCalls:
    """Answers calls of Predict, after `start`. `workers` requests may run at a time; `batching`: whether models may have queues."""

    def __init__(self, service: Service, workers: int, *, batching: bool) -> None:
        self._service, self._batching = service, batching
        self._workers = workers
        self._waiting: SimpleQueue[_Request] = SimpleQueue()

    def start(self) -> None:
        """Start the threads that run requests."""
        for number in range(self._workers):
            threading.Thread(target=self._work, name=f"predict-{number}", daemon=True).start()

    def __call__(self, payload: bytes, call: Call) -> None:
        """Answer `call`, now or later."""
        request = _Request(self._service, payload, call)
        if self._batching and len(payload) <= _QUICKLY_DECODED and request.guarded(request.enqueue):
            return
        self._waiting.put(request)

    def _work(self) -> None:
        while True:
            request = self._waiting.get()
            request.guarded(request.run)
            del request  # nothing of it must outlive the answer


class _Request:
    """One request on its way. It holds its version of the model from `_begin` until it is answered."""

    __slots__ = ("_call", "_held", "_model", "_payload", "_prepared", "_run_from", "_service", "_started")

    def __init__(self, service: Service, payload: bytes, call: Call) -> None:
        self._service, self._payload, self._call = service, payload, call
        self._started = self._run_from = time.monotonic()
        self._model = ""
        self._held: Any = None
        self._prepared: Prepared | None = None

    def guarded(self, step: Callable[[], bool]) -> bool:
        """Take a step; a failure of any kind answers the request. True if it is or will be answered."""
        try:
            return step()
        except ServingError as error:
            self._fail(error)
        except Exception:  # noqa: BLE001 - logged, and hidden from the client
            _log.exception("a request failed unexpectedly")
            self._fail(ServingError(Code.INTERNAL, "Internal error; see the log of the server."))
        return True

    def enqueue(self) -> bool:
        """Put the request into its model's queue; False if that model has none."""
        prepared = self._begin()
        queued = prepared.servable.queued
        if queued is None:
            return False
        queued.submit(prepared.feeds, prepared.fetches, self._call.timeout_ms(), self._settled)
        return True

    def run(self) -> bool:
        """Run the request and answer it, unless its client has gone."""
        if self._call.cancelled:
            self._release()
            return True
        prepared = self._begin()
        self._answer(prepared.servable.run(prepared.feeds, prepared.fetches, self._call.timeout_ms()))
        return True

    def _settled(self, outcome: list[HostTensor] | Exception) -> None:
        def step() -> bool:
            if isinstance(outcome, Exception):
                raise outcome
            self._answer(outcome)
            return True

        self.guarded(step)

    def _begin(self) -> Prepared:
        """Decode and check the request, once."""
        if self._prepared is None:
            request = _decoded(self._payload)
            self._payload = b""
            self._model = request.model_spec.name
            if not request.HasField("model_spec"):
                raise invalid_argument("Missing ModelSpec")
            held = self._service.manager.acquire(request.model_spec)
            servable = held.__enter__()
            self._held = held
            self._prepared = self._service.predictor.prepared(servable, request)
        self._run_from = time.monotonic()
        return self._prepared

    def _answer(self, values: list[HostTensor]) -> None:
        prepared = self._prepared
        assert prepared is not None
        service, now = self._service, time.monotonic()
        service.predictor.ran(prepared.servable, now - self._run_from)
        payload = service.predictor.response(prepared, values).SerializeToString()
        self._release()
        service.metrics.request(self._model, "OK")
        service.metrics.request_latency.observe(
            (time.monotonic() - self._started) * 1e6, self._model, "Predict", "GRPC"
        )
        self._call.answer(payload)

    def _fail(self, error: ServingError) -> None:
        self._release()
        self._service.metrics.request(self._model, error.code.name)
        self._call.fail(error)

    def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.__exit__(None, None, None)


def _decoded(payload: bytes) -> Any:
    try:
        return predict_pb2.PredictRequest.FromString(payload)
    except DecodeError as error:
        raise ServingError(Code.INTERNAL, undecodable.DETAILS) from error
